"""Messages of ptxas about a compiled kernel: registers, stack, spills and warnings."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

from triton import knobs

_KEY = "messages of ptxas"


@contextmanager
def ptxas_logged() -> Iterator[None]:
    """Keep the messages about every kernel that is compiled inside the block in its metadata, as `ptxas_log`."""
    outer = knobs.runtime.add_stages_inspection_hook
    knobs.runtime.add_stages_inspection_hook = _keep_log
    try:
        yield
    finally:
        knobs.runtime.add_stages_inspection_hook = outer


def _keep_log(backend: Any = None, stages: Any = None, *_: Any) -> tuple[str, str] | None:
    """Wrap the last stage of a compilation. Without arguments, return a key for Triton's cache."""
    if stages is None:
        return _KEY, _KEY
    if "cubin" in stages:
        stages["cubin"] = partial(_assemble, stages["cubin"])
    return None


def _assemble(make_cubin: Callable[[str, dict[str, Any]], bytes], ptx: str, metadata: dict[str, Any]) -> bytes:
    log = io.StringIO()
    with knobs.nvidia.scope(), redirect_stdout(log):
        knobs.nvidia.dump_ptxas_log = True
        cubin = make_cubin(ptx, metadata)
    metadata["ptxas_log"] = log.getvalue()
    return cubin


def registers(log: str) -> int:
    """Return the number of registers of a thread."""
    (number,) = re.findall(r"Used (\d+) registers", log)
    return int(number)


def stack_and_spills(log: str) -> tuple[int, int]:
    """Return the bytes of stack of a thread, and the bytes that its spills store and load."""
    (numbers,) = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    stack, stores, loads = map(int, numbers)
    return stack, stores + loads


def serialised(log: str) -> bool:
    """Return whether ptxas makes every asynchronous matrix product (wgmma) wait for the one before (C7515)."""
    return "C7515" in log
