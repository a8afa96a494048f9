import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from iec_hub.evaluation.probe import LinearProbe


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.randn(150, 6, generator=torch.Generator().manual_seed(0))


def soft_labels(features: torch.Tensor) -> torch.Tensor:
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    return (features @ weight).softmax(-1)


@pytest.mark.parametrize("strength", [0.003, 0.1, 10.0])
def test_hard_labels_as_scikit_learn(features: torch.Tensor, strength: float) -> None:
    labels = soft_labels(features).argmax(1)
    probe = LinearProbe(strength, iterations=500).fit(features, torch.eye(4)[labels])
    reference = LogisticRegression(C=strength, max_iter=2000, tol=1e-8).fit(features.numpy(), labels.numpy())
    found = probe.logits(features).softmax(-1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(features.numpy()), atol=5e-3)


def test_soft_labels_as_scikit_learn_with_weights(features: torch.Tensor) -> None:
    """A distribution is one example per label, weighted by its share."""
    targets = soft_labels(features)
    probe = LinearProbe(0.5, iterations=500).fit(features, targets)
    repeated = np.repeat(features.numpy(), 4, axis=0)
    reference = LogisticRegression(C=0.5, max_iter=2000, tol=1e-8).fit(
        repeated, np.tile(np.arange(4), len(features)), sample_weight=targets.numpy().ravel()
    )
    found = probe.logits(features).softmax(-1).numpy()
    np.testing.assert_allclose(found, reference.predict_proba(features.numpy()), atol=5e-3)


def test_the_default_number_of_iterations_suffices(features: torch.Tensor) -> None:
    targets = soft_labels(features)
    short, long = (LinearProbe(0.01, iterations=n).fit(features, targets).logits(features) for n in (60, 1000))
    torch.testing.assert_close(short, long, atol=2e-3, rtol=0)


def test_select_takes_the_best_strength_on_validation(features: torch.Tensor) -> None:
    targets = soft_labels(features)
    noise = torch.randn(150, 6, generator=torch.Generator().manual_seed(2))
    learnable = LinearProbe.select(features[:100], targets[:100], features[100:], targets[100:], (1e-4, 10.0))
    hopeless = LinearProbe.select(noise[:100], targets[:100], features[100:], targets[100:], (1e-4, 10.0))
    assert (learnable.strength, hopeless.strength) == (10.0, 1e-4)


def test_it_fits_where_gradients_are_off(features: torch.Tensor) -> None:
    with torch.no_grad():
        assert LinearProbe(1.0).fit(features, soft_labels(features)).weight.abs().sum() > 0
