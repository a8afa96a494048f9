"""UGRIE's configuration, presets and assembly from pretrained backbones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_parts import build_ugrie, random_pictures, tensors_of, text_config, tower_config, wordpiece_tokenizer
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, CLIPConfig, CLIPModel

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.errors import CheckpointError, DataError
from iec_hub.models import UgrieConfig, UgrieForImageEmotion


@pytest.fixture
def backbones(tmp_path: Path) -> tuple[Path, Path]:
    torch.manual_seed(1)
    AutoModel.from_config(AutoConfig.for_model(**tower_config("clip"))).save_pretrained(tmp_path / "vision")
    text = AutoConfig.for_model(**text_config(wordpiece_tokenizer()))
    AutoModelForSeq2SeqLM.from_config(text).save_pretrained(tmp_path / "text")
    return tmp_path / "vision", tmp_path / "text"


def assert_holds(model: UgrieForImageEmotion, vision: Path, text: Path) -> None:
    expected = AutoModel.from_pretrained(vision, dtype=torch.float32)
    expected = getattr(expected, "vision_model", expected).state_dict()
    assert model.vision_model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.vision_model.state_dict().items())
    expected = AutoModelForSeq2SeqLM.from_pretrained(text, dtype=torch.float32).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.language_model.state_dict().items())
    language = model.language_model
    shared = language.model.shared.weight
    assert language.lm_head.weight is shared and language.get_decoder().embed_tokens.weight is shared


def test_backbones_are_taken_over_exactly_and_tied(backbones: tuple[Path, Path], tmp_path: Path) -> None:
    vision, text = backbones
    model = UgrieForImageEmotion.from_backbones(vision, text, prefix_length=2, emotion_models=["ekman6"])
    assert model.config.prefix_length == 2 and list(model.config.trained_emotion_models) == ["ekman6"]
    assert_holds(model, vision, text)
    model.save_pretrained(tmp_path / "whole")
    assert_holds(UgrieForImageEmotion.from_pretrained(tmp_path / "whole"), vision, text)


def test_a_dual_encoder_gives_its_vision_tower(backbones: tuple[Path, Path], tmp_path: Path) -> None:
    tower = {name: value for name, value in tower_config("clip").items() if name != "model_type"}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1}
    CLIPModel(CLIPConfig(vision_config=tower, text_config=text, projection_dim=8)).save_pretrained(tmp_path / "clip")
    model = UgrieForImageEmotion.from_backbones(tmp_path / "clip", backbones[1])
    assert model.config.vision_config.model_type == "clip_vision_model"
    assert_holds(model, tmp_path / "clip", backbones[1])


def test_half_precision_backbones_are_assembled_in_one_precision(backbones: tuple[Path, Path]) -> None:
    for path, kind in zip(backbones, (AutoModel, AutoModelForSeq2SeqLM), strict=True):
        kind.from_pretrained(path).half().save_pretrained(path)
    model = UgrieForImageEmotion.from_backbones(*backbones)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert_holds(model, *backbones)
    model = UgrieForImageEmotion.from_backbones(*backbones, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_the_width_with_early_layers_is_measured(backbones: tuple[Path, Path]) -> None:
    model = UgrieForImageEmotion.from_backbones(*backbones, vision_feature_layers=[1, -1])
    assert model.config.pooled_size == 32 + 2 * 2 * 32
    assert model.get_image_features(torch.zeros(1, 3, 32, 32)).pooled.shape == (1, model.config.pooled_size)


def test_an_assembled_model_keeps_no_dead_generation_settings(backbones: tuple[Path, Path]) -> None:
    model = UgrieForImageEmotion.from_backbones(*backbones)
    assert not model.can_generate() and model.language_model.can_generate()


# Parameters of the published backbones, as their cards and papers give them.
@pytest.mark.parametrize(
    ("name", "vision", "language"), [("base", 87_456_000, 139_420_416), ("large", 303_179_776, 406_291_456)]
)
def test_presets_have_the_published_sizes(name: str, vision: int, language: int) -> None:
    with torch.device("meta"):
        model = UgrieForImageEmotion.from_preset(name, pretrained=False, prefix_length=4)
    assert model.config.prefix_length == 4
    assert sum(parameter.numel() for parameter in model.vision_model.parameters()) == vision
    assert sum(parameter.numel() for parameter in model.language_model.parameters()) == language
    assert next(model.parameters()).is_meta


def test_an_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"^There is no UGRIE preset 'huge'; use one of base, large\.$"):
        UgrieForImageEmotion.from_preset("huge")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mapping_type": "rnn"}, r"mapping_type is 'rnn'; use 'mlp' or 'transformer'\."),
        ({"feature_norm": "batch"}, r"feature_norm is 'batch'; use 'none' or 'power'\."),
        (
            {"templates": {"ekman6": "It is sad."}},
            r"The template of 'ekman6' needs the slot {emotion} exactly once; .*",
        ),
        ({"templates": {"default": "{emotion} or {emotion}"}}, r"The template of 'default' needs .*"),
        ({"emotion_models": ["mikels"]}, r"There is no emotion model 'mikels'; use one of .*"),
        ({"text_config": {"model_type": "t5"}}, r"The language part is of type 't5'; use bart, mbart, plbart\."),
        ({"mapping_type": "transformer", "mapping_heads": 5}, r"The language part's width 1024 is not a multiple .*"),
        ({"vision_feature_layers": [1]}, r"vision_feature_layers widen the pooled image; .* pooled_size\."),
    ],
)
def test_an_impossible_configuration_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        UgrieConfig(**fields)


@pytest.mark.parametrize("fields", [{"prefix_length": "ten"}, {"sure_ratio": "two"}, {"templates": ["{emotion}"]}])
def test_fields_of_the_wrong_type_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StrictDataclassError):
        UgrieConfig(**fields)
    stored = UgrieConfig().to_dict() | fields  # a checkpoint's is untrusted, and its errors are ours
    with pytest.raises(DataError, match=f"^The configuration cannot be read; .*'{next(iter(fields))}'.*$"):
        UgrieConfig.from_dict(stored)


def test_whole_numbers_serve_as_weights() -> None:
    config = UgrieConfig(likelihood_weight=0, prior_correction=1, temperatures={"mikels8": 2})
    assert config.temperature_for(EMOTION_MODELS["mikels8"]) == 2.0


def test_temperatures() -> None:
    config = UgrieConfig(temperatures={"mikels8": 2.0, "ekman7": 4.0})
    assert config.temperature_for(EMOTION_MODELS["ekman7"]) == 4.0
    assert config.temperature_for(EMOTION_MODELS["sentiment2"]) == 3.0
    assert UgrieConfig().temperature_for(EMOTION_MODELS["ekman7"]) == 1.0


def test_what_overrides_a_saved_field_is_checked_like_a_new_one(tmp_path: Path) -> None:
    UgrieConfig(emotion_models=["mikels8"]).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, templates={"ekman6": "Feel {emotion}."}, emotion_models=["ekman6"])
    assert config.template_for(EMOTION_MODELS["ekman6"]) == ("Feel ", ".")
    assert config.template_for(EMOTION_MODELS["mikels8"])[0].startswith("Among Mikels' emotions")
    assert config.id2label[0] == "anger" and config.num_labels == 6
    with pytest.raises(DataError, match="exactly once"):
        AutoConfig.from_pretrained(tmp_path, templates={"ekman6": "Feel."})


def test_names_assigned_to_a_live_configuration_are_understood() -> None:
    model, processor = build_ugrie()
    model.config.emotion_models = ["sentiment2", EMOTION_MODELS["ekman6"]]
    model.config.templates = {"sentiment2": "It is {emotion}."}
    assert list(model.config.trained_emotion_models) == ["sentiment2", "ekman6"]
    batch = processor.adopt(model.config)(images=random_pictures(1))
    assert model(**tensors_of(batch)).logits.shape == (1, 2)
    assert processor.fill_template("ekman6", 0).startswith("Among Ekman's emotions")
