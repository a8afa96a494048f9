"""Small parts for model tests: pictures, vision towers, language parts, captioners, and tokenizers of three kinds."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram, WordPiece
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.models import (
    AciecConfig,
    AciecForImageEmotion,
    AciecProcessor,
    EscnetConfig,
    EscnetForImageEmotion,
    EscnetProcessor,
    UgrieConfig,
    UgrieForImageEmotion,
    UgrieProcessor,
)
from iec_hub.models.image_emotion import measured_pooled_size
from iec_hub.models.ugrie.configuration_ugrie import DEFAULT_TEMPLATE

SIDE = 32

VISION_TOWERS: dict[str, dict[str, Any]] = {
    "clip": {"model_type": "clip_vision_model", "num_hidden_layers": 2, "initializer_factor": 3.0},
    "vit": {"model_type": "vit", "num_hidden_layers": 2, "initializer_range": 0.2},
    "dinov2_registers": {"model_type": "dinov2_with_registers", "num_hidden_layers": 2, "num_register_tokens": 4},
    "siglip": {"model_type": "siglip_vision_model", "num_hidden_layers": 2},
    "swin": {"model_type": "swin", "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
    | {"patch_size": 4},
    "resnet": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    | {"layer_type": "basic"},
    "convnext": {"model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "efficientnet": {
        "model_type": "efficientnet",
        "width_coefficient": 0.1,
        "depth_coefficient": 0.1,
        "initializer_range": 0.5,
    }
    | {"hidden_dim": 128, "in_channels": [32, 16, 24], "out_channels": [16, 24, 40], "kernel_sizes": [3, 3, 5]}
    | {"strides": [1, 2, 2], "num_block_repeats": [1, 2, 2], "expand_ratios": [1, 6, 6], "depthwise_padding": []},
}
_TRANSFORMER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "patch_size": 8}


def tower_config(name: str) -> dict[str, Any]:
    """A tiny vision configuration for images of 32 x 32 pixels: 4 x 4 patches where it has patches of its own."""
    transformer = "num_hidden_layers" in VISION_TOWERS[name]
    return {"image_size": SIDE, **(_TRANSFORMER if transformer else {}), **VISION_TOWERS[name]}


def text_config(tokenizer: Any, model_type: str = "bart", **fields: Any) -> dict[str, Any]:
    """A tiny language part for a tokenizer; its weights are large enough that pictures change the scores."""
    size = {"d_model": 32, "max_position_embeddings": 128, "init_std": 0.3}
    size |= {f"{part}_layers": count for part, count in (("encoder", 1), ("decoder", 2))}
    size |= {f"{part}_{field}": n for part in ("encoder", "decoder") for field, n in (("attention_heads", 2),)}
    size |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    start = {"decoder_start_token_id": tokenizer.eos_token_id}
    return {"model_type": model_type, "vocab_size": len(tokenizer), **size, **ids, **start, **fields}


def encoder_config(tokenizer: Any, model_type: str = "bert", **fields: Any) -> dict[str, Any]:
    """A tiny caption encoder for a tokenizer, of BERT's family."""
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"max_position_embeddings": 66, "initializer_range": 0.2, "pad_token_id": tokenizer.pad_token_id}
    return {"model_type": model_type, "vocab_size": len(tokenizer), **size, **fields}


def image_processor(side: int = SIDE) -> Any:
    return ViTImageProcessorPil(size={"height": side, "width": side})


def random_pictures(count: int, seed: int = 0) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize((SIDE, SIDE)) for pixels in coarse]


def _texts() -> list[str]:
    phrases = [phrase for model in EMOTION_MODELS.values() for phrase in (*model.labels, *model.phrases)]
    titles = [model.title for model in EMOTION_MODELS.values()]
    filled = [f"Among {title}, this image makes people feel {phrase}." for title in titles for phrase in phrases]
    return [DEFAULT_TEMPLATE, *filled]


# Vocabularies are written down and not trained where training breaks ties by chance, so that each run is the same.
_LETTERS = [chr(code) for code in range(ord(" ") + 1, ord("~") + 1)]


def _words() -> list[str]:
    return sorted({word.strip(".,{}") for text in _texts() for word in text.split()} - {""})


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """As BERT's: no spaces in tokens, `[CLS] ... [SEP]`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word.lower() for word in _words()]
    pieces = dict.fromkeys([*special, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *words])
    backend = Tokenizer(WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return _finished(backend, start="[CLS]", end="[SEP]", pad="[PAD]", unknown="[UNK]", mask="[MASK]")


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As BART's: a word's token holds the space before it, `<s> ... </s>`."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_texts(), trainer)
    return _finished(backend, start="<s>", end="</s>", pad="<pad>", unknown="<unk>", mask="<mask>")


def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """As mBART's: SentencePiece's marks for spaces, and no token at the beginning."""
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    letters = [(letter, -12.0) for letter in ("\u2581", *_LETTERS)]
    words = [(f"\u2581{word}", -6.0) for word in _words()]
    backend = Tokenizer(Unigram([*special, *letters, *words], unk_id=3))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.add_special_tokens(["<mask>"])
    return _finished(backend, start=None, end="</s>", pad="<pad>", unknown="<unk>", mask="<mask>")


def _finished(
    backend: Tokenizer, start: str | None, end: str, pad: str, unknown: str, mask: str
) -> PreTrainedTokenizerFast:
    used = [token for token in (start, end) if token]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}" if start else f"$A {end}",
        special_tokens=[(token, backend.token_to_id(token)) for token in used],
    )
    tokens = {"eos_token": end, "sep_token": end, "pad_token": pad, "unk_token": unknown, "mask_token": mask}
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=start or "<s>", cls_token=start, **tokens)


TOKENIZERS = {"wordpiece": wordpiece_tokenizer, "byte_level": byte_level_tokenizer, "unigram": unigram_tokenizer}


def build_ugrie(
    tower: str = "clip", tokenizer: Any = None, text: dict[str, Any] | None = None, **fields: Any
) -> tuple[UgrieForImageEmotion, UgrieProcessor]:
    """A tiny UGRIE in evaluation mode with the same random weights each time, and its processor."""
    tokenizer = tokenizer or wordpiece_tokenizer()
    settings = {"vision_config": tower_config(tower), "text_config": text_config(tokenizer, **(text or {}))}
    settings |= {"emotion_models": ["mikels8", "ekman7"], "prefix_length": 3, "initializer_range": 0.2}
    torch.manual_seed(0)
    model = UgrieForImageEmotion(UgrieConfig(**(settings | fields))).eval()
    return model, UgrieProcessor(image_processor(), tokenizer).adopt(model.config)


def attribute_captioner_config(pooled_size: int = 32, **fields: Any) -> dict[str, Any]:
    """A detector of a few words; random weights, so that it names about half of them."""
    words = {"object": ("dog", "tree", "boat"), "scene": ("beach", "street"), "human_action": ("running",)}
    labels = [{"label": word, "attribute": kind, "threshold": 0.5} for kind in words for word in words[kind]]
    return {"model_type": "attribute_captioner", "labels": labels, "pooled_size": pooled_size, **fields}


def _generation_ids(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "sep")}


def blip_config(tokenizer: Any, **vision: Any) -> dict[str, Any]:
    """A tiny BLIP whose words are a tokenizer's, over images as [`tower_config`]'s."""
    tower = {"image_size": SIDE, "num_hidden_layers": 2, "initializer_range": 0.2, **_TRANSFORMER, **vision}
    text = encoder_config(tokenizer) | {"encoder_hidden_size": 32, "projection_dim": 16} | _generation_ids(tokenizer)
    return {"model_type": "blip", "vision_config": tower, "text_config": text, "image_text_hidden_size": 16}


def git_config(tokenizer: Any, **vision: Any) -> dict[str, Any]:
    """A tiny GIT, whose vision tower is deep inside of it."""
    tower = {"image_size": SIDE, "num_hidden_layers": 1, "initializer_range": 0.2, **_TRANSFORMER, **vision}
    text = encoder_config(tokenizer) | _generation_ids(tokenizer)
    return text | {"model_type": "git", "vision_config": tower, "max_position_embeddings": 128}


def encoder_decoder_config(tokenizer: Any, **vision: Any) -> dict[str, Any]:
    """A tiny vision encoder with a decoder, as transformers joins any two."""
    encoder = tower_config("vit") | vision
    decoder = encoder_config(tokenizer, is_decoder=True, add_cross_attention=True) | _generation_ids(tokenizer)
    ids = {"decoder_start_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder, **ids}


def build_escnet(
    tower: str | None = "clip",
    tokenizer: Any = None,
    captioner: dict[str, Any] | None = None,
    captioner_tokenizer: Any = None,
    text: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[EscnetForImageEmotion, EscnetProcessor]:
    """A tiny ESCNet in evaluation mode with the same random weights each time, and its processor.

    Args:
        tower: `None` shares the captioner's; `captioner`: its configuration, `None` for none.
    """
    tokenizer = tokenizer or wordpiece_tokenizer()
    settings: dict[str, Any] = {"captioner_config": captioner}
    settings["text_config"] = encoder_config(tokenizer, **(text or {}))
    settings |= {"emotion_models": ["mikels8", "ekman7", "sentiment2"], "fusion_size": 16, "fusion_heads": 2}
    settings |= {"initializer_range": 0.2}
    if tower is None:
        settings["share_vision_tower"] = True
    else:
        settings["vision_config"] = tower_config(tower)
    if fields.get("vision_feature_layers") and "pooled_size" not in fields:
        vision = AutoModel.from_config(AutoConfig.for_model(**settings["vision_config"])).eval()
        settings["pooled_size"] = measured_pooled_size(vision, fields["vision_feature_layers"])
        if captioner and captioner["model_type"] == "attribute_captioner":
            settings["captioner_config"] = captioner | {"pooled_size": settings["pooled_size"]}
    torch.manual_seed(0)
    model = EscnetForImageEmotion(EscnetConfig(**(settings | fields))).eval()
    return model, EscnetProcessor(image_processor(), tokenizer, captioner_tokenizer).adopt(model.config)


CONCEPTS = ("happy dog", "misty forest", "old house", "scary face", "quiet beach", "dead tree", "bright sky")
# Where "light and colours", "the scene" and "objects" are in the pooled image of `build_aciec`.
COLUMNS = {"colorfulness": [0, 8], "scene": [8, 16], "object": [16, 32]}


def build_aciec(
    tower: str = "clip",
    tokenizer: Any = None,
    observer: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[AciecForImageEmotion, AciecProcessor]:
    """A tiny ACIEC in evaluation mode with the same random weights each time, and its processor.

    Args:
        observer: an attribute captioner's configuration, `None` for none.
    """
    tokenizer = tokenizer or wordpiece_tokenizer()
    settings: dict[str, Any] = {"vision_config": tower_config(tower), "observer_config": observer}
    settings |= {"text_config": encoder_config(tokenizer, **({"max_position_embeddings": 130} | (text or {})))}
    settings |= {"emotion_models": ["mikels8", "ekman7", "sentiment2"], "concepts": list(CONCEPTS)}
    settings |= {"concept_size": 16, "initializer_range": 0.2, "feeling_columns": COLUMNS}
    if fields.get("vision_feature_layers") and "pooled_size" not in fields:
        vision = AutoModel.from_config(AutoConfig.for_model(**settings["vision_config"])).eval()
        settings["pooled_size"] = measured_pooled_size(vision, fields["vision_feature_layers"])
        if observer:
            settings["observer_config"] = observer | {"pooled_size": settings["pooled_size"]}
    torch.manual_seed(0)
    model = AciecForImageEmotion(AciecConfig(**(settings | fields))).eval()
    return model, AciecProcessor(image_processor(), tokenizer).adopt(model.config)


def tensors_of(batch: Any) -> dict[str, torch.Tensor]:
    """A processor's batch without what is no tensor."""
    return {name: value for name, value in batch.items() if torch.is_tensor(value)}
