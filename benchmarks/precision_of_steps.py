"""Training steps in float32 and in bfloat16: `python -m benchmarks.precision_of_steps [--models A,B]`.

The command times one training step of each model at several sizes, in both precisions by turns, and prints a table in
Markdown. `fastser.training.precision.SMALLEST_BFLOAT16_STEP` rests on it. Run nothing else on the machine at the same
time.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from fastser.models import MODELS, build_model
from fastser.runtime.malloc import keep_freed_memory
from fastser.runtime.precision import Precision
from fastser.settings import SCALES, Settings
from fastser.training.loss import loss_function
from fastser.training.precision import first_map_values

SIZES = (("quick", 16), ("open", 32), ("quick", 64), ("paper", 2), ("paper", 8), ("paper", 32))
"""Scale and batch size of each row."""

SHORTEST_SECONDS = 0.5
"""Time that the steps of one size and precision take together, at least."""

FEWEST_ROUNDS = 3


def training_step(name: str, settings: Settings, precision: Precision) -> Callable[[], None]:
    """Return a function that does one training step on a random batch."""
    size = settings.spectrogram.segment_frames, settings.spectrogram.num_bins
    torch.manual_seed(0)
    model = build_model(name, settings=settings.model, segment_frames=size[0], num_bins=size[1])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    batch = settings.training.batch_size
    x, labels = torch.randn(batch, *size), torch.randint(4, (batch,))
    compute_loss = loss_function(x.device, precision)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        compute_loss(model, x, labels, None, None).backward()
        optimizer.step()

    return step


def seconds_in_both(name: str, settings: Settings) -> tuple[float, float]:
    """Return the median seconds of a training step in float32 and in bfloat16, measured by turns."""
    steps = [training_step(name, settings, precision) for precision in ("float32", "bfloat16")]
    times: list[list[float]] = [[], []]
    for step in steps:
        step()
    while len(times[0]) < FEWEST_ROUNDS or sum(times[0]) < SHORTEST_SECONDS:
        for step, own in zip(steps, times, strict=True):
            began = time.perf_counter()
            step()
            own.append(time.perf_counter() - began)
    return median(times[0]), median(times[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.precision_of_steps", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names of models, separated by commas")
    models = parser.parse_args().models.split(",")
    keep_freed_memory()
    print("| model | scale | batch | values of the first maps | float32 | bfloat16 | times as fast |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for scale, batch in SIZES:
        settings = SCALES[scale].override([f"training.batch_size={batch}"])
        for name in models:
            float32, bfloat16 = seconds_in_both(name, settings)
            cells = f"{first_map_values(settings):,} | {1000 * float32:.1f} ms | {1000 * bfloat16:.1f} ms"
            print(f"| {MODELS[name].title} | {scale} | {batch} | {cells} | {float32 / bfloat16:.2f} |", flush=True)


if __name__ == "__main__":
    main()
