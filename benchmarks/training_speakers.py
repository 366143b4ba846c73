"""UAR by number of training speakers: `python -m benchmarks.training_speakers --corpus ravdess=PATH --speakers 4,8,16`.

The networks and the yardstick Linear are trained on the clean speech of some of the speakers that a fold trains on, and
tested on its test speaker. The speakers are drawn for each fold and repeat. A larger set contains the smaller ones. A
network has as many updates with few speakers as with all, so that only the data differ.

`OUT/training_speakers.md` has the page, `OUT/training_speakers.csv` every run, `OUT/training_speakers.png` the curves.
Each finished run is one file `OUT/runs/KEY.json`, and the same command continues where it was stopped.
"""

import argparse
from collections.abc import Iterable

from benchmarks.clean_run import Scored
from benchmarks.recorded_runs import arguments, parsed, record_missing
from benchmarks.speaker_page import draw, page
from benchmarks.speaker_record import SpeakersRun, score, speakers_of
from benchmarks.speaker_study import SpeakerStudy
from benchmarks.study_page import publish, write_runs
from fastser.experiment.grid import GridPoint
from fastser.runtime.digests import digest
from fastser.runtime.errors import UserError


class TrainingSpeakers(SpeakerStudy[SpeakersRun]):
    """Trainings with some of the training speakers of each fold."""

    def runs_at(self, point: GridPoint) -> Iterable[SpeakersRun]:
        """Implement `SpeakerStudy`. Numbers that are larger than that of the training speakers are left out."""
        everyone = len(speakers_of(self.experiment.subsets(point)[0]))
        return [SpeakersRun(point, number) for number in self.options.speakers if number <= everyone]

    def key(self, run: SpeakersRun) -> str:
        """Implement `SpeakerStudy`."""
        return digest(self.experiment.identify(run.point).key, run.speakers)

    def score(self, run: SpeakersRun) -> Scored[SpeakersRun]:
        """Implement `SpeakerStudy`."""
        return score(self.experiment, run)

    def label(self, item: SpeakersRun) -> str:
        """Implement `Study`."""
        return f"{item.point.label}, {item.speakers} speakers"


def main(given: list[str] | None = None) -> None:
    """Record the runs that are missing, and write page, CSV file and picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.training_speakers", description=__doc__)
    arguments(parser, out="training_speakers")
    parser.add_argument("--speakers", required=True, type=_counts, metavar="N,N", help="numbers of training speakers")
    options = parsed(parser, given)
    try:
        study = TrainingSpeakers(options)
    except UserError as error:
        parser.error(str(error))
    if not study.paths:
        parser.error(f"--speakers {min(options.speakers)}: no fold has so many training speakers")
    succeeded = record_missing(TrainingSpeakers, options, study)
    scores = study.scores()
    write_runs(options.out / "training_speakers.csv", "training_speakers", lambda run: run.speakers, scores)
    draw(options.out / "training_speakers.png", study.models, scores)
    text = page(study.experiment, study.models, len(study.paths), scores)
    publish(options.out / "training_speakers.md", text, succeeded)


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
