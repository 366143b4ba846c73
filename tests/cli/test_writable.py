"""Output paths that cannot be written are refused before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.evaluate_options import EvaluateOptions
from fastser.cli.export_options import ExportOptions
from fastser.cli.options import UsageError
from fastser.cli.train_options import TrainOptions
from fastser.cli.writable import writable_file, writable_folder
from fastser.doctor import doctor
from fastser.evaluate import run as evaluate
from fastser.export import export
from fastser.train import train

pytestmark = pytest.mark.fast


def test_a_path_that_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    assert writable_file(tmp_path / "new" / "x.csv", "--out") == tmp_path / "new" / "x.csv"
    assert writable_folder(tmp_path / "new", "--out") == tmp_path / "new"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.csv").touch()
    assert writable_file(tmp_path / "x.csv", "--out") == tmp_path / "x.csv"


@pytest.mark.parametrize(
    ("refuse", "path", "reason"),
    [
        (lambda path: writable_file(path, "--plot"), "file/x.png", "--plot {} cannot be written: Not a directory"),
        (lambda path: writable_file(path, "--out"), "folder", "--out {} cannot be written: Is a directory"),
        (lambda path: writable_folder(path, "--out"), "file", "--out {} cannot be written: Not a directory"),
        (writable_file, "file/x.onnx", "{} cannot be written: Not a directory"),
    ],
)
def test_the_error_names_the_option_and_the_path(
    tmp_path: Path, refuse: Callable[[Path], Path], path: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError) as refusal:
        refuse(tmp_path / path)
    assert str(refusal.value) == reason.format(tmp_path / path)


@pytest.mark.parametrize(
    "command",
    [
        lambda: doctor(DoctorOptions(out=Path("/proc/nowhere"))),
        lambda: train(TrainOptions(source="emodb=gone", epochs=1, out=Path("/proc/nowhere"))),
        lambda: evaluate(EvaluateOptions(model="a:b", source="emodb=gone", out=Path("/proc/nowhere"))),
        lambda: export(ExportOptions(model="emodb", out=Path("/proc/nowhere/x.onnx"))),
    ],
)
def test_commands_notice_it_first(command: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 2
    error = capsys.readouterr().err
    assert "/proc/nowhere" in error
    assert "cannot be written: No such file or directory\n" in error
    assert error.count("\n") == 1
