"""Stage "steps": a training step and an attack of each model, by fastser and by eager PyTorch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.cases import attack
from benchmarks.eager_models import eager_model
from benchmarks.first_gpu.rows import Row, append
from benchmarks.measurement import pass_gate
from benchmarks.predicted.chips import chip_named
from benchmarks.predicted.steps import Provider, Step
from benchmarks.timing import on_cpu, on_gpu_without_graph
from fastser.models import MODELS, build_model
from fastser.settings import SCALES, Settings
from fastser.training.loss import batch_loss, loss_function

ROUNDS = {"cuda": 11, "cpu": 1}

Run = Callable[[], Sequence[Tensor]]


def measure_steps(folder: Path, device: torch.device, models: Sequence[str]) -> None:
    """Measure the steps of some models. On a CPU they are small, to test the stage.

    Fused training runs without torch.compile, which would take most of the time. The last row compiles the last model.
    """
    scale, batch = ("paper", 64) if device.type == "cuda" else ("quick", 4)
    settings = SCALES[scale]
    for name in models:
        for kind, measure in (("training step", _training_rows), ("BIM", _attack_rows)):
            try:
                measure(folder, device, settings, batch, name)
            except Exception as error:  # whatever a kernel does on a new chip is a result of this stage
                title = f"{kind}, {name}, {scale} scale, {batch} segments"
                append(folder, Row("steps", title, "all", None, fault=f"{type(error).__name__}: {error}"))
    if device.type == "cuda":
        model, inputs = _model_and_inputs(device, settings, batch, models[-1])
        run = _step(model, partial(loss_function(device, "bfloat16"), model, *inputs))
        _row(folder, device, Step(scale, models[-1], "training", "fastser"), batch, 1, run, ", compiled")


def _model_and_inputs(
    device: torch.device, settings: Settings, batch: int, name: str
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    size = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model(name, settings=settings.model, segment_frames=size[0], num_bins=size[1]).to(device)
    labels = torch.randint(4, (2, batch), device=device)
    return model, (torch.randn(batch, *size, device=device), *labels, torch.rand(batch, device=device))


def _training_rows(folder: Path, device: torch.device, settings: Settings, batch: int, name: str) -> None:
    model, inputs = _model_and_inputs(device, settings, batch, name)
    models: dict[Provider, nn.Module] = {"fastser": model, "eager": eager_model(model)}
    for provider, of in models.items():
        run = _step(of, partial(batch_loss, of, *inputs, precision="bfloat16"))
        _row(folder, device, Step(settings.scale, name, "training", provider), batch, 1, run)


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Run:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def run() -> Sequence[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return [value.detach()]

    return run


def _attack_rows(folder: Path, device: torch.device, settings: Settings, batch: int, name: str) -> None:
    steps = settings.attack.bim_steps if device.type == "cuda" else 3
    workload = attack.workload(device, batch, steps, settings, name)
    calls, _, wrong = pass_gate(workload, workload.inputs())
    providers: tuple[Provider, ...] = "eager", "fastser"
    for provider in providers:
        step = Step(settings.scale, name, "attack", provider)
        if provider in wrong:
            append(folder, Row("steps", _title(step, batch, steps), provider, None, fault=str(wrong[provider])))
        else:
            _row(folder, device, step, batch, steps, calls[provider])


def _row(folder: Path, device: torch.device, step: Step, batch: int, steps: int, run: Run, suffix: str = "") -> None:
    """Time a run and append its row. A run that fails leaves the others running."""
    title = _title(step, batch, steps) + suffix
    try:
        first = run()
        if not all(torch.isfinite(tensor).all() for tensor in first):
            append(folder, Row("steps", title, step.provider, None, fault="the result is not finite"))
            return
        once = on_gpu_without_graph(run) if device.type == "cuda" else on_cpu(run)
        measured = median(once() for _ in range(ROUNDS[device.type]))
    except Exception as error:  # whatever a kernel does on a new chip is a result of this stage
        append(folder, Row("steps", title, step.provider, None, fault=f"{type(error).__name__}: {error}"))
        return
    append(folder, Row("steps", title, step.provider, measured, _predicted(step, batch, steps, device)))


def _title(step: Step, batch: int, steps: int) -> str:
    what = "training step" if step.kind == "training" else f"BIM, {steps} steps"
    return f"{what}, {MODELS[step.model].title}, {step.scale} scale, {batch} segments"


def _predicted(step: Step, batch: int, steps: int, device: torch.device) -> float | None:
    chip = chip_named(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return steps * step.seconds(chip) if chip is not None and batch == step.batch else None
