"""Weights of classes in the loss, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from fastser.training.class_weights import balanced_weights


@pytest.mark.fast
@pytest.mark.parametrize("counts", [(5, 1, 3, 7), (4, 4), (1, 1000)])
def test_balanced_weights_are_those_of_scikit_learn(counts: tuple[int, ...]) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = balanced_weights(labels, len(counts))
    oracle = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels.numpy())
    np.testing.assert_allclose(found, oracle, rtol=1e-6)
    torch.testing.assert_close(found[labels].mean(), torch.tensor(1.0))


@pytest.mark.fast
def test_a_class_without_samples_has_a_finite_weight() -> None:
    assert balanced_weights(torch.tensor([0, 0, 2]), classes=3).tolist() == [0.5, 1.0, 1.0]
