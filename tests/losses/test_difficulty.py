"""The variable-weight loss against a slow literal one and cases worked out by hand."""

import math

import pytest
import torch

from iec_hub.losses import difficulty_weights, variable_weight_cross_entropy
from iec_hub.models.image_emotion import soft_label_cross_entropy


def logits_of(*rows: list[float]) -> torch.Tensor:
    """Logits whose softmax are the given rows."""
    return torch.tensor(rows).log()


def literal(logits: list[list[float]], labels: list[list[float]], a: float, g: float) -> tuple[list[float], float]:
    """Weights and loss in plain arithmetic, sample by sample."""
    weights, losses = [], []
    for row, votes in zip(logits, labels, strict=True):
        total = sum(math.exp(value) for value in row)
        predicted = [math.exp(value) / total for value in row]
        overlap = sum(min(p, q) for p, q in zip(predicted, votes, strict=True))
        weights.append(1 + a * (1 - overlap) ** g)
        losses.append(-sum(q * math.log(p) for p, q in zip(predicted, votes, strict=True) if q > 0))
    mean = sum(weights) / len(weights)
    weights = [weight / mean for weight in weights]
    return weights, sum(w * loss for w, loss in zip(weights, losses, strict=True)) / len(losses)


@pytest.mark.parametrize(("weight", "power"), [(1.0, 2.0), (3.0, 0.5), (0.5, 1.0), (2.0, 0.0)])
def test_equals_the_literal_implementation(weight: float, power: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(7, 5, generator=generator)
    logits[2, 3:] = float("-inf")
    labels = torch.rand(7, 5, generator=generator)
    labels[2, 3:] = 0
    labels[4] = torch.eye(5)[1]
    labels /= labels.sum(1, keepdim=True)
    weights, loss = literal(logits.tolist(), labels.tolist(), weight, power)
    torch.testing.assert_close(difficulty_weights(logits, labels, weight, power), torch.tensor(weights))
    torch.testing.assert_close(variable_weight_cross_entropy(logits, labels, weight, power), torch.tensor(loss))


def test_a_case_by_hand() -> None:
    logits = logits_of([0.5, 0.5], [0.9, 0.1])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # 1 + 1 (1 - 0.5)^2 = 1.25 and 1 + (1 - 0.9)^2 = 1.01, whose mean is 1.13.
    weights = difficulty_weights(logits, labels, 1.0, 2.0)
    torch.testing.assert_close(weights, torch.tensor([1.25 / 1.13, 1.01 / 1.13]))
    expected = (1.25 / 1.13 * math.log(2) - 1.01 / 1.13 * math.log(0.9)) / 2
    assert variable_weight_cross_entropy(logits, labels).item() == pytest.approx(expected, abs=1e-6)


def test_without_weight_it_is_plain_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(6, 4, generator=generator), torch.rand(6, 4, generator=generator).softmax(1)
    plain = soft_label_cross_entropy(logits, labels)
    torch.testing.assert_close(variable_weight_cross_entropy(logits, labels, weight=0.0), plain)
    assert not torch.isclose(variable_weight_cross_entropy(logits, labels, weight=5.0), plain, atol=1e-3)


def test_harder_samples_weigh_more_and_the_mean_is_one() -> None:
    certainty = torch.linspace(0.1, 0.95, 8)
    logits = torch.stack([certainty, 1 - certainty], dim=1).log()
    labels = torch.tensor([[1.0, 0.0]]).expand(8, 2)
    for weight, power in ((0.5, 1.0), (1.0, 2.0), (4.0, 3.0)):
        weights = difficulty_weights(logits, labels, weight, power)
        assert (weights.diff() < 0).all()
        assert weights.mean().item() == pytest.approx(1)
    steep, flat = (difficulty_weights(logits, labels, weight, 2.0) for weight in (4.0, 1.0))
    assert steep[0] > flat[0] and steep[-1] < flat[-1]


def test_divided_votes_are_no_difficulty() -> None:
    votes = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    logits = torch.stack([*logits_of([0.5, 0.5, 1e-30], [1.0, 1e-30, 1e-30]), torch.tensor([0.0, -40.0, -40.0])])
    weights = difficulty_weights(logits, votes, 1.0, 2.0)
    torch.testing.assert_close(weights[0], weights[1])  # both are predicted exactly
    assert weights[2] > weights[0]


def test_absent_classes_neither_count_nor_poison() -> None:
    logits = torch.tensor([[1.0, -1.0, float("-inf"), float("-inf")], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    loss = variable_weight_cross_entropy(logits, labels)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    assert logits.grad[0, :2].all() and not logits.grad[0, 2:].any()
    short = difficulty_weights(logits[:1, :2], labels[:1, :2], 1.0, 2.0)
    assert short.item() == 1


def test_weights_carry_no_gradient() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    labels = torch.eye(3)[[0, 1, 2, 0, 1]]
    weights = difficulty_weights(logits, labels, 2.0, 2.0)
    assert not weights.requires_grad
    variable_weight_cross_entropy(logits, labels, 2.0, 2.0).backward()
    # With constant weights the gradient of a sample is w (softmax - votes) / n.
    expected = weights[:, None] * (logits.detach().softmax(1) - labels) / 5
    torch.testing.assert_close(logits.grad, expected)


def test_half_precision_and_large_logits_stay_finite() -> None:
    logits = torch.tensor([[300.0, -300.0], [-200.0, 200.0]], dtype=torch.float16)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    loss = variable_weight_cross_entropy(logits, labels)
    assert loss.dtype is torch.float32 and loss.isfinite()
    assert difficulty_weights(logits, labels, 1.0, 0.5).isfinite().all()
