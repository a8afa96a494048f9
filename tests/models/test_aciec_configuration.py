"""ACIEC's configuration, presets, and assembly from pretrained backbones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_parts import (
    CONCEPTS,
    attribute_captioner_config,
    build_aciec,
    build_escnet,
    encoder_config,
    random_pictures,
    tower_config,
    wordpiece_tokenizer,
)
from torch import nn
from transformers import AutoConfig, AutoModel, CLIPConfig, CLIPModel

from iec_hub.affect.concepts import Concept, ConceptVocabulary, default_vocabulary
from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import CheckpointError, DataError
from iec_hub.models import AciecConfig, AciecForImageEmotion
from iec_hub.models.aciec.assembly_aciec import dual_embeddings

SMALL = {"concepts": list(CONCEPTS), "concept_size": 16}
ENCODERS = {
    "bert": {},
    "roberta": {"model_type": "roberta"},
    "distilbert": {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2},
}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `vision`, `text`, `dual` (with a tokenizer) and `escnet` as transformers saves them."""
    root, words = tmp_path_factory.mktemp("backbones"), wordpiece_tokenizer()
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model(**tower_config("clip"))).save_pretrained(root / "vision")
    AutoModel.from_config(AutoConfig.for_model(**encoder_config(words))).save_pretrained(root / "text")
    tower = {name: value for name, value in tower_config("clip").items() if name != "model_type"}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": len(words), "max_position_embeddings": 64, "eos_token_id": words.eos_token_id}
    text |= {"bos_token_id": words.bos_token_id, "pad_token_id": words.pad_token_id}
    dual = CLIPModel(CLIPConfig(vision_config=tower, text_config=text, projection_dim=8, logit_scale_init_value=3.0))
    dual.save_pretrained(root / "dual")
    words.save_pretrained(root / "dual")
    escnet, _ = build_escnet(captioner=attribute_captioner_config())
    escnet.save_pretrained(root / "escnet")
    return root


def same(part: nn.Module, folder: Path) -> bool:
    """Whether a part holds a folder's weights, but for poolers."""
    expected, state = AutoModel.from_pretrained(folder).state_dict(), part.state_dict()
    assert not {name for name in expected.keys() ^ state.keys() if not name.startswith("pooler.")}
    return all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_backbones_are_taken_over_and_leave_no_trace_of_this_machine(backbones: Path, tmp_path: Path) -> None:
    model = AciecForImageEmotion.from_backbones(
        backbones / "vision", backbones / "text", emotion_models=["ekman6"], **SMALL
    )
    assert same(model.vision_model, backbones / "vision") and same(model.text_encoder, backbones / "text")
    assert model.reasoner.observer is None and list(model.config.trained_emotion_models) == ["ekman6"]
    model.save_pretrained(tmp_path)
    assert str(backbones) not in (tmp_path / "config.json").read_text(encoding="utf-8")
    loaded = AciecForImageEmotion.from_pretrained(tmp_path)
    assert same(loaded.text_encoder, backbones / "text")


def test_a_dual_encoder_finds_concepts_as_it_finds_texts(backbones: Path, tmp_path: Path) -> None:
    dual = CLIPModel.from_pretrained(backbones / "dual").eval()
    model = AciecForImageEmotion.from_backbones(backbones / "dual", backbones / "text", concepts=list(CONCEPTS)).eval()
    assert model.config.concept_size == 8 and model.config.vision_config.model_type == "clip_vision_model"
    detector = model.concept_detector
    assert (
        torch.equal(detector.projection.weight, dual.visual_projection.weight) and not detector.projection.bias.any()
    )
    assert detector.scale.item() == pytest.approx(torch.tensor(3.0).exp().item())
    tokens = wordpiece_tokenizer()([f"a photo of {name}" for name in CONCEPTS], padding=True, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = dual(pixel_values=pixels, **tokens).logits_per_image
        found = detector(model.feature_norm(model.get_image_features(pixels).pooled))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    model.save_pretrained(tmp_path)
    assert str(backbones) not in (tmp_path / "config.json").read_text(encoding="utf-8")


def test_a_projection_of_raw_images_is_not_taken_for_normed_ones(backbones: Path) -> None:
    fields = {"concepts": list(CONCEPTS)}
    for changed in ({"feature_norm": "power"}, {"vision_feature_layers": [1]}):
        model = AciecForImageEmotion.from_backbones(backbones / "dual", backbones / "text", **fields, **changed)
        detector, dual = model.concept_detector, CLIPModel.from_pretrained(backbones / "dual")
        assert not torch.equal(detector.projection.weight[:, :32], dual.visual_projection.weight)
        torch.testing.assert_close(
            detector.embeddings.data, dual_embeddings(dual, str(backbones / "dual"), model.config.vocabulary)
        )


def test_embeddings_of_another_encoder_have_to_fit(backbones: Path) -> None:
    parts, own = (backbones / "vision", backbones / "text"), torch.randn(len(CONCEPTS), 16)
    model = AciecForImageEmotion.from_backbones(*parts, concept_embeddings=own, **SMALL)
    assert torch.equal(model.concept_detector.embeddings, own)
    with pytest.raises(DataError, match=r"^Concept embeddings of shape \(3, 16\) do not fit \(7, 16\); [^\n]*\.$"):
        AciecForImageEmotion.from_backbones(*parts, concept_embeddings=own[:3], **SMALL)


def test_an_observer_comes_from_an_escnet(backbones: Path) -> None:
    model = AciecForImageEmotion.from_backbones(
        backbones / "vision", backbones / "text", backbones / "escnet", **SMALL
    )
    expected = build_escnet(captioner=attribute_captioner_config())[0].captioner
    state = model.reasoner.observer.state_dict()
    assert state and all(torch.equal(tensor, state[name]) for name, tensor in expected.state_dict().items())
    assert model.config.observer_config.labels[0]["label"] == "dog"


def test_what_has_no_observer_is_one_sentence(backbones: Path, tmp_path: Path) -> None:
    build_escnet()[0].save_pretrained(tmp_path)
    for name in (tmp_path, "ugrie-mini", str(backbones / "text")):
        with pytest.raises(DataError, match=r"^'[^\n]*' has no attribute captioner; give an ESCNet [^\n]*\.$"):
            AciecForImageEmotion.from_backbones(backbones / "vision", backbones / "text", name, **SMALL)


def test_backbones_are_assembled_in_one_precision(backbones: Path) -> None:
    model = AciecForImageEmotion.from_backbones(
        backbones / "dual", backbones / "text", backbones / "escnet", dtype=torch.bfloat16, concepts=list(CONCEPTS)
    )
    assert {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()} == {torch.bfloat16}


# Parameters of the published backbones, as their cards and papers give them; the pooler of the encoder is left out.
@pytest.mark.parametrize(
    ("name", "vision", "encoder"), [("base", 87_456_000, 124_055_040), ("large", 303_179_776, 354_310_144)]
)
def test_presets_have_the_published_sizes(name: str, vision: int, encoder: int) -> None:
    with torch.device("meta"):
        model = AciecForImageEmotion.from_preset(name, pretrained=False, emotion_models=["ekman6"])
    assert sum(parameter.numel() for parameter in model.vision_model.parameters()) == vision
    assert sum(parameter.numel() for parameter in model.text_encoder.parameters()) == encoder
    assert len(model.concept_detector.embeddings) == 2089 and model.emotion_classifier.out_features == 6
    assert next(model.parameters()).is_meta and model.config.reasoner and not model.looks_at_images
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target, part in (("language", "text_encoder."), ("vision", "vision_model.")):
        hit = {name for name in linear if re.fullmatch(model.lora_targets[target], name)}
        assert hit == {name for name in linear if name.startswith(part)}


def test_an_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"^There is no ACIEC preset 'huge'; use one of base, large\.$"):
        AciecForImageEmotion.from_preset("huge")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"feature_norm": "batch"}, r"feature_norm is 'batch'; use 'none' or 'power'\."),
        ({"emotion_models": ["mikels"]}, r"There is no emotion model 'mikels'; use one of .*"),
        ({"concept_size": 0}, r"concept_size is 0; give at least 1\."),
        ({"concepts_shown": -1}, r"concepts_shown is -1; give at least 1\."),
        ({"text_length": 4}, r"text_length is 4; give at least 8\."),
        ({"contrastive_weight": -1}, r"contrastive_weight must be .*"),
        ({"contrastive_temperature": 0}, r".* contrastive_temperature more than 0\."),
        ({"contrastive_positives": -1}, r"contrastive_positives is -1; give at least 0, .*\."),
        ({"feeling_columns": {"smell": [0, 3]}}, r"feeling_columns holds 'smell': .*\."),
        ({"feeling_columns": {"scene": [3, 3]}}, r"feeling_columns holds 'scene': .*\."),
        ({"feeling_columns": {"scene": 5}}, r"feeling_columns holds 'scene': 5; .*\."),
        ({"feeling_columns": {"scene": ["0", "3"]}}, r"feeling_columns holds 'scene': .*\."),
        ({"text_config": {"model_type": "t5"}}, r"The text classifier is of type 't5', which is no encoder; .*\."),
        ({"observer_config": {"model_type": "bert"}}, r"The observer is of type 'bert', which names .*\."),
        (
            {"use_concepts": False, "use_sentences": False, "use_embedded_text": False},
            r"ACIEC would read nothing; switch on one of .*\.",
        ),
    ],
)
def test_an_impossible_configuration_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        AciecConfig(**(SMALL | fields))


@pytest.mark.parametrize(
    ("concepts", "reason"),
    [
        ([], "There is no concept in the vocabulary"),
        ([3], "'3' is no concept"),
        ([None], "'None' is no concept"),
        ([["happy dog"]], "is no concept"),
        ([{"sentiment": 1.0}], "is no concept"),
        ([{"name": ["happy", "dog"]}], "is no concept"),
        ([{"name": "happy dog", "sentiment": "high"}], "is no concept"),
        ([{"name": "happy dog", "sentiment": float("nan")}], "is no concept"),
        ([{"name": "happy dog", "sentiment": 1e300}], "is no concept"),
        ([{"name": "happy dog", "sentiment": True}], "is no concept"),
        (["<img src=x onerror=alert(1)>"], "is no concept"),
        (["\x1b\u202e\n"], "'' is no concept"),
        (["happy dog", "Happy_Dog"], "stands twice"),
        ([f"dog {number}" for number in range(20_001)], "has 20001 concepts"),
    ],
)
def test_hostile_concepts_are_one_sentence(concepts: Any, reason: str) -> None:
    stored = AciecConfig(**SMALL).to_dict() | {"concepts": concepts}
    with pytest.raises(DataError, match=r"^[^\n\x1b]*; [^\n\x1b]*\.$") as error:
        AciecConfig.from_dict(stored)
    assert reason in str(error.value) and len(str(error.value)) < 300


def test_odd_concepts_become_plain_words() -> None:
    entries = [
        {"name": "Misty\x00_Forest\u202e\n", "emotion": 5, "polarity": "<b>", "more": 1},
        {"name": "ﬁne  dog" + "g" * 100},
        {"name": "träumender hund"},
    ]
    config = AciecConfig(concepts=entries, concept_size=4)
    first, second, third = config.vocabulary.concepts
    assert first == Concept("misty forest") and third.name == "träumender hund"
    assert second.name.startswith("fine dogg") and len(second.name) == 60
    assert config.concepts[0] == {"name": "misty forest"}


@pytest.mark.parametrize(
    "fields", [{"concept_size": "wide"}, {"use_concepts": "yes"}, {"concepts": "dogs"}, {"concepts": {"dog": 1}}]
)
def test_fields_of_the_wrong_type_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassError):
        AciecConfig(**fields)
    with pytest.raises(DataError, match=f"^The configuration cannot be read; .*'{next(iter(fields))}'.*$"):
        AciecConfig.from_dict(AciecConfig(**SMALL).to_dict() | fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"feeling_columns": {"scene": [16, 33]}},
            r"feeling_columns of scene end at 33, but .* has 32 channels; .*\.",
        ),
        ({"observer": attribute_captioner_config(24)}, r"The observer reads 24 channels of .*, which has 32; .*\."),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        build_aciec(**fields)


def test_ten_thousand_concepts_without_their_weights_are_one_sentence(tmp_path: Path) -> None:
    from iec_hub.predictor import EmotionPredictor

    model, processor = build_aciec()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    stored["concepts"] = [f"concept {number}" for number in range(10_000)]
    (tmp_path / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^'[^\n]*' could not be loaded; [^\n]*\.$"):
        EmotionPredictor.from_pretrained(tmp_path, device="cpu")


def test_a_configuration_comes_back_as_it_was(tmp_path: Path) -> None:
    model, _ = build_aciec(
        observer=attribute_captioner_config(), temperatures={"mikels8": 1.5}, use_embedded_text=False, reasoner="a/b"
    )
    facts = (Concept("happy dog", 1.5, "amusement", "positive"), Concept("odd thing", None, None, "negative"))
    model.config.set_vocabulary(ConceptVocabulary(facts))
    assert model.config.vocabulary is model.config.vocabulary, "it is asked for again and again"
    model.config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is AciecConfig and loaded.vocabulary.concepts == facts
    before, after = (config.to_dict() | {"_name_or_path": ""} for config in (model.config, loaded))
    assert after == before and set(after["concepts"][1]) == {"name", "polarity"}
    assert loaded.reasoner == "a/b" and loaded.use_embedded_text is False
    assert loaded.label_columns == {"mikels8": slice(0, 8), "ekman7": slice(8, 15), "sentiment2": slice(15, 17)}
    model.config.set_vocabulary(ConceptVocabulary(facts[:1]))
    assert model.config.vocabulary.names == ("happy dog",)
    assert AciecConfig.from_dict(AciecConfig(**SMALL).to_dict()).observer_config is None


def test_the_default_vocabulary_is_stored_and_stays_small(tmp_path: Path) -> None:
    config = AciecConfig()
    assert config.vocabulary == default_vocabulary()
    learned = default_vocabulary().learned([[0], [1]], torch.eye(8)[:2].numpy(), EMOTION_MODELS["mikels8"])
    config.set_vocabulary(learned)
    config.save_pretrained(tmp_path)
    stored = tmp_path / "config.json"
    assert len(json.loads(stored.read_text(encoding="utf-8"))["concepts"]) == 2089
    assert stored.stat().st_size < 300_000
    assert AciecConfig.from_pretrained(tmp_path).vocabulary == learned


def test_other_labels_of_the_same_number_never_pass_for_the_trained_ones(tmp_path: Path) -> None:
    model, _ = build_aciec(emotion_models=["mikels8"])
    model.save_pretrained(tmp_path)
    for kind in (AciecForImageEmotion, AutoModel):
        with pytest.raises(DataError, match=r"^The checkpoint's classifier has as many columns [^\n]*\.$"):
            kind.from_pretrained(tmp_path, emotion_models=["plutchik8"], ignore_mismatched_sizes=True)
        kind.from_pretrained(tmp_path, emotion_models=["mikels8"])


@pytest.mark.parametrize("tower", ["clip", "vit", "dinov2_registers", "siglip", "swin", "convnext"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_lora_reaches_every_layer_of_encoders_and_nothing_else(encoder: str, tower: str) -> None:
    columns = {} if tower != "clip" else {"scene": [0, 4]}
    model, processor = build_aciec(tower, text=ENCODERS[encoder], feeling_columns=columns)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    language = [name for name in linear if re.fullmatch(model.lora_targets["language"], name)]
    vision = [name for name in linear if re.fullmatch(model.lora_targets["vision"], name)]
    assert language and set(language) == {name for name in linear if name.startswith("text_encoder.")}
    assert vision and all(name.startswith("vision_model.") for name in vision)
    with torch.inference_mode():
        batch = model.gather(processor(images=random_pictures(1)), processor)
        assert model(**batch).logits.shape == (1, 8)


def test_what_is_saved_beside_an_adapter_is_named_as_peft_finds_it() -> None:
    model, _ = build_aciec(observer=attribute_captioner_config())
    names = [name for name, _ in model.named_modules()]
    for part in model.modules_to_save:
        assert part in names
        assert [name for name in names if name.endswith(part)] == [part]


def test_a_new_classifier_keeps_the_columns_that_are_still_asked_for() -> None:
    model, processor = build_aciec(temperatures={"mikels8": 2.0, "ekman7": 3.0})
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    columns, pictures = dict(model.config.label_columns), processor(images=random_pictures(2), emotion_models="ekman7")
    with torch.inference_mode():
        before = model.gather(pictures, processor)
        logits = model(**before).logits
    model.set_emotion_models(["plutchik8", "ekman7"])
    processor.adopt(model.config)
    assert model.config.temperatures == {"ekman7": 3.0} and list(model.config.label_columns) == ["plutchik8", "ekman7"]
    heads = {"emotion_classifier": model.emotion_classifier} | {
        f"reasoner.feelings.{n}": m for n, m in model.reasoner.feelings.items()
    }
    assert len(heads) == 7
    for name, head in heads.items():
        kept = model.config.label_columns["ekman7"]
        assert torch.equal(head.weight[kept], expected[f"{name}.weight"][columns["ekman7"]]), name
        assert torch.equal(head.bias[kept], expected[f"{name}.bias"][columns["ekman7"]]), name
        new = head.weight[model.config.label_columns["plutchik8"]]
        assert head.out_features == 15 and 0.05 < new.std() < 0.5 and head.weight.requires_grad, name
    others = {name: t for name, t in model.state_dict().items() if name.rpartition(".")[0] not in heads}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in others.items())
    with torch.inference_mode():
        after = model.gather(processor(images=random_pictures(2), emotion_models="ekman7"), processor)
        torch.testing.assert_close(model(**after).logits, logits)
    assert after["parts"] == before["parts"]
