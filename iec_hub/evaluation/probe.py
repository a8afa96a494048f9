"""The baseline to beat: multinomial logistic regression on frozen features, with votes as weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

DEFAULT_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


class LinearProbe:
    """`softmax(x W + b)` with an L2 penalty `|W|^2 / (2 C n)`, as scikit-learn's `LogisticRegression(C)` weighs it.

    Args:
        strength: C; larger is less regularised.
        iterations: of L-BFGS.
    """

    def __init__(self, strength: float = 0.01, iterations: int = 60):
        self.strength, self.iterations = strength, iterations
        self.weight = self.bias = torch.empty(0)

    def fit(self, features: torch.Tensor, targets: torch.Tensor) -> LinearProbe:
        """Fit to features `(n, width)` and distributions `(n, labels)`; deterministic."""
        features, targets = features.float(), targets.float()
        weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
        bias = torch.zeros(targets.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=self.iterations, history_size=10, line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = -(targets * (features @ weight + bias).log_softmax(1)).sum(1).mean()
            loss = loss + weight.pow(2).sum() / (2 * self.strength * len(features))
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        self.weight, self.bias = weight.detach(), bias.detach()
        return self

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """`(n, width)` to `(n, labels)`."""
        return features.float() @ self.weight + self.bias

    @classmethod
    def select(
        cls,
        features: torch.Tensor,
        targets: torch.Tensor,
        validation_features: torch.Tensor,
        validation_targets: torch.Tensor,
        strengths: Sequence[float] = DEFAULT_STRENGTHS,
    ) -> LinearProbe:
        """The probe whose C has the lowest soft cross-entropy on validation; trained on the training part only."""

        def loss(probe: LinearProbe) -> float:
            log_probabilities = probe.logits(validation_features).log_softmax(1)
            return float(-(validation_targets.float() * log_probabilities).sum(1).mean())

        return min((cls(strength).fit(features, targets) for strength in strengths), key=loss)
