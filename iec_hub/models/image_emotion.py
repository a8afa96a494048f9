"""What the three methods' models share: outputs, the vision tower's features, soft-label loss, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import BatchFeature
from transformers.utils import ModelOutput

from iec_hub.emotions import EmotionModel
from iec_hub.errors import DataError
from iec_hub.models.adaptable_model import AdaptableModel
from iec_hub.models.configuration_image_emotion import ImageEmotionConfig


@dataclass
class ImageEmotionOutput(ModelOutput):
    """Output of an image emotion model.

    Attributes:
        loss: scalar, present when `labels` was given.
        logits: `(batch, candidates)`; `-inf` where a candidate is not of the image's emotion model. Their softmax,
            after the configuration's temperature, is the predicted distribution.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class VisionFeatures(NamedTuple):
    """What a vision tower says about a batch of images.

    Attributes:
        pooled: `(batch, width)`, one vector per image.
        tokens: `(batch, tokens, token width)`, spatial tokens in reading order, without class or register tokens.
        evidence: the hidden states whose gradients show which region spoke.
        aspect: columns per row of the tokens' grid.
        hidden: the last hidden state as the tower gave it, special tokens and all.
    """

    pooled: torch.Tensor
    tokens: torch.Tensor | None = None
    evidence: tuple[torch.Tensor, ...] = ()
    aspect: float = 1.0
    hidden: torch.Tensor | None = None

    def rows(self, indices: Sequence[int]) -> VisionFeatures:
        """Features of some of the images, without evidence."""
        chosen = [None if part is None else part[list(indices)] for part in (self.pooled, self.tokens, self.hidden)]
        return VisionFeatures(chosen[0], chosen[1], (), self.aspect, chosen[2])

    @classmethod
    def joined(cls, parts: Sequence[VisionFeatures]) -> VisionFeatures:
        """Features of all images of `parts`, in their order, without evidence."""
        every = [(part.pooled, part.tokens, part.hidden) for part in parts]
        pooled, tokens, hidden = (torch.cat(rows) for rows in zip(*every, strict=True))
        return cls(pooled, tokens, (), parts[0].aspect, hidden)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        rows = int((self.tokens.shape[1] / self.aspect) ** 0.5 + 1e-6)
        return rows, self.tokens.shape[1] // max(1, rows)


def vision_width(config: Any) -> int:
    """Channels of a vision tower's last hidden state, for token and feature-map backbones alike.

    Raises:
        DataError: if the configuration names no width.
    """
    # Widths per stage come before embed_dim, which is the first stage's; MobileViT ends in its neck.
    for name in ("hidden_dim", "hidden_size", "neck_hidden_sizes", "hidden_sizes", "embed_dim", "num_features"):
        width = getattr(config, name, None)
        if isinstance(width, list | tuple) and width:
            width = width[-1]
        if isinstance(width, int):
            return width
    raise DataError(
        f"The width of a {config.model_type!r} vision tower is not known; use a backbone with hidden_size."
    )


def _grid_aspect(config: Any, pixel_values: torch.Tensor) -> float:
    """Columns per row of the grid of patches that an image is cut into; 1 for square images."""
    patch = getattr(config, "patch_size", 1)
    height, width = patch if isinstance(patch, list | tuple) else (patch, patch)
    return (pixel_values.shape[-1] // width) / (pixel_values.shape[-2] // height)


def _as_tokens(hidden: torch.Tensor, aspect: float) -> tuple[torch.Tensor, tuple[int, int], int]:
    """Tokens `(batch, n, width)` of a hidden state, their grid, and how many leading tokens are not spatial."""
    if hidden.dim() == 4:
        return hidden.flatten(2).transpose(1, 2), (hidden.shape[2], hidden.shape[3]), 0
    rows = int((hidden.shape[1] / aspect) ** 0.5 + 1e-6)
    columns = round(rows * aspect)
    return hidden, (rows, columns), hidden.shape[1] - rows * columns


def read_vision(
    vision_model: nn.Module, pixel_values: torch.Tensor, layers: Sequence[int] = (), evidence: bool = False
) -> VisionFeatures:
    """Run any vision tower once.

    Args:
        pixel_values: `(batch, channels, height, width)`.
        layers: hidden states whose mean and standard deviation over places are joined to the pooled vector. Early
            layers know colour, light and texture, which the last one has forgotten.
        evidence: keep what :func:`region_evidence` needs. Where the pooled vector comes from a class token, the
            gradients of the last layer's image tokens are zero, so that evidence is read one layer earlier.
    """
    dtype = next(vision_model.parameters()).dtype
    if _is_depthwise(vision_model):
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
    output = vision_model(pixel_values=pixel_values.to(dtype), output_hidden_states=bool(layers) or evidence)
    last = output.last_hidden_state
    aspect = _grid_aspect(vision_model.config, pixel_values)
    tokens, _, special = _as_tokens(last, aspect)
    tokens = tokens[:, special:]
    pooled = None if last.dim() == 4 else getattr(output, "pooler_output", None)
    read_from = last if pooled is None else output.hidden_states[-2] if evidence else None
    pooled = tokens.mean(dim=1) if pooled is None else pooled
    early = [output.hidden_states[layer] for layer in layers]
    pooled = torch.cat([pooled, *(_statistics(hidden, aspect) for hidden in early)], dim=-1)
    return VisionFeatures(pooled, tokens, (read_from, *early) if evidence else (), aspect, last)


@torch.no_grad()
def measured_pooled_size(vision_model: nn.Module, layers: Sequence[int]) -> int:
    """Width of the pooled image with the statistics of `layers`, found by looking at a blank one."""
    side = getattr(vision_model.config, "image_size", 64)
    blank = torch.zeros(1, 3, *((side, side) if isinstance(side, int) else side))
    return read_vision(vision_model, blank, layers).pooled.shape[1]


def _is_depthwise(vision_model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in vision_model.modules())


def _statistics(hidden: torch.Tensor, aspect: float) -> torch.Tensor:
    """Mean and standard deviation over the places of a hidden state, `(batch, 2 * width)`."""
    if hidden.dim() == 4:
        values = hidden.float()
        mean = values.mean(dim=(2, 3))
        # Ten times as fast as `std_mean` where channels come last. At least something, as a root of 0 has no gradient.
        squares = (values - mean[..., None, None]).square().sum(dim=(2, 3))
        deviation = (squares / (values[0, 0].numel() - 1)).clamp_min(torch.finfo(torch.float32).tiny).sqrt()
    else:
        tokens, _, special = _as_tokens(hidden, aspect)
        deviation, mean = torch.std_mean(tokens[:, special:].float(), dim=1)
    return torch.cat([mean, deviation], dim=-1).to(hidden.dtype)


def region_evidence(score: torch.Tensor, features: VisionFeatures) -> torch.Tensor:
    """Gradient times activation of `score` at every place, summed over layers, positive part, scaled to at most 1.

    Args:
        score: `(batch,)`, for example the log-probability of each image's top label.

    Returns:
        `(batch, rows, columns)` in [0, 1], row 0 at the top; all zeros where nothing spoke for the score.
    """
    gradients = torch.autograd.grad(score.sum(), features.evidence)
    maps = []
    for gradient, hidden in zip(gradients, features.evidence, strict=True):
        product, grid, special = _as_tokens(gradient.float() * hidden.float(), features.aspect)
        maps.append(product[:, special:].sum(-1).reshape(-1, 1, *grid))
    rows, columns = maps[0].shape[2:]
    if len(maps) > 1:  # earlier layers are finer: show twice the last layer's grid
        rows, columns = 2 * rows, 2 * columns
    total = sum(_resized_sum(relevance, rows, columns) for relevance in maps).clamp_min(0)
    return (total / total.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).detach()


def _resized_sum(relevance: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """`(batch, 1, h, w)` to `(batch, rows, columns)` with the same sum per image."""
    cells = rows * columns / (relevance.shape[2] * relevance.shape[3])
    if cells < 1:
        resized = nn.functional.adaptive_avg_pool2d(relevance, (rows, columns))
    else:
        resized = nn.functional.interpolate(relevance, size=(rows, columns), mode="bilinear", align_corners=False)
    return resized[:, 0] / cells


def soft_label_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of `-sum_c q_c log softmax(logits)_c`; votes `q` are weights, `-inf` logits are absent.

    Args:
        logits, labels: `(batch, candidates)`; each row of `labels` sums to 1.
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    return -(labels.float() * log_probabilities.masked_fill(logits.isneginf(), 0.0)).sum(-1).mean()


def forward_inputs(batch: BatchFeature) -> dict[str, Any]:
    """What a model's forward reads of a gathered batch: an image whose features are known is not looked at again."""
    kept = {name: value for name, value in batch.items() if torch.is_tensor(value) or name == "vision_features"}
    if kept.get("vision_features") is not None:
        kept.pop("pixel_values", None)
    return kept


class ImageEmotionModel(AdaptableModel):
    """Base class of the three methods.

    A subclass turns a processor's batch into `ImageEmotionOutput.logits`; :meth:`explain` says what else it knows.
    """

    config: ImageEmotionConfig
    main_input_name = "pixel_values"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # Whether any label set can be asked for, trained or not.
    open_labels = False
    reads_captions = False
    # Whether text that stands in an image has a say; then images are opened in full size and read first.
    reads_embedded_text = False
    # Whether something beside the vision tower looks at the images, which it needs larger than the tower does.
    looks_at_images = False
    # Images that the tower sees at once where no gradients pass; 0 for all of a batch.
    images_at_once = 0

    def train(self, mode: bool = True) -> ImageEmotionModel:
        """As in PyTorch, but what is frozen in the vision tower stays as it is.

        A batch normalisation in training mode would go on updating its statistics, which no adapter stores.
        """
        super().train(mode)
        if mode:
            for module in (self.vision_model, *self.vision_model.modules()):
                whole = module is self.vision_model or isinstance(module, nn.modules.batchnorm._BatchNorm)
                if whole and not any(parameter.requires_grad for parameter in module.parameters()):
                    module.eval()
        return self

    def get_image_features(self, pixel_values: torch.Tensor, evidence: bool = False) -> VisionFeatures:
        """Run the vision tower once on `(batch, 3, height, width)`; `evidence` as in [`read_vision`]."""
        layers, most = self.config.vision_feature_layers, self.images_at_once
        if evidence or not 0 < most < len(pixel_values):
            return read_vision(self.vision_model, pixel_values, layers, evidence)
        return VisionFeatures.joined(
            [read_vision(self.vision_model, part, layers) for part in pixel_values.split(most)]
        )

    def gather(
        self, batch: BatchFeature, processor: Any, captions: Sequence[str | None] | None = None
    ) -> BatchFeature:
        """A processor's batch with what the method finds out about the images before it decides.

        Args:
            batch: `report` in it, where there is one, is told what becomes known meanwhile, as `predict` tells it.
            captions: per image, a ready caption, or `None` for the method's own; for methods that read captions.
        """
        return batch

    def described(self, batch: BatchFeature) -> list[dict[str, Any]]:
        """What a gathered batch already holds of :meth:`explain`'s fields, one dictionary per image.

        Returns:
            An empty list for methods that put nothing into words before they decide.
        """
        return []

    def correct_logits(self, logits: torch.Tensor, batch: BatchFeature, emotion_model: EmotionModel) -> torch.Tensor:
        """Logits as they enter the softmax; a method that scores words may correct for their own frequency."""
        return logits

    def evidence_score(self, batch: BatchFeature, top: Sequence[int]) -> torch.Tensor | None:
        """What the heat map is of, `(batch,)`, for methods whose decision has no gradient with respect to the image.

        Args:
            batch: with `vision_features` that carry gradients.
            top: index of each image's most probable label.

        Returns:
            `None` for methods that are simply asked for the top label's log-probability.
        """
        return None

    def explain(
        self, batch: BatchFeature, output: ImageEmotionOutput, processor: Any, top: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Further fields of :class:`~iec_hub.prediction.EmotionPrediction`, one dictionary per image.

        `caption_words` and `words` in it go into the prediction's evidence.

        Args:
            batch: `evidence` in it says whether evidence was asked for, which may cost something.
            top: index of each image's most probable label.
        """
        return [{} for _ in top]


__all__ = [
    "ImageEmotionModel",
    "ImageEmotionOutput",
    "VisionFeatures",
    "forward_inputs",
    "measured_pooled_size",
    "read_vision",
    "region_evidence",
    "soft_label_cross_entropy",
    "vision_width",
]
