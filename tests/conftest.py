"""Shared fixtures: real CC BY photographs, a tiny UGRIE, ESCNet and ACIEC with random weights, without any network."""

import os

# Before torch is imported anywhere: spinning threads make two cores many times slower, and a hub id would retry.
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iec_hub.emotions import EMOTION_MODELS

# Tests in two processes have a core each.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"
# The files that take longest come first, so that no process is left alone with one of them at the end.
LONGEST_FIRST = (
    "docs/test_documented_commands.py",
    "finetuning/test_run.py",
    "finetuning/test_aciec_command.py",
    "space/test_space_accessibility.py",
    "finetuning/test_ugrie_command.py",
    "hub/test_journey.py",
    "finetuning/test_escnet_command.py",
    "hub/test_round_trip.py",
    "test_registration.py",
    "finetuning/test_word_grounding.py",
    "finetuning/test_escnet_start.py",
    "affect/test_quotation.py",
    "test_aciec_mini.py",
    "hub/test_spaces.py",
)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TINY_SIDE = 64
_SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
_VISION = {
    "model_type": "clip_vision_model",
    "num_hidden_layers": 2,
    "image_size": TINY_SIDE,
    "patch_size": 16,
    # Weights of the usual size (0.02) are too small to tell pictures apart through this few channels.
    "initializer_factor": 3.0,
    **_SIZE,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files, then those with the most tests; tests of a file stay in their order."""
    if missing := [name for name in LONGEST_FIRST if not (TESTS / name).is_file()]:
        raise pytest.UsageError(f"tests/conftest.py puts files first that are not there: {missing}; correct the list.")
    places = {TESTS / name: place for place, name in enumerate(LONGEST_FIRST)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path, len(places)), -tests[item.path], item.path))


@pytest.fixture(scope="session")
def pictures() -> list[Path]:
    """The CC BY photographs, sorted by name."""
    return sorted((FIXTURES / "coco_cc_by").glob("*.jpg"))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A WordPiece tokenizer of the label words and the template's words; any other word falls into letters."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import PreTrainedTokenizerFast

    from iec_hub.models.ugrie.configuration_ugrie import DEFAULT_TEMPLATE

    texts = [DEFAULT_TEMPLATE] + [text for model in EMOTION_MODELS.values() for text in (model.title, *model.phrases)]
    splitter = pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(text.lower())}
    letters = [chr(code) for code in range(ord(" ") + 1, ord("~") + 1)]
    pieces = dict.fromkeys([*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *sorted(words)])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        bos_token="[CLS]",
        eos_token="[SEP]",
    )


def _bert(tokenizer: Any, positions: int) -> dict[str, Any]:
    """The configuration of a tiny BERT."""
    text = {"model_type": "bert", "vocab_size": len(tokenizer), "num_hidden_layers": 1, **_SIZE}
    return text | {
        "max_position_embeddings": positions,
        "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _random(kind: Any, processor: Any, tokenizer: Any, fields: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """A model with random weights, and its processor."""
    from transformers import ViTImageProcessor

    torch.manual_seed(seed)
    model = kind(kind.config_class(**copy.deepcopy(fields))).eval()
    image_processor = ViTImageProcessor(size={"height": TINY_SIDE, "width": TINY_SIDE})
    return model, processor(image_processor, tokenizer).adopt(model.config)


@pytest.fixture(scope="session")
def build_tiny_ugrie(tiny_tokenizer: Any) -> Callable[..., tuple[Any, Any]]:
    """`build(seed=0, **config fields) -> (model, processor)`: a ViT-like tower, a two-layer BART, random weights."""

    def build(seed: int = 0, **fields: Any) -> tuple[Any, Any]:
        from iec_hub.models import UgrieForImageEmotion, UgrieProcessor

        tokenizer = tiny_tokenizer
        text = {"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, "max_position_embeddings": 128}
        text |= {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
        text |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "forced_eos_token_id": None}
        text |= {"init_std": 0.3}
        text |= {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
        text |= {"eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
        settings = {
            "vision_config": _VISION,
            "text_config": text,
            "emotion_models": ["mikels8", "ekman7"],
            "prefix_length": 4,
            "initializer_range": 0.3,
        }
        return _random(UgrieForImageEmotion, UgrieProcessor, tokenizer, settings | fields, seed)

    return build


@pytest.fixture(scope="session")
def tiny_ugrie_dir(build_tiny_ugrie: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint: a tiny random UGRIE over mikels8 (the default) and ekman7, with its processor."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-ugrie"
    model, processor = build_tiny_ugrie()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def build_tiny_escnet(tiny_tokenizer: Any) -> Callable[..., tuple[Any, Any]]:
    """`build(seed=0, **config fields) -> (model, processor)`: a ViT-like tower, a captioner, a BERT, random weights.

    The captioner names a few attributes by chance, so that pictures differ in their captions.
    """

    def build(seed: int = 0, **fields: Any) -> tuple[Any, Any]:
        from iec_hub.models import EscnetForImageEmotion, EscnetProcessor

        words = (("object", "dog"), ("object", "tree"), ("scene", "beach"), ("scene", "street"))
        words += (("human_action", "running"), ("facial_expression", "happy"))
        labels = [{"label": label, "attribute": attribute, "threshold": 0.5} for attribute, label in words]
        settings = {
            "vision_config": _VISION,
            "text_config": _bert(tiny_tokenizer, 130),
            "captioner_config": {"model_type": "attribute_captioner", "labels": labels, "pooled_size": 32},
            "emotion_models": ["mikels8", "ekman7"],
            "fusion_size": 32,
            "fusion_heads": 4,
            "initializer_range": 0.1,
        }
        return _random(EscnetForImageEmotion, EscnetProcessor, tiny_tokenizer, settings | fields, seed)

    return build


@pytest.fixture(scope="session")
def tiny_escnet_dir(
    build_tiny_escnet: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved checkpoint: a tiny random ESCNet over mikels8 (the default) and ekman7, with its processor."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-escnet"
    for part in build_tiny_escnet(temperatures={"mikels8": 1.5, "ekman7": 2.5}):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_escnet_predictor(tiny_escnet_dir: Path) -> Any:
    """A predictor on the CPU over the tiny ESCNet; do not change its model."""
    from iec_hub.predictor import EmotionPredictor

    return EmotionPredictor.from_pretrained(tiny_escnet_dir, device="cpu")


@pytest.fixture(scope="session")
def build_tiny_aciec(tiny_tokenizer: Any) -> Callable[..., tuple[Any, Any]]:
    """`build(seed=0, **config fields) -> (model, processor)`: a ViT-like tower, an observer, a BERT, random weights.

    It knows a dozen concepts, and the observer names a few attributes by chance, so that pictures differ in words.
    """

    def build(seed: int = 0, **fields: Any) -> tuple[Any, Any]:
        from iec_hub.models import AciecForImageEmotion, AciecProcessor

        words = (("object", "dog"), ("object", "tree"), ("scene", "beach"), ("human_action", "running"))
        labels = [{"label": label, "attribute": attribute, "threshold": 0.5} for attribute, label in words]
        things = ("dog", "forest", "house", "sky")
        settings = {
            "vision_config": _VISION,
            "text_config": _bert(tiny_tokenizer, 258),
            "observer_config": {"model_type": "attribute_captioner", "labels": labels, "pooled_size": 32},
            "concepts": [f"{how} {what}" for what in things for how in ("happy", "misty", "scary")],
            "concept_size": 16,
            "text_length": 200,
            "emotion_models": ["mikels8", "ekman7"],
            "initializer_range": 0.2,
        }
        return _random(AciecForImageEmotion, AciecProcessor, tiny_tokenizer, settings | fields, seed)

    return build


@pytest.fixture(scope="session")
def tiny_aciec_dir(build_tiny_aciec: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint: a tiny random ACIEC over mikels8 (the default) and ekman7, with its processor."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-aciec"
    for part in build_tiny_aciec(temperatures={"mikels8": 1.5, "ekman7": 2.5}):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_predictor(tiny_ugrie_dir: Path) -> Any:
    """A predictor on the CPU over the tiny checkpoint; do not change its model."""
    from iec_hub.predictor import EmotionPredictor

    return EmotionPredictor.from_pretrained(tiny_ugrie_dir, device="cpu")
