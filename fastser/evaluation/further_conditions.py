"""Conditions that are not in the paper: stronger attacks, attacks on the waveform, small changes, babble.

`fastser.evaluate` tests them. `docs/conditions.md` lists them with their parameters and sources.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fastser.attacks import PGD, PGDL2, Attack
from fastser.data.corpora import CorpusError
from fastser.evaluation.changes import CHANGES, NamedChange
from fastser.evaluation.changes.level import level
from fastser.evaluation.condition import Condition, Cost
from fastser.evaluation.trial import Trial
from fastser.runtime.registry import Registry
from fastser.settings import Settings

_STEP_OF_RADIUS = 2.5
"""Steps of an attack are as long as 2.5 radii over the number of steps (Madry et al. 2018)."""


@dataclass(frozen=True)
class PGDAttacked(Condition):
    """Projected gradient descent in the L-infinity norm on the model's input."""

    eps: float
    steps: int
    restarts: int

    @property
    def name(self) -> str:
        """Name, "pgd-0.08"."""
        return f"pgd-{self.eps:g}"

    @property
    def title(self) -> str:
        """Title, "PGD, eps 0.08"."""
        return f"PGD, eps {self.eps:g}"

    @property
    def level(self) -> float:
        """Negative eps: a lower level is harder."""
        return -self.eps

    def cost(self, settings: Settings) -> Cost:  # noqa: ARG002
        """Return one forward pass and the steps of all restarts."""
        return Cost(attack_steps=self.steps * self.restarts)

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for adversarial inputs."""
        alpha = _STEP_OF_RADIUS * self.eps / self.steps
        seed = trial.noise_seed
        return trial.attacked(lambda model: PGD(model, self.eps, alpha, self.steps, self.restarts, seed=seed))


@dataclass(frozen=True)
class SNRAttacked(Condition):
    """Projected gradient descent in the L2 norm, bounded by an SNR.

    Attributes:
        snr_db: Energy of the input over that of the perturbation, in decibels.
        steps: Number of steps.
        on_waveform: Whether the waveform is attacked, or the model's input.
    """

    snr_db: float
    steps: int
    on_waveform: bool

    @property
    def name(self) -> str:
        """Name, "waveform-attack-30db" or "pgd-l2-30db"."""
        return f"{'waveform-attack' if self.on_waveform else 'pgd-l2'}-{self.snr_db:g}db"

    @property
    def title(self) -> str:
        """Title, "attack on the waveform, 30 dB" or "PGD in L2, 30 dB"."""
        return f"{'attack on the waveform' if self.on_waveform else 'PGD in L2'}, {self.snr_db:g} dB"

    @property
    def level(self) -> float:
        """SNR in dB."""
        return self.snr_db

    def cost(self, settings: Settings) -> Cost:  # noqa: ARG002
        """Return one forward pass and the steps."""
        return Cost(attack_steps=self.steps)

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for adversarial waveforms or inputs."""
        radius = 10 ** (-self.snr_db / 20)

        def build(model: nn.Module) -> Attack:
            return PGDL2(model, radius, _STEP_OF_RADIUS * radius / self.steps, self.steps)

        return trial.attacked_waveform(build) if self.on_waveform else trial.attacked(build)


@dataclass(frozen=True)
class Changed(Condition):
    """A small change of every waveform."""

    change: NamedChange

    @property
    def name(self) -> str:
        """Name of the change."""
        return self.change.name

    @property
    def title(self) -> str:
        """The change in words."""
        return self.change.title

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for changed waveforms."""
        return trial.changed(self.change.apply)


@dataclass(frozen=True)
class Babble(Condition):
    """Voices of other speakers of the corpus behind every utterance, without music or recordings of noise.

    Attributes:
        snr_db: SNR in decibels.
        voices: Number of voices, each of another speaker while there are enough of them.
    """

    snr_db: float
    voices: int

    @property
    def name(self) -> str:
        """Name, "babble-10db"."""
        return f"babble-{self.snr_db:g}db"

    @property
    def title(self) -> str:
        """Title, "babble, 10 dB"."""
        return f"babble, {self.snr_db:g} dB"

    @property
    def level(self) -> float:
        """SNR in dB."""
        return self.snr_db

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors with babble. The voice of the tested speaker is never in it."""
        dataset = trial.test.dataset
        by_speaker: dict[str, list[int]] = {}
        for index, utterance in enumerate(dataset.corpus.utterances):
            by_speaker.setdefault(utterance.speaker, []).append(index)

        def mixed(position: int, samples: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
            own = dataset.corpus.utterances[trial.test.utterances[position]].speaker
            others = [speaker for speaker in by_speaker if speaker != own]
            if not others:
                raise CorpusError(f"{dataset.corpus.title}: babble needs a second speaker, and there is one")
            chosen = generator.choice(len(others), self.voices, replace=len(others) < self.voices)
            babble = np.zeros(len(samples), np.float64)
            for speaker in (others[i] for i in chosen):
                voice = dataset.waveforms[int(generator.choice(by_speaker[speaker]))]
                first = int(generator.integers(len(voice)))
                looped = np.resize(np.roll(voice, -first), len(samples))
                babble += looped / level(looped)
            gain = level(samples) / level(babble.astype(np.float32)) * 10 ** (-self.snr_db / 20)
            return (samples + gain * babble).astype(np.float32)

        return trial.changed_by_position(mixed)


class RobustnessSettings(BaseModel):
    """Levels of the conditions that the paper does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pgd_eps: tuple[PositiveFloat, ...] = (0.02, 0.04, 0.08, 0.16)
    pgd_steps: PositiveInt = 20
    pgd_restarts: PositiveInt = 3
    attack_snr_db: tuple[float, ...] = (40.0, 30.0, 20.0)
    babble_snr_db: tuple[float, ...] = (20.0, 10.0)
    babble_voices: PositiveInt = 5


@dataclass(frozen=True)
class FurtherFamily:
    """Conditions that belong together and that only `fastser.evaluate` tests.

    Attributes:
        name: Name by which the family is chosen.
        expand: Returns its conditions.
        suites: As in `ConditionFamily`.
        source: Where it is described.
        needs_gradient: Whether it is left out for a model without gradients.
        needs_speakers: Number of speakers of the corpus below which it is left out.
    """

    name: str
    expand: Callable[[RobustnessSettings], Sequence[Condition]]
    suites: tuple[str, ...]
    source: str
    needs_gradient: bool = False
    needs_speakers: int = 1


def _pgd(settings: RobustnessSettings) -> list[PGDAttacked]:
    return [PGDAttacked(eps, settings.pgd_steps, settings.pgd_restarts) for eps in settings.pgd_eps]


def _bounded_by_snr(settings: RobustnessSettings, *, on_waveform: bool) -> list[SNRAttacked]:
    return [SNRAttacked(snr, settings.pgd_steps, on_waveform) for snr in settings.attack_snr_db]


FURTHER = Registry(
    "family of conditions",
    [
        FurtherFamily("pgd", _pgd, ("all",), "Madry et al. 2018", needs_gradient=True),
        FurtherFamily(
            "pgd-l2",
            partial(_bounded_by_snr, on_waveform=False),
            ("all",),
            "Madry et al. 2018, with a radius relative to the input",
            needs_gradient=True,
        ),
        FurtherFamily(
            "waveform-attack",
            partial(_bounded_by_snr, on_waveform=True),
            ("all",),
            "Madry et al. 2018, with a radius that is an SNR",
            needs_gradient=True,
        ),
        FurtherFamily("changes", lambda _: [Changed(c) for c in CHANGES.values()], ("all",), "see each change"),
        FurtherFamily(
            "quick-changes", lambda _: [Changed(c) for c in CHANGES.values() if c.quick], ("quick",), "see each change"
        ),
        FurtherFamily(
            "babble",
            lambda s: [Babble(snr, s.babble_voices) for snr in s.babble_snr_db],
            ("quick", "all"),
            "Derington et al. 2023 (ser-tests): 4 to 7 talkers at 20 dB; here other speakers of the corpus",
            needs_speakers=2,
        ),
    ],
)
"""Families of further conditions, in the order of the tests."""
