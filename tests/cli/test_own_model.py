"""`--model`: a model of the user in the paper's grid, its key, and sentences about models that cannot be used."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ONE_RUN, RUNS, Ended, read_csv, run_command

from fastser.experiment.own_models import name_of
from fastser.models import MODELS
from fastser.training.yardsticks import YARDSTICKS

MODEL = """
    import torch
    from torch import nn

    class Mean(nn.Module):
        def __init__(self, num_bins, num_classes):
            super().__init__()
            self.output = nn.Linear(num_bins, num_classes)

        def forward(self, segments):
            return FACTOR * self.output(segments.mean(dim=1))

    def make_model(num_classes, segment_frames, num_bins):
        return Mean(num_bins, num_classes)

    def of_another_shape(num_classes, segment_frames, num_bins):
        return Mean(num_bins, num_classes + 1)

    def without_parameters(num_classes, segment_frames, num_bins):
        return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(num_classes))

    def no_module(num_classes, segment_frames, num_bins):
        return len

    linear = make_model

    def failing(num_classes, segment_frames, num_bins):
        return Mean(num_bins)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module `mean_net`, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(tmp_path, factor=1)
    with MODELS.including():
        yield tmp_path
    sys.modules.pop("mean_net", None)


def write(folder: Path, factor: int) -> None:
    (folder / "mean_net.py").write_text(textwrap.dedent(MODEL).replace("FACTOR", str(factor)))


def train(manifest: Path, target: str = "mean_net:make_model", **options: object) -> Ended:
    """Train the model once, as a new process would. The results folder is beside the manifest."""
    sys.modules.pop("mean_net", None)
    own = {"models": None, "model": (target,), "source": f"manifest={manifest}", "out": manifest.with_name("out")}
    with MODELS.including():
        return run_command(**ONE_RUN | own | options)


@pytest.mark.parametrize(
    "executor", [{"executor": "serial"}, {"executor": "processes", "jobs": 1}], ids=["serial", "processes"]
)
def test_an_own_model_is_trained_and_stands_in_the_table(
    here: Path, manifest: Path, executor: dict[str, object]
) -> None:
    own = {"models": "mean_net", **executor}  # --models narrows the five, and --model adds to them
    ended = train(manifest, **own)
    assert (ended.status, ended.err) == (0, "")
    models = {row["model"] for row in read_csv(here / "out" / "table3.csv")}
    assert models == {"mean_net", *YARDSTICKS}
    again = train(manifest, **own)
    assert f"{RUNS} reused, 0 to do" in again.out
    write(here, factor=2)
    changed = train(manifest, **own)
    assert f"{RUNS - 1} reused, 1 to do" in changed.out
    assert len(list((here / "out" / "runs").glob("*.npz"))) == RUNS + 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("mean_net", "expected MODULE:NAME"),
        ("mean_nett:make_model", "there is no module 'mean_nett'"),
        ("mean_net:make", "the module has no 'make'"),
        ("mean_net:torch", "cannot be called"),
        ("mean_net:of_another_shape", "the model returned [2, 5], expected logits [2, 4]"),
        ("mean_net:without_parameters", "has no parameters to train"),
        ("mean_net:no_module", "expected a torch.nn.Module, got builtin_function_or_method"),
        ("mean_net:linear", "'linear' is the name of a yardstick; give the function another name"),
        ("mean_net:failing", "the model fails: TypeError"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_sentence(manifest: Path, target: str, part: str) -> None:
    ended = train(manifest, target)
    assert ended.status == 2
    (sentence,) = ended.err.splitlines()
    assert sentence.startswith(f"error: --model {target}: ")
    assert part in sentence


@pytest.mark.fast
def test_a_model_is_named_by_its_function_or_its_module() -> None:
    assert name_of("nets.attention:make_model") == "attention"
    assert name_of("nets.attention:small") == "small"
