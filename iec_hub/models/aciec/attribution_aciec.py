"""Which words decided: how much less probable the top label is without them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature

from iec_hub.models.aciec.text_aciec import TextParts
from iec_hub.prediction import ScoredText

MOST_WORDS = 64  # that are tried, first come first
MOST_SHOWN = 12
_BATCH = 32
_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


@torch.no_grad()
def deciding_words(
    model: Any, processor: Any, batch: BatchFeature, parts: Sequence[TextParts], top: Sequence[int]
) -> list[tuple[ScoredText, ...]]:
    """Leave one word out at a time, everywhere it stands, and see what that does to the top label.

    A left-out word is hidden from the text classifier's attention, so that the others keep their places.

    Args:
        batch: what the model has just read, with `input_ids` and `attention_mask`.
        parts: per item, the texts of `input_ids`.
        top: per item, the column of its top label among its own candidates.

    Returns:
        Per item its words, the most decisive first, with their share of all drops of the log-probability; words
        without which the label would be no less probable are left out. Shares are in (0, 1] and sum to at most 1.
    """
    found = []
    for i, item in enumerate(parts):
        words = _words(processor, item)
        if not words:
            found.append(())
            continue
        rows, length = list(words.values()), int(batch["attention_mask"][i].sum())
        mask = torch.ones(len(rows) + 1, length, dtype=torch.long)
        for row, (_, tokens) in enumerate(rows):
            mask[row + 1, tokens] = 0
        scores = _scores(model, batch, i, mask.to(batch["input_ids"].device), top[i])
        drops = [(text, float(scores[0] - scores[row + 1])) for row, (text, _) in enumerate(rows)]
        total = sum(drop for _, drop in drops if drop > 0)
        best = sorted((pair for pair in drops if pair[1] > 0), key=lambda pair: -pair[1])[:MOST_SHOWN]
        found.append(tuple(ScoredText(text, drop / total) for text, drop in best))
    return found


def _words(processor: Any, parts: TextParts) -> dict[str, tuple[str, list[int]]]:
    """Words of the text as it was read, in lower case, each with its spelling and the places of its tokens."""
    _, spans = processor.lay_out(parts)
    at: dict[tuple[int, int], list[int]] = {}
    for token, span in enumerate(spans):
        for letter in range(*span[1:]) if span is not None else ():
            at.setdefault((span[0], letter), []).append(token)  # several: a letter that is written in bytes
    words: dict[str, tuple[str, list[int]]] = {}
    for part, text in enumerate(parts):
        for match in _WORD.finditer(text):
            tokens = sorted({token for letter in range(*match.span()) for token in at.get((part, letter), ())})
            known = match.group().casefold() in words
            if tokens and (known or len(words) < MOST_WORDS):
                words.setdefault(match.group().casefold(), (match.group(), []))[1].extend(tokens)
    return words


def _scores(model: Any, batch: BatchFeature, item: int, mask: torch.Tensor, top: int) -> torch.Tensor:
    """Log-probability of the item's top label under each attention mask `(masks, tokens)`."""
    columns = batch["candidate_ids"][batch["candidate_mask"][item]]
    ids = batch["input_ids"][item, : mask.shape[1]]
    parts = []
    for start in range(0, len(mask), _BATCH):
        rows = mask[start : start + _BATCH]
        logits = model(input_ids=ids.expand(len(rows), -1), attention_mask=rows, candidate_ids=columns).logits
        parts.append(logits.float().log_softmax(-1)[:, top])
    return torch.cat(parts)


__all__ = ["deciding_words"]
