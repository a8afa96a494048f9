"""Captions of a data set by a generator, written once and kept on disk: generating takes longer than all the rest."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import torch
from PIL import Image
from tqdm.auto import tqdm

from iec_hub.data import EmotionExample
from iec_hub.errors import DataError, IecHubError
from iec_hub.images import open_image
from iec_hub.models.escnet import AttributeCaptioner, EscnetForImageEmotion, EscnetProcessor
from iec_hub.predictor import DECODE_SIDE

logger = logging.getLogger(__name__)

# To be raised when captions would come out differently for another reason than what the fingerprint covers.
_FORMAT = 1
_PASSING = ("_name_or_path", "architectures", "dtype", "transformers_version")


def cached_captions(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    examples: Sequence[EmotionExample],
    cache: Path | None,
    batch_size: int = 16,
    description: str = "captions",
    **generation: Any,
) -> list[str]:
    """The captions that a model's generator writes about images, one each, in the order of the examples.

    They are kept in a JSON-lines file of `cache`, which all data sets share and which is named by a fingerprint of the
    captioner's weights, the settings of generation and the preprocessing. A line is written as soon as there is a
    caption, so that a killed run goes on where it stopped. An image that cannot be opened has the caption "", and is
    tried again the next time.

    Args:
        cache: a folder; `None` keeps nothing.
        batch_size: images at a time.
        description: of the progress bar.
        generation: arguments of `generate`, as for [`~EscnetForImageEmotion.generate_caption`]; sampled captions
            (`do_sample`) are kept as they were first drawn.

    Raises:
        DataError: if the model's captioner is no generator.
    """
    if model.captioner is None or isinstance(model.captioner, AttributeCaptioner):
        raise DataError("Only a generator's captions are kept on disk; give a model with one, such as BLIP.")
    keys, problems = image_keys(examples)
    path = None if cache is None else cache / f"captions-{_fingerprint(model, processor, generation)}.jsonl"
    captions = {} if path is None else _read(path)
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key is not None and key not in captions:
            first.setdefault(key, index)
    todo = [(key, examples[index]) for key, index in first.items()]
    if todo:
        file = None if path is None else opened_at_end(path)
        try:
            problems += _generate(model, processor, todo, captions, file, batch_size, description, generation)
        finally:
            if file is not None:
                file.close()
    if problems:
        logger.warning("%s: %d images have no caption; the first: %s", description, len(problems), problems[0])
    return ["" if key is None else captions.get(key, "") for key in keys]


def image_keys(examples: Sequence[EmotionExample]) -> tuple[list[str | None], list[str]]:
    """What tells each image from all others, `None` for one that cannot be read; and why not."""
    keys: list[str | None] = []
    problems = []
    for example in examples:
        try:
            keys.append(image_key(example.image))
        except (IecHubError, OSError) as error:
            reason = str(error) if isinstance(error, IecHubError) else f"its file cannot be read ({error.strerror})"
            problems.append(f"{example.origin}: {reason}")
            keys.append(None)
    return keys, problems


def image_key(image: Any) -> str:
    """A digest of a file's or else of the picture's own content: a copied data set is the same one."""
    if isinstance(image, Path):
        content = image.read_bytes()
    else:
        opened = open_image(image)
        content = f"{opened.size}|".encode() + opened.tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


def _fingerprint(model: EscnetForImageEmotion, processor: EscnetProcessor, generation: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.captioner.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        # As bytes, because numpy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    settings = [
        _FORMAT,
        _lasting(model.captioner.config.to_dict()),
        _lasting(model.captioner.generation_config.to_dict()),
        model.config.caption_generation,
        generation,
        processor.image_processor.to_dict(),
        processor.captioner_tokenizer.get_vocab(),
        DECODE_SIDE,
    ]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


def _lasting(settings: Any) -> Any:
    """Settings without what saving and loading a model changes."""
    if not isinstance(settings, dict):
        return settings
    return {name: _lasting(value) for name, value in settings.items() if name not in _PASSING}


def _read(path: Path) -> dict[str, str]:
    """The captions of a file; what is no whole line is passed over."""
    captions: dict[str, str] = {}
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                    key, caption = entry["image"], entry["caption"]
                except (ValueError, TypeError, KeyError):
                    continue
                if isinstance(key, str) and isinstance(caption, str):
                    captions[key] = caption
    return captions


def opened_at_end(path: Path) -> BinaryIO:
    """The file to append to; after a half-written line, a new one is begun."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab+")
    if file.tell():
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


@torch.inference_mode()
def _generate(
    model: EscnetForImageEmotion,
    processor: EscnetProcessor,
    todo: Sequence[tuple[str, EmotionExample]],
    captions: dict[str, str],
    file: BinaryIO | None,
    batch_size: int,
    description: str,
    generation: dict[str, Any],
) -> list[str]:
    """Add what is missing to `captions` and to the file; returns what was wrong with images."""
    problems: list[str] = []
    was_training = model.training
    model.eval()
    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
    try:
        with ThreadPoolExecutor(2) as pool:
            following = [pool.submit(_open, example) for _, example in batches[0]]
            for number, batch in enumerate(tqdm(batches, desc=description, unit="batch")):
                jobs = following
                # Read while the captioner writes.
                following = [
                    pool.submit(_open, example)
                    for _, example in (batches[number + 1] if number + 1 < len(batches) else ())
                ]
                loaded = [(key, job.result()) for (key, _), job in zip(batch, jobs, strict=True)]
                problems += [image for _, image in loaded if isinstance(image, str)]
                usable = [(key, image) for key, image in loaded if not isinstance(image, str)]
                if not usable:
                    continue
                images = [image for _, image in usable]
                pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
                # The pixels alone: the captioner's own tower looks at them, once.
                written, _ = model.generate_caption(processor, pixels.to(model.device), **generation)
                for (key, _), caption in zip(usable, written, strict=True):
                    captions[key] = caption
                    if file is not None:
                        file.write(json.dumps({"image": key, "caption": caption}).encode() + b"\n")
                if file is not None:
                    file.flush()
    finally:
        model.train(was_training)
    return problems


def _open(example: EmotionExample) -> Image.Image | str:
    """The image, or why there is none."""
    try:
        return example.open(max_side=DECODE_SIDE)
    except IecHubError as error:
        return f"{example.origin}: {error}"


__all__ = ["cached_captions", "image_key", "image_keys", "opened_at_end"]
