"""Studies that train and test the networks and the yardstick Linear speaker by speaker."""

import argparse
from abc import abstractmethod
from collections.abc import Iterable
from typing import Generic

from benchmarks.clean_run import AnyRun, Scored
from benchmarks.recorded_runs import Study, experiment_of, models_of, plan_of, settings_of
from fastser.experiment.grid import GridPoint
from fastser.training.yardsticks import LOWEST_USEFUL


class SpeakerStudy(Study[AnyRun], Generic[AnyRun]):
    """Trainings without augmentation, tested on the clean speech of the test speaker of each fold.

    Args:
        options: Options of the command.

    Attributes:
        options: Options of the command.
        models: Names of the models, with that of the yardstick.
        experiment: Experiment of the runs.

    Raises:
        CorpusError: If the corpus cannot be used.
        DeviceError: If there is no such device.
        SettingsError: If a setting is unknown or invalid.
        UsageError: If there is no such model.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.models = [*models_of(options), LOWEST_USEFUL]
        self.experiment = experiment_of(options, settings_of(options))
        runs, points = plan_of(options, self.experiment, self.models)
        self.paths = {run: runs / f"{self.key(run)}.json" for point in points for run in self.runs_at(point)}

    @abstractmethod
    def runs_at(self, point: GridPoint) -> Iterable[AnyRun]:
        """Return the runs at a point of the grid."""

    @abstractmethod
    def key(self, run: AnyRun) -> str:
        """Return the key of a run, which is the name of its record."""

    @abstractmethod
    def score(self, run: AnyRun) -> Scored[AnyRun]:
        """Train and test the model of a run.

        Raises:
            TrainingError: If the loss is not finite, or the model cannot be trained or tested.
        """

    def record(self, item: AnyRun) -> None:
        """Implement `Study`."""
        self.score(item).write(self.paths[item])

    def scores(self) -> list[Scored[AnyRun]]:
        """Return the recorded runs, in the order of the plan."""
        return [Scored.read(path, run) for run, path in self.paths.items() if path.exists()]
