"""Mapping networks: from what the vision tower says to prefix embeddings of the language part."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the field's name for it
from transformers.modeling_layers import GradientCheckpointingLayer

from iec_hub.models.ugrie.configuration_ugrie import UgrieConfig


class MlpMapping(nn.Module):
    """`d -> hidden -> tanh -> k * D`: the pooled image becomes all k prefix embeddings at once."""

    def __init__(self, input_size: int, hidden_size: int, prefix_length: int, output_size: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.input = nn.Linear(input_size, hidden_size)
        self.output = nn.Linear(hidden_size, prefix_length * output_size)
        self.prefix_length = prefix_length

    def forward(self, pooled: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """`(batch, input_size)` to `(batch, prefix_length, output_size)`."""
        hidden = torch.tanh(self.input(self.dropout(pooled)))
        return self.output(hidden).unflatten(-1, (self.prefix_length, -1))


class TransformerMapping(nn.Module):
    """k learned queries attend to the image tokens and to each other."""

    def __init__(self, input_size: int, output_size: int, config: UgrieConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.mapping_dropout)
        self.input = nn.Linear(input_size, output_size)
        self.queries = nn.Parameter(torch.empty(config.prefix_length, output_size))
        self.layers = nn.ModuleList(
            MappingLayer(output_size, config.mapping_heads) for _ in range(config.mapping_layers)
        )

    def forward(self, pooled: torch.Tensor | None, tokens: torch.Tensor | None) -> torch.Tensor:
        """Tokens `(batch, n, input_size)` to `(batch, prefix_length, output_size)`."""
        if tokens is None:
            raise ValueError("The transformer mapping reads image tokens; give token_features beside pooled_features.")
        context = self.input(self.dropout(tokens))
        prefix = self.queries.to(context.dtype).expand(context.shape[0], -1, -1)
        for layer in self.layers:
            prefix = layer(prefix, context)
        return prefix


class MappingLayer(GradientCheckpointingLayer):
    """Pre-norm attention of the prefix over `[prefix ; image tokens]`, then a feed-forward layer."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(size)
        self.context_norm = nn.LayerNorm(size)
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)
        self.feed_forward_norm = nn.LayerNorm(size)
        self.feed_forward_in = nn.Linear(size, 2 * size)
        self.feed_forward_out = nn.Linear(2 * size, size)

    def forward(self, prefix: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        queries = self.attention_norm(prefix)
        keys = torch.cat([queries, self.context_norm(context)], dim=1)
        q, k, v = (
            projection(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, states in ((self.q_proj, queries), (self.k_proj, keys), (self.v_proj, keys))
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        prefix = prefix + self.out_proj(attended)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(prefix)))
        return prefix + self.feed_forward_out(hidden)


class SemanticMapping(nn.Module):
    """The image's place in a sentence-embedding space, and prefix embeddings made from such a place.

    A text's own sentence embedding can enter instead of the image's: then the text teaches the language part what an
    image with that description would evoke.
    """

    def __init__(self, input_size: int, output_size: int, config: UgrieConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.mapping_dropout)
        self.input = nn.Linear(input_size, config.semantic_hidden_size)
        self.hidden = nn.Linear(config.semantic_hidden_size, config.semantic_size)
        self.output = nn.Linear(config.semantic_size, config.semantic_prefix_length * output_size)
        self.prefix_length = config.semantic_prefix_length

    def embed(self, pooled: torch.Tensor) -> torch.Tensor:
        """`(batch, input_size)` to unit vectors `(batch, semantic_size)`."""
        return F.normalize(self.hidden(F.gelu(self.input(self.dropout(pooled)))), dim=-1)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """`(batch, semantic_size)` to `(batch, semantic_prefix_length, output_size)`."""
        # A unit vector's entries are small; times sqrt(size) they have the unit scale that the weights expect.
        return self.output(embedding * embedding.shape[-1] ** 0.5).unflatten(-1, (self.prefix_length, -1))


def build_mapping(input_size: int, token_size: int, output_size: int, config: UgrieConfig) -> nn.Module:
    """The mapping network that the configuration names."""
    if config.mapping_type == "transformer":
        return TransformerMapping(token_size, output_size, config)
    hidden_size = config.mapping_hidden_size or config.prefix_length * output_size // 2
    return MlpMapping(input_size, hidden_size, config.prefix_length, output_size, config.mapping_dropout)
