"""The frame of a command: errors and interruptions as one sentence with an exit status."""

import pytest
from fastser_kernels.native.library import NativeError
from fastser_kernels.trust.trusted import LostDeviceError

from fastser.cli.door import status_of
from fastser.data.corpora import CorpusError
from fastser.evaluation.adapter import ModelError
from fastser.experiment.executors import ExecutorError
from fastser.experiment.store import ResultsError
from fastser.runtime.errors import UserError
from fastser.training.state import TrainingError


@pytest.mark.fast
@pytest.mark.parametrize(
    "kind",
    [CorpusError, ExecutorError, LostDeviceError, ModelError, NativeError, ResultsError, TrainingError, UserError],
)
def test_an_error_of_the_user_is_one_sentence(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise kind("give another folder")

    assert status_of(run) == 2
    assert capsys.readouterr().err == "error: give another folder\n"


@pytest.mark.fast
def test_an_error_of_the_program_keeps_its_traceback() -> None:
    def run() -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        status_of(run)
