"""Normalisation of frozen image features before a trainable part reads them."""

from __future__ import annotations

import torch
from torch import nn


class PowerNorm(nn.Module):
    """Signed square root, then standardisation with fixed statistics.

    The root tames the heavy tails of rectified features (Perronnin et al., ECCV 2010, for Fisher vectors).
    """

    def __init__(self, size: int):
        super().__init__()
        # Persistent, so that they travel with the checkpoint.
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return (self.root(pooled) - self.mean) * self.scale

    @staticmethod
    def root(pooled: torch.Tensor) -> torch.Tensor:
        return pooled.sign() * (pooled.abs() + 1e-6).sqrt()

    @torch.no_grad()
    def fit(self, pooled: torch.Tensor) -> None:
        """Set the statistics from pooled features `(images, size)`; a constant feature is switched off."""
        rooted = self.root(pooled.float())
        deviation = rooted.std(0)
        self.mean.copy_(rooted.mean(0))
        self.scale.copy_(torch.where(deviation > 1e-4, 1 / deviation.clamp_min(1e-4), 0))


def build_feature_norm(kind: str, size: int) -> nn.Module:
    """`"power"` or `"none"`, for pooled features of a width."""
    # CODEPATH: "power" with frozen convolutional towers (the mini checkpoints), "none" with the presets' transformers.
    return PowerNorm(size) if kind == "power" else nn.Identity()


__all__ = ["PowerNorm", "build_feature_norm"]
