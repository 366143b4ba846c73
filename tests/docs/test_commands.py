"""Each command in a code block of the documents stands above its output, or runs here on small corpora."""

import csv
import functools
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from snippets import DOCUMENTS, ROOT, shown_and_silent

from fastser.data.corpora.synthetic import generate
from fastser.experiment import roles
from fastser.models import MODELS

NOT_RUN = {
    "docs/evidence.md": "commands ran for hours on two CPU cores",  # for hours, with the results below each command
    "docs/gpu.md": "No command of this page was run on a GPU",
}
"""Documents whose commands are neither shown with output nor run here. Each has this sentence that says so."""

CHECKED = [document for document in DOCUMENTS if str(document.relative_to(ROOT)) not in NOT_RUN]
SHOWN = {command for document in CHECKED for command in shown_and_silent(document)[0]}
SILENT = sorted({command for document in CHECKED for command in shown_and_silent(document)[1]} - SHOWN)
"""Commands without output in any document."""

SETTINGS = (
    "protocol.min_validation_utterances=1 protocol.repeats=1 training.max_epochs=1 training.batch_size=2 "
    "attack.bim_steps=1 noise.snr_db=0 model.layers_per_block=1 "
    "spectrogram.num_bins=32 spectrogram.segment_frames=64 spectrogram.segment_hop=64"
)
SMALL = " ".join(f"--set {assignment}" for assignment in SETTINGS.split()) + " --kernels fused --device cpu"
ADDED = {
    "manifest": "",
    "reproduce": f"{SMALL} --executor serial --keep-models",
    "sensitivity": f"{SMALL} --executor serial --folds 2",
    "train": SMALL,
    "predict": "--device cpu",
    "evaluate": "--device cpu --set attack.bim_steps=1",
}
"""Arguments that make the commands small, by module of fastser, in the order in which the modules run."""

PLANNED = re.compile(r"fastser\.(sensitivity|reproduce .*--all)")
"""Commands whose grids take minutes. They run with `--dry-run`."""

OWN_MODELS = """
from torch import nn

def mean_net(num_classes, segment_frames, num_bins):
    return nn.Sequential(nn.Flatten(), nn.Linear(segment_frames * num_bins, num_classes))

def make_model():
    return mean_net(4, 256, 128)
"""


def write_noise(path: str, seconds: float = 0.5) -> None:
    """Write noise at 16 kHz that differs between names of files."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(path.encode()))
    soundfile.write(path, generator.normal(0, 0.1, int(16_000 * seconds)), 16_000)


@pytest.fixture
def here(tmp_path: Path, stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A current folder with everything that the commands name, and the smallest stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(roles, "generate", functools.partial(generate, utterances_per_class=1))
    made = generate(stand_ins, utterances_per_class=1)
    for name, folder in (("IEMOCAP", made.iemocap), ("MSP-IMPROV", made.msp_improv), ("DEMAND", made.demand)):
        Path(name).symlink_to(folder)
    for speaker in ("03", "08", "09"):
        for letter in "WFNT":
            write_noise(f"EMODB/{speaker}a01{letter}a.wav")
    for speaker in ("ann", "bob", "cleo"):
        for emotion in ("angry", "happy", "neutral", "sad"):
            write_noise(f"RECORDINGS/{speaker}_{emotion}_1.wav")
    for scene in ("cafeteria", "kitchen", "park", "station", "traffic"):
        write_noise(f"NOISE/{scene}/1.wav", seconds=1)
    for name in ("speech.wav", "interviews/1.wav"):
        write_noise(name)
    Path("my_package").mkdir()
    Path("my_package/models.py").write_text(OWN_MODELS)
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    Path("study.toml").write_text(page.split("```toml\n")[1].split("```")[0].replace("/data/", ""))
    with MODELS.including():
        yield
    for name in ("my_package.models", "my_package"):
        sys.modules.pop(name, None)


def with_files(command: str) -> str:
    """Return a command with files of the current folder in place of the names that stand for files."""
    for name, path in (("emodb=PATH", "emodb=EMODB"), ("folder=PATH", "folder=NOISE")):
        command = command.replace(name, path)
    command = re.sub(r"([a-z-]+)=PATH", lambda found: f"{found[1]}={found[1].upper()}", command)
    command = command.replace("MODEL.safetensors", "models/emodb-proposed-none.safetensors")
    if "KEY" in command:
        with Path("results/runs.csv").open(newline="", encoding="utf-8") as stream:
            keys = [row["key"] for row in csv.DictReader(stream) if (row["model"], row["fold"]) == ("proposed", "03")]
        command = command.replace("KEY", keys[0])
    return command


@pytest.mark.usefixtures("here")
def test_commands_without_output_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    by_name = {name: [command for command in SILENT if f"fastser.{name} " in f"{command} "] for name in ADDED}
    in_order = [(name, command) for name, commands in by_name.items() for command in commands]
    assert {command for _, command in in_order} == {*SILENT}, "show the output of a new command, or extend ADDED"
    for name, command in in_order:
        planned = "--dry-run" if PLANNED.search(command) and "--dry-run" not in command else ""
        monkeypatch.setattr(sys, "argv", [name, *shlex.split(f"{with_files(command)} {ADDED[name]} {planned}")[3:]])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"fastser.{name}").main()
        assert ended.value.code == 0, f"{command}\n{capsys.readouterr().err}"


@pytest.mark.fast
def test_documents_whose_commands_do_not_run_say_so() -> None:
    for name, sentence in NOT_RUN.items():
        assert sentence in (ROOT / name).read_text("utf-8")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("between", "output", "shown"),
    [
        ("", "a line", True),
        ("The last command prints:\n\n", "a line", True),
        ("One paragraph.\n\nAnother one.\n\n", "a line", False),
        ("## A heading\n\n", "a line", False),
        ("", "$ python -m fastser.settings\na line", False),
        ("", "python -m fastser.settings", False),
    ],
)
def test_a_command_without_output_is_noticed(tmp_path: Path, between: str, output: str, shown: bool) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```\npython -m fastser.doctor\npython -m fastser\n```\n\n{between}```\n{output}\n```\n")
    found, silent = shown_and_silent(page)
    assert "python -m fastser.doctor" in silent
    assert ("python -m fastser" in found, "python -m fastser" in silent) == (shown, not shown)
