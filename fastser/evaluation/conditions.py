"""Conditions: the ways in which a trained model is tested (paper 5). Clean, noise, attacks, another corpus.

To add one, derive a frozen dataclass from `Condition` and register a `ConditionFamily`. The estimate of time, the
tests, the tables and the report read this list.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from fastser.attacks import ATTACKS, NamedAttack
from fastser.evaluation.condition import Condition, Cost
from fastser.evaluation.inference import result_of
from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.trial import Trial
from fastser.runtime.registry import Registry
from fastser.settings import Settings


@dataclass(frozen=True)
class Unperturbed(Condition):
    """The test set as it is: clean speech, or another corpus."""

    name: str = "clean"
    title: str = ""

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for unchanged segments."""
        return trial.perturbed(lambda segments, _: segments)


@dataclass(frozen=True)
class SceneNoise(Condition):
    """Noise of one scene, added to every utterance (not in the paper)."""

    scene: str
    snr_db: float

    @property
    def name(self) -> str:
        """Name, "noise-park-10db"."""
        return f"noise-{self.scene}-{self.snr_db:g}db"

    @property
    def title(self) -> str:
        """Title, "park, 10 dB"."""
        return f"{self.scene}, {self.snr_db:g} dB"

    @property
    def level(self) -> float:
        """SNR in dB."""
        return self.snr_db

    @property
    def level_name(self) -> str:
        """Name of the level."""
        return "SNR"

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors with the scene's noise."""
        return trial.noisy(self.scene, self.snr_db)


@dataclass(frozen=True)
class DrawnNoise(Condition):
    """Noise of a random scene per utterance: the paper's "randomly added" noise (5.2)."""

    scenes: tuple[str, ...]
    snr_db: float

    @property
    def name(self) -> str:
        """Name, "noise-10db"."""
        return f"noise-{self.snr_db:g}db"

    @property
    def title(self) -> str:
        """Title, "10 dB"."""
        return f"{self.snr_db:g} dB"

    @property
    def level(self) -> float:
        """SNR in dB."""
        return self.snr_db

    @property
    def level_name(self) -> str:
        """Name of the level."""
        return "SNR"

    @property
    def is_computed(self) -> bool:
        """False: every utterance takes the result of the scene that it has drawn."""
        return False

    def cost(self, settings: Settings) -> Cost:  # noqa: ARG002
        """Return no work. It is counted with the single scenes."""
        return Cost(forward_passes=0)

    def posteriors(self, trial: Trial) -> Tensor:
        """Return for each utterance the posteriors under its own scene."""
        by_scene = torch.stack([trial.posteriors(SceneNoise(scene, self.snr_db)) for scene in self.scenes])
        return by_scene[trial.drawn_scenes, torch.arange(by_scene.shape[1], device=by_scene.device)]


@dataclass(frozen=True)
class Attacked(Condition):
    """An adversarial attack on the model's input (paper 5.3)."""

    attack: NamedAttack

    @property
    def name(self) -> str:
        """Name of the attack, "bim"."""
        return self.attack.name

    @property
    def title(self) -> str:
        """Title of the attack, "BIM"."""
        return self.attack.title

    def cost(self, settings: Settings) -> Cost:
        """Return one forward pass and the steps of the attack."""
        return Cost(attack_steps=self.attack.steps(settings.attack))

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for adversarial inputs."""
        return trial.attacked(lambda model: self.attack.build(model, trial.settings.attack, trial.attack_bounds))


@dataclass(frozen=True)
class CurvePoint(Condition):
    """BIM with one of several values of eps (not in the paper).

    Attributes:
        eps: The value.
        is_eps_of_tables: Whether it is the eps of the paper's tables. The result of BIM there is taken.
    """

    eps: float
    is_eps_of_tables: bool

    @property
    def name(self) -> str:
        """Name, "bim-0.02"."""
        return f"bim-{self.eps:g}"

    @property
    def title(self) -> str:
        """Title, "eps 0.02"."""
        return f"eps {self.eps:g}"

    @property
    def level(self) -> float:
        """Negative eps: a lower level is harder."""
        return -self.eps

    @property
    def level_name(self) -> str:
        """Name of the level."""
        return "eps of BIM"

    @property
    def is_computed(self) -> bool:
        """False for the eps of the tables."""
        return not self.is_eps_of_tables

    def cost(self, settings: Settings) -> Cost:
        """Return one forward pass and the steps of BIM, or no work."""
        return Cost(forward_passes=0) if self.is_eps_of_tables else _bim().cost(settings)

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors for adversarial inputs."""
        bim = _bim()
        if self.is_eps_of_tables:
            return trial.posteriors(bim)
        attack = trial.settings.attack.model_copy(update={"eps": self.eps})
        return trial.attacked(lambda model: bim.attack.build(model, attack, trial.attack_bounds))


@dataclass(frozen=True)
class ConditionFamily:
    """Conditions that belong together, such as one noise condition per SNR.

    Attributes:
        name: Name by which tables refer to the family.
        expand: Returns the conditions for given settings.
        tasks: Names of the tasks whose models are tested under it (`fastser.experiment.tasks`).
        needs_noise: Whether it is left out where there are no noise recordings.
        needs_gradient: Whether it is left out for a model without gradients.
        suites: Suites of `fastser.evaluate` that it belongs to: "paper", "quick", "all".
        headline: Whether its results are printed when a run ends.
    """

    name: str
    expand: Callable[[Settings], Sequence[Condition]]
    tasks: tuple[str, ...] = ("source",)
    needs_noise: bool = False
    needs_gradient: bool = False
    suites: tuple[str, ...] = ()
    headline: bool = True


def _drawn_noise(settings: Settings) -> list[DrawnNoise]:
    return [DrawnNoise(settings.noise.scenes, snr) for snr in settings.noise.snr_db]


def _scene_noise(settings: Settings) -> list[SceneNoise]:
    return [SceneNoise(scene, snr) for scene in settings.noise.scenes for snr in settings.noise.snr_db]


def _curve(settings: Settings) -> list[CurvePoint]:
    further, of_tables = settings.attack.curve_eps, settings.attack.eps
    by_text = {f"{eps:g}": eps for eps in (*further, of_tables)} if further else {}
    return [CurvePoint(eps, eps == of_tables) for eps in sorted(by_text.values())]


def curve_names(eps: Iterable[float]) -> frozenset[str]:
    """Return the names of the conditions of BIM with these values of eps."""
    return frozenset(CurvePoint(value, is_eps_of_tables=False).name for value in eps)


def _bim() -> Attacked:
    return Attacked(ATTACKS["bim"])


def scene_noise_names(scenes: Iterable[str], snr_db: Iterable[float]) -> frozenset[str]:
    """Return the names of the conditions of noise of a single scene.

    Args:
        scenes: Names of the scenes.
        snr_db: SNRs in decibels.
    """
    return frozenset(SceneNoise(scene, snr).name for scene, snr in product(scenes, snr_db))


CONDITIONS = Registry(
    "condition",
    [
        ConditionFamily(
            "clean", lambda _: [Unperturbed()], tasks=("source", "target"), suites=("paper", "quick", "all")
        ),
        ConditionFamily("noise", _drawn_noise, needs_noise=True, suites=("paper", "all")),
        ConditionFamily("noise-scenes", _scene_noise, needs_noise=True, headline=False),
        ConditionFamily(
            "attacks",
            lambda _: [Attacked(attack) for attack in ATTACKS.values()],
            needs_gradient=True,
            suites=("paper", "all"),
        ),
        ConditionFamily("bim-curve", _curve, needs_gradient=True, headline=False),
        ConditionFamily("cross-corpus", lambda _: [Unperturbed("cross-corpus")], tasks=("cross",)),
    ],
)
"""All conditions, in the order in which models are tested under them."""


def conditions(task: str, settings: Settings, *, with_noise: bool = True) -> tuple[Condition, ...]:
    """Return the conditions under which the models of a task are tested.

    Args:
        task: Name of the task.
        settings: Settings that the families expand with.
        with_noise: Whether there are noise recordings.
    """
    return tuple(
        condition
        for family in CONDITIONS.values()
        if task in family.tasks and (with_noise or not family.needs_noise)
        for condition in family.expand(settings)
    )


def headline_names(settings: Settings) -> frozenset[str]:
    """Return the names of the conditions whose results are printed when a run ends."""
    families = [family for family in CONDITIONS.values() if family.headline]
    return frozenset(condition.name for family in families for condition in family.expand(settings))


def evaluate(trial: Trial, tested: Sequence[Condition]) -> dict[str, ConditionResult]:
    """Test a trained model under conditions, without training it again.

    Returns:
        Results by name of the condition, in the order given.
    """
    return {condition.name: result_of(trial.test, trial.posteriors(condition)) for condition in tested}
