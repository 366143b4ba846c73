"""Each sign of a weak attack: a model or a set of results that shows it, and one that does not."""

import pytest
import torch
from small_models import CLASSES, Corpora, make_spectrogram_net
from small_runs import SMALL
from torch import Tensor, nn

import fastser
from fastser.attacks import ATTACKS
from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import Attacked, CurvePoint, Unperturbed
from fastser.evaluation.further_conditions import PGDAttacked, SNRAttacked
from fastser.robustness.attack_checks import RandomSigns, check_results


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


FGSM, BIM = (Attacked(ATTACKS[name]) for name in ("fgsm", "bim"))
SIGNS = RandomSigns()


def pgd(eps: float) -> PGDAttacked:
    return PGDAttacked(eps, steps=20, restarts=3)


class OtherAttack(PGDAttacked):
    """A condition whose name tells no eps."""

    @property
    def name(self) -> str:
        return "strongest"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("uar", "part"),
    [
        ({FGSM: 0.3, BIM: 0.2, SIGNS: 0.5, pgd(0.02): 0.4, pgd(0.08): 0.1}, None),
        ({FGSM: 0.2, BIM: 0.3}, "more steps should not be weaker"),
        (
            {CurvePoint(0.04, False): 0.4, CurvePoint(0.02, False): 0.2, pgd(0.02): 0.3},
            "bim-0.04 leaves a UAR of 40.0, bim-0.02 20.0: a larger eps should not be weaker",
        ),
        ({pgd(0.16): 0.4, pgd(0.02): 0.2, SNRAttacked(30, 20, False): 0.9}, "a larger eps should not be weaker"),
        ({pgd(0.02): 0.2, OtherAttack(0.16, 20, 3): 0.4}, "strongest leaves a UAR of 40.0, pgd-0.02 20.0"),
        ({FGSM: 0.5, BIM: 0.5, SIGNS: 0.3}, "should not be weaker than chance"),
        ({FGSM: 0.200, BIM: 0.205}, None),
        ({Unperturbed("pgd-0.02"): 0.2, pgd(0.16): 0.4}, None),
    ],
)
def test_results_that_contradict_each_other_are_named(uar: dict[Condition, float], part: str | None) -> None:
    sentences = check_results(uar)
    assert len(sentences) == (part is not None)
    assert part is None or part in sentences[0]
