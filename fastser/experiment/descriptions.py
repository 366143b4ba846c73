"""Descriptions of trained models, which their files of weights carry along."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastser.data.corpora import Corpus, Utterance
from fastser.data.corpora.attribution import attribution_of
from fastser.data.dataset import Subset
from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.statistics import Sample, interval
from fastser.experiment.experiment import Experiment, TrainedModel
from fastser.experiment.grid import RunId
from fastser.recognition.model_file import ModelDescription
from fastser.runtime.counted import counted
from fastser.runtime.date import today
from fastser.settings import Settings
from fastser.training.yardsticks import YARDSTICKS


def description_of_run(experiment: Experiment, run_id: RunId, trained: TrainedModel) -> ModelDescription:
    """Return the description of a model that a run has trained and tested."""
    training, validation, test = experiment.subsets(run_id.point)
    metadata, corpus = trained.metadata, test.dataset.corpus
    speakers, is_network = ", ".join(_speakers(test)), run_id.point.model not in YARDSTICKS
    trained_by = {
        "epochs": metadata["kept_epoch"],
        "seed": metadata["seeds"]["training"],
        "validation_speakers": _speakers(validation),
    }
    return ModelDescription(
        architecture=run_id.point.model,
        classes=tuple(metadata["classes"]),
        normalisation=trained.normalisation,
        settings=Settings.model_validate(metadata["settings"]),
        training={
            "corpora": [corpus_record(training.dataset.corpus, _utterances(training))],
            "augmentation": run_id.point.augmentation,
            **(trained_by if is_network else {}),
            "test_speakers": _speakers(test),
            "run": run_id.to_json(),
        },
        scores=[_score(name, result) for name, result in trained.results.items()],
        scores_of=f"Tested on {corpus.title}, {counted(len(test.utterances), 'utterance')} of {speakers}.",
        environment=dict(metadata["environment"]),
        date=today(),
    )


def corpus_record(corpus: Corpus, utterances: Iterable[Utterance]) -> dict[str, Any]:
    """Return what a description says about the utterances of a corpus that trained a model, as plain JSON."""
    used = list(utterances)
    counts = Counter(utterance.emotion for utterance in used)
    known = attribution_of(corpus)
    return {
        "title": corpus.title,
        "utterances": len(used),
        "classes": {name: counts[name] for name in corpus.classes},
        "speakers": sorted({utterance.speaker for utterance in used}),
        "reader": corpus.name if known and known.citation else None,
        "citation": known and known.citation,
        "licence": known and known.licence,
    }


def _utterances(subset: Subset) -> Sequence[Utterance]:
    return [subset.dataset.corpus.utterances[i] for i in subset.utterances]


def _speakers(subset: Subset) -> list[str]:
    return sorted({utterance.speaker for utterance in _utterances(subset)})


def _score(condition: str, result: ConditionResult) -> Mapping[str, Any]:
    """Return the score of a run under a condition. A single speaker leaves the interval for new speakers open."""
    score = {"condition": condition, "uar": result.uar, "accuracy": result.accuracy}
    sample = Sample.of_result(result)
    if sample.num_speakers == 1:
        return score
    found = interval(sample)
    return score | {"low": found.low, "high": found.high}
