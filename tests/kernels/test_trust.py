"""Self-tests on the user's machine: right, wrong, slow and crashing kernels, and the choice that follows.

Wrong and slow kernels take the place of real ones behind the same public functions.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import on_gpu
from fastser_kernels import highway, linf_step, lstm, use_kernels
from fastser_kernels.choice import choice, operations_asked
from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.highway import op as highway_op
from fastser_kernels.linf_step import op as linf_step_op
from fastser_kernels.native.library import native
from fastser_kernels.registration import INTERPRETED, has_kernel
from fastser_kernels.trust import self_test as self_test_module
from fastser_kernels.trust import store as store_module
from fastser_kernels.trust import trusted as trusted_module
from fastser_kernels.trust.calls import SMALL, Draw
from fastser_kernels.trust.self_test import FAMILIES, interleaved_ms, self_test
from fastser_kernels.trust.trusted import LostDeviceError, reasons, trusted, verdicts_for
from fastser_kernels.trust.verdict import Verdict
from torch import Tensor

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]

pytestmark = pytest.mark.skipif(INTERPRETED or native().library is None, reason="needs the compiled kernels of the CPU")


@pytest.fixture(autouse=True)
def new_process(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The memory of a new process, an empty cache folder, the default choice, and measurements of three rounds."""
    monkeypatch.setattr(self_test_module, "ROUND_BUDGET_S", 0.0)
    forget()
    with use_kernels("auto"):
        yield
    forget()


def forget() -> None:
    """Forget what this process knows about its kernels, as a new process would."""
    trusted_module._answers.clear()
    trusted_module._reasons.clear()
    trusted_module._store.cache_clear()


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A highway network whose results are a ten-thousandth too large."""
    forward = highway_op._forward

    def shifted(*arguments: Any) -> Any:
        results, hidden, gates = forward(*arguments)
        return [result * 1.0001 for result in results], hidden, gates

    monkeypatch.setattr(highway_op, "_forward", shifted)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An L-infinity step whose kernel runs a hundred times."""
    step = linf_step_op._step

    def repeated(x_adv: Tensor, *arguments: Any) -> None:
        for _ in range(99):
            step(x_adv.clone(), *arguments)
        step(x_adv, *arguments)

    monkeypatch.setattr(linf_step_op, "_step", repeated)


def run_highway(x: Tensor) -> Tensor:
    weight, bias = torch.eye(3).to(x.dtype), torch.zeros(3, dtype=x.dtype)
    return highway(x, [weight], [bias], [weight], [bias])


@pytest.mark.fast
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_declares_its_calls_and_asks_under_its_own_name(family: str) -> None:
    calls = list(import_module(f"fastser_kernels.{family}.self_test").calls(SMALL, Draw(torch.float32, CPU)))
    assert len({call.name for call in calls}) == len(calls) >= 2
    for call in calls:
        with operations_asked() as asked:
            call.run(*call.tensors)
        assert asked == {(family, torch.float32)}


@pytest.mark.fast
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_right_kernels_pass(family: str, dtype: torch.dtype) -> None:
    if family == "log_spectrogram" and dtype.itemsize == 2:
        pytest.skip("waveforms are float32 or float64")
    verdict = self_test(family, dtype, CPU, SMALL)
    assert verdict is not None
    assert (verdict.fault, verdict.family, verdict.size) == ("", family, str(SMALL))
    assert verdict.fused_ms > 0
    assert verdict.reference_ms > 0


@pytest.mark.fast
@pytest.mark.usefixtures("wrong")
def test_a_wrong_kernel_is_found_warned_about_once_and_not_used() -> None:
    x = torch.randn(2, 3)
    with use_kernels("reference"):
        right = run_highway(x)
    assert not torch.equal(run_highway(x), right)  # a CPU tests nothing by itself
    verdicts, new = verdicts_for([("highway", torch.float32), ("highway", torch.bfloat16)], CPU, SMALL)
    assert new
    assert verdicts[0].fault.startswith(
        "its self-test fails at the small size, training: result 0 has a relative error"
    )
    assert not verdicts[1].fault  # the error is below the roundings of bfloat16
    with pytest.warns(
        FallbackWarning, match=r"the kernel of highway in float32 is not used.*result 0.*report.*torch "
    ) as w:
        assert torch.equal(run_highway(x), right)
    assert w[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(run_highway(x), right)
    assert reasons(CPU) == {"highway in float32": verdicts[0].fault}
    assert has_kernel("highway", x.bfloat16())
    with use_kernels("fused"):
        assert not torch.equal(run_highway(x), right)


@pytest.mark.fast
def test_the_next_process_knows_the_verdict(wrong: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = verdicts_for([("highway", torch.float32)], CPU, SMALL)[0]
    forget()
    monkeypatch.setattr(trusted_module, "self_test", None)
    assert verdicts_for([("highway", torch.float32)], CPU, SMALL) == (first, False)
    forget()
    with pytest.warns(UserWarning, match="the kernel of highway"):
        assert not has_kernel("highway", torch.empty(2, 3))
    assert has_kernel("highway", torch.empty(2, 3, dtype=torch.float64))


@pytest.mark.fast
def test_a_verdict_belongs_to_its_chip_driver_and_software(monkeypatch: pytest.MonkeyPatch) -> None:
    tests: list[str] = []

    def counted(family: str, dtype: torch.dtype, *_: Any, **__: Any) -> Verdict:
        tests.append(family)
        return Verdict(family, "float32", str(SMALL), fused_ms=1.0, reference_ms=2.0)

    monkeypatch.setattr(trusted_module, "self_test", counted)
    for machine in ("this", "another", "this"):
        monkeypatch.setattr(trusted_module, "combination", lambda device, machine=machine: machine)
        verdicts_for([("lstm", torch.float32)], CPU, SMALL)
    assert tests == ["lstm", "lstm"]


@pytest.mark.fast
@pytest.mark.usefixtures("slow")
def test_a_slow_kernel_is_left_to_the_reference_by_whoever_asked() -> None:
    ((verdict,), _) = verdicts_for([("linf_step", torch.float32)], CPU, SMALL)
    assert verdict.fused_ms > 10 * verdict.reference_ms
    assert verdict.against(compiled=False).startswith("slower here: ")
    assert has_kernel("linf_step", torch.empty(2))  # of a size that nobody tested
    x, zero, one = torch.zeros(2), torch.zeros(2), torch.ones(2)
    with use_kernels("auto", [("linf_step", torch.float32, False)]), operations_asked() as asked:
        assert not has_kernel("linf_step", x)
        assert has_kernel("linf_step", x.double())
        linf_step(x, zero, one, 0.5, 1.0, None)
    assert asked == {("linf_step", torch.float32), ("linf_step", torch.float64)}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("fused_ms", "reference_ms", "compiled_ms", "eager", "compiled"),
    [
        (1.0, 2.0, None, "", ""),
        (1.05, 1.0, 1.0, "", ""),  # within the margin
        (1.0, 2.0, 0.25, "", "slower here: 1 ms instead of 0.25 ms"),
        (140.4, 60.0, 150.0, "slower here: 140 ms instead of 60 ms", ""),
        (4.0, 1.0, None, "slower here: 4 ms instead of 1 ms", "slower here: 4 ms instead of 1 ms"),
    ],
)
def test_the_faster_one_computes(
    fused_ms: float, reference_ms: float, compiled_ms: float | None, eager: str, compiled: str
) -> None:
    verdict = Verdict("lstm", "float32", "", "", fused_ms, reference_ms, compiled_ms)
    assert (verdict.against(compiled=False), verdict.against(compiled=True)) == (eager, compiled)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_the_compiled_reference_is_timed_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Callable[..., Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: compiled.append(function) or function)
    pair = "highway", torch.float32
    (without,), _ = verdicts_for([pair], CPU, SMALL)
    ((verdict,), new) = verdicts_for([pair], CPU, SMALL, compiled={pair})
    assert (without.compiled_ms, new, len(compiled)) == (None, True, 1)
    assert verdict.compiled_ms is not None
    assert verdicts_for([pair], CPU, SMALL) == ([verdict], False)


@pytest.mark.fast
def test_times_are_the_shortest_of_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    now = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    assert interleaved_ms([lambda: order.append("a"), lambda: order.append("b")], CPU) == [1000.0, 1000.0]
    assert order == ["a", "b"] * self_test_module.LEAST_ROUNDS


@pytest.mark.fast
def test_a_kernel_that_raises_is_wrong_and_full_memory_or_a_failing_reference_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(error: Exception) -> Callable[..., Any]:
        def fail(*_: Any) -> None:
            raise error

        return fail

    def verdict() -> Verdict | None:
        return self_test("highway", torch.float32, CPU, SMALL)

    monkeypatch.setattr(highway_op, "_forward", failing(RuntimeError("CUDA error: an illegal memory access\nmore")))
    assert verdict() == Verdict(
        "highway",
        "float32",
        str(SMALL),
        "its self-test fails at the small size, training: RuntimeError: CUDA error: an illegal memory access",
    )
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")):
        monkeypatch.setattr(highway_op, "_forward", failing(error))
        assert verdict() is None
    monkeypatch.setattr(highway_op.reference, "highway", failing(RuntimeError("no reference")))
    assert verdict() is None


@pytest.mark.fast
def test_a_gpu_that_a_kernel_has_made_unusable_asks_for_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = Verdict("lstm", "float32", str(SMALL), "its self-test fails")
    monkeypatch.setattr(trusted_module, "combination", lambda device: "a GPU")
    monkeypatch.setattr(trusted_module, "self_test", lambda *_, **__: verdict)

    def fail(device: torch.device) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    gpu = torch.device("cuda", 0)
    with pytest.raises(LostDeviceError, match=r"lstm in float32 is not used.*cuda:0 unusable.*start it again"):
        verdicts_for([("lstm", torch.float32)], gpu, SMALL)
    forget()
    assert verdicts_for([("lstm", torch.float32)], gpu, SMALL) == ([verdict], False)


@pytest.mark.fast
def test_a_gpu_tests_at_the_first_use_at_the_size_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def verdict(family: str, dtype: torch.dtype, device: torch.device, size: Any, **_: Any) -> Verdict:
        asked.append((family, device, size.images, size.batch))
        return Verdict(family, "float32", str(size), fused_ms=1.0, reference_ms=2.0, compiled_ms=0.5)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    monkeypatch.setattr(trusted_module, "combination", lambda device: "a GPU")
    monkeypatch.setattr(trusted_module, "self_test", verdict)
    gpu, capturing = torch.device("cuda", 0), True
    assert trusted("lstm", torch.float32, gpu, False)
    assert asked == []  # a test would break the graph
    capturing = False
    answers = [trusted("lstm", torch.float32, gpu, compiling) for compiling in (False, True, False)]
    assert answers == [True, False, True]
    assert asked == [("lstm", gpu, 16, 64)]
    assert reasons(gpu) == {"lstm in float32": "slower here: 1 ms instead of 0.5 ms"}


@pytest.mark.fast
def test_an_error_in_the_process_that_tests_leaves_no_crash_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trusted_module, "self_test", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verdicts_for([("lstm", torch.float32)], CPU, SMALL)
    forget()
    ((verdict,), new) = verdicts_for([("lstm", torch.float32)], CPU, SMALL)
    assert (verdict.fault, new) == ("", True)


@pytest.mark.fast
def test_a_kernel_is_tested_once_more_after_a_process_that_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PAUSE_S", 0.0)
    marker = trusted_module.verdict_store(CPU).marker
    assert marker is not None
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text("highway float32\n")
    with pytest.warns(FallbackWarning, match="highway in float32, which is repeated now"):
        ((verdict,), new) = verdicts_for([("highway", torch.float32)], CPU, SMALL)
    assert (verdict.fault, new, marker.read_text()) == ("", True, "")
    marker.write_text("lstm float32\n" * 2)
    ((verdict,), new) = verdicts_for([("lstm", torch.float32)], CPU, SMALL)
    assert (verdict.fault.startswith("two of its self-tests did not end"), new) == (True, False)


def test_compiled_code_has_the_answer_as_a_constant_and_tests_while_it_is_traced(
    wrong: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The self-test runs in the middle of the trace of one graph, as at the first use on a GPU."""
    torch._dynamo.reset()
    graphs: list[list[str]] = []
    found: list[Verdict | None] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph.forward

    def as_on_a_gpu(question: trusted_module.Question) -> bool:
        *arguments, compiling = question
        assert compiling
        found.append(self_test(*arguments, SMALL))
        return found[-1] is not None and not found[-1].fault

    monkeypatch.setattr(trusted_module, "_answered", as_on_a_gpu)
    x = torch.randn(2, 3)
    compiled = torch.compile(run_highway, fullgraph=True, backend=backend)
    with use_kernels("reference"):
        right = run_highway(x)
    for _ in range(2):
        assert torch.equal(compiled(x), right)
    assert [verdict is not None and "result 0" in verdict.fault for verdict in found] == [True]
    for kernels in (use_kernels("fused"), use_kernels("auto", [("highway", torch.float32, True)])):
        with kernels:
            compiled(x)
    assert [any("fastser_kernels" in target for target in targets) for targets in graphs] == [False, True, False]


@pytest.mark.fast
def test_the_choice_belongs_to_the_thread_and_ends_with_its_block() -> None:
    def seen() -> tuple[Any, ...]:
        return choice.mode, choice.by_reference, choice.asked

    outside = seen()
    with use_kernels("fused", [("lstm", torch.float32, False)]), operations_asked() as asked:
        assert seen() == ("fused", (("lstm", torch.float32, False),), asked)
        with pytest.raises(KeyError), use_kernels("reference"), operations_asked():
            raise KeyError
        assert seen() == ("fused", (("lstm", torch.float32, False),), asked)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(seen).result() == ("auto", (), None)
    assert seen() == outside


def test_the_self_test_is_not_reached_by_the_modes_of_its_caller() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), use_kernels("reference"):
        verdict = self_test("lstm", torch.float32, CPU, SMALL)
    assert verdict is not None
    assert verdict.fault == ""
    assert lstm.__module__ == "fastser_kernels.lstm.op"


@on_gpu
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_right_kernels_pass_on_a_gpu(family: str, dtype: torch.dtype) -> None:
    if family == "log_spectrogram" and dtype.itemsize == 2:
        pytest.skip("waveforms are float32 or float64")
    verdict = self_test(family, dtype, torch.device("cuda", 0), trusted_module.real_size(torch.device("cuda", 0)))
    assert verdict is not None
    assert verdict.fault == ""
