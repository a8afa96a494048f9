"""Merging an adapter into its base: a checkpoint of its own, checked against the adapter before it is there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature

from iec_hub.errors import CheckpointError, DataError
from iec_hub.images import open_image
from iec_hub.models import AutoImageEmotionModel, base_of
from iec_hub.models.adapter_loading import AdapterFolder, processor_of, read_adapter
from iec_hub.models.image_emotion import ImageEmotionModel, forward_inputs
from iec_hub.models.processing_image_emotion import reduced_image

# Largest difference that merging may make to an output of 1 or less, and in proportion to larger ones: adding up in
# another order costs float32 about 1e-5, and weights that do not belong together differ by far more.
TOLERANCE = 1e-3
_EXAMPLES = Path(__file__).parents[1] / "space" / "examples"
_SIDE = 512
# What a run tells about itself; the weights and the card are written anew.
_TOLD = ("metrics.json", "training.json", "training.yaml", "pictures")


def merge(
    adapter: str | Path, output: str | Path, pictures: Sequence[Any] = (), tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Write the checkpoint that an adapter and its base make together.

    The base is loaded unquantised, whatever the adapter was trained on: merged into 4-bit weights, an adapter would be
    rounded away. What is stored is read back and has to say about pictures what base and adapter say.

    Args:
        adapter: folder or Hub id.
        output: folder that does not exist yet, or is empty.
        pictures: anything that [`open_image`] takes, to compare on; the package's examples if left out.
        tolerance: largest difference allowed, see :data:`TOLERANCE`.

    Returns:
        `adapter`, `base`, `pictures` (how many were compared), `largest_difference`, `tolerance` and `bytes`.

    Raises:
        CheckpointError: if it is no adapter, or the merged checkpoint says something else. Nothing is left then.
        DataError: if the output folder holds something, or nothing can be written there.
    """
    output = Path(output)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise DataError(f"{str(output)!r} holds something already; name a new folder for the merged checkpoint.")
    found = read_adapter(adapter)
    if found is None:
        raise CheckpointError(f"{str(adapter)!r} is no adapter; give a folder with an adapter_config.json.")
    images = [open_image(source, max_side=_SIDE) for source in pictures or sorted(_EXAMPLES.glob("*.jpg"))]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    except OSError as error:
        raise DataError(f"Nothing can be written to {str(output)!r}; name another folder.") from error
    try:
        report = _merged(found, unfinished, images, tolerance)
        _tell(found, unfinished, output.resolve().name, report)
        unfinished.chmod(0o755)  # a temporary folder is its owner's alone
        os.replace(unfinished, output)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return report


def _merged(adapter: AdapterFolder, folder: Path, images: Sequence[Any], tolerance: float) -> dict[str, Any]:
    """Write weights and processor, and compare them with the adapter's."""
    from peft import PeftModel

    processor = processor_of(adapter.source, **adapter.hub)
    adapted = AutoImageEmotionModel.from_pretrained(adapter.source, dtype=torch.float32, **adapter.hub)
    said = outputs(adapted, processor, images)
    del adapted
    base = base_of(adapter.source, dtype=torch.float32, **adapter.hub)
    model = PeftModel.from_pretrained(base, adapter.source, **adapter.hub).merge_and_unload()
    if hasattr(model.config, "backbones"):  # it needs no others now, and they may be folders of this disk
        del model.config.backbones
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    del base, model
    stored = AutoImageEmotionModel.from_pretrained(folder, dtype=torch.float32)
    difference = largest_difference(said, outputs(stored, processor, images))
    if not difference <= tolerance:  # also for NaN
        raise CheckpointError(
            f"The merged checkpoint differs from the adapter by {difference:.2g}, more than {tolerance:g}; load the "
            "adapter unmerged, and please report this."
        )
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {
        "adapter": Path(adapter.source).resolve().name if os.path.isdir(adapter.source) else adapter.source,
        "base": adapter.base or ", ".join(str(name) for name in adapter.config.backbones.values() if name),
        "pictures": len(images),
        "largest_difference": difference,
        "tolerance": tolerance,
        "bytes": size,
    }


@torch.no_grad()
def outputs(model: ImageEmotionModel, processor: Any, images: Sequence[Any]) -> dict[str, Any]:
    """What a model says about images: logits per emotion model, pooled features, its words, its feelings."""
    processor = processor.adopt(model.config)
    reduced = [reduced_image(image, processor.image_processor, _SIDE) for image in images]
    said: dict[str, Any] = {}
    for name in model.config.trained_emotion_models:
        batch = BatchFeature(processor(images=reduced, emotion_models=name))
        batch["vision_features"] = model.get_image_features(batch["pixel_values"])
        batch = model.gather(batch, processor)
        said[f"{name} logits"] = model(**forward_inputs(batch)).logits
        feelings = model.evidence_score(batch, [0] * len(images))
        if feelings is not None:
            said[f"{name} feelings"] = feelings
        said[f"{name} words"] = [batch[key] for key in ("captions", "parts") if key in batch]
        said["pooled"] = batch["vision_features"].pooled
    return said


def largest_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Largest difference of tensors, relative where they are larger than 1; infinite where anything else differs."""
    if one.keys() != other.keys():
        return float("inf")
    largest = 0.0
    for name, a in one.items():
        b = other[name]
        if not torch.is_tensor(a):
            if a != b:
                return float("inf")
            continue
        if a.shape != b.shape:
            return float("inf")
        gap = ((a - b).abs() / a.abs().clamp_min(1)).masked_fill(a.isneginf() & b.isneginf(), 0.0)
        # max() of Python would let NaN pass.
        largest = float(torch.tensor([largest, gap.max().item() if gap.numel() else 0.0]).max())
    return largest


def _tell(adapter: AdapterFolder, folder: Path, name: str, report: Mapping[str, Any]) -> None:
    """What the training said about itself, that this is merged, and a card."""
    from iec_hub.finetuning.model_card import write_card

    source = Path(adapter.source)
    if not source.is_dir():
        from huggingface_hub import snapshot_download

        known = {key: value for key, value in adapter.hub.items() if key not in ("proxies", "subfolder")}
        patterns = [name for told in _TOLD for name in (told, f"{told}/*")]
        source = Path(snapshot_download(adapter.source, allow_patterns=patterns, **known))
    for told in _TOLD:
        if (source / told).is_dir():
            shutil.copytree(source / told, folder / told)
        elif (source / told).is_file():
            shutil.copy(source / told, folder / told)
    path = folder / "training.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    bases = [*(record.get("base_models") or []), *([adapter.base] if adapter.base else [])]
    record["base_models"] = list(dict.fromkeys(bases))
    record["merged"] = dict(report)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    write_card(folder, name=name)


__all__ = ["TOLERANCE", "largest_difference", "merge", "outputs"]
