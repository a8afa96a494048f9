"""Which concepts are in an image: the vision tower's pooled image against the embeddings of concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it

from iec_hub.errors import DataError
from iec_hub.models.aciec.configuration_aciec import AciecConfig


class ConceptDetector(nn.Module):
    """A projection of the pooled image into the space of concept embeddings.

    The embeddings are kept in the checkpoint, so that no text encoder has to run for them. `word_map` places further
    names there: it reads the mean of the text classifier's word embeddings of a name.

    Args:
        pooled_size: width of the pooled image; `word_size`: of the text classifier's word embeddings.
    """

    def __init__(self, config: AciecConfig, pooled_size: int, word_size: int):
        super().__init__()
        number = len(config.concepts)
        self.projection = nn.Linear(pooled_size, config.concept_size)
        self.embeddings = nn.Parameter(torch.empty(number, config.concept_size))
        # How frequent a concept is, as a log-odds that does not depend on the image.
        self.prior = nn.Parameter(torch.empty(number))
        self.scale = nn.Parameter(torch.empty(()))
        self.word_map = nn.Linear(word_size, config.concept_size)
        # Slope and offset that turn a concept's share into the probability that somebody would name it.
        self.register_buffer("calibration", torch.empty(2))

    def embed(self, whole: torch.Tensor) -> torch.Tensor:
        """Normed pooled images `(batch, pooled size)` to unit vectors `(batch, concept size)`."""
        return F.normalize(self.projection(whole.to(self.projection.weight.dtype)).float(), dim=-1)

    def forward(self, whole: torch.Tensor) -> torch.Tensor:
        """Normed pooled images to logits `(batch, concepts)`; their softmax is each concept's share."""
        return self.logits(self.embed(whole))

    def logits(self, embedded: torch.Tensor) -> torch.Tensor:
        """Unit vectors `(batch, concept size)` to logits `(batch, concepts)`."""
        keys = F.normalize(self.embeddings.float(), dim=-1)
        return self.scale.float() * embedded @ keys.T + self.prior.float()

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities in [0, 1] of being named, `(batch, concepts)`; they do not sum to 1."""
        slope, offset = self.calibration.float()
        return (slope * logits.log_softmax(-1) + offset).sigmoid()

    def from_words(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Names `(names, concept size)` by the mean of their word embeddings `(names, tokens, word size)`.

        Args:
            mask: `(names, tokens)`, 0 where a token is padding.
        """
        words = words.to(self.word_map.weight.dtype)
        mask = mask[..., None].to(words)
        return self.word_map((words * mask).sum(1) / mask.sum(1).clamp_min(1))

    @torch.no_grad()
    def replace(self, names: Sequence[str], embeddings: torch.Tensor, known: Mapping[str, int], keep: bool) -> None:
        """Look for other concepts from now on.

        Args:
            embeddings: `(names, concept size)`.
            known: name to place of the concepts until now; they keep their priors, and new ones get the mean.
            keep: whether known concepts keep their embeddings too.

        Raises:
            DataError: if the embeddings do not fit.
        """
        old, prior = self.embeddings, self.prior
        if tuple(embeddings.shape) != (len(names), old.shape[1]):
            raise DataError(
                f"Embeddings of shape {tuple(embeddings.shape)} do not fit {len(names)} concepts of width "
                f"{old.shape[1]}; give one row per concept."
            )
        embeddings, priors = embeddings.detach().clone().to(old), prior.mean().repeat(len(names))
        for place, name in enumerate(names):
            if name in known:
                priors[place] = prior[known[name]]
                if keep:
                    embeddings[place] = old[known[name]]
        self.embeddings = nn.Parameter(embeddings, requires_grad=old.requires_grad)
        self.prior = nn.Parameter(priors, requires_grad=prior.requires_grad)


__all__ = ["ConceptDetector"]
