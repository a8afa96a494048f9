"""The model card of a training run, written from what the run measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iec_hub.models.configuration_image_emotion import ImageEmotionConfig
from iec_hub.models.ugrie.configuration_ugrie import UgrieConfig

_UGRIE_CITATION = """@article{shi2024one,
  title   = {One for All: A Unified Generative Framework for Image Emotion Classification},
  author  = {Shi and Deng and Wang and Feng and Zhuang and Wang},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  volume  = {34}, number = {8}, pages = {7057--7068}, year = {2024},
  doi     = {10.1109/TCSVT.2023.3341840}
}"""

_ESCNET_CITATION = """@article{zhou2025improved,
  title   = {Improved {IEC} performance via emotional stimuli-aware captioning},
  author  = {Zhou and Zhai and Gao and Zhu},
  journal = {Scientific Reports}, year = {2025},
  doi     = {10.1038/s41598-025-06094-7}
}"""

_ACIEC_CITATION = """@article{zhou2025analyzing,
  title   = {Analyzing Image Beyond Visual Aspect: Image Emotion Classification via Multiple-Affective Captioning},
  author  = {Zhou and Zhai and Chen and Dai and Yang},
  journal = {arXiv preprint arXiv:2511.23115}, year = {2025}
}"""
CITATIONS = {"ugrie": _UGRIE_CITATION, "escnet": _ESCNET_CITATION, "aciec": _ACIEC_CITATION}

LIMITS = """The model says what a picture is likely to **evoke in people who look at it**. It does not read the
feelings of a person shown, and must not be used to infer emotions of people, least of all at work or in education,
which Article 5(1)(f) of the EU AI Act prohibits. The labels come from the annotators of the data sets below; other
viewers may feel differently. Predictions are distributions, and the `uncertain` flag is part of the answer."""

# The Hub asks for a name where a licence is "other"; the card's own part says what it means.
LICENSE_NAME = "see-data-terms-and-weights"

# What a run says about terms when nobody told it more.
NO_NOTES = """Nobody has stated terms for these weights. They are derived from the images and labels below and from the
weights that the training started from, whose own terms apply; read those before any use beyond research."""


def metrics_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """One Markdown row per data set."""
    rows = ["| data | n | accuracy | macro F1 | soft cross-entropy | KL | ECE |", "|---|---|---|---|---|---|---|"]
    for name, m in results.items():
        figures = " | ".join(f"{m[key]:.3f}" for key in ("accuracy", "macro_f1", "soft_cross_entropy", "kl", "ece"))
        rows.append(f"| {name} | {m['n']} | {figures} |")
    return "\n".join(rows)


def model_card(
    name: str,
    config: ImageEmotionConfig,
    log: Mapping[str, Any],
    settings: Mapping[str, Any],
    training: Any,
    license: str = "other",  # noqa: A002  the Hub's name for it
    notes: str = "",
) -> str:
    """The card as Markdown with Hub metadata.

    Args:
        log: what `metrics.json` holds.
        settings: the run's own arguments; `training`: the Trainer's.
        license: of the weights, as the Hub names it.
        notes: Markdown on the terms of data and weights.
    """
    models = config.trained_emotion_models.values()
    labels = "\n".join(f"- `{m.name}`: " + ", ".join(m.labels) for m in models)
    tables = [f"### {part.title()}\n\n{metrics_table(log[part])}\n" for part in ("test", "validation") if part in log]
    used = {key: _shown(value) for key, value in settings.items() if _told(value)}
    used |= {
        key: getattr(training, key)
        for key in ("seed", "num_train_epochs", "learning_rate", "language_learning_rate", "weight_decay")
    }
    if "vision" not in settings.get("freeze", ()):
        used["vision_learning_rate"] = training.vision_learning_rate
    used["batch_size"] = training.per_device_train_batch_size * training.gradient_accumulation_steps
    told = ("teacher_", "alignment_", "probes", "temperatures")
    chosen = {key: log[key] for key in sorted(log) if key.startswith(told)}
    selection = (
        "The best epoch was chosen on validation" if training.load_best_model_at_end else "The last epoch is kept"
    )
    terms = f"license: {license}" + (f"\nlicense_name: {LICENSE_NAME}" if license == "other" else "")
    return f"""---
library_name: transformers
pipeline_tag: image-classification
{terms}
tags:
- image-emotion-classification
- {config.model_type}
- iec-hub
---

# {name}

Image emotion classification with {_described(config)} Only the paper's abstract was followed; the design is this
implementation's, and no figure here is the paper's.

{labels}

```python
from iec_hub import EmotionPredictor

predictor = EmotionPredictor.from_pretrained("path/or/id")
print(predictor.predict(["photo.jpg"])[0])
```

## Intended use and limits

{LIMITS}

## Results

{selection}; temperatures were fitted on validation, so its figures flatter. Test data chose nothing.

{chr(10).join(tables) or "Nothing was measured in this run."}

## Data terms and weights

{notes.strip() or NO_NOTES}

## Training

Data:

{chr(10).join(f"- {' '.join(str(report).split())}" for report in log.get("data", {}).values())}

Settings:

```json
{json.dumps(used, indent=2, sort_keys=True, default=str)}
```

Chosen or fitted on training and validation data:

```json
{json.dumps(chosen, indent=2, default=float)}
```

## Citation

```bibtex
{CITATIONS[config.model_type]}
```
"""


def _described(config: ImageEmotionConfig) -> str:
    """What the method is, as the end of a sentence."""
    if isinstance(config, UgrieConfig):
        return f"""UGRIE as `iec_hub` implements it: a vision tower, a mapping network and a
BART-family language part that fills `{config.templates["default"]}`."""
    if config.model_type == "aciec":
        return """ACIEC as `iec_hub` implements it: concepts, a chain of thought and the text in
the image are put into words, and a text encoder decides from those words alone."""
    return """ESCNet as `iec_hub` implements it: a captioner says what it sees, a caption encoder
reads that, and a fusion of image and caption with gated words decides."""


def _told(value: Any) -> bool:
    """Zeros are told: a recipe with something switched off is another recipe."""
    return value is not None and value is not False and value not in ("", [])


def _shown(value: Any) -> Any:
    """Paths by their last part: a card names data, not somebody's disk."""
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str) and (Path(value).is_absolute() or Path(value).exists()):
        return Path(value).name
    return value


def write_model_card(
    folder: Path,
    config: ImageEmotionConfig,
    log: Mapping[str, Any],
    settings: Mapping[str, Any],
    training: Any,
    license: str = "other",  # noqa: A002
    notes: str = "",
) -> Path:
    """Write `README.md` into a checkpoint's folder; arguments as in [`model_card`]."""
    path = folder / "README.md"
    name = folder.resolve().name
    path.write_text(model_card(name, config, log, settings, training, license, notes), encoding="utf-8")
    return path
