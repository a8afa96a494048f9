"""The model card of a training run, written from what the run measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iec_hub.models.configuration_image_emotion import ImageEmotionConfig
from iec_hub.models.ugrie.configuration_ugrie import UgrieConfig

CITATION = """@article{shi2024one,
  title   = {One for All: A Unified Generative Framework for Image Emotion Classification},
  author  = {Shi and Deng and Wang and Feng and Zhuang and Wang},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  volume  = {34}, number = {8}, pages = {7057--7068}, year = {2024},
  doi     = {10.1109/TCSVT.2023.3341840}
}"""

LIMITS = """The model says what a picture is likely to **evoke in people who look at it**. It does not read the feelings
of a person shown, and must not be used to infer emotions of people, least of all at work or in education, which
Article 5(1)(f) of the EU AI Act prohibits. The labels come from annotators of a few countries; other viewers may feel
differently. Predictions are distributions, and the `uncertain` flag is part of the answer."""


def metrics_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """One Markdown row per data set."""
    rows = ["| data | n | accuracy | macro F1 | soft cross-entropy | KL | ECE |", "|---|---|---|---|---|---|---|"]
    for name, m in results.items():
        figures = " | ".join(f"{m[key]:.3f}" for key in ("accuracy", "macro_f1", "soft_cross_entropy", "kl", "ece"))
        rows.append(f"| {name} | {m['n']} | {figures} |")
    return "\n".join(rows)


def model_card(
    name: str, config: ImageEmotionConfig, log: Mapping[str, Any], settings: Mapping[str, Any], training: Any
) -> str:
    """The card as Markdown with Hub metadata."""
    models = config.trained_emotion_models.values()
    labels = "\n".join(f"- `{m.name}`: " + ", ".join(m.labels) for m in models)
    template = config.templates["default"] if isinstance(config, UgrieConfig) else ""
    tables = [f"### {part.title()}\n\n{metrics_table(log[part])}\n" for part in ("test", "validation") if part in log]
    used = {k: (Path(v).name if isinstance(v, str) and "/" in v else v) for k, v in settings.items() if _told(v)}
    used |= {
        key: getattr(training, key)
        for key in ("seed", "num_train_epochs", "learning_rate", "language_learning_rate", "weight_decay")
    }
    used["batch_size"] = training.per_device_train_batch_size * training.gradient_accumulation_steps
    chosen = {key: log[key] for key in sorted(log) if key.startswith(("teacher_", "alignment_", "temperatures"))}
    return f"""---
library_name: transformers
pipeline_tag: image-classification
tags:
- image-emotion-classification
- {config.model_type}
- iec-hub
---

# {name}

Image emotion classification with UGRIE as `iec_hub` implements it: a vision tower, a mapping network and a
BART-family language part that fills `{template}`. Only the paper's abstract was followed; the design is this
implementation's.

{labels}

```python
from iec_hub import EmotionPredictor

predictor = EmotionPredictor.from_pretrained("path/or/id")
print(predictor.predict(["photo.jpg"])[0])
```

## Intended use and limits

{LIMITS}

## Results

The best epoch was chosen on validation; temperatures were fitted there. Test data chose nothing.

{"".join(tables) or "Nothing was measured in this run."}
## Training

Data: {"; ".join(" ".join(str(report).split()) for report in log.get("data", {}).values())}

Settings:

```json
{json.dumps(_flat(used), indent=2, sort_keys=True, default=str)}
```

Chosen on validation:

```json
{json.dumps(chosen, indent=2, default=float)}
```

## Citation

```bibtex
{CITATION}
```
"""


def _told(value: Any) -> bool:
    return value not in (None, "", [], False)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Paths in lists shown by their last part: a card names data, not somebody's disk."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat[key] = (
            [Path(v).name if isinstance(v, str) and "/" in v else v for v in value]
            if isinstance(value, list)
            else value
        )
    return flat


def write_model_card(
    folder: Path, config: ImageEmotionConfig, log: Mapping[str, Any], settings: Mapping[str, Any], training: Any
) -> Path:
    """Write `README.md` into a checkpoint's folder."""
    path = folder / "README.md"
    path.write_text(model_card(folder.name, config, log, settings, training), encoding="utf-8")
    return path
