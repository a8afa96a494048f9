"""Vision towers as they are served on a processor: less arithmetic for the same features.

Towers are folded to answer, never to be trained or saved: their batch normalisations are gone.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import PreTrainedModel
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetSqueezeExciteLayer

from iec_hub.models.served_layers import serve_by_onednn

# EfficientNet's convolutions and the normalisation that each is followed by, as its modules name them.
_FOLLOWED_BY = {
    "convolution": "batchnorm",
    "expand_conv": "expand_bn",
    "depthwise_conv": "depthwise_norm",
    "project_conv": "project_bn",
    "top_conv": "top_bn",
}

# The early feature maps of more do not stay in a processor's cache, and take blocks of memory that are not kept.
_FEW_IMAGES = 2


@torch.no_grad()
def folded_tower(tower: PreTrainedModel) -> PreTrainedModel:
    """A vision tower with the same features (but for rounding, about 1e-5 of their range) and less to compute.

    Of an EfficientNet in float32, batch normalisations become part of their convolutions, squeeze-and-excitation that
    multiplies by one is left out, and weights lie as such convolutions read them. What an adapter has wrapped stays as
    it is, and so does any other tower, which is returned itself. Where a rectifier's input is all but 0, rounding
    decides whether a gradient passes it: heat maps may differ by some thousandths.

    Returns:
        A copy in evaluation mode, none of whose parameters asks for a gradient; gradients still reach the image.
    """
    if tower.config.model_type != "efficientnet" or tower.dtype != torch.float32:
        return tower
    tower = copy.deepcopy(tower).eval().requires_grad_(False)
    for module in list(tower.modules()):
        for name, following in _FOLLOWED_BY.items():
            convolution, norm = getattr(module, name, None), getattr(module, following, None)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
                setattr(module, following, nn.Identity())
        for name, part in list(module.named_children()):
            if isinstance(part, EfficientNetSqueezeExciteLayer) and _multiplies_by_one(part):
                setattr(module, name, nn.Identity())
            if isinstance(part, nn.Hardtanh):  # of what a convolution has just written for it alone
                part.inplace = True
    return tower.requires_grad_(False).to(memory_format=torch.channels_last)


def _multiplies_by_one(layer: EfficientNetSqueezeExciteLayer) -> bool:
    """Whether nothing but the bias decides, and that is too great for the sigmoid: EfficientNet-lite has such."""
    expand = layer.expand
    if not isinstance(expand, nn.Conv2d) or bool(expand.weight.count_nonzero()):
        return False
    return bool((expand.bias.sigmoid() == 1).all())


def prepare_to_serve(models: Iterable[PreTrainedModel]) -> None:
    """Fold the towers of image emotion models, give one to those whose towers are alike, and keep nothing to learn by.

    On a processor, oneDNN computes their linear maps. The models are changed: they are not to be trained or saved any
    more.
    """
    seen: list[tuple[nn.Module, nn.Module]] = []
    for model in models:
        model.requires_grad_(False)
        tower = model.vision_model
        folded = next((folded for other, folded in seen if _are_alike(tower, other)), None) or folded_tower(tower)
        if folded is not tower:
            seen.append((tower, folded))
            model.vision_model = folded
        if next(model.vision_model.parameters()).device.type == "cpu":
            model.images_at_once = _FEW_IMAGES
        serve_by_onednn(model)


def _are_alike(tower: nn.Module, other: nn.Module) -> bool:
    """Whether two towers compute the same from the same weights."""
    if str(tower) != str(other) or any("lora" in name for name, _ in tower.named_parameters()):
        # Their parts with all sizes; an adapter's scale stands neither there nor among the weights.
        return False
    pairs = itertools.zip_longest(tower.state_dict().items(), other.state_dict().items(), fillvalue=("", None))
    return all(
        name == other_name and ours.device == theirs.device and torch.equal(ours, theirs)
        for (name, ours), (other_name, theirs) in pairs
    )


__all__ = ["folded_tower", "prepare_to_serve"]
