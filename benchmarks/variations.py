"""UAR under a variation: `python -m benchmarks.variations --corpus emodb=PATH --variation known-speaker`.

The networks and the yardstick Linear are trained and tested on clean speech twice for each fold and repeat, as in the
main job and with one thing varied:

- known-speaker: half of the test speaker's own utterances are in the training set, and the other half is tested. A
  second training exchanges the halves. The difference is what a model loses because it does not know its speaker.
- shuffled-frames: the frames of every utterance are put into a random order before anything is trained. The difference
  is what a model needs the order of frames for.

`OUT/VARIATION.md` has the page, `OUT/VARIATION.csv` every run. Each finished run is one file `OUT/runs/KEY.json`, and
the same command continues where it was stopped. The variations share their ordinary runs if they share OUT.
"""

import argparse
from collections.abc import Iterable
from statistics import mean

from benchmarks.clean_run import Scored, Sets, train_and_test
from benchmarks.recorded_runs import arguments, parsed, record_missing
from benchmarks.speaker_study import SpeakerStudy
from benchmarks.study_page import publish, write_runs
from benchmarks.variation_page import VariationRun, page
from benchmarks.variation_sets import VARIATIONS, Variation
from fastser.data import CorpusError
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.experiment import Experiment
from fastser.experiment.folds import has_own_split
from fastser.experiment.grid import GridPoint
from fastser.runtime.digests import digest
from fastser.runtime.errors import UserError


class VariationStudy(SpeakerStudy[VariationRun]):
    """Ordinary and varied trainings of each fold and repeat."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.variation = VARIATIONS[options.variation]
        super().__init__(options)
        corpus = self.experiment.dataset("source").corpus
        if has_own_split(corpus):
            raise CorpusError(
                f"{corpus.title} has a split of its own; give a corpus whose speakers can be left out one by one"
            )

    def runs_at(self, point: GridPoint) -> Iterable[VariationRun]:
        """Implement `SpeakerStudy`."""
        return [VariationRun(point, varied) for varied in (False, True)]

    def key(self, run: VariationRun) -> str:
        """Implement `SpeakerStudy`."""
        return digest(self.experiment.identify(run.point).key, self.variation.name if run.varied else "ordinary")

    def score(self, run: VariationRun) -> Scored[VariationRun]:
        """Implement `SpeakerStudy`."""
        return score(self.experiment, self.variation, run)

    def label(self, item: VariationRun) -> str:
        """Implement `Study`."""
        return f"{item.point.label}, {self.variation.case(item.varied)}"


def score(experiment: Experiment, variation: Variation, run: VariationRun) -> Scored[VariationRun]:
    """Train and test the models of a run, and return the UAR over all of its test utterances.

    Numbers of utterances and epochs are means over the trainings of the run.
    """
    point = run.point
    trainings = variation.sets(experiment, point) if run.varied else [Sets(*experiment.subsets(point))]
    results, epochs = zip(*(train_and_test(experiment, point, s, experiment.settings) for s in trainings), strict=True)
    utterances = mean(len(sets.training.utterances) for sets in trainings)
    return Scored(run, round(utterances), round(mean(epochs)), 100 * ConditionResult.joined(results).uar)


def main(given: list[str] | None = None) -> None:
    """Record the runs that are missing, and write page and CSV file."""
    parser = argparse.ArgumentParser("python -m benchmarks.variations", description=__doc__)
    arguments(parser, out="variations")
    parser.add_argument("--variation", required=True, choices=tuple(VARIATIONS))
    options = parsed(parser, given)
    try:
        study = VariationStudy(options)
    except UserError as error:
        parser.error(str(error))
    succeeded = record_missing(VariationStudy, options, study)
    scores, variation = study.scores(), study.variation
    write_runs(options.out / f"{variation.name}.csv", "case", lambda run: variation.case(run.varied), scores)
    text = page(study.experiment, variation, study.models, len(study.paths), scores)
    publish(options.out / f"{variation.name}.md", text, succeeded)


if __name__ == "__main__":
    main()
