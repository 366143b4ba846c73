"""Trust of this process in its kernels: verdicts from the cache and, on a GPU, self-tests at the first use.

On a GPU a family is tested when it is first called in a dtype. On a CPU only `verdicts_for` tests, which commands call,
because the first call of a library must not take seconds. Without a verdict the kernel computes.
"""

import threading
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path

import torch

from fastser_kernels.constant import constant_when_compiled
from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.trust.calls import Size, real_size
from fastser_kernels.trust.combination import combination
from fastser_kernels.trust.self_test import self_test
from fastser_kernels.trust.store import VerdictStore, default_folder
from fastser_kernels.trust.verdict import Verdict

Question = tuple[str, torch.dtype, torch.device, bool]
"""A family, a dtype, a device, and whether torch.compile asks."""

_answers: dict[Question, bool] = {}
_reasons: dict[torch.device, dict[str, str]] = {}
_lock = threading.Lock()


class LostDeviceError(RuntimeError):
    """A GPU that this process cannot use any more, after a kernel crashed on it. The message says what to do."""


@constant_when_compiled
def trusted(family: str, dtype: torch.dtype, device: torch.device, compiling: bool) -> bool:
    """Return whether the kernels of a family compute. torch.compile takes the answer as a constant.

    A wrong kernel causes one warning per process, family and dtype.

    Args:
        family: Name of the family.
        dtype: Dtype of its input.
        device: Device of its input.
        compiling: Whether torch.compile asks. The reference would then be compiled too.

    Raises:
        LostDeviceError: If the self-test of the kernel crashed, and the process must be restarted.
    """
    question = family, dtype, device, compiling
    answer = _answers.get(question)
    if answer is None:
        with _lock:
            answer = _answers.get(question)
            if answer is None:
                answer = _answered(question)
    return answer


def _answered(question: Question) -> bool:
    """Find the answer, and keep it unless this is no moment for a test."""
    family, dtype, device, compiling = question
    if device.type == "cuda" and (not torch.cuda.is_available() or torch.cuda.is_current_stream_capturing()):
        return True  # tensors without values, or a graph that a test would break
    store = verdict_store(device)
    if device.type == "cuda":
        verdict = _tested(store, family, dtype, device, real_size(device), compile_reference=False)[0]
        reason = "" if verdict is None else verdict.against(compiled=compiling)
    else:
        verdict = store.wrong(family, name_of(dtype))
        reason = "" if verdict is None else verdict.fault
    _answers[question] = not reason
    if verdict is not None and reason:
        told, label = _reasons.setdefault(device, {}), f"{family} in {verdict.dtype}"
        if verdict.fault and label not in told:
            said = warning(verdict, store.combination)
            warnings.warn(said, FallbackWarning, stacklevel=5)  # at the caller of the public function
        told[label] = reason
    return not reason


def reasons(device: torch.device) -> dict[str, str]:
    """Return the families that the verdicts leave to the reference: "lstm in bfloat16" -> reason."""
    return {
        label: reason
        for known, found in _reasons.items()
        if known.type == device.type
        for label, reason in found.items()
    }


def verdicts_for(
    families: Iterable[tuple[str, torch.dtype]],
    device: torch.device,
    size: Size,
    *,
    compiled: Collection[tuple[str, torch.dtype]] = (),
    folder: Path | None = None,
    on_test: Callable[[str], None] = lambda _: None,
) -> tuple[list[Verdict], bool]:
    """Return the verdicts about some families, after a self-test of those that have none for this size.

    Args:
        families: Families, each with a dtype.
        device: Device of the kernels.
        size: The real size.
        compiled: Families, each with a dtype, whose reference is timed under torch.compile too.
        folder: Folder of the verdicts; by default the one in the user's cache folder.
        on_test: Called with the name of family and dtype before each test.

    Returns:
        The verdicts, and whether anything was tested now. A family has no verdict if memory was full or its reference
        failed.

    Raises:
        LostDeviceError: As for `trusted`.
    """
    store = verdict_store(device, folder)
    found = [
        _tested(store, *pair, device, size, compile_reference=pair in compiled, on_test=on_test) for pair in families
    ]
    with _lock:
        _answers.clear()  # answers that were given before the test
    return [verdict for verdict, _ in found if verdict is not None], any(new for _, new in found)


def _tested(
    store: VerdictStore,
    family: str,
    dtype: torch.dtype,
    device: torch.device,
    size: Size,
    *,
    compile_reference: bool,
    on_test: Callable[[str], None] = lambda _: None,
) -> tuple[Verdict | None, bool]:
    """Return the verdict about a family, and whether it was tested now."""

    def known() -> Verdict | None:
        verdict = store.get(family, name_of(dtype), str(size))
        complete = verdict is None or verdict.fault or not compile_reference or verdict.compiled_ms is not None
        return verdict if complete else None

    if (verdict := known()) is not None:
        return verdict, False
    with store.testing() as marker:
        if (verdict := known()) is not None:  # of a process that tested meanwhile, or of crashes
            return verdict, False
        on_test(f"{family} in {name_of(dtype)}")
        with marker.test_of(family, name_of(dtype)):
            verdict = self_test(family, dtype, device, size, compile_reference=compile_reference)
            if verdict is not None:
                store.add(verdict)
    if verdict is not None and verdict.fault and device.type == "cuda":
        _require_working(device, warning(verdict, store.combination))
    return verdict, True


def _require_working(device: torch.device, message: str) -> None:
    """Raise LostDeviceError if an error on the GPU outlasted the test. CUDA repeats it at every later call."""
    try:
        torch.cuda.synchronize(device)
    except Exception as error:
        raise LostDeviceError(
            f"{message} The crash made {device} unusable for this process: start it again, and the reference computes."
        ) from error


def warning(verdict: Verdict, combination: str) -> str:
    """Return the sentences about a wrong kernel: which, where, what follows, and how to report it."""
    return (
        f"the kernel of {verdict.family} in {verdict.dtype} is not used, plain PyTorch computes instead: "
        f"{verdict.fault}. Please report this line as an issue of fastser ({combination})."
    )


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, "float32"."""
    return str(dtype).removeprefix("torch.")


def verdict_store(device: torch.device, folder: Path | None = None) -> VerdictStore:
    """Return the verdicts that hold for a device now."""
    return _store(folder or default_folder(), combination(device))


@cache
def _store(folder: Path | None, text: str) -> VerdictStore:
    return VerdictStore(folder, text)
