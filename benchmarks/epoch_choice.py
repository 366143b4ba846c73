"""Quality of the epoch that a rule chooses: `python -m benchmarks.epoch_choice --corpus emodb=PATH`.

Every model is trained speaker by speaker for all epochs of the scale, without an early end, and tested on clean speech
after every epoch. From these records follows the epoch that early stopping, other rules and an oracle choose. The page
`OUT/epoch_choice.md` has their UAR and the share of runs whose chosen epoch is a bad one, `OUT/epoch_choice.csv` has
every choice. The models are those of the main job with the corpus as its source.

Each finished run is one file `OUT/runs/KEY.json`. The same command continues where it was stopped: it repeats no
finished run, and starts the others from their beginning. Several commands may share OUT.
"""

import argparse

from benchmarks.epoch_page import Records, page, write_csv
from benchmarks.epoch_record import RunRecord, record_run, without_early_end
from benchmarks.recorded_runs import (
    TASK,
    Study,
    arguments,
    experiment_of,
    models_of,
    parsed,
    plan_of,
    record_missing,
    settings_of,
)
from benchmarks.study_page import publish
from fastser.experiment.grid import GridPoint
from fastser.runtime.errors import UserError


class EpochStudy(Study[GridPoint]):
    """Trainings that last for all epochs of the scale.

    Args:
        options: Options of the command.

    Attributes:
        settings: Settings of the scale, whose rule for the end of a training is one of those compared.
        experiment: Experiment whose trainings last for all epochs.

    Raises:
        CorpusError: If the corpus cannot be used.
        DeviceError: If there is no such device.
        SettingsError: If a setting is unknown or invalid.
        UsageError: If there is no such model.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        models, self.settings = models_of(options), settings_of(options)
        self.experiment = experiment_of(options, without_early_end(self.settings))
        runs, points = plan_of(options, self.experiment, models)
        self.paths = {point: runs / f"{self.experiment.identify(point).key}.json" for point in points}

    def record(self, item: GridPoint) -> None:
        """Implement `Study`."""
        record_run(self.experiment, item).write(self.paths[item])

    def label(self, item: GridPoint) -> str:
        """Implement `Study`."""
        return item.label

    def records(self) -> Records:
        """Return the recorded runs by name of the model, in the order of the plan."""
        found: dict[str, list[RunRecord]] = {point.model: [] for point in self.paths}
        for point, path in self.paths.items():
            if path.exists():
                found[point.model].append(RunRecord.read(path))
        return found


def main(given: list[str] | None = None) -> None:
    """Record the runs that are missing, and write page and CSV file."""
    parser = argparse.ArgumentParser("python -m benchmarks.epoch_choice", description=__doc__)
    arguments(parser, out="epoch_choice")
    options = parsed(parser, given)
    try:
        study = EpochStudy(options)
    except UserError as error:
        parser.error(str(error))
    succeeded = record_missing(EpochStudy, options, study)
    records = study.records()
    text = page(study.experiment, TASK, study.settings, records)
    write_csv(options.out / "epoch_choice.csv", study.settings.training, records)
    publish(options.out / "epoch_choice.md", text, succeeded)


if __name__ == "__main__":
    main()
