"""The model card of a training run: a function of what lies in the run's folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from safetensors import SafetensorError, safe_open

from iec_hub.errors import DataError, IecHubError
from iec_hub.finetuning import model_card_texts as texts
from iec_hub.finetuning.model_card_results import calibration, results
from iec_hub.finetuning.model_card_texts import code, escaped, table
from iec_hub.finetuning.pictures import FOLDER, read_metrics
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig
from iec_hub.registry import BUNDLED_CHECKPOINTS
from iec_hub.space.escaping import plain

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HUB_DATA = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
# What the model index tells of each data set: key of metrics.json, and type and name as the Hub has them.
_INDEXED = (
    ("accuracy", "accuracy", "Accuracy"),
    ("macro_f1", "f1", "Macro F1"),
    ("brier", "brier_score", "Brier score (soft labels)"),
    ("ece", "ece", "Expected calibration error"),
    ("soft_cross_entropy", "soft_cross_entropy", "Soft cross-entropy (nats)"),
)
# Of metrics.json, what other parts of the card tell, or what is too long for one.
_TOLD_ELSEWHERE = ("calibration", "data", "history", "loss_history", "parameters", "peak_memory_bytes", "seconds")
_TOLD_ELSEWHERE += ("seed", "temperatures", "test", "validation")
_LONGEST_FIGURE = 600
_ANYWHERE = "path/or/id"
# Of a run's `parameters`: what is counted, and what takes memory.
_COUNTS = {
    "trained": "trained parameters",
    "frozen": "frozen parameters",
    "four_bit": "of these in 4 bit",
    "eight_bit": "of these in 8 bit",
}
_SIZES = {"bytes": "memory of the weights", "training_bytes": "memory of a training step, estimated"}
_SIZES |= {"adapter_bytes": "size of the adapter"}


def model_card(folder: str | Path, pictures: str = FOLDER, name: str | None = None) -> str:
    """The card as Markdown with Hub metadata, from `config.json`, `metrics.json`, `training.json` and the pictures.

    Args:
        folder: of a run or a checkpoint; an adapter's has `adapter_config.json` too.
        pictures: the pictures' folder as the card's links name it.
        name: of the model; the folder's if left out.

    Raises:
        DataError: if `config.json` is missing, or a file cannot be read or is not what a training writes.
    """
    folder = Path(folder)
    name = name or folder.resolve().name
    try:
        return _card(folder, pictures, name)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, IecHubError):
            raise
        raise DataError(
            f"metrics.json or training.json of {name!r} is not what a training writes ({type(error).__name__}: "
            f"{plain(str(error), 80)}); remove or replace it."
        ) from error


def _card(folder: Path, pictures: str, name: str) -> str:
    config, log = _read_config(folder), read_metrics(folder)
    record, adapter = _read(folder / "training.json"), _read(folder / "adapter_config.json")
    method = config.model_type
    best = (record.get("trainer") or {}).get("load_best_model_at_end")
    kind = (
        f"A LoRA adapter for image emotion classification with {texts.TITLES[method]}"
        if adapter
        else (f"Image emotion classification with {texts.TITLES[method]}")
    )
    labels = "\n".join(
        f"- {code(m.name)}: " + ", ".join(map(escaped, m.labels)) for m in config.trained_emotion_models.values()
    )
    sections = {
        "How to use it": _examples(name, adapter),
        "Intended use and limits": texts.intended_use(bool(log.get("test") or log.get("validation"))),
        "Training data": _training_data(log, record),
        "Data terms and weights": str(record.get("card_notes") or "").strip() or texts.NO_NOTES,
        "Results": results(folder, log, best, pictures),
        "Calibration and the flag `uncertain`": calibration(config, log),
        "Training": _training(folder, log, record, pictures),
        "Citation": f"```bibtex\n{texts.CITATIONS[method]}\n```",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return (
        f"---\n{_metadata(name, config, log, record, adapter).to_yaml()}\n---\n\n"
        f"# {escaped(name)}\n\n{kind} as `iec_hub` implements it: {texts.DESCRIPTIONS[method]}. "
        f"{texts.ABSTRACT_ONLY}\n\nIt tells apart:\n\n{labels}\n\n{body}\n"
    )


def write_card(
    folder: str | Path, path: str | Path | None = None, pictures: str = FOLDER, name: str | None = None
) -> Path:
    """Write the card, into the folder's `README.md` if no `path` is given; arguments as in [`model_card`]."""
    path = Path(folder) / "README.md" if path is None else Path(path)
    path.write_text(model_card(folder, pictures, name), encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read ({type(error).__name__}); replace it.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path.name} is no JSON object; replace it.")
    return content


def _read_config(folder: Path) -> ImageEmotionConfig:
    from iec_hub.models import AciecConfig, EscnetConfig, UgrieConfig

    kinds = {kind.model_type: kind for kind in (UgrieConfig, EscnetConfig, AciecConfig)}
    stored = _read(folder / "config.json")
    if stored.get("model_type") not in kinds:
        raise DataError(f"{folder.name!r} has no config.json of {', '.join(kinds)}; give the folder of a checkpoint.")
    return kinds[stored["model_type"]].from_dict(stored)


def _metadata(
    name: str,
    config: ImageEmotionConfig,
    log: Mapping[str, Any],
    record: Mapping[str, Any],
    adapter: Mapping[str, Any],
) -> ModelCardData:
    license_id = str(record.get("license") or "other")
    evaluated = _index(log)
    datasets = [plain(str(data["name"])) for data in record.get("data") or [] if "name" in data]
    started = [*(record.get("base_models") or []), (adapter or {}).get("base_model_name_or_path")]
    bases = [base for base in dict.fromkeys(map(str, started)) if _HUB_ID.fullmatch(base)]
    tags = ["image-emotion-classification", config.model_type, "iec-hub"]
    further = {"base_model_relation": "adapter"} if bases and adapter else {}
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=[*tags, "lora", "peft"] if adapter else tags,
        license=license_id,
        license_name=texts.LICENSE_NAME if license_id == "other" else None,
        base_model=bases or None,
        datasets=[data for data in dict.fromkeys(datasets) if _HUB_DATA.fullmatch(data)] or None,
        metrics=["accuracy", "f1", "brier_score"] if evaluated else None,
        model_name=plain(name, 100) or "model",
        eval_results=evaluated or None,
        **further,
    )


def _index(log: Mapping[str, Any]) -> list[EvalResult]:
    split = next((split for split in ("test", "validation") if log.get(split)), None)
    return [
        EvalResult(
            task_type="image-classification",
            task_name="Image emotion classification",
            dataset_type=plain(data, 100) or "data",
            dataset_name=plain(data, 100) or "data",
            dataset_split=split,
            metric_type=kind,
            metric_name=title,
            metric_value=round(measured[key], 4),
        )
        for data, measured in (log[split].items() if split else ())
        for key, kind, title in _INDEXED
        if key in measured
    ]


def _examples(name: str, adapter: Mapping[str, Any]) -> str:
    shown = json.dumps(name if name in BUNDLED_CHECKPOINTS.values() else _ANYWHERE)
    loading = f"""```python
from iec_hub import EmotionPredictor

predictor = EmotionPredictor.from_pretrained({shown})
prediction = predictor.predict(["photo.jpg"])[0]
print(prediction.summary(), prediction.uncertain, prediction.distribution)
```"""
    if not adapter:
        return f"""With `iec_hub` installed; `{_ANYWHERE}` stands for the checkpoint's folder or its id on the Hub:

{loading}

Through transformers, where `import iec_hub` makes the names known:

```python
import iec_hub
from transformers import AutoModel, AutoProcessor, pipeline

classify = pipeline("image-emotion-classification", model="{_ANYWHERE}")
model = AutoModel.from_pretrained("{_ANYWHERE}")
processor = AutoProcessor.from_pretrained("{_ANYWHERE}")
```"""
    base = _shown(str(adapter.get("base_model_name_or_path") or ""))
    return f"""This is an adapter: few weights beside those of its base{f", {code(base)}" if base else ""}, with which
it is loaded. With `iec_hub` installed; `{_ANYWHERE}` stands for the adapter's folder or its id on the Hub:

{loading}

Several adapters on one base, whatever their labels:

```python
model = predictor.model
model.load_adapter("another/adapter", adapter_name="second")
model.set_adapter("second")
```

With PEFT:

```python
from iec_hub.models import base_of
from peft import PeftModel

model = PeftModel.from_pretrained(base_of("{_ANYWHERE}"), "{_ANYWHERE}")
```

A whole checkpoint of the adapter and its base, which needs PEFT no more:

```bash
iec-hub merge {_ANYWHERE} FOLDER
```"""


def _training_data(log: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    terms = {str(data.get("name")): data.get("terms") for data in record.get("data") or []}
    reports = {str(name): str(report) for name, report in (log.get("data") or {}).items()}
    lines = []
    for name in dict.fromkeys([*reports, *terms]):
        first, *further = reports.get(name, "").removeprefix(f"{name}: ").splitlines() or [""]
        told = escaped(first, None)
        lines.append(f"- **{escaped(name)}**" + (f": {told}" if told else ""))
        lines += [f"  - {escaped(line.strip(), None)}" for line in further if line.strip()]
        lines.append(
            f"  - terms: {escaped(terms.get(name) or 'not stated here; ask where the data comes from', None)}"
        )
    return "\n".join(lines) or "Not recorded."


def _training(folder: Path, log: Mapping[str, Any], record: Mapping[str, Any], pictures: str) -> str:
    parts = []
    if bases := record.get("base_models"):
        parts.append("Started from: " + ", ".join(code(_shown(base)) for base in bases) + ".")
    used = {
        **(record.get("trainer") or {}),
        **(record.get("settings") or {}),
        **({"seed": log["seed"]} if "seed" in log else {}),
    }
    used = {key: _shown(value) for key, value in used.items() if value is not None and value != "" and value != []}
    if used:
        parts += ["Settings that differ from the defaults, with those of the training loop:", _json(used)]
    if facts := _facts(log, record) + _stored(folder):
        parts.append(table([["size, time and versions", ""], *facts]))
    if (folder / FOLDER / "learning_curve.png").is_file():
        parts.append(f"![Learning curve: soft cross-entropy and accuracy by epoch]({pictures}/learning_curve.png)")
    chosen = {key: value for key, value in log.items() if key not in _TOLD_ELSEWHERE}
    chosen = {key: value for key, value in sorted(chosen.items()) if len(json.dumps(value)) <= _LONGEST_FIGURE}
    if chosen:
        parts += ["Further figures of the run:", _json(_rounded(chosen))]
    return "\n\n".join(parts) or "Not recorded."


def _facts(log: Mapping[str, Any], record: Mapping[str, Any]) -> list[list[str]]:
    counted = log.get("parameters") or {}
    facts = [[title, f"{counted[key]:,}"] for key, title in _COUNTS.items() if counted.get(key)]
    facts += [[title, _bytes(counted[key])] for key, title in _SIZES.items() if counted.get(key)]
    if "trained" in counted and counted.get("trained_share"):
        facts[0][1] += f" ({100 * counted['trained_share']:.2g} %)"
    if log.get("seconds"):
        facts.append(["time", f"{log['seconds'] / 60:,.1f} minutes"])
    if log.get("peak_memory_bytes"):
        facts.append(["peak memory", _bytes(log["peak_memory_bytes"])])
    versions = {"iec_hub": record.get("iec_hub_version"), **(record.get("versions") or {})}
    facts += [[f"version of {escaped(key)}", escaped(value)] for key, value in versions.items() if value]
    return facts


def _bytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def _stored(folder: Path) -> list[list[str]]:
    """How many numbers the weights' files hold; only the files' heads are read."""
    count = size = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                count += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path.name} is damaged ({type(error).__name__}); replace it.") from error
        size += path.stat().st_size
    return [["stored weights", f"{count:,} numbers, {_bytes(size)}"]] if count else []


def _shown(value: Any) -> Any:
    """Paths of somebody's disk by their last part: a card names data, not folders."""
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or value.startswith("~"):
                return kind(value).name
    return value


def _rounded(value: Any) -> Any:
    """Measured numbers to four digits: more of them mean nothing."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _json(values: Any) -> str:
    # A line of JSON begins with a space, a brace or a quote, so none of it can end the block.
    return f"```json\n{json.dumps(values, indent=2, sort_keys=True, default=str)}\n```"


__all__ = ["model_card", "write_card"]
