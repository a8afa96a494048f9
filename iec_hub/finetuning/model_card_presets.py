"""Cards of the full-size presets: what would be trained, from what and how. No weights of them are published."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCardData

from iec_hub.finetuning import model_card_texts as texts
from iec_hub.finetuning.model_card_texts import code, table

PRESETS = tuple((method, size) for method in ("ugrie", "escnet", "aciec") for size in ("base", "large"))

# As their authors state them on the Hub or in their repositories.
LICENSES = {
    "openai/clip-vit-base-patch32": "MIT (of OpenAI's repository; its card asks for research use)",
    "openai/clip-vit-large-patch14": "MIT (of OpenAI's repository; its card asks for research use)",
    "facebook/bart-base": "Apache-2.0",
    "facebook/bart-large": "Apache-2.0",
    "Salesforce/blip-image-captioning-base": "BSD-3-Clause",
    "Salesforce/blip-image-captioning-large": "BSD-3-Clause",
    "FacebookAI/roberta-base": "MIT",
    "FacebookAI/roberta-large": "MIT",
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": "Apache-2.0",
    "Qwen/Qwen2.5-VL-7B-Instruct": "Apache-2.0",
}
_ROLES = {"vision": "vision tower", "text": "text encoder", "captioner": "captioner with its vision tower"}
_PARTS = {
    "vision_model": "vision tower",
    "language_model": "language part",
    "mapping": "mapping network",
    "captioner": "captioner with its vision tower",
    "text_encoder": "text encoder",
    "fusion": "fusion",
    "classifier": "classifier",
    "image_classifier": "classifier of the image alone",
    "concept_detector": "concept detector",
    "reasoner": "small reasoner",
    "emotion_classifier": "classifier",
}
_RESULTS = {"ugrie": "presets.md", "escnet": "presets-escnet.md", "aciec": "presets-aciec.md"}


def _preset(method: str, size: str) -> tuple[Any, dict[str, Any]]:
    """The method's model class and the preset."""
    from iec_hub import models
    from iec_hub.models.aciec import ACIEC_PRESETS
    from iec_hub.models.escnet import ESCNET_PRESETS
    from iec_hub.models.ugrie import UGRIE_PRESETS

    kinds = {
        "ugrie": (models.UgrieForImageEmotion, UGRIE_PRESETS),
        "escnet": (models.EscnetForImageEmotion, ESCNET_PRESETS),
        "aciec": (models.AciecForImageEmotion, ACIEC_PRESETS),
    }
    kind, presets = kinds[method]
    return kind, presets[size]


def backbones(method: str, size: str) -> dict[str, str]:
    """Role to Hub id of what a preset starts from, with the reasoner where the method has one."""
    preset = _preset(method, size)[1]
    named = preset["backbones"]
    found = dict(named) if isinstance(named, dict) else dict(zip(("vision", "text"), named, strict=True))
    found = {_ROLES[role]: name for role, name in found.items()}
    if method == "ugrie":
        found["language part"] = found.pop("text encoder")
    reasoner = preset["config"].get("reasoner")
    return found | ({"reasoner (with `--reasoner preset`)": reasoner} if reasoner else {})


def part_sizes(method: str, size: str) -> tuple[dict[str, int], Any]:
    """Parameters of each part, and the configuration; the model is built without memory for its weights."""
    import torch

    kind, _ = _preset(method, size)
    with torch.device("meta"):
        model = kind.from_preset(size, pretrained=False, emotion_models=["mikels8"])
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0]
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts, model.config


def preset_card(method: str, size: str) -> str:
    """The card of a preset, with Hub metadata; it needs neither network nor weights."""
    started, (counts, config) = backbones(method, size), part_sizes(method, size)
    name, title = f"{method}-{size}", texts.TITLES[method]
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["image-emotion-classification", method, "iec-hub"],
        license="other",
        license_name=texts.LICENSE_NAME,
        base_model=list(started.values()),
    )
    parts = [[_PARTS.get(part, part.replace("_", " ")), _millions(count)] for part, count in counts.items()]
    parts.append(["all", _millions(sum(counts.values()))])
    origins = [[role, code(hub_id), LICENSES[hub_id]] for role, hub_id in started.items()]
    left = table([["starts from", "id on the Hub", "licence"], *origins], numbers=False)
    labels = (
        "Its size does not depend on the emotions."
        if method == "ugrie"
        else "With Mikels' eight emotions; other emotion models change the classifiers a little."
    )
    reasoner = (
        "\n\nThe reasoner is a vision-language model of its own, which is loaded beside this one and never trained. "
        "Without it the small reasoner, which is part of the checkpoint, says what is seen."
        if method == "aciec"
        else ""
    )
    return f"""---
{metadata.to_yaml()}
---

# {name}

The full-size preset `{size}` of {title} as `iec_hub` implements it: {texts.DESCRIPTIONS[method]}.
{texts.ABSTRACT_ONLY}

**No weights are published here, and nothing was measured**: no accuracy, no calibration. This card says what the
preset is made of and how to train it on your own pictures; the card of what you train is written from your run.

## Architecture

{_architecture(config)}

{table([["part", "parameters"], *parts])}

{labels}{reasoner}

{left}

Licences are as the authors state them; read them, and the terms of your data, before you publish what you have
trained.

## How to train it

```bash
iec-hub train {method} --data DIR --preset {size} --output_dir runs/{name}
```

With a LoRA adapter on 4-bit weights (extra `quantization`):

```bash
iec-hub train {method} --data DIR --preset {size} --lora --quantization 4bit \\
    --output_dir runs/{name}-lora
```

DIR holds pictures in one folder per emotion, or with a metadata.csv. The backbones are downloaded from the Hub. What a
training step takes with random weights: `benchmarks/results/{_RESULTS[method]}`.

## Intended use and limits

{texts.intended_use(measured=False)}

## Citation

```bibtex
{texts.CITATIONS[method]}
```
"""


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"


def _architecture(config: Any) -> str:
    """The parts' sizes, as the configuration has them."""
    vision, text = config.vision_config, config.text_config
    lines = [
        f"- Vision tower: {vision.num_hidden_layers} layers, {vision.hidden_size} wide, pictures of "
        f"{vision.image_size} by {vision.image_size} pixels in patches of {vision.patch_size}.",
    ]
    if config.model_type == "ugrie":
        lines.append(
            f"- Mapping network: `{config.mapping_type}`, {config.prefix_length} tokens for the language part."
        )
        layers = f"{text.encoder_layers} encoder and {text.decoder_layers} decoder layers"
        lines.append(f"- Language part: {layers}, {text.d_model} wide, {text.vocab_size:,} tokens.")
        return "\n".join(lines)
    if config.model_type == "escnet":
        words = config.captioner_config.text_config
        lines[0] = lines[0].replace("Vision tower:", "Vision tower, shared with the captioner:")
        lines.append(
            f"- Captioner: {words.num_hidden_layers} layers, {words.hidden_size} wide, {words.vocab_size:,} tokens."
        )
    lines.append(
        f"- Text encoder: {text.num_hidden_layers} layers, {text.hidden_size} wide, {text.vocab_size:,} tokens."
    )
    if config.model_type == "escnet":
        lines.append(
            f"- Fusion: {config.fusion_layers} layers, {config.fusion_size} wide, {config.fusion_heads} heads."
        )
    else:
        lines.append(f"- Concept detector: {len(config.concepts):,} concepts in a space {config.concept_size} wide.")
        lines.append(f"- Texts of up to {config.text_length} tokens.")
    return "\n".join(lines)


__all__ = ["LICENSES", "PRESETS", "backbones", "part_sizes", "preset_card"]
