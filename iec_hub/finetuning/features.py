"""Vision features of a data set, computed once and kept on disk: a frozen tower need not run every epoch."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from iec_hub.data import EmotionExample
from iec_hub.models.image_emotion import ImageEmotionModel
from iec_hub.predictor import DECODE_SIDE

_BATCH = 32
_PARTS = ("", "-tokens")  # endings of the files of a view


def augmented_view(image: Image.Image, view: int, key: str) -> Image.Image:
    """View 0 is the image itself, view 1 its mirror image, later ones random crops of 40-100 % of its area.

    `key` and `view` alone decide the crop, so that a run can be repeated.
    """
    if view == 0:
        return image
    if view == 1:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rng = random.Random(f"{key}/{view}")
    width, height = image.size
    area, stretch = rng.uniform(0.4, 1.0), rng.uniform(3 / 4, 4 / 3)
    crop_width = max(1, min(width, round(width * (area * stretch) ** 0.5)))
    crop_height = max(1, min(height, round(height * (area / stretch) ** 0.5)))
    left, top = rng.randint(0, width - crop_width), rng.randint(0, height - crop_height)
    crop = image.crop((left, top, left + crop_width, top + crop_height))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


class ImageFeatures(NamedTuple):
    """What a frozen tower says about the views of a data set's images.

    Attributes:
        pooled: `(views, images, width)`, float32.
        tokens: `(views, images, tokens, token width)`, float16, where they were asked for.
    """

    pooled: torch.Tensor
    tokens: torch.Tensor | None = None


def cached_features(
    model: ImageEmotionModel,
    processor: Any,
    examples: Sequence[EmotionExample],
    cache: Path | None,
    views: int = 1,
    description: str = "features",
) -> torch.Tensor:
    """Pooled vision features `(views, images, width)`, float32, read from `cache` where they were computed before.

    The key covers the vision weights, the preprocessing and every file's content and place in its data set.
    """
    return cached_image_features(model, processor, examples, cache, views, description).pooled


def cached_image_features(
    model: ImageEmotionModel,
    processor: Any,
    examples: Sequence[EmotionExample],
    cache: Path | None,
    views: int = 1,
    description: str = "features",
    tokens: bool = False,
) -> ImageFeatures:
    """As [`cached_features`], with the tokens of every place too if asked; they need much more room."""
    key = _fingerprint(model, processor, examples)
    pooled, places = [], []
    for view in range(views):
        files = [None, None] if cache is None else [cache / f"{key}-view{view}{part}.safetensors" for part in _PARTS]
        stored = [None if file is None else _read(file) for file in files]
        if stored[0] is None or (tokens and stored[1] is None):
            stored = list(
                _compute(model, processor, examples, view, f"{description}, view {view + 1} of {views}", tokens)
            )
            for file, tensor in zip(files, stored, strict=True):
                if file is not None and tensor is not None:
                    _write(file, tensor)
        pooled.append(stored[0])
        places.append(stored[1])
    return ImageFeatures(torch.stack(pooled), torch.stack(places) if tokens else None)


def _write(file: Path, tensor: torch.Tensor) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    save_file({"pooled": tensor}, partial)
    partial.replace(file)  # a killed run leaves no half-written cache


def _read(file: Path) -> torch.Tensor | None:
    """Features of a file; `None` where there is none, or a damaged one, which is then written anew."""
    try:
        return load_file(file)["pooled"]
    except (FileNotFoundError, SafetensorError, KeyError):
        return None


@torch.inference_mode()
def _compute(
    model: ImageEmotionModel,
    processor: Any,
    examples: Sequence[EmotionExample],
    view: int,
    description: str,
    tokens: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    def load(example: EmotionExample) -> Image.Image:
        return augmented_view(example.open(max_side=DECODE_SIDE), view, example.origin)

    was_training, device = model.training, model.device
    model.eval()
    pooled, places = [], []
    starts = range(0, len(examples), _BATCH)
    with ThreadPoolExecutor(2) as pool:
        following = list(pool.map(load, examples[:_BATCH]))
        for start in tqdm(starts, desc=description, unit="batch"):
            images = following
            jobs = [pool.submit(load, example) for example in examples[start + _BATCH : start + 2 * _BATCH]]
            pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"].to(device)
            features = model.get_image_features(pixels)
            pooled.append(features.pooled.float().cpu())
            if tokens:
                places.append(features.tokens.half().cpu())
            following = [job.result() for job in jobs]
    model.train(was_training)
    return torch.cat(pooled).clone(), torch.cat(places).clone() if tokens else None


def _fingerprint(model: ImageEmotionModel, processor: Any, examples: Sequence[EmotionExample]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.vision_model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    settings = [processor.image_processor.to_dict(), list(getattr(model.config, "vision_feature_layers", ()))]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for example in examples:
        image = example.image
        # By content: a copied or freshly unpacked data set is the same one. The origin decides the crops.
        content = image.read_bytes() if isinstance(image, Path) else example.open().tobytes()
        digest.update(hashlib.sha256(content).digest() + example.origin.encode())
    return digest.hexdigest()[:32]
