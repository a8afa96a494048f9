"""From caption tokens to words that people read: their charge, and where in the image they look."""

from __future__ import annotations

import re
from typing import Any

import torch

from iec_hub.prediction import CaptionWord

# A place at which a word looks this many times as much as at the average one is shown at full strength.
_FOCUSED = 4.0
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def caption_words(
    caption: str,
    tokenizer: Any,
    token_ids: torch.Tensor,
    gates: torch.Tensor,
    attention: torch.Tensor,
    grid: tuple[int, int],
) -> tuple[CaptionWord, ...]:
    """The words of a caption with the largest gate of their tokens and the mean of what those look at.

    Args:
        token_ids, gates: `(tokens,)`; `attention`: `(tokens, places)` with `rows * columns` places.
        grid: rows and columns of the image's places.
    """
    encoded = tokenizer(
        caption, truncation=True, max_length=len(token_ids), return_offsets_mapping=True, split_special_tokens=True
    )
    spans = [span if span[1] > span[0] else None for span in encoded["offset_mapping"]]
    rows, columns = grid
    gates, attention = gates.detach().float().cpu(), attention.detach().float().cpu()
    words = []
    for found in _WORD.finditer(caption):
        start, end = found.span()
        own = [i for i, span in enumerate(spans) if span is not None and span[0] < end and span[1] > start]
        if not own:  # cut off: the encoder has not read it
            continue
        looked = attention[own].mean(0)[: rows * columns].reshape(rows, columns)
        # A word that looks everywhere alike points at nothing, and one that was found nowhere at little.
        found_at_all = looked.sum().clamp(0, 1)
        looked = ((looked / looked.mean().clamp_min(1e-12) - 1) / (_FOCUSED - 1)).clamp(0, 1) * found_at_all
        salience = min(1.0, max(0.0, float(gates[own].max())))
        words.append(CaptionWord(found.group(), start, end, salience, looked.numpy().astype("float64")))
    return tuple(words)


__all__ = ["caption_words"]
