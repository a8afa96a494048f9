"""The hierarchical loss against a slow literal one, cases worked out by hand, and what it does to embeddings."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional

from iec_hub.errors import DataError
from iec_hub.losses import (
    concept_positives,
    hierarchical_contrastive_loss,
    level_pairs,
    level_weights,
    mean_over_positives,
    multi_level_contrastive_loss,
    pair_losses,
    supervised_contrastive_loss,
)

VARIANTS = [(2.0, "pair"), (2.0, "level"), (math.e, None), (1.0, "pair")]


def random_case(seed: int, n: int = 10, unknown: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings `(n, 4)` and labels `(n, 3)` of 2 polarities, 4 emotions, 8 concepts, some of them unknown."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, 4, generator=generator)
    concept = torch.randint(8, (n,), generator=generator)
    labels = torch.stack([concept // 4, concept // 2, concept], dim=1)
    return embeddings, labels.masked_fill(torch.rand(n, 3, generator=generator) < unknown, -1)


def cosine(one: Sequence[float], two: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, two, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two))


def literal(
    queries: list[list[float]],
    keys: list[list[float]],
    positives: list[list[set[int]]],
    candidates: list[list[set[int]]],
    temperature: float,
    penalty: float,
    constraint: str | None,
) -> float:
    """The formula pair by pair; `positives[level][query]` are keys, coarse level first."""
    count = len(positives)
    weights = [penalty ** (1 / (count - level)) for level in range(count)]
    total, floor = 0.0, -math.inf
    for level in reversed(range(count)):
        largest, means = -math.inf, []
        for query, row in enumerate(queries):
            losses = []
            for key in positives[level][query]:
                exponentials = {a: math.exp(cosine(row, keys[a]) / temperature) for a in candidates[level][query]}
                loss = -math.log(exponentials[key] / sum(exponentials.values()))
                losses.append(max(loss, floor) if constraint == "pair" else loss)
            if losses:
                means.append(sum(losses) / len(losses))
                largest = max(largest, *losses)
        if means:
            mean = sum(means) / len(means)
            if constraint == "level":
                mean = largest = max(mean, floor)
            total += weights[level] / sum(weights) * mean
            floor = max(floor, largest) if constraint else floor
    return total


def literal_pairs(labels: list[list[int]]) -> tuple[list[list[set[int]]], list[list[set[int]]]]:
    """Positives and candidates by comparing the labels of each pair, level by level."""
    levels, n = len(labels[0]), len(labels)
    positives = [[set() for _ in range(n)] for _ in range(levels)]
    candidates = [[set() for _ in range(n)] for _ in range(levels)]
    for i in range(n):
        for j in range(n):
            for level in range(levels if i != j else 0):
                compared = list(zip(labels[i], labels[j], strict=True))[: level + 1]
                if all(a == b and a >= 0 for a, b in compared):
                    positives[level][i].add(j)
                    candidates[level][i].add(j)
                elif any(a != b and a >= 0 and b >= 0 for a, b in compared):
                    candidates[level][i].add(j)
    return positives, candidates


@pytest.mark.parametrize(("penalty", "constraint"), VARIANTS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_literal_implementation(seed: int, penalty: float, constraint: str | None) -> None:
    embeddings, labels = random_case(seed)
    rows = embeddings.double().tolist()
    expected = literal(rows, rows, *literal_pairs(labels.tolist()), 0.2, penalty, constraint)
    loss = hierarchical_contrastive_loss(embeddings, labels, temperature=0.2, penalty=penalty, constraint=constraint)
    assert expected > 0.1
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("penalty", "constraint"), VARIANTS)
@pytest.mark.parametrize("seed", range(3))
def test_images_against_concepts_equal_the_literal_implementation(
    seed: int, penalty: float, constraint: str | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, concepts = torch.randn(6, 4, generator=generator), torch.randn(9, 4, generator=generator)
    # Any matrices will do: the second image has no positive at any level, the third none at the finest.
    positives = torch.rand(3, 6, 9, generator=generator) < 0.3
    positives[:, 1], positives[2, 2] = False, False
    if seed == 2:
        positives[1] = False
    candidates = (torch.rand(3, 6, 9, generator=generator) < 0.5) | positives
    sets = [[[set(row.nonzero()[:, 0].tolist()) for row in level] for level in m] for m in (positives, candidates)]
    expected = literal(images.tolist(), concepts.tolist(), *sets, 0.3, penalty, constraint)
    settings = {"temperature": 0.3, "penalty": penalty, "constraint": constraint}
    loss = multi_level_contrastive_loss(images, concepts, positives, candidates, **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-5)

    everything = [[set(range(9))] * 6] * 3
    expected = literal(images.tolist(), concepts.tolist(), sets[0], everything, 0.3, penalty, constraint)
    loss = multi_level_contrastive_loss(images, concepts, positives, **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_case_by_hand() -> None:
    # Samples at 0, 0, 90 and 180 degrees: cosines to the first are 1, 0 and -1; the temperature is 1.
    embeddings = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    labels = torch.tensor([[0, 0], [0, 0], [0, 1], [1, 2]])
    near, middle, far = math.exp(1), math.exp(0), math.exp(-1)
    # Fine level: only samples 0 and 1 are a pair, and each sees the other, a right angle and its opposite:
    # both lose -log(e / (e + 1 + 1/e)) = log(4.0862 / 2.7183) = 0.4076.
    fine = math.log((near + middle + far) / near)
    # Coarse level: 0 and 1 lose that on each other and log(4.0862 / 1) = 1.4076 on sample 2. Sample 2 is at right
    # angles to all three others: log(3 / 1) = 1.0986, twice. Sample 3 has no positive.
    across = math.log(near + middle + far)
    coarse = ((fine + across) / 2 * 2 + math.log(3)) / 3
    # Weights 2^(1/1) and 2^(1/2), over their sum 3.4142: 0.5858 and 0.4142. The floor, 0.4076, changes nothing.
    expected = (2 * fine + math.sqrt(2) * coarse) / (2 + math.sqrt(2))
    assert expected == pytest.approx(0.6410, abs=1e-4)
    for constraint in ("pair", "level", None):
        loss = hierarchical_contrastive_loss(embeddings, labels, temperature=1.0, constraint=constraint)
        assert loss.item() == pytest.approx(expected, abs=1e-6)
    equal = hierarchical_contrastive_loss(embeddings, labels, temperature=1.0, penalty=1.0)
    assert equal.item() == pytest.approx((fine + coarse) / 2, abs=1e-6)


def test_the_floor_by_hand() -> None:
    # Now the fine pair is the far one: 0 and 1 are opposite, 2 lies with 0 and is of its coarse label only.
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    labels = torch.tensor([[0, 0], [0, 0], [0, 1]])
    near, far = math.exp(1), math.exp(-1)
    # Fine: sample 0 sees 1 (cosine -1) and 2 (cosine 1): log((e + 1/e) / (1/e)) = 2.1269; sample 1 sees both at
    # cosine -1: log 2 = 0.6931. Mean 1.4100, largest 2.1269.
    split = math.log((near + far) / far)
    fine = (split + math.log(2)) / 2
    # Coarse, all pairs: sample 0 loses 2.1269 and log((e + 1/e) / e) = 0.1269, mean 1.1269, and so does sample 2;
    # sample 1 loses 0.6931 twice. Mean (1.1269 + 1.1269 + 0.6931) / 3 = 0.9823, less than the fine mean.
    coarse = (split + math.log((near + far) / near) + math.log(2)) / 3
    weights = level_weights(2)
    expected = {
        None: weights[0] * fine + weights[1] * coarse,
        "level": weights[0] * fine + weights[1] * fine,
        "pair": weights[0] * fine + weights[1] * split,  # every pair is raised to 2.1269
    }
    for constraint, value in expected.items():
        loss = hierarchical_contrastive_loss(embeddings, labels, temperature=1.0, constraint=constraint)
        assert loss.item() == pytest.approx(value, abs=1e-6)


def test_weights() -> None:
    assert level_weights(3, 1.0) == pytest.approx([1 / 3] * 3)
    weights = level_weights(3)
    assert sum(weights) == pytest.approx(1)
    assert [weight / weights[0] for weight in weights] == pytest.approx([1, 2 ** (1 / 2 - 1), 2 ** (1 / 3 - 1)])


@pytest.mark.parametrize("seed", range(5))
def test_with_the_constraint_no_coarser_term_is_below_a_finer_one(seed: int) -> None:
    embeddings, labels = random_case(seed, n=16)
    positives, candidates = level_pairs(labels)
    plain = [pair_losses(embeddings, embeddings, candidates[level]) for level in range(3)]
    finest = plain[2][positives[2]].max()
    # What is left of the whole when levels are taken away tells each level's term.
    shares = level_weights(3)[::-1]
    both = hierarchical_contrastive_loss(embeddings, labels, levels=(1, 2))
    fine = hierarchical_contrastive_loss(embeddings, labels, levels=(2,))
    whole = hierarchical_contrastive_loss(embeddings, labels)
    pair_shares = level_weights(2)[::-1]
    emotion = (both - pair_shares[1] * fine) / pair_shares[0]
    polarity = (whole - shares[2] * fine - shares[1] * emotion) / shares[0]
    assert emotion >= finest - 1e-4 and polarity >= finest - 1e-4
    unconstrained = [mean_over_positives(losses, pairs) for losses, pairs in zip(plain, positives, strict=True)]
    assert emotion >= unconstrained[1] and polarity >= unconstrained[0]
    assert emotion > unconstrained[1] + 0.01  # the floor does something


def test_the_finest_level_alone_is_the_plain_supervised_contrastive_loss() -> None:
    embeddings, labels = random_case(3, n=14, unknown=0.0)
    same = (labels[:, None, 2] == labels[None, :, 2]) & ~torch.eye(14, dtype=torch.bool)
    plain = supervised_contrastive_loss(embeddings, embeddings, same, ~torch.eye(14, dtype=torch.bool))
    for penalty, constraint in VARIANTS:
        flat = hierarchical_contrastive_loss(embeddings, labels, levels=(-1,), penalty=penalty, constraint=constraint)
        torch.testing.assert_close(flat, plain)
    assert not torch.isclose(hierarchical_contrastive_loss(embeddings, labels), plain, rtol=0.01)


def test_agreement_at_a_fine_level_needs_the_coarser_ones() -> None:
    labels = torch.tensor([[0, 5], [1, 5], [0, -1], [0, 5], [-1, 5], [0, 6]])
    positives, candidates = level_pairs(labels)
    assert positives.shape == candidates.shape == (2, 6, 6)
    assert positives[0, 0].tolist() == [False, False, True, True, False, True]
    assert positives[1, 0].tolist() == [False, False, False, True, False, False]
    # An unknown concept of the same emotion may be the same one, so it is no candidate; another emotion's cannot be.
    assert candidates[1, 0].tolist() == [False, True, False, True, False, True]
    assert candidates[1, 1].tolist() == [True, False, True, True, False, True]
    # Where the polarity is unknown, another concept still tells two samples apart.
    assert candidates[1, 4].tolist() == [False, False, False, False, False, True]
    across, _ = level_pairs(labels[:2], labels)
    assert across.shape == (2, 2, 6) and across[1, 0, 0]


def test_concepts_of_images() -> None:
    # Concepts 0 and 1 are of emotion 0, 2 of emotion 1, all of polarity 0; 3 is of the other polarity, 4 unknown.
    concepts = torch.tensor([[0, 0], [0, 0], [0, 1], [1, 2], [-1, -1]])
    has = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()
    positives = concept_positives(has, concepts)
    assert positives[2].equal(has)
    assert positives[1].int().tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0] * 5]
    assert positives[0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0] * 5]
    images = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = multi_level_contrastive_loss(images, images.detach()[[0, 1, 2, 3, 0]] + 1, positives)
    loss.backward()
    assert loss > 0 and images.grad[:3].any(1).all() and not images.grad[3].any()


@pytest.mark.parametrize(("penalty", "constraint"), VARIANTS)
def test_gradients_are_those_of_the_formula(penalty: float, constraint: str | None) -> None:
    embeddings, labels = random_case(5, n=7)
    assert torch.autograd.gradcheck(
        lambda rows: hierarchical_contrastive_loss(
            rows, labels, temperature=0.5, penalty=penalty, constraint=constraint
        ),
        embeddings.double().requires_grad_(),
    )


@pytest.mark.parametrize("constraint", ["pair", "level", None])
def test_order_and_length_of_samples_do_not_matter(constraint: str | None) -> None:
    embeddings, labels = random_case(6, n=12)
    loss = hierarchical_contrastive_loss(embeddings, labels, constraint=constraint)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = hierarchical_contrastive_loss(embeddings[order], labels[order], constraint=constraint)
    torch.testing.assert_close(shuffled, loss)
    lengths = torch.linspace(0.01, 100, 12)[:, None]
    torch.testing.assert_close(
        hierarchical_contrastive_loss(embeddings * lengths, labels, constraint=constraint), loss
    )
    renamed = labels.where(labels < 0, 100 - labels)
    torch.testing.assert_close(hierarchical_contrastive_loss(embeddings, renamed, constraint=constraint), loss)


@pytest.mark.parametrize("constraint", ["pair", "level", None])
def test_without_positives_the_loss_is_zero_and_its_gradient_too(constraint: str | None) -> None:
    for labels in (torch.full((5, 3), -1), torch.arange(5)[:, None].expand(5, 3), torch.zeros(1, 3, dtype=torch.long)):
        embeddings = torch.randn(len(labels), 4, requires_grad=True)
        loss = hierarchical_contrastive_loss(embeddings, labels, constraint=constraint)
        loss.backward()
        assert loss.item() == 0 and not embeddings.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("constraint", ["pair", "level", None])
def test_half_precision_is_finite_and_computed_in_float32(dtype: torch.dtype, constraint: str | None) -> None:
    embeddings, labels = random_case(7, n=12)
    half = (300 * embeddings).to(dtype)  # whose squares overflow in float16
    half[3] = 0
    half.requires_grad_()
    settings = {"temperature": 0.01, "constraint": constraint}
    loss = hierarchical_contrastive_loss(half, labels, **settings)
    loss.backward()
    assert loss.dtype is torch.float32 and loss.isfinite() and half.grad.isfinite().all()
    torch.testing.assert_close(loss, hierarchical_contrastive_loss(half.detach().float(), labels, **settings))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = hierarchical_contrastive_loss(half.detach().float(), labels, **settings)
    torch.testing.assert_close(cast, loss)


@pytest.mark.parametrize("constraint", ["pair", "level", None])
def test_training_puts_pairs_in_the_order_of_the_hierarchy(constraint: str | None) -> None:
    concept = torch.arange(8).repeat_interleave(4)
    labels = torch.stack([concept // 4, concept // 2, concept], dim=1)
    embeddings = torch.randn(32, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def likeness(levels: Sequence[int] | None) -> list[float]:
        rows = embeddings.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([rows], lr=0.05)
        for _ in range(120):
            optimizer.zero_grad()
            hierarchical_contrastive_loss(
                rows, labels, temperature=0.3, constraint=constraint, levels=levels
            ).backward()
            optimizer.step()
        unit = functional.normalize(rows.detach(), dim=1)
        polarity, emotion, same = level_pairs(labels)[0]
        apart = ~torch.eye(32, dtype=torch.bool)
        kinds = (same, emotion & ~same, polarity & ~emotion, apart & ~polarity)
        return [(unit @ unit.T)[kind].mean().item() for kind in kinds]

    ordered = likeness(None)
    assert all(nearer > further + 0.2 for nearer, further in zip(ordered, ordered[1:], strict=False))
    flat = likeness((-1,))
    assert flat[0] > 0.9 and max(flat[1:]) < 0.2  # concepts alone know nothing of emotions


def test_what_cannot_be_used_is_refused() -> None:
    embeddings, labels = random_case(0)
    for settings in ({"temperature": 0.0}, {"penalty": 0.5}, {"constraint": "none"}, {"levels": ()}, {"levels": (3,)}):
        with pytest.raises(DataError):
            hierarchical_contrastive_loss(embeddings, labels, **settings)
    with pytest.raises(DataError, match="give torch.bool of shape"):
        hierarchical_contrastive_loss(embeddings[:4], labels)
    with pytest.raises(DataError, match="cannot be compared"):
        hierarchical_contrastive_loss(embeddings, labels[:, 0])
    positives, candidates = level_pairs(labels)
    with pytest.raises(DataError, match="have no levels"):
        multi_level_contrastive_loss(embeddings, embeddings, positives[0])
    with pytest.raises(DataError, match="do not fit positives"):
        multi_level_contrastive_loss(embeddings, embeddings, positives, candidates[:2])
    with pytest.raises(DataError, match="do not fit labels"):
        concept_positives(positives[0], labels[:4])
