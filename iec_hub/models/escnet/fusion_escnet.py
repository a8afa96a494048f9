"""Joining a caption's words and an image's places: word gate, attention both ways, self-attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it
from transformers.modeling_layers import GradientCheckpointingLayer

from iec_hub.models.escnet.configuration_escnet import EscnetConfig


class FusionOutput(NamedTuple):
    """What the fusion makes of images and captions.

    Attributes:
        fused: `(batch, width)`, one vector per image.
        word_gates: `(batch, words)` in [0, 1], how emotionally charged each caption token is.
        word_attention: `(batch, words, places)`, where each token looks; rows sum to at most 1, the rest being what
            it found nowhere.
    """

    fused: torch.Tensor
    word_gates: torch.Tensor | None = None
    word_attention: torch.Tensor | None = None


class WordGate(nn.Module):
    """The emotional salience of every token: an affect lexicon's opinion of the word plus what its context says.

    Args:
        size: width of the tokens' hidden states.
        vocabulary: number of token ids.
    """

    def __init__(self, size: int, vocabulary: int):
        super().__init__()
        self.context = nn.Linear(size, 1)
        # Log-odds of each token id being charged, from an affect lexicon; 0 where nothing is known.
        self.register_buffer("lexicon", torch.zeros(vocabulary))

    def forward(self, hidden: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """`(batch, words, size)` and ids `(batch, words)` to gates `(batch, words)` in [0, 1]."""
        logits = self.context(hidden)[..., 0].float() + self.lexicon[token_ids].float()
        return torch.sigmoid(logits).to(hidden.dtype)


class CrossAttention(nn.Module):
    """Multi-head attention that also says where it looked.

    A learned key with a zero value stands beside the given ones: what a query finds nowhere ("which", "makes") goes
    there, and a row without any key is defined.
    """

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_norm = nn.LayerNorm(size)
        self.key_norm = nn.LayerNorm(size)
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)
        self.nowhere = nn.Parameter(torch.zeros(heads, 1, size // heads))

    def forward(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        key_mask: torch.Tensor,
        value_gates: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend from `(batch, m, size)` to `(batch, n, size)`.

        Args:
            key_mask: `(batch, n)`, which keys are there.
            value_gates: `(batch, n)`, factors of the values.

        Returns:
            What was found, `(batch, m, size)`, and the attention `(batch, m, n)` averaged over heads.
        """
        q, k, v = (
            projection(norm(states)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, norm, states in (
                (self.q_proj, self.query_norm, queries),
                (self.k_proj, self.key_norm, keys),
                (self.v_proj, self.key_norm, keys),
            )
        )
        if value_gates is not None:
            v = v * value_gates[:, None, :, None]
        k = torch.cat([self.nowhere.to(k).expand(len(k), -1, -1, -1), k], dim=2)
        scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
        absent = F.pad(~key_mask.bool(), (1, 0))[:, None, None]
        attention = scores.masked_fill(absent, float("-inf")).softmax(-1).to(v.dtype)[..., 1:]
        return self.out_proj((attention @ v).transpose(1, 2).flatten(2)), attention.mean(1)


class FusionLayer(GradientCheckpointingLayer):
    """Pre-norm self-attention over all tokens of image and caption, then a feed-forward layer."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(size)
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)
        self.feed_forward_norm = nn.LayerNorm(size)
        self.feed_forward_in = nn.Linear(size, 2 * size)
        self.feed_forward_out = nn.Linear(2 * size, size)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States `(batch, n, size)` and which of them are there `(batch, n)`."""
        normed = self.attention_norm(states)
        q, k, v = (
            projection(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool()[:, None, None])
        states = states + self.dropout(self.out_proj(attended.transpose(1, 2).flatten(2)))
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(states)))
        return states + self.dropout(self.feed_forward_out(hidden))


class CaptionFusion(nn.Module):
    r"""
    Image places V, a whole-image vector and caption tokens T to one vector per image.

    1. Caption-related visual features: every token attends to the places, `V' = softmax(T V^T / sqrt(d)) V`, and what
       it finds is multiplied by its gate.
    2. The places attend to the tokens, whose values are gated too.
    3. `[whole image ; tokens + V' ; places + T']` goes through self-attention.
    4. The whole image's state, the gate-weighted mean over tokens and the mean over places are joined.
    """

    def __init__(self, config: EscnetConfig, token_size: int, pooled_size: int, text_size: int, vocabulary: int):
        super().__init__()
        size, self.config = config.fusion_size, config
        self.dropout = nn.Dropout(config.fusion_dropout)
        self.image_input = nn.Linear(token_size, size)
        self.whole_input = nn.Linear(pooled_size, size)
        self.image_norm = nn.LayerNorm(size)
        self.whole_norm = nn.LayerNorm(size)
        # CODEPATH: the ablations of the paper; each part can be left out.
        if config.use_captions:
            self.text_input = nn.Linear(text_size, size)
            self.text_norm = nn.LayerNorm(size)
            self.words_to_image = CrossAttention(size, config.fusion_heads)
            self.image_to_words = CrossAttention(size, config.fusion_heads)
            if config.use_word_gate:
                self.gate = WordGate(text_size, vocabulary)
        layers = config.fusion_layers if config.use_self_attention else 0
        self.layers = nn.ModuleList(
            FusionLayer(size, config.fusion_heads, config.fusion_dropout) for _ in range(layers)
        )

    @property
    def output_size(self) -> int:
        return (3 if self.config.use_captions else 2) * self.config.fusion_size

    def forward(
        self,
        whole: torch.Tensor,
        places: torch.Tensor,
        visible: torch.Tensor,
        words: torch.Tensor | None,
        word_ids: torch.Tensor | None,
        word_mask: torch.Tensor | None,
    ) -> FusionOutput:
        """Join images and captions.

        Args:
            whole: `(batch, pooled size)`; `places`: `(batch, n, token size)`.
            visible: `(batch,)`, 0 where there is no image and the caption speaks alone.
            words, word_ids, word_mask: `(batch, m, text size)`, `(batch, m)` and `(batch, m)`.
        """
        place_mask = visible[:, None].bool().expand(places.shape[:2])
        image = self.dropout(self.image_norm(self.image_input(places))) * place_mask[..., None]
        whole = self.whole_norm(self.whole_input(self.dropout(whole)))[:, None] * visible[:, None, None].to(whole)
        states, mask = [whole], [visible[:, None].bool()]
        gates = attention = None
        if self.config.use_captions:
            text = self.dropout(self.text_norm(self.text_input(words)))
            gates = self._gates(words, word_ids, word_mask)
            found, attention = self.words_to_image(text, image, place_mask)
            told, _ = self.image_to_words(image, text, word_mask, gates)
            states += [text + gates[..., None] * found, image + told]
            mask += [word_mask.bool(), place_mask]
        else:
            states, mask = [*states, image], [*mask, place_mask]
        lengths = [part.shape[1] for part in states]
        joined, present = torch.cat(states, dim=1), torch.cat(mask, dim=1)
        for layer in self.layers:
            joined = layer(joined, present)
        parts = joined.split(lengths, dim=1)
        weights = [part.to(joined) for part in mask]
        if gates is not None:
            weights[1] = gates
        pooled = [
            (part * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1e-4)
            for part, weight in zip(parts, weights, strict=True)
        ]
        return FusionOutput(torch.cat(pooled, dim=-1), gates, attention)

    def _gates(self, words: torch.Tensor, word_ids: torch.Tensor, word_mask: torch.Tensor) -> torch.Tensor:
        # CODEPATH: as in __init__.
        gates = self.gate(words, word_ids) if self.config.use_word_gate else torch.ones_like(words[..., 0])
        return gates * word_mask.to(gates)


__all__ = ["CaptionFusion", "CrossAttention", "FusionLayer", "FusionOutput", "WordGate"]
