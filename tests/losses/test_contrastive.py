"""Pair losses and the plain supervised contrastive loss, by hand and at the edges."""

import math

import pytest
import torch

from iec_hub.errors import DataError
from iec_hub.losses import mean_over_positives, pair_losses, supervised_contrastive_loss

QUERIES = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
KEYS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])


def test_pair_losses_by_hand() -> None:
    # Cosines of the first query are 1, 0 and -1, of the second 0, 1 and 0; with temperature 0.5 they are doubled.
    first, second = math.log(math.exp(2) + 1 + math.exp(-2)), math.log(2 + math.exp(2))
    expected = torch.tensor([[first - 2, first, first + 2], [second, second - 2, second]])
    torch.testing.assert_close(pair_losses(QUERIES, KEYS, temperature=0.5), expected)
    # Of keys 1 and 2 alone, the first query loses log((1 + e^-2) / 1) and that plus 2.
    candidates = torch.tensor([[False, True, True], [True, True, True]])
    near = math.log(1 + math.exp(-2))
    losses = pair_losses(QUERIES, KEYS, candidates, temperature=0.5)
    torch.testing.assert_close(losses[0, 1:], torch.tensor([near, near + 2]))
    torch.testing.assert_close(losses[1], expected[1])


def test_the_supervised_loss_averages_over_positives_then_queries() -> None:
    positives = torch.tensor([[True, True, False], [False, False, False]])
    losses = pair_losses(QUERIES, KEYS)
    expected = (losses[0, 0] + losses[0, 1]) / 2  # the second query has no positive and does not count
    torch.testing.assert_close(supervised_contrastive_loss(QUERIES, KEYS, positives), expected)
    torch.testing.assert_close(mean_over_positives(losses, positives), expected)
    positives[1, 2] = True
    expected = (expected + losses[1, 2]) / 2
    torch.testing.assert_close(supervised_contrastive_loss(QUERIES, KEYS, positives), expected)
    # A positive is compared even where it is no candidate: with itself alone it loses nothing.
    own = torch.tensor([[True, False, False], [False, False, False]])
    assert supervised_contrastive_loss(QUERIES, KEYS, own, torch.zeros_like(own)).item() == 0


def test_rows_without_candidates_and_without_direction_stay_finite() -> None:
    queries = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1e-9, 0.0]], requires_grad=True)
    candidates = torch.zeros(3, 3, dtype=torch.bool)
    candidates[1:] = True
    losses = pair_losses(queries, KEYS, candidates, temperature=0.01)
    assert losses.isfinite().all()
    torch.testing.assert_close(losses[1], torch.full((3,), math.log(3)))  # cosine 0 with everything
    losses[1:].sum().backward()
    assert queries.grad.isfinite().all() and queries.grad.abs().max() < 1e3


def test_no_query_or_no_key() -> None:
    for queries, keys in ((QUERIES[:0], KEYS), (QUERIES, KEYS[:0])):
        none = torch.zeros(len(queries), len(keys), dtype=torch.bool)
        assert supervised_contrastive_loss(queries, keys, none).item() == 0


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        pair_losses(QUERIES, torch.ones(3, 4))
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(DataError, match="above 0"):
            pair_losses(QUERIES, KEYS, temperature=temperature)
    with pytest.raises(DataError, match="The candidates are torch.int64"):
        pair_losses(QUERIES, KEYS, torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(DataError, match=r"torch.bool of shape \(2, 3\)"):
        supervised_contrastive_loss(QUERIES, KEYS, torch.ones(3, 2).bool())
