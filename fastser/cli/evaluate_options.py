"""Options of `python -m fastser.evaluate`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.cli.options import UsageError, given_corpus
from fastser.runtime.options import Group, option


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    model: str | None = option(
        None, "Model to test: package.module:make_model.", metavar="MODULE:NAME", group=Group.RUNS
    )
    weights: str | None = option(
        None,
        "Model to test: a .safetensors file that fastser.train or fastser.reproduce --keep-models wrote, or the name "
        "of a packaged model (emodb).",
        metavar="FILE",
        group=Group.RUNS,
    )
    source: str | None = option(
        None,
        "Speech: emodb=PATH, ravdess=PATH, manifest=FILE.csv ...",
        also="--corpus",
        metavar="NAME=PATH",
        group=Group.CORPORA,
    )
    noise: str | None = option(
        None, "Noise recordings: demand=PATH or folder=PATH.", metavar="NAME=PATH", group=Group.CORPORA
    )
    classes: str | None = option(None, "Names of the model's outputs, in their order.", metavar="A,B", group=Group.RUNS)
    inputs: str = option(
        "segments", "segments: spectrograms. waveform: whole utterances.", metavar="KIND", group=Group.RUNS
    )
    normalisation: str | None = option(
        None,
        "Mean and standard deviation of segments in decibels. Default: of the tested speech.",
        metavar="MEAN,STD",
        group=Group.RUNS,
        rare=True,
    )
    conditions: str = option(
        "paper", "Suites (paper, quick, all), families or single conditions.", metavar="A,B", group=Group.RUNS
    )
    speakers: str | None = option(None, "Only these speakers.", metavar="A,B", group=Group.CORPORA)
    split: str | None = option(
        None,
        "CSV file with the columns file and set: its test set, checked for leakage.",
        metavar="FILE",
        group=Group.CORPORA,
    )
    allow_leakage: bool = option(
        False,
        "Go on although a tested speaker or recording is known from the training.",
        group=Group.CORPORA,
        rare=True,
    )
    allow_bad_files: bool = option(
        False, "Go on even if more than 5 % of the corpus' files are unusable.", group=Group.CORPORA, rare=True
    )
    title: str | None = option(
        None, "Name of the model in tables. Default: that of its function.", metavar="TEXT", group=Group.RESULTS
    )
    set: tuple[str, ...] = option(
        (), "Change a setting, such as attack.eps=0.02. May be repeated.", metavar="NAME=VALUE", group=Group.RUNS
    )
    device: str = option("auto", "cpu, cuda, cuda:1, or auto.", metavar="NAME", group=Group.EXECUTION)
    seed: int = option(0, "Seed of noise and other random changes.", metavar="N", minimum=0, group=Group.EXECUTION)
    out: Path = option(
        Path("robustness"),
        "Folder of report, tables, posteriors and finished conditions.",
        metavar="DIR",
        group=Group.RESULTS,
    )

    def corpus(self) -> str:
        """Return the value of `--source`.

        Raises:
            UsageError: If it is missing, or there is not one model.
        """
        if (self.model is None) == (self.weights is None):
            raise UsageError("give either --model MODULE:NAME or --weights FILE")
        return given_corpus(self.source)
