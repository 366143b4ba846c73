"""Page of the predictions as Markdown."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from benchmarks.predicted.chips import CHIPS, DRAM_SHARE, LAUNCH_SECONDS, TENSOR_SHARE, Chip
from benchmarks.predicted.paper import CORPORA, hours
from benchmarks.predicted.steps import KINDS, Kind, Step, spectrogram_work
from benchmarks.predicted.work import Work, binding, total_seconds
from fastser.experiment.estimate import epochs
from fastser.experiment.tables import TABLES
from fastser.models import MODELS
from fastser.settings import PAPER, SCALES

HEAD = f"""# Predicted, not measured

No number on this page was measured. `python -m benchmarks.predicted --write` computes all of them from counts: the
launches of each step are recorded on tensors without values, and each kernel gets the largest of five limits and
{1e6 * LAUNCH_SECONDS:g} us for the launch.

| limit | count | rate |
| --- | --- | --- |
| DRAM | each tensor that a kernel reads or writes, once | {100 * DRAM_SHARE:.0f} % of the data sheet |
| L2 | the same and all repeated reads | as in the table of chips |
| tensor | FLOPs of whole tiles; a float32 product is three of tf32 | {100 * TENSOR_SHARE:.0f} % of the data sheet |
| issue | instructions of sm_90 binaries, those of the longest loop in each iteration | 4 per clock and SM |
| latency | the instructions of one warp, each waiting for the one before | 1 in 4 clocks |

A kernel is assumed to reach its limit, so real kernels are slower, and the ratios matter more than the times. Eager
PyTorch is predicted in the same way, from the bytes and FLOPs of each of its operations, without issue slots: this
favours eager PyTorch. Its float32 products run without tf32, which the main job switches off because it is less
accurate. Outside a CUDA graph a step takes at least the time of the host. Training steps and attacks of fastser are
replayed from a CUDA graph. Operations around fastser's kernels count as eager ones, although `torch.compile` fuses some
of them in training.
"""


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, *_chips(), "", "## Steps of the models", ""]
    for scale in SCALES:
        lines += [*_steps(scale), ""]
    lines += ["## The paper", "", *_paper(), "", "## Kernels", "", *_kernels()]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    rule = "| " + " | ".join(["---"] * left + ["---:"] * (len(head) - left)) + " |"
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _chips() -> list[str]:
    rows = [
        [
            chip.name,
            chip.source,
            str(chip.multiprocessors),
            f"{chip.clock / 1e9:.2f}",
            f"{chip.dram / 1e12:.2f}",
            f"{chip.l2 / 1e12:.1f}" if chip.l2 else "unknown",
            *(f"{chip.flops[kind] / 1e12:.0f}" for kind in ("bf16", "tf32", "fp32")),
        ]
        for chip in CHIPS
    ]
    head = "chip", "source", "SMs", "GHz", "DRAM TB/s", "L2 TB/s", "bf16 TFLOP/s", "tf32 TFLOP/s", "fp32 TFLOP/s"
    return _table(head, rows, left=2)


def _steps(scale: str) -> list[str]:
    """Return a table of the steps at one scale."""
    rows = [step_row(scale, model, kind) for kind in KINDS for model in MODELS]
    head = [f"{scale} scale", "launches, fastser / eager", "GB, fastser / eager", *(chip.name for chip in CHIPS)]
    note = "Cells: milliseconds of fastser, the limit that takes most of them, and eager PyTorch's time over fastser's."
    return [note, "", *_table(head, rows)]


def step_row(scale: str, model: str, kind: Kind) -> list[str]:
    """Return the cells of one step: title, launches, gigabytes, and one for each chip."""
    fused, eager = Step(scale, model, kind, "fastser"), Step(scale, model, kind, "eager")
    launches = [str(sum(work.launches for work in step.works())) for step in (fused, eager)]
    gigabytes = [f"{sum(work.dram for work in step.works()) / 1e9:.2f}" for step in (fused, eager)]
    title = f"{MODELS[model].title}, {KINDS[kind]}, {fused.batch} segments"
    return [title, " / ".join(launches), " / ".join(gigabytes), *(_step_cell(fused, eager, chip) for chip in CHIPS)]


def _step_cell(fused: Step, eager: Step, chip: Chip) -> str:
    own = fused.seconds(chip)
    waits_for_host = own > total_seconds(fused.works(), chip, in_graph=True)
    limit = "host" if waits_for_host else binding(fused.works(), chip)
    return f"{_milliseconds(own)} {limit}, {eager.seconds(chip) / own:.1f} x"


def _paper() -> list[str]:
    corpora = ", ".join(
        f"{c.utterances} utterances of {c.speakers} speakers, {c.hours:g} hours" for c in CORPORA.values()
    )
    names = {
        table.title: [name for name, other in TABLES.items() if name == table.name or other.part_of == table.name]
        for table in TABLES.values()
        if table.part_of is None
    }
    rows = [[title, *(f"{hours(tables, chip):.1f}" for chip in CHIPS)] for title, tables in names.items()]
    rows.append(["all, shared runs once", *(f"{hours(TABLES, chip):.1f}" for chip in CHIPS)])
    note = (
        f"Hours on one GPU with all folds, repeats and tests at the paper's scale. Corpora: {corpora}; the utterances "
        f"are published, the hours are assumptions. A training is assumed to end after {epochs(PAPER):.0f} of at most "
        f"{PAPER.training.max_epochs} epochs. Reading and spectrograms are not counted."
    )
    return [note, "", *_table(["", *(chip.name for chip in CHIPS)], rows)]


def _kernels() -> list[str]:
    """Return a table of fastser's kernels in the steps at the paper's scale, all launches of a step together."""
    rows = []
    for kind, model in ((kind, model) for kind in KINDS for model in MODELS):
        works = Step("paper", model, kind, "fastser").works()
        rows += _kernel_rows(f"{MODELS[model].title}, {kind}", works)
    for noisy, title in ((False, "64 segments from waveforms"), (True, "64 segments from waveforms and noise")):
        rows += _kernel_rows(title, spectrogram_work(64, noisy=noisy))
    columns = ["kernel", "launches", "DRAM MB", "L2 MB", "tensor GFLOP", "M instructions of warps"]
    note = "All launches of a step or batch at the paper's scale. Cells: microseconds, and the limit with most of them."
    return [note, "", *_table([*columns, *(chip.name for chip in CHIPS)], rows)]


def _kernel_rows(title: str, works: Iterable[Work]) -> list[list[str]]:
    """Return a row for each of fastser's kernels."""
    fused = sorted((work for work in works if work.fused), key=lambda work: work.name)
    rows = []
    for name, group in groupby(fused, key=lambda work: work.name):
        same = list(group)
        cells = [f"{1e6 * total_seconds(same, chip, in_graph=True):.1f} {binding(same, chip)}" for chip in CHIPS]
        rows.append([f"{title}: {name.split('.')[-1]}", *_counts(same), *cells])
    return rows


def _counts(works: Sequence[Work]) -> list[str]:
    executed = sum(work.instructions * work.warps * work.programs for work in works)
    return [
        str(len(works)),
        f"{sum(work.dram for work in works) / 1e6:.1f}",
        f"{sum(work.l2 for work in works) / 1e6:.1f}",
        f"{sum(sum(work.flops.values()) for work in works) / 1e9:.1f}",
        f"{executed / 1e6:.2f}",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"
