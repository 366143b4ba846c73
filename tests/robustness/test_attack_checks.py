"""Each sign of a weak attack: a model or a set of results that shows it, and one that does not."""

from typing import Any

import pytest
import torch
from small_models import CLASSES, Corpora, make_spectrogram_net
from small_runs import SMALL
from torch import Tensor, nn

import fastser
from fastser.robustness.attack_checks import check_results


class Disguised(nn.Module):
    """A net whose output is changed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = make_spectrogram_net()
        self.kind = kind

    def forward(self, segments: Tensor) -> Tensor:
        if self.kind == "rounds its input":
            return self.inner(segments.round().detach()) + 0 * segments.sum()
        logits: Tensor = self.inner(segments)
        if self.kind == "is random":
            return logits + torch.rand_like(logits)
        return logits.softmax(1) if self.kind == "returns probabilities" else logits


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("is honest", None),
        ("is random", "two passes over the same input differ"),
        ("returns probabilities", "returns probabilities instead of logits"),
        ("rounds its input", "inputs is zero (something blocks it)"),
    ],
)
def test_a_model_that_misleads_attacks_is_named(corpora: Corpora, kind: str, part: str | None) -> None:
    result = fastser.evaluate(
        Disguised(kind), corpora.speech, classes=CLASSES, conditions=["attacks"], settings=SMALL, progress=False
    )
    notes = [note for note in result.notes if note.startswith("attacks: ")]
    assert (part is None and not notes) or any(part in note for note in notes if part)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("uar", "part"),
    [
        ({"fgsm": 0.3, "bim": 0.2, "random-signs": 0.5, "pgd-0.02": 0.4, "pgd-0.08": 0.1}, None),
        ({"fgsm": 0.2, "bim": 0.3}, "more steps should not be weaker"),
        ({"pgd-0.02": 0.2, "pgd-0.16": 0.4, "pgd-l2-30db": 0.9}, "a larger eps should not be weaker"),
        ({"fgsm": 0.5, "bim": 0.5, "random-signs": 0.3}, "should not be weaker than chance"),
        ({"fgsm": 0.200, "bim": 0.205}, None),
    ],
)
def test_results_that_contradict_each_other_are_named(uar: dict[str, float], part: Any) -> None:
    sentences = check_results(uar)
    assert len(sentences) == (part is not None)
    assert part is None or part in sentences[0]
