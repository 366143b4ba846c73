"""Options of `python -m fastser.evaluate`. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.options import option


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    model: str | None = option(None, "Model to test: package.module:make_model.", metavar="MODULE:NAME")
    weights: str | None = option(None, "Weights that fastser.reproduce --keep-models wrote.", metavar="FILE")
    corpus: str | None = option(None, "Speech: emodb=PATH, ravdess=PATH, manifest=FILE.csv ...", metavar="NAME=PATH")
    noise: str | None = option(None, "Noise recordings: demand=PATH or folder=PATH.", metavar="NAME=PATH")
    classes: str | None = option(None, "Names of the model's outputs, in their order.", metavar="A,B")
    inputs: str = option("segments", "segments: spectrograms. waveform: whole utterances.", metavar="KIND")
    normalisation: str | None = option(
        None, "Mean and standard deviation of segments in decibels. Default: of the tested speech.", metavar="MEAN,STD"
    )
    conditions: str = option("paper", "Suites (paper, quick, all), families or single conditions.", metavar="A,B")
    speakers: str | None = option(None, "Only these speakers.", metavar="A,B")
    split: str | None = option(
        None, "CSV file with the columns file and set: its test set, checked for leakage.", metavar="FILE"
    )
    allow_leakage: bool = option(False, "Go on although a speaker or a recording is on both sides of the split.")
    allow_bad_files: bool = option(False, "Go on even if more than 5 % of the corpus' files are unusable.")
    title: str | None = option(None, "Name of the model in tables. Default: that of its function.", metavar="TEXT")
    set: tuple[str, ...] = option(
        (), "Change a setting, such as attack.eps=0.02. May be repeated.", metavar="NAME=VALUE"
    )
    device: str = option("auto", "cpu, cuda, cuda:1, or auto.", metavar="NAME")
    seed: int = option(0, "Seed of noise and other random changes.", metavar="N", minimum=0)
    out: Path = option(
        Path("robustness"), "Folder of report, tables, posteriors and finished conditions.", metavar="DIR"
    )
