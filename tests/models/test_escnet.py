"""ESCNet as a citizen of transformers: BLIP with a shared tower, and a convolutional tower that names attributes."""

from typing import Any

from shared_model_tests import SharedModelTests
from tiny_parts import (
    attribute_captioner_config,
    blip_config,
    build_escnet,
    byte_level_tokenizer,
    wordpiece_tokenizer,
)

from iec_hub.models import EscnetConfig, EscnetForImageEmotion, EscnetProcessor

CAPTIONS = ("A dog.", "An old man makes people feel fear and sadness.", "A colourful street, which is a joy.")
# An attention's keys shift all scores of a query alike; the captioner writes before anything is differentiated.
WITHOUT_GRADIENT = r"^captioner\.|attention\.self\.key\.bias$|^fusion\.layers\.\d+\.k_proj\.bias$"


class EscnetTests(SharedModelTests):
    model_class, config_class, processor_class = EscnetForImageEmotion, EscnetConfig, EscnetProcessor
    without_gradient = WITHOUT_GRADIENT
    head = r"^(image_)?classifier\."

    def inputs(self, rows: slice = slice(None)) -> dict[str, Any]:
        return super().inputs(rows) | {"captions": list(CAPTIONS[rows])}


class TestBlipWithSharedTower(EscnetTests):
    tower = "captioner.vision_model"
    missing = {
        r"^fusion\.words_to_image\.nowhere$": None,
        r"^fusion\.gate\.lexicon$": 0.0,
        r"^classifier\.bias$": 0.0,
        r"^text_encoder\.encoder\.layer\.0\.": None,
        r"^captioner\.vision_model\.post_layernorm\.weight$": 1.0,
        r"^captioner\.text_decoder\.bert\.encoder\.": None,
    }

    def build(self, **fields: Any) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
        return build_escnet(tower=None, captioner=blip_config(wordpiece_tokenizer()), **fields)


class TestEfficientNetThatNamesAttributes(EscnetTests):
    missing = {
        r"^(captioner\.)?feature_norm\.mean$": 0.0,
        r"^(captioner\.)?feature_norm\.scale$": 1.0,
        r"^captioner\.detector\.bias$": 0.0,
        r"^captioner\.classifier\.": None,
        r"^fusion\.image_norm\.weight$": 1.0,
        r"running_mean$": 0.0,
    }

    def build(self, **fields: Any) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
        captioner = attribute_captioner_config(feature_norm="power", classifier_size=128, classifier_minimum=0.001)
        settings = {"feature_norm": "power", "vision_feature_layers": [1, -1], "fusion_layers": 2}
        tokenizer = byte_level_tokenizer()
        text = {"model_type": "roberta", "type_vocab_size": 1}
        return build_escnet("efficientnet", tokenizer, captioner, text=text, **(settings | fields))
