"""How BART scores the phrases that may fill a slot: all candidates in one decoder pass per image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from iec_hub.errors import DataError

# Logits held at once while scoring, in elements: 2**25 are 128 MB in float32.
_MAX_LOGITS = 2**25


def score_candidates(
    language_model: nn.Module,
    encoder_hidden_states: torch.Tensor,
    encoder_attention_mask: torch.Tensor,
    decoder_input_ids: torch.Tensor,
    decoder_attention_mask: torch.Tensor,
    candidate_ids: torch.Tensor,
    candidate_attention_mask: torch.Tensor,
) -> torch.Tensor:
    """Mean log-likelihood per token of every candidate in every image's slot.

    The candidates are packed behind the prompt in one decoder sequence with a block-diagonal causal mask: each sees
    the prompt and itself. So the prompt, the encoder's keys and values and the first token's softmax are computed
    once per image, and no padding is computed at all.

    Args:
        encoder_hidden_states, encoder_attention_mask: `(batch, source, D)`, `(batch, source)`.
        decoder_input_ids, decoder_attention_mask: `(batch, prompt)`, padded on the right.
        candidate_ids, candidate_attention_mask: `(candidates, tokens)`, padded on the right.

    Returns:
        `(batch, candidates)`, float32, at most 0.

    Raises:
        DataError: if a candidate does not fit behind the prompt.
    """
    room = language_model.config.max_position_embeddings - decoder_input_ids.shape[1]
    lengths = candidate_attention_mask.sum(1).tolist()
    scores, start = [], 0
    while start < len(lengths):
        end, used = start, 0
        while end < len(lengths) and (end == start or used + lengths[end] - 1 <= room):
            used += lengths[end] - 1
            end += 1
        if used > room:
            raise DataError(f"A label of {lengths[start]} tokens is longer than the language part reads; shorten it.")
        scores.append(
            _score_packed(
                language_model,
                encoder_hidden_states,
                encoder_attention_mask,
                decoder_input_ids,
                decoder_attention_mask,
                candidate_ids[start:end],
                candidate_attention_mask[start:end],
            )
        )
        start = end
    return torch.cat(scores, dim=1)


def _score_packed(language_model, encoded, encoded_mask, prompt_ids, prompt_mask, candidate_ids, candidate_mask):
    device, (batch, prompt_length) = encoded.device, prompt_ids.shape
    # A candidate's last token is predicted but never read, so it is no input.
    is_input = candidate_mask[:, 1:].bool()
    owner, step = is_input.nonzero(as_tuple=True)
    packed_ids = candidate_ids[:, :-1][is_input]
    prompt_lengths = prompt_mask.sum(1, keepdim=True)

    positions = torch.cat(
        [torch.arange(prompt_length, device=device).expand(batch, -1), prompt_lengths + step[None]], dim=1
    )
    sees_prompt = prompt_mask.bool()[:, None, :].expand(-1, positions.shape[1], -1)
    causal = torch.ones(prompt_length, prompt_length, dtype=torch.bool, device=device).tril()
    own = (owner[:, None] == owner[None]) & (step[:, None] >= step[None])
    sees_packed = torch.cat([own.new_zeros(prompt_length, len(owner)), own]).expand(batch, -1, -1)
    sees_prompt = sees_prompt & torch.cat([causal, causal.new_ones(len(owner), prompt_length)])
    allowed = torch.cat([sees_prompt, sees_packed], dim=2)
    attention_bias = torch.zeros(allowed.shape, dtype=encoded.dtype, device=device)
    attention_bias = attention_bias.masked_fill(~allowed, torch.finfo(encoded.dtype).min)[:, None]

    decoder = language_model.get_decoder()
    inputs = torch.cat([prompt_ids, packed_ids.expand(batch, -1)], dim=1)
    hidden = decoder(
        inputs_embeds=decoder.embed_tokens(inputs) + _position_shift(decoder, inputs, positions),
        attention_mask=attention_bias,
        encoder_hidden_states=encoded,
        encoder_attention_mask=encoded_mask,
        use_cache=False,
    ).last_hidden_state

    last = hidden[torch.arange(batch, device=device), prompt_lengths[:, 0] - 1]
    first_tokens = candidate_ids[:, 0].expand(batch, -1)
    totals = _log_probabilities(language_model, last[:, None], first_tokens[:, None])[:, 0]
    if len(owner):
        next_tokens = candidate_ids[:, 1:][is_input].expand(batch, -1)
        rest = _log_probabilities(language_model, hidden[:, prompt_length:], next_tokens[..., None])[..., 0]
        totals = totals.index_add(1, owner, rest)
    return totals / candidate_mask.sum(1).to(totals)


def _position_shift(decoder: nn.Module, inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """What turns the running positions that the decoder adds by itself into the given ones, `(batch, n, D)`."""
    running = torch.arange(positions.shape[1], device=positions.device)
    # Through the module and not its weight, which is elsewhere while a model is offloaded.
    wanted = decoder.embed_positions(inputs, position_ids=positions)
    return wanted.view(*positions.shape, -1) - decoder.embed_positions(inputs, position_ids=running)


def _log_probabilities(language_model: nn.Module, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability of `tokens` `(batch, places, n)` at `hidden` `(batch, places, D)`, a few rows at a time."""
    head, bias = language_model.get_output_embeddings(), getattr(language_model, "final_logits_bias", None)
    rows = max(1, _MAX_LOGITS // (hidden.shape[1] * head.weight.shape[0]))
    parts = []
    for part, wanted in zip(hidden.split(rows), tokens.split(rows), strict=True):
        logits = head(part)
        logits = (logits if bias is None else logits + bias.to(logits)).float()
        parts.append(logits.gather(-1, wanted) - logits.logsumexp(-1, keepdim=True))
    return torch.cat(parts)


def slot_constraint(
    candidate_ids: torch.Tensor,
    candidate_attention_mask: torch.Tensor,
    candidate_mask: torch.Tensor | None,
    prompt_length: int,
    end_token_id: int,
    rows_per_image: int = 1,
) -> Callable[[int, torch.Tensor], list[int]]:
    """A `prefix_allowed_tokens_fn`: after the prompt, only tokens that lead to one of the image's candidates.

    Args:
        candidate_mask: `(batch, candidates)`; `None` allows every candidate for every image.
        rows_per_image: sequences sampled per image (`num_return_sequences`); beams of an image share one row.
    """
    lengths = candidate_attention_mask.sum(1).tolist()
    phrases = [tuple(ids[:length]) for ids, length in zip(candidate_ids.tolist(), lengths, strict=True)]
    allowed = None if candidate_mask is None else candidate_mask.tolist()

    def next_tokens(row: int, written: torch.Tensor) -> list[int]:
        so_far = tuple(written[prompt_length:].tolist())
        mine = phrases
        if allowed is not None:
            mine = [phrase for phrase, ok in zip(phrases, allowed[row // rows_per_image], strict=True) if ok]
        following = {p[len(so_far)] for p in mine if p[: len(so_far)] == so_far and len(p) > len(so_far)}
        if so_far in mine or not following:
            following.add(end_token_id)
        return sorted(following)

    return next_tokens
