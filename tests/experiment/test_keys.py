"""Keys of runs: they change with everything on which a result depends, and with nothing else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL
from torch import nn

from fastser.attacks import ATTACKS, NamedAttack
from fastser.augmentation import AUGMENTATIONS, Augmentation
from fastser.data.corpora import Corpus, Utterance, read_corpus
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import Dataset, prepare
from fastser.data.noise import NoiseBank
from fastser.data.packed_audio import PackedWaveforms
from fastser.evaluation.conditions import CONDITIONS, ConditionFamily, Unperturbed
from fastser.experiment.folds import Fold
from fastser.experiment.grid import GridPoint
from fastser.experiment.keys import run_key
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS, Architecture
from fastser.runtime.files import cache_at
from fastser.settings import PAPER, PAPER_CLASSES, QUICK, Settings
from fastser.training.yardsticks import YARDSTICKS, Yardstick

NOISE = NoiseBank(PackedWaveforms(np.zeros(4, np.float32), np.array([0, 2, 4]), {}, "noise"), ("park", "cafe"), 16_000)
POINTS = [GridPoint(task, "cnn", augmentation, "a", 1) for task, augmentation in product(TASKS, AUGMENTATIONS)]
POINTS += [GridPoint(task, "linear", "none", "a", 1) for task in TASKS]
Case = tuple[GridPoint, NoiseBank | None]
CASES: list[Case] = [(point, noise) for point in POINTS for noise in (NOISE, None)]


def dataset(key: str, classes: tuple[str, ...] = PAPER_CLASSES) -> Dataset:
    """Make a dataset without audio. A key takes from it the digest of its contents and the number of classes."""
    utterances = tuple(Utterance(name, Path(name), "a", name) for name in classes)
    return Dataset(Corpus(key, key, Path(key), utterances, classes), None, None, (), key)  # type: ignore[arg-type]


FOLD = Fold("a", (0, 1), (2,), (3,))
CHOSEN = QUICK.override(["training.precision=float32"])
DATA = {"source": dataset("source"), "target": dataset("target")}


def key_of(case: Case, settings: Settings = CHOSEN, **changes: Any) -> str:
    """Return the key of a run, with other arguments of `run_key` where they are given."""
    point, noise = case
    datasets = [DATA[role] for role in TASKS[point.task].roles]
    arguments = {"fold": FOLD, "seed": 0, "datasets": datasets, "noise": noise, "kernels": ""} | changes
    return run_key(point, arguments.pop("fold"), settings, **arguments)


def always(point: GridPoint, noise: NoiseBank | None) -> bool:
    return True


def of_a_network(point: GridPoint, noise: NoiseBank | None) -> bool:
    return point.model not in YARDSTICKS


def never(point: GridPoint, noise: NoiseBank | None) -> bool:
    return False


def with_speed(point: GridPoint, noise: NoiseBank | None) -> bool:
    return "speed" in point.augmentation


def with_mixup(point: GridPoint, noise: NoiseBank | None) -> bool:
    return "mixup" in point.augmentation


def under_noise(point: GridPoint, noise: NoiseBank | None) -> bool:
    return point.task == "source" and noise is not None


def under_attack(point: GridPoint, noise: NoiseBank | None) -> bool:
    return point.task == "source"


def across_corpora(point: GridPoint, noise: NoiseBank | None) -> bool:
    return point.task == "cross"


CHANGES: dict[str, tuple[str, Callable[[GridPoint, NoiseBank | None], bool]]] = {
    "audio.sample_rate": ("8000", always),
    "audio.level": ("equal", always),
    "spectrogram.win_length": ("320", always),
    "spectrogram.hop_length": ("80", always),
    "spectrogram.n_fft": ("1024", always),
    "spectrogram.kind": ("linear", always),
    "spectrogram.num_bins": ("32", always),
    "spectrogram.power_floor": ("1e-8", always),
    "spectrogram.segment_frames": ("256", of_a_network),
    "spectrogram.segment_hop": ("64", of_a_network),
    "spectrogram.last_segment": ("shifted", of_a_network),
    "spectrogram.normalisation": ("speaker", always),
    "model.stem": ("conv3x3", of_a_network),
    "model.layers_per_block": ("2", of_a_network),
    "model.proposed_growth_rate": ("4", of_a_network),
    "model.densenet_growth_rate": ("4", of_a_network),
    "model.compression": ("0.5", of_a_network),
    "model.lstm_units": ("16", of_a_network),
    "model.lstm_directions": ("both", of_a_network),
    "model.highway_units": ("16", of_a_network),
    "model.highway_layers": ("2", of_a_network),
    "model.dense_units": ("32", of_a_network),
    "model.cnn_filters": ("[2,4,6]", of_a_network),
    "model.cnn_kernels": ("[[2,2],[2,2],[3,3]]", of_a_network),
    "model.cnn_units": ("[8,4]", of_a_network),
    "model.dropout": ("0.25", of_a_network),
    "model.dropout_place": ("output", of_a_network),
    "training.learning_rate": ("0.01", of_a_network),
    "training.batch_size": ("8", of_a_network),
    "training.max_epochs": ("2", of_a_network),
    "training.schedule": ("cosine", of_a_network),
    "training.class_weights": ("balanced", always),
    "training.halve_after": ("1", of_a_network),
    "training.stop_after": ("2", of_a_network),
    "training.monitor": ("uar", of_a_network),
    "training.precision": ("bfloat16", of_a_network),
    "evaluation.precision": ("bfloat16", always),
    "augmentation.speed_factors": ("0.8,1.2", with_speed),
    "augmentation.mixup_alpha": ("0.4", with_mixup),
    "augmentation.mixup_weights": ("batch", with_mixup),
    "noise.snr_db": ("5", under_noise),
    "noise.scenes": ("park", under_noise),
    "attack.eps": ("0.1", under_attack),
    "attack.eps_unit": ("range", under_attack),
    "attack.bim_steps": ("3", under_attack),
    "attack.bim_relative_step": ("0.1", under_attack),
    "attack.curve_eps": ("0.01", under_attack),
    "protocol.folds": ("3", never),
    "protocol.repeats": ("3", never),
    "protocol.min_validation_utterances": ("3", never),
    "protocol.cross_corpus_validation": ("0.4", across_corpora),
    "scale": ("paper", never),
}
"""Another value of every setting, and the runs whose results depend on it."""


def test_a_key_follows_the_utterances_of_its_fold() -> None:
    folds = [FOLD, replace(FOLD, train=(0, 4)), replace(FOLD, validation=(2, 4)), replace(FOLD, test=(5,))]
    assert len({key_of(CASES[0], fold=fold) for fold in folds}) == 4


def test_a_key_needs_a_chosen_precision() -> None:
    with pytest.raises(ValueError, match="precision is auto"):
        key_of(CASES[0], QUICK)


def test_every_setting_is_classified() -> None:
    assert set(CHANGES) == set(PAPER.describe()), "state in CHANGES for which runs a new setting changes the key"


@pytest.mark.fast
@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_changes_the_keys_of_those_runs_that_depend_on_it(name: str) -> None:
    value, depends = CHANGES[name]
    section, _, leaf = name.partition(".")
    changed = CHOSEN.override([f"{name}={value}"]) if leaf else CHOSEN.model_copy(update={section: value})
    assert changed.describe()[name] != CHOSEN.describe()[name]
    found = [case for case in CASES if key_of(case, changed) != key_of(case)]
    assert found == [case for case in CASES if depends(*case)]


@pytest.mark.fast
def test_every_point_of_the_grid_has_a_key_of_its_own() -> None:
    names = product(TASKS, [*MODELS, *YARDSTICKS], AUGMENTATIONS, ("a", "b"), (1, 2))
    keys = [key_of((GridPoint(*point), NOISE)) for point in names]
    assert len(set(keys)) == len(keys)


def test_a_key_follows_seed_kernels_and_noise_recordings() -> None:
    other_noise = NoiseBank(replace(NOISE.waveforms, key="other"), NOISE.scenes, 16_000)
    other_scenes = NoiseBank(NOISE.waveforms, ("cafe", "park"), 16_000)
    for case in CASES:
        assert key_of(case, seed=1) != key_of(case)
        assert len({key_of(case, kernels=kernels) for kernels in ("", "reference", " lstm float32")}) == 3
    for point in POINTS:
        keys = [key_of((point, noise)) for noise in (NOISE, None, other_noise, other_scenes)]
        assert len(set(keys)) == (4 if point.task == "source" else 1), point


def test_a_key_follows_the_corpora_of_its_task() -> None:
    other = {role: dataset(f"other {role}") for role in DATA}
    for task, point in ((point.task, point) for point in POINTS):
        for changed in DATA:
            datasets = [(other if role == changed else DATA)[role] for role in TASKS[task].roles]
            differs = key_of((point, NOISE), datasets=datasets) != key_of((point, NOISE))
            assert differs == (changed in TASKS[task].roles), (task, changed)


def test_a_key_follows_the_classes_and_their_order(stand_ins: Path) -> None:
    path = generate(stand_ins, utterances_per_class=1).iemocap
    selections = (("angry", "sad"), ("sad", "angry"), ("angry", "happy"), PAPER_CLASSES)
    with cache_at(stand_ins / "cache"):
        datasets = [prepare(read_corpus("iemocap", path, classes), SMALL) for classes in selections]
    keys = {key_of((POINTS[0], None), datasets=[of_classes]) for of_classes in datasets}
    assert len(keys) == len(selections)


def test_an_augmentation_is_known_by_what_it_does() -> None:
    point = GridPoint("source", "cnn", "own", "a", 1)
    keys = set()
    for speed, mixup in product((False, True), repeat=2):
        with AUGMENTATIONS.including(Augmentation("own", speed=speed, mixup=mixup)):
            keys.add(key_of((point, None)))
    with AUGMENTATIONS.including(Augmentation("own", colour="#000000")):
        keys.add(key_of((point, None)))
    assert len(keys) == 4


def test_an_own_yardstick_is_known_by_its_code(own_module: Callable[[str], ModuleType]) -> None:
    keys = set()
    for value in (1, 1, 2):
        fit = own_module(f"def fit(training, normalisation, options):\n    return {value}\n").fit
        with YARDSTICKS.including(Yardstick("own", "Own", fit)):
            keys.add(key_of((GridPoint("source", "own", "none", "a", 1), None)))
    assert len(keys) == 2


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """A function that writes the module `own_parts` and imports it, as a new process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> ModuleType:
        (tmp_path / "own_parts.py").write_text(source)
        sys.modules.pop("own_parts", None)
        importlib.invalidate_caches()
        return importlib.import_module("own_parts")

    yield write
    sys.modules.pop("own_parts", None)


OWN_MODEL = """
from torch import nn


class Own(nn.Module):
    def __init__(self, settings, shape):
        super().__init__()
        self.layer = nn.Linear(shape.num_bins, shape.num_classes)

    def forward(self, x):
        return self.layer(x.mean(1))
"""


@pytest.mark.fast
def test_an_own_model_whose_code_changes_gets_another_key_under_the_same_name(
    own_module: Callable[[str], ModuleType],
) -> None:
    def key_with(source: str, settings: Settings = CHOSEN) -> str:
        with MODELS.including(Architecture("own", "Own", own_module(source).Own)):
            return key_of((GridPoint("target", "own", "none", "a", 1), None), settings)

    first = key_with(OWN_MODEL)
    assert key_with(OWN_MODEL) == first
    assert key_with(f"# comment\n{OWN_MODEL}") == first
    assert key_with(OWN_MODEL.replace("x.mean(1)", "x.amax(1)")) != first
    assert key_with(OWN_MODEL.replace("num_classes)", "num_classes, bias=False)")) != first


OWN_WEIGHTS = """
from torch import nn


def build(settings, shape):
    layer = nn.Linear(shape.num_bins, shape.num_classes)
    nn.init.constant_(layer.weight, 0.5)
    return layer
"""


def test_an_own_model_of_library_layers_whose_first_weights_change_gets_another_key(
    own_module: Callable[[str], ModuleType],
) -> None:
    keys = []
    for source in (OWN_WEIGHTS, OWN_WEIGHTS, OWN_WEIGHTS.replace("0.5", "0.25")):
        with MODELS.including(Architecture("own", "Own", own_module(source).build)):
            keys.append(key_of((GridPoint("target", "own", "none", "a", 1), None)))
    assert keys[0] == keys[1] != keys[2]


CONFIGURATION = {"bias": True}


def configured(settings: Any, shape: Any) -> nn.Module:
    return nn.Linear(shape.num_bins, shape.num_classes, bias=CONFIGURATION["bias"])


def test_an_own_model_whose_layers_change_without_its_code_gets_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for bias in (True, False):
        monkeypatch.setitem(CONFIGURATION, "bias", bias)
        with MODELS.including(Architecture("own", "Own", partial(configured))):
            keys.add(key_of((GridPoint("target", "own", "none", "a", 1), None)))
    assert len(keys) == 2


def notebook_model(names: list[str]) -> Callable[..., nn.Module]:
    """Define classes in the given order of a notebook, and return a function that builds a model of all of them."""
    namespace: dict[str, Any] = {"__name__": "a_notebook", "nn": nn}
    for name in names:
        exec(f"class {name}(nn.Identity):\n    def get(self, name={name!r}): return name", namespace)
    exec(f"def build(settings, shape): return nn.Sequential({', '.join(f'{n}()' for n in sorted(names))})", namespace)
    return namespace["build"]  # type: ignore[no-any-return]


def test_the_key_of_an_own_model_does_not_depend_on_the_addresses_of_its_classes() -> None:
    names = [f"Layer{i}" for i in range(8)]
    keys = set()
    for ordered in (names, names[::-1], names[4:] + names[:4]):
        with MODELS.including(Architecture("own", "Own", notebook_model(ordered))):
            keys.add(key_of((GridPoint("target", "own", "none", "a", 1), None)))
    assert len(keys) == 1


OWN_CONDITION = """
from dataclasses import dataclass

from fastser.evaluation.condition import Condition


@dataclass(frozen=True)
class Louder(Condition):
    name: str = "louder"

    def posteriors(self, trial):
        return trial.perturbed(lambda segments, _: segments + 1.0)


def expand(settings):
    return [Louder()]
"""


def test_an_own_condition_whose_code_changes_gives_its_tasks_other_keys(
    own_module: Callable[[str], ModuleType],
) -> None:
    def keys_with(source: str) -> list[str]:
        with CONDITIONS.including(ConditionFamily("own", own_module(source).expand, tasks=("target",))):
            return [key_of(case) for case in CASES]

    plain, first = [key_of(case) for case in CASES], keys_with(OWN_CONDITION)
    assert keys_with(OWN_CONDITION) == first
    second = keys_with(OWN_CONDITION.replace("+ 1.0", "+ 2.0"))
    for case, *keys in zip(CASES, plain, first, second, strict=True):
        assert len(set(keys)) == (3 if case[0].task == "target" else 1), case


OWN_ATTACK = """
def build(model, settings):
    return lambda x, y: x + settings.eps
"""


def test_an_own_attack_whose_code_changes_gives_attacked_tasks_other_keys(
    own_module: Callable[[str], ModuleType],
) -> None:
    def keys_with(source: str) -> list[str]:
        with ATTACKS.including(NamedAttack("own", "Own", own_module(source).build, lambda _: 1)):
            return [key_of(case) for case in CASES]

    plain, first = [key_of(case) for case in CASES], keys_with(OWN_ATTACK)
    assert keys_with(OWN_ATTACK) == first
    second = keys_with(OWN_ATTACK.replace("+ settings", "- settings"))
    for case, *keys in zip(CASES, plain, first, second, strict=True):
        assert len(set(keys)) == (3 if case[0].task == "source" else 1), case


def test_a_foreign_registration_leaves_the_keys_of_other_runs_as_they_are() -> None:
    plain = [key_of(case) for case in CASES]
    foreign = ConditionFamily("own", lambda _: [Unperturbed("own")], tasks=("nothing",))
    model = Architecture("own", "Own", lambda settings, shape: nn.Linear(shape.num_bins, shape.num_classes))
    with CONDITIONS.including(foreign), MODELS.including(model), AUGMENTATIONS.including(Augmentation("own")):
        assert [key_of(case) for case in CASES] == plain
