"""Tiny models with adapters whose weights differ from zero, for the tests of adapters, quantisation and merging."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iec_hub.finetuning.adapters import AdapterArguments, add_adapter, save_adapter
from iec_hub.models.image_emotion import forward_inputs

METHODS = ("ugrie", "escnet", "aciec")
LABELS = ["cosy", "eerie", "solemn"]


def gathered(model: Any, processor: Any, pictures: Sequence[Path], emotion_model: Any = None) -> dict[str, Any]:
    """What the model's forward reads of three pictures, with labels."""
    from PIL import Image

    images = [Image.open(path).convert("RGB") for path in pictures[:3]]
    target = model.config.resolve_emotion_model(emotion_model)
    votes = [[index + 1 for index in range(len(target))]] * 3
    distributions = [target.distribution(row) for row in votes]
    processor = processor.adopt(model.config)
    batch = processor(images=images, emotion_models=target.name, distributions=distributions)
    return forward_inputs(model.gather(batch, processor))


def logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch).logits


def relabel(model: Any, labels: Sequence[str] = LABELS) -> None:
    """Give the model a label set of its own."""
    from iec_hub.emotions import EmotionModel

    own = EmotionModel.from_labels(labels)
    (model.config if model.open_labels else model).set_emotion_models([own])


def disturb(model: torch.nn.Module, seed: int = 0) -> None:
    """Move all trained weights, as a training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.05 * noise.to(parameter))


def trained_adapter(
    model: Any, processor: Any, folder: Path, fresh: bool = False, seed: int = 0, **arguments: Any
) -> Any:
    """An adapter in the model, saved with a temperature of its own."""
    adapted = add_adapter(model, AdapterArguments(lora=True, lora_rank=2, **arguments), fresh)
    disturb(adapted, seed)
    name = next(iter(model.config.trained_emotion_models))
    model.config.temperatures = {name: 1.5 + seed}
    save_adapter(adapted, processor, folder)
    return adapted.eval()
