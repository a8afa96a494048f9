"""The similarity-sampled loss against a slow literal one and cases worked out by hand."""

import math

import pytest
import torch

from iec_hub.errors import DataError
from iec_hub.losses import (
    similarity_sampled_contrastive_loss,
    similarity_sampled_pairs,
    supervised_contrastive_loss,
)


def random_case(seed: int, n: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings `(n, 4)`, labels `(n,)` of three classes, two of them unknown, and text embeddings `(n, 5)`."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    labels[n // 2 :][:2] = -1
    return torch.randn(n, 4, generator=generator), labels, torch.randn(n, 5, generator=generator)


def cosine(one: list[float], two: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, two, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two))


def literal(
    embeddings: list[list[float]],
    labels: list[int],
    semantics: list[list[float]] | None,
    positives: int | None,
    negatives: int | None,
    temperature: float,
) -> tuple[float, list[set[int]], list[set[int]]]:
    """Loss, positives and negatives, anchor by anchor."""
    losses, chosen_positives, chosen_negatives = [], [], []
    for i, label in enumerate(labels):
        same = [j for j, other in enumerate(labels) if other == label and j != i and label >= 0]
        different = [j for j, other in enumerate(labels) if other != label and label >= 0 and other >= 0]
        if semantics is not None:
            same = sorted(same, key=lambda j: cosine(semantics[i], semantics[j]))[:positives]
            different = sorted(different, key=lambda j: -cosine(semantics[i], semantics[j]))[:negatives]
        if not same or not different:
            same = different = []
        else:
            total = sum(math.exp(cosine(embeddings[i], embeddings[a]) / temperature) for a in same + different)
            pairs = [cosine(embeddings[i], embeddings[p]) / temperature - math.log(total) for p in same]
            losses.append(-sum(pairs) / len(pairs))
        chosen_positives.append(set(same))
        chosen_negatives.append(set(different))
    return sum(losses) / max(len(losses), 1), chosen_positives, chosen_negatives


def as_sets(pairs: torch.Tensor) -> list[set[int]]:
    return [set(row.nonzero()[:, 0].tolist()) for row in pairs]


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (2, 3), (4, 16), (None, 2), (2, None)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_literal_implementation(seed: int, positives: int | None, negatives: int | None) -> None:
    embeddings, labels, semantics = random_case(seed)
    expected, same, different = literal(
        embeddings.tolist(), labels.tolist(), semantics.tolist(), positives, negatives, 0.2
    )
    loss = similarity_sampled_contrastive_loss(embeddings, labels, semantics, positives, negatives, 0.2)
    assert expected > 0 and loss.item() == pytest.approx(expected, rel=1e-5)
    pairs = similarity_sampled_pairs(labels, semantics, positives, negatives)
    assert (as_sets(pairs[0]), as_sets(pairs[1])) == (same, different)


def test_without_sampling_it_is_the_plain_supervised_contrastive_loss() -> None:
    embeddings, labels, semantics = random_case(1)
    expected, _, _ = literal(embeddings.tolist(), labels.tolist(), None, None, None, 0.1)
    for given, counts in ((None, (4, 16)), (None, (None, None)), (semantics, (None, None))):
        loss = similarity_sampled_contrastive_loss(embeddings, labels, given, *counts)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
    known = labels >= 0
    rows, same = embeddings[known], labels[known][:, None] == labels[known][None, :]
    apart = ~torch.eye(len(rows), dtype=torch.bool)
    assert supervised_contrastive_loss(rows, rows, same & apart, apart).item() == pytest.approx(expected, rel=1e-5)
    assert similarity_sampled_contrastive_loss(embeddings, labels, semantics, 1, 1).item() != pytest.approx(expected)


def test_a_case_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1])
    angles = torch.tensor([0.0, 10.0, 80.0, 30.0, 100.0]).deg2rad()
    semantics = torch.stack([angles.cos(), angles.sin()], dim=1)
    positives, negatives = similarity_sampled_pairs(labels, semantics, 1, 1)
    # Of the texts at 0, 10 and 80 degrees, 80 is furthest from the first two and 0 from the third. Of the other
    # label's at 30 and 100 degrees, 30 is nearest to 0 and 10, 100 to 80; back again, 10 is to 30 and 80 to 100.
    assert as_sets(positives) == [{2}, {2}, {0}, {4}, {3}]
    assert as_sets(negatives) == [{3}, {3}, {4}, {1}, {2}]
    embeddings = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 2.0], [-1.0, 0.0]])
    # All kept pairs are at right angles in these embeddings, so each anchor loses log(2 / 1).
    loss = similarity_sampled_contrastive_loss(embeddings, labels, semantics, 1, 1, temperature=1.0)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    # Turned so that sample 2 lies with sample 0: anchors 0, 1 and 2 see their positive at cosine 1; 0 and 1 their
    # negative at 0 and anchor 2 at -1: log(1 + 1/e) = 0.3133, twice, and log(1 + 1/e^2) = 0.1269. Anchor 3 still
    # loses log 2; anchor 4 sees its positive at 0 and its negative at -1: 0.3133.
    embeddings[2] = torch.tensor([1.0, 0.0])
    expected = (3 * math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(2)) / 5
    loss = similarity_sampled_contrastive_loss(embeddings, labels, semantics, 1, 1, temperature=1.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_ties_go_to_those_that_come_first() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    semantics = torch.ones(8, 3)
    positives, negatives = similarity_sampled_pairs(labels, semantics, 2, 2)
    assert as_sets(positives) == [{1, 2}, {0, 2}, {0, 1}, {0, 1}, {5, 6}, {4, 6}, {4, 5}, {4, 5}]
    assert as_sets(negatives) == [{4, 5}] * 4 + [{0, 1}] * 4
    # Equal texts tie at any length of their embeddings too, although rounding differs.
    text = torch.randn(1, 384, generator=torch.Generator().manual_seed(0))
    scaled = similarity_sampled_pairs(labels, text * torch.linspace(0.3, 7, 8)[:, None], 2, 2)
    assert scaled[0].equal(positives) and scaled[1].equal(negatives)


def test_distributions_count_by_their_largest_entry() -> None:
    embeddings, _, semantics = random_case(2, n=5)
    votes = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2, -1])  # the first of equal votes; a row without votes is unknown
    soft, hard = (similarity_sampled_pairs(given, semantics, 2, 2) for given in (votes, labels))
    assert soft[0].equal(hard[0]) and soft[1].equal(hard[1])
    assert as_sets(hard[0]) == [{1}, {0}, set(), set(), set()]
    loss = similarity_sampled_contrastive_loss(embeddings, votes.half(), semantics)
    torch.testing.assert_close(loss, similarity_sampled_contrastive_loss(embeddings, labels, semantics))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1, -1], [0, -1, 1], [4]])
def test_anchors_without_positives_or_negatives_contribute_nothing(labels: list[int]) -> None:
    for semantics in (None, torch.randn(len(labels), 3)):
        embeddings = torch.randn(len(labels), 4, requires_grad=True)
        loss = similarity_sampled_contrastive_loss(embeddings, torch.tensor(labels), semantics)
        loss.backward()
        assert loss.item() == 0 and not embeddings.grad.any()


def test_the_text_encoder_is_frozen() -> None:
    embeddings, labels, semantics = random_case(3)
    embeddings.requires_grad_()
    semantics.requires_grad_()
    pairs = similarity_sampled_pairs(labels, semantics, 2, 3)
    assert not pairs[0].requires_grad and not pairs[1].requires_grad
    similarity_sampled_contrastive_loss(embeddings, labels, semantics, 2, 3).backward()
    assert embeddings.grad.any() and semantics.grad is None


@pytest.mark.parametrize("seed", range(2))
def test_gradients_are_those_of_the_formula(seed: int) -> None:
    embeddings, labels, semantics = random_case(seed, n=8)
    assert torch.autograd.gradcheck(
        lambda rows: similarity_sampled_contrastive_loss(rows, labels, semantics, 2, 3, temperature=0.5),
        embeddings.double().requires_grad_(),
    )


def test_order_and_length_of_samples_do_not_matter() -> None:
    embeddings, labels, semantics = random_case(4)
    loss = similarity_sampled_contrastive_loss(embeddings, labels, semantics, 2, 3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = similarity_sampled_contrastive_loss(embeddings[order], labels[order], semantics[order], 2, 3)
    torch.testing.assert_close(shuffled, loss)
    lengths = torch.linspace(0.01, 100, 12)[:, None]
    scaled = similarity_sampled_contrastive_loss(lengths * embeddings, labels, lengths.flip(0) * semantics, 2, 3)
    torch.testing.assert_close(scaled, loss)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_computed_in_float32(dtype: torch.dtype) -> None:
    embeddings, labels, semantics = random_case(5)
    half = (300 * embeddings).to(dtype)
    half[2] = 0
    half.requires_grad_()
    loss = similarity_sampled_contrastive_loss(half, labels, semantics.to(dtype), 2, 3, temperature=0.01)
    loss.backward()
    assert loss.dtype is torch.float32 and loss.isfinite() and half.grad.isfinite().all() and half.grad.any()


def test_what_cannot_be_used_is_refused() -> None:
    embeddings, labels, semantics = random_case(0)
    for counts in ((0, 4), (4, 0), (-1, None)):
        with pytest.raises(DataError, match="at least 1"):
            similarity_sampled_pairs(labels, semantics, *counts)
    with pytest.raises(DataError, match="do not fit 12 labels"):
        similarity_sampled_contrastive_loss(embeddings, labels, semantics[:5])
    with pytest.raises(DataError, match="one label per row"):
        similarity_sampled_contrastive_loss(embeddings[:5], labels, semantics)
    with pytest.raises(DataError, match="give integers"):
        similarity_sampled_contrastive_loss(embeddings, labels.float(), semantics)
