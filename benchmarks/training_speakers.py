"""UAR by number of training speakers: `python -m benchmarks.training_speakers --corpus ravdess=PATH --speakers 4,8,16`.

The networks and the yardstick Linear are trained on the clean speech of some of the speakers that a fold trains on, and
tested on its test speaker. The speakers are drawn for each fold and repeat. A larger set contains the smaller ones. A
network has as many updates with few speakers as with all, so that only the data differ.

`OUT/training_speakers.md` has the page, `OUT/training_speakers.csv` every run, `OUT/training_speakers.png` the curves.
Each finished run is one file `OUT/runs/KEY.json`, and the same command continues where it was stopped.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.recorded_runs import (
    TASK,
    USER_ERRORS,
    Study,
    arguments,
    experiment_of,
    models_of,
    parsed,
    record_missing,
    settings_of,
)
from benchmarks.speaker_page import draw, page, write_csv
from benchmarks.speaker_record import Scored, Trial, score, speakers_of
from fastser.experiment.grid import plan
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write
from fastser.training.yardsticks import LOWEST_USEFUL


class SpeakerStudy(Study[Trial]):
    """Trainings with some of the training speakers of each fold.

    Args:
        options: Options of the command.

    Raises:
        CorpusError: If the corpus cannot be used.
        DeviceError: If there is no such device.
        SettingsError: If a setting is unknown or invalid.
        UnknownNameError: If there is no such model.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        settings = settings_of(options)
        self.models = [*models_of(options), LOWEST_USEFUL]
        self.experiment = experiment_of(options, settings)
        folds = tuple(self.experiment.folds(TASK))
        runs = options.out / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        points = plan({TASK: folds}, self.models, ("none",), settings.protocol.repeats)
        self.paths = {
            Trial(point, number): runs / f"{digest(self.experiment.identify(point).key, number)}.json"
            for point in points
            for number in options.speakers
            if number <= len(speakers_of(self.experiment.subsets(point)[0]))
        }

    def record(self, item: Trial) -> None:
        """Implement `Study`."""
        scored = score(self.experiment, item)
        with atomic_write(self.paths[item]) as part:
            part.write_text(json.dumps(asdict(scored)) + "\n", encoding="utf-8")

    def label(self, item: Trial) -> str:
        """Implement `Study`."""
        return f"{item.point.label}, {item.speakers} speakers"

    def scores(self) -> list[Scored]:
        """Return the recorded runs, in the order of the plan."""
        found = ((trial, path) for trial, path in self.paths.items() if path.exists())
        return [Scored(trial, **_values(path)) for trial, path in found]


def _values(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values.pop("trial")
    return values


def main(given: list[str] | None = None) -> None:
    """Record the runs that are missing, and write page, CSV file and picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.training_speakers", description=__doc__)
    arguments(parser, out="training_speakers")
    parser.add_argument("--speakers", required=True, type=_counts, metavar="N,N", help="numbers of training speakers")
    options = parsed(parser, given)
    try:
        study = SpeakerStudy(options)
    except USER_ERRORS as error:
        parser.error(str(error))
    if not study.paths:
        parser.error(f"--speakers {min(options.speakers)}: no fold has so many training speakers")
    succeeded = record_missing(SpeakerStudy, options, study)
    scores = study.scores()
    text = page(study.experiment, study.models, len(study.paths), scores)
    with atomic_write(options.out / "training_speakers.md") as part:
        part.write_text(text, encoding="utf-8")
    write_csv(options.out / "training_speakers.csv", scores)
    draw(options.out / "training_speakers.png", study.models, scores)
    print(text)
    if not succeeded:
        raise SystemExit("a worker ended with an error, which is printed above; the same command continues")


def _counts(text: str) -> tuple[int, ...]:
    """Parse numbers of speakers, such as "4,8,16"."""
    try:
        counts = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise argparse.ArgumentTypeError(f"'{text}': expected positive numbers, such as 4,8,16")
    return counts


if __name__ == "__main__":
    main()
