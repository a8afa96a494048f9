"""ESCNet's configuration, presets, and assembly from pretrained backbones."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_parts import (
    attribute_captioner_config,
    blip_config,
    build_escnet,
    encoder_config,
    git_config,
    random_pictures,
    tensors_of,
    tower_config,
    wordpiece_tokenizer,
)
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, CLIPConfig, CLIPModel

from iec_hub.errors import CheckpointError, DataError
from iec_hub.models import EscnetConfig, EscnetForImageEmotion
from iec_hub.models.escnet import AttributeCaptionerConfig


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `vision`, `text` and `captioner` as transformers saves them."""
    root, words = tmp_path_factory.mktemp("backbones"), wordpiece_tokenizer()
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model(**tower_config("clip"))).save_pretrained(root / "vision")
    AutoModel.from_config(AutoConfig.for_model(**encoder_config(words))).save_pretrained(root / "text")
    captioner = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**blip_config(words)))
    captioner.save_pretrained(root / "captioner")
    return root


def same(part: nn.Module, folder: Path, kind: Any) -> bool:
    """Whether a part holds a folder's weights, but for poolers."""
    expected = kind.from_pretrained(folder).state_dict()
    state = part.state_dict()
    assert not {name for name in expected.keys() ^ state.keys() if not name.startswith("pooler.")}
    return all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_a_captioners_tower_is_shared_and_stored_once(backbones: Path, tmp_path: Path) -> None:
    model = EscnetForImageEmotion.from_backbones(
        text=backbones / "text", captioner=backbones / "captioner", fusion_size=16, emotion_models=["ekman6"]
    )
    assert model.config.share_vision_tower and list(model.config.trained_emotion_models) == ["ekman6"]
    assert model.vision_model is model.captioner.vision_model
    assert not [name for name in model.state_dict() if name.startswith("vision_model.")]
    assert same(model.captioner, backbones / "captioner", AutoModelForImageTextToText)
    assert same(model.text_encoder, backbones / "text", AutoModel)
    model.save_pretrained(tmp_path)
    assert str(backbones) not in (tmp_path / "config.json").read_text(encoding="utf-8")
    loaded = EscnetForImageEmotion.from_pretrained(tmp_path)
    assert same(loaded.captioner, backbones / "captioner", AutoModelForImageTextToText)
    assert loaded.vision_model is loaded.captioner.vision_model


def test_a_tower_of_its_own_with_or_without_captioner(backbones: Path) -> None:
    for captioner in (None, backbones / "captioner"):
        model = EscnetForImageEmotion.from_backbones(
            backbones / "vision", backbones / "text", captioner, fusion_size=16
        )
        assert not model.config.share_vision_tower and (model.captioner is None) == (captioner is None)
        assert same(model.vision_model, backbones / "vision", AutoModel)
        assert not captioner or model.vision_model is not model.captioner.vision_model


def test_a_dual_encoder_gives_its_vision_tower(backbones: Path, tmp_path: Path) -> None:
    tower = {name: value for name, value in tower_config("clip").items() if name != "model_type"}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1}
    dual = CLIPModel(CLIPConfig(vision_config=tower, text_config=text, projection_dim=8))
    dual.save_pretrained(tmp_path)
    model = EscnetForImageEmotion.from_backbones(tmp_path, backbones / "text", fusion_size=16)
    assert model.config.vision_config.model_type == "clip_vision_model"
    expected = dual.vision_model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.vision_model.state_dict().items())


def test_an_attribute_captioner_reads_what_the_classifier_reads(backbones: Path) -> None:
    given = {"model_type": "attribute_captioner", "labels": attribute_captioner_config()["labels"]}
    fields = {"fusion_size": 16, "vision_feature_layers": [1, -1], "feature_norm": "power"}
    model = EscnetForImageEmotion.from_backbones(
        backbones / "vision", backbones / "text", captioner_config=given, **fields
    )
    assert model.config.pooled_size == model.captioner.config.pooled_size == 32 + 2 * 2 * 32
    assert model.captioner.config.feature_norm == "power"


def test_early_layers_of_a_shared_tower_are_measured(backbones: Path) -> None:
    model = EscnetForImageEmotion.from_backbones(
        text=backbones / "text", captioner=backbones / "captioner", fusion_size=16, vision_feature_layers=[1]
    )
    assert model.config.pooled_size == 32 + 2 * 32
    assert model.get_image_features(torch.zeros(1, 3, 32, 32)).pooled.shape == (1, 96)


def test_the_ablation_without_captions_takes_no_encoder(backbones: Path) -> None:
    model = EscnetForImageEmotion.from_backbones(
        backbones / "vision", backbones / "text", fusion_size=16, use_captions=False
    )
    assert not hasattr(model, "text_encoder")


def test_backbones_are_assembled_in_one_precision(backbones: Path) -> None:
    model = EscnetForImageEmotion.from_backbones(
        text=backbones / "text", captioner=backbones / "captioner", fusion_size=16, dtype=torch.bfloat16
    )
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_missing_backbones_are_one_sentence(backbones: Path) -> None:
    for names in ({}, {"vision": backbones / "vision"}, {"text": backbones / "text"}):
        with pytest.raises(DataError, match=r"^ESCNet needs a caption encoder and a vision tower or captioner; .*\.$"):
            EscnetForImageEmotion.from_backbones(**names)


# Parameters of the published backbones, as their cards and papers give them; the pooler of the encoder is left out.
@pytest.mark.parametrize(
    ("name", "vision", "encoder"), [("base", 86_090_496, 124_055_040), ("large", 303_690_752, 354_310_144)]
)
def test_presets_have_the_published_sizes(name: str, vision: int, encoder: int) -> None:
    with torch.device("meta"):
        model = EscnetForImageEmotion.from_preset(name, pretrained=False, emotion_models=["ekman6"])
    assert sum(parameter.numel() for parameter in model.vision_model.parameters()) == vision
    assert sum(parameter.numel() for parameter in model.text_encoder.parameters()) == encoder
    assert model.vision_model is model.captioner.vision_model and model.classifier.out_features == 6
    assert next(model.parameters()).is_meta


def test_an_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"^There is no ESCNet preset 'huge'; use one of base, large\.$"):
        EscnetForImageEmotion.from_preset("huge")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"feature_norm": "batch"}, r"feature_norm is 'batch'; use 'none' or 'power'\."),
        ({"emotion_models": ["mikels"]}, r"There is no emotion model 'mikels'; use one of .*"),
        ({"vision_feature_layers": [1]}, r"vision_feature_layers widen the pooled image; .* pooled_size\."),
        ({"share_vision_tower": True}, r"share_vision_tower needs a captioner with a vision tower; .*\."),
        (
            {"share_vision_tower": True, "captioner_config": {"model_type": "attribute_captioner"}},
            r"share_vision_tower needs a captioner with a vision tower; .*\.",
        ),
        ({"fusion_size": 30, "fusion_heads": 4}, r"fusion_size 30 is not a multiple of fusion_heads 4; .*\."),
        ({"fusion_heads": 0}, r"fusion_size 256 is not a multiple of fusion_heads 0; .*\."),
        ({"difficulty_weight": -1}, r"difficulty_weight and difficulty_power must be at least 0\."),
        ({"text_config": {"model_type": "t5"}}, r"The caption encoder is of type 't5', which is no encoder; .*\."),
        (
            {"text_config": {"model_type": "bert", "is_decoder": True}},
            r"The caption encoder is of type 'bert', which is no encoder; .*\.",
        ),
    ],
)
def test_an_impossible_configuration_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        EscnetConfig(**fields)


@pytest.mark.parametrize(
    ("captioner", "fields", "sentence"),
    [
        ({"model_type": "bert"}, {}, r"The captioner is of type 'bert', which does not write about images; .*\."),
        (
            git_config(wordpiece_tokenizer()),
            {"tower": None},
            r"The vision tower of a captioner of type 'git' cannot be shared; .*\.",
        ),
        (
            attribute_captioner_config(24),
            {},
            r"The captioner reads 24 channels of the pooled image, which has 32; .*\.",
        ),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(
    captioner: dict[str, Any], fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        build_escnet(captioner=captioner, **fields)


@pytest.mark.parametrize("fields", [{"fusion_size": "wide"}, {"use_captions": "yes"}, {"caption_generation": [1]}])
def test_fields_of_the_wrong_type_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassError):
        EscnetConfig(**fields)
    with pytest.raises(DataError, match=f"^The configuration cannot be read; .*'{next(iter(fields))}'.*$"):
        EscnetConfig.from_dict(EscnetConfig().to_dict() | fields)


@pytest.mark.parametrize(
    "entry",
    [
        "dog",
        {"label": "dog"},
        {"label": "dog", "attribute": "brightness"},
        {"label": "", "attribute": "object"},
        {"label": ["dog"], "attribute": "object"},
        {"label": "dog\x1b[31m", "attribute": "object"},
        {"label": "dog", "attribute": "object", "threshold": "low"},
        {"label": "dog", "attribute": "object", "threshold": 1.5},
        {"label": "dog", "attribute": "object", "threshold": float("nan")},
        {"label": "dog", "attribute": "object", "guess": -1},
        {"label": "dog", "attribute": "object", "implies": "animal"},
        {"label": "dog", "attribute": "object", "classes": [151]},
        {"label": "dog", "attribute": "object", "classes": "151"},
    ],
)
def test_a_captioners_label_that_cannot_be_told_is_one_sentence(entry: Any) -> None:
    with pytest.raises(DataError, match=r"^A label of the captioner needs [^\n]*; correct the configuration\.$"):
        AttributeCaptionerConfig(labels=[entry])


def test_a_configuration_comes_back_as_it_was(tmp_path: Path) -> None:
    captioner = attribute_captioner_config(classifier_size=32)
    model, _ = build_escnet(
        captioner=captioner, temperatures={"mikels8": 1.5}, use_word_gate=False, difficulty_weight=2
    )
    model.config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is EscnetConfig and type(loaded.captioner_config) is AttributeCaptionerConfig
    before, after = (config.to_dict() | {"_name_or_path": ""} for config in (model.config, loaded))
    assert after == before
    assert loaded.captioner_config.labels[0]["label"] == "dog" and loaded.use_word_gate is False
    assert loaded.label_columns == {"mikels8": slice(0, 8), "ekman7": slice(8, 15), "sentiment2": slice(15, 17)}
    none = EscnetConfig.from_dict(EscnetConfig().to_dict())
    assert none.captioner_config is None


def test_other_labels_of_the_same_number_never_pass_for_the_trained_ones(tmp_path: Path) -> None:
    model, _ = build_escnet(emotion_models=["mikels8"])
    model.save_pretrained(tmp_path)
    for kind in (EscnetForImageEmotion, AutoModel):
        with pytest.raises(
            DataError, match=r"^The checkpoint's classifier has as many columns [^\n]*set_emotion_models\.$"
        ):
            kind.from_pretrained(tmp_path, emotion_models=["plutchik8"], ignore_mismatched_sizes=True)
        kind.from_pretrained(tmp_path, emotion_models=["mikels8"])


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ({}, r"text_encoder\.encoder\.layer\.0\.(attention\.(self\.(query|key|value)|output\.dense)|.*dense)"),
        ({"model_type": "roberta"}, r"text_encoder\.encoder\.layer\.0\..*"),
        (
            {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2},
            r"text_encoder\.transformer\.layer\.0\..*",
        ),
    ],
    ids=["bert", "roberta", "distilbert"],
)
@pytest.mark.parametrize("blip", [False, True], ids=["alone", "blip"])
def test_lora_reaches_every_layer_of_encoders_and_decoders(text: dict[str, Any], hits: str, blip: bool) -> None:
    captioner = blip_config(wordpiece_tokenizer()) if blip else attribute_captioner_config()
    model, processor = build_escnet(None if blip else "clip", captioner=captioner, text=text)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    language = [name for name in linear if re.fullmatch(model.lora_targets["language"], name)]
    vision = [name for name in linear if re.fullmatch(model.lora_targets["vision"], name)]
    encoder = [name for name in linear if name.startswith("text_encoder.")]
    assert encoder and set(encoder) <= set(language) and all(re.fullmatch(hits, name) for name in encoder)
    decoder = [name for name in linear if name.startswith("captioner.text_decoder.bert.encoder.")]
    assert set(decoder) <= set(language) and bool(decoder) == blip
    tower = "captioner.vision_model." if blip else "vision_model."
    assert set(vision) == {name for name in linear if name.startswith(tower)}
    assert not [name for name in (*language, *vision) if name.split(".")[0] in ("fusion", "classifier")]
    batch = tensors_of(processor(images=random_pictures(1), captions=["A dog."]))
    assert model(**batch).logits.shape == (1, 8)
