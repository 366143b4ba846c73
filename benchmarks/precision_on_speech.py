"""UAR after training in bfloat16 and in float32, on EMO-DB: `python -m benchmarks.precision_on_speech --emodb PATH`.

Proposed and CNN are trained speaker by speaker in both precisions, with the same seeds, and tested in float32 on clean
speech. The page `OUT/precision.md` has the paired difference of their UAR with a 95 % interval. The runs are kept in
OUT as those of the main job: the same command continues where it was stopped, and repeats no finished run.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from benchmarks.speaker_means import mean_of
from fastser.cli.signals import first_signal_stops
from fastser.data import prepare, read_corpus
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.serial import run_serially
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint, RunId, plan
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run
from fastser.models import MODELS
from fastser.runtime.device import named_device
from fastser.runtime.duration import format_duration
from fastser.runtime.files import atomic_write
from fastser.runtime.precision import Precision
from fastser.settings import SCALES
from fastser.training.schedule import Epoch

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
TASK = "target"
"""Task whose models are trained speaker by speaker and tested on clean speech alone."""

Scores = Mapping[tuple[str, int], float]
"""UAR of the runs of one model in percent, by fold and repeat."""


@dataclass(frozen=True)
class Difference:
    """Difference of the UAR of one model between bfloat16 and float32, in percentage points.

    Attributes:
        pairs: Number of runs that are finished in both precisions.
        uar: Mean UAR in percent of these, in the order of `PRECISIONS`.
        mean: Mean over folds of the fold's mean difference over repeats.
        interval: 95 % interval of the mean, by Student's t over the folds, or None for a single fold.
        between_seeds: Standard deviation over repeats of the mean UAR in float32, or None for a single repeat.
    """

    pairs: int
    uar: tuple[float, float]
    mean: float
    interval: tuple[float, float] | None
    between_seeds: float | None


def difference(exact: Scores, rounded: Scores) -> Difference | None:
    """Return the difference between runs with the same fold and repeat, or None if there is no such pair.

    The runs of a fold are tested on the same speaker, so the folds are the independent samples of the interval.

    Args:
        exact: UAR in float32.
        rounded: UAR in bfloat16.
    """
    pairs = sorted(exact.keys() & rounded.keys())
    if not pairs:
        return None
    by_fold, by_repeat = defaultdict(list), defaultdict(list)
    for fold, repeat in pairs:
        by_fold[fold].append(rounded[fold, repeat] - exact[fold, repeat])
        by_repeat[repeat].append(exact[fold, repeat])
    of_folds = mean_of([mean(values) for values in by_fold.values()])
    repeats = [mean(values) for values in by_repeat.values()]
    return Difference(
        pairs=len(pairs),
        uar=(mean(exact[pair] for pair in pairs), mean(rounded[pair] for pair in pairs)),
        mean=of_folds.value,
        interval=of_folds.interval,
        between_seeds=stdev(repeats) if len(repeats) > 1 else None,
    )


def page(experiments: Mapping[Precision, Experiment], points: Sequence[GridPoint], store: ResultStore) -> str:
    """Return the comparison of the finished runs in Markdown."""
    corpus = experiments["float32"].dataset("target").corpus
    folds, repeats = ({getattr(point, name) for point in points} for name in ("fold", "repeat"))
    lines = [
        f"# bfloat16 and float32 on {corpus.title}, {experiments['float32'].settings.scale} scale",
        "",
        f"{corpus.summary}. {len(folds)} folds x {len(repeats)} repeats. Both precisions have the same seeds. UAR in "
        "percent on clean speech, tested in float32. The interval is a 95 % interval (Student's t) over the folds, "
        "of the mean difference bfloat16 - float32 of each fold in percentage points.",
        "",
        "| model | pairs of runs | float32 | bfloat16 | difference | 95 % interval | deviation over repeats, float32 |"
        " training, float32 | training, bfloat16 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model in dict.fromkeys(point.model for point in points):
        own = [point for point in points if point.model == model]
        runs = [store.collect([experiments[precision].identify(point) for point in own]) for precision in PRECISIONS]
        found = difference(_scores(runs[0]), _scores(runs[1]))
        if found is None:
            lines.append(f"| {MODELS[model].title} | 0 of {len(own)} |  |  |  |  |  |  |  |")
            continue
        low_high = "n/a" if found.interval is None else "{:+.2f} to {:+.2f}".format(*found.interval)
        spread = "n/a" if found.between_seeds is None else f"{found.between_seeds:.2f}"
        seconds = [f"{mean(run.metadata['training_seconds'] for run in part):.1f} s" for part in runs]
        numbers = (f"{found.uar[0]:.1f}", f"{found.uar[1]:.1f}", f"{found.mean:+.2f}", low_high, spread, *seconds)
        lines.append(f"| {MODELS[model].title} | {found.pairs} of {len(own)} | {' | '.join(numbers)} |")
    environment = experiments["float32"].environment()
    lines += ["", *(f"- {name}: {text}" for name, text in environment.items() if name != "precision"), ""]
    return "\n".join(lines)


def _scores(runs: Sequence[Run]) -> Scores:
    return {(run.id.point.fold, run.id.point.repeat): 100 * run.metrics["clean"]["uar"] for run in runs}


class _Silent:
    """Listener that ignores all progress."""

    def started(self, run_id: RunId) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def condition(self, name: str) -> None: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """Execute the runs that are not finished, and write the page."""
    parser = argparse.ArgumentParser("python -m benchmarks.precision_on_speech", description=__doc__)
    parser.add_argument("--emodb", type=Path, required=True, metavar="PATH", help="folder of EMO-DB")
    parser.add_argument("--out", type=Path, default=Path("precision"), metavar="DIR", help="folder of runs and page")
    parser.add_argument("--scale", choices=tuple(SCALES), default="quick")
    parser.add_argument("--models", default="proposed,cnn", metavar="A,B")
    parser.add_argument("--folds", type=int, metavar="N", help="number of folds; default: one per speaker")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--device", default="auto", metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    options = parser.parse_args(arguments)
    narrowed = [f"protocol.folds={options.folds or 'null'}", f"protocol.repeats={options.repeats}"]
    settings = SCALES[options.scale].override([*narrowed, *options.set])
    device = named_device(options.device)
    dataset = prepare(read_corpus("emodb", options.emodb), settings, device=device)
    experiments = {
        precision: Experiment(settings.override([f"training.precision={precision}"]), 0, None, dataset, None, device)
        for precision in PRECISIONS
    }
    for precision, experiment in experiments.items():
        if experiment.precision != precision:
            raise SystemExit(f"{precision} cannot be compared on this machine")
    folds = tuple(experiments["float32"].folds(TASK))
    points = plan({TASK: folds}, options.models.split(","), ("none",), options.repeats)
    store = ResultStore(options.out)
    total, done = len(PRECISIONS) * len(points), 0
    with first_signal_stops(lambda: print("stopping; the same command continues", flush=True)) as stop:
        for point in points:
            for precision, experiment in experiments.items():
                for outcome in run_serially(Runner(experiment, store, stop=stop), [point], _Silent()):
                    done += 1
                    ended = "reused" if outcome.seconds is None else format_duration(outcome.seconds)
                    print(f"[{done}/{total}] {precision}, {point.label}: {outcome.failure or ended}", flush=True)
    text = page(experiments, points, store)
    with atomic_write(options.out / "precision.md") as part:
        part.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
