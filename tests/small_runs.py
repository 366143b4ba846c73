"""Small runs in the test's own process: stand-in data, settings, a silent listener, and what a run leaves behind."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import prepare, prepare_noise
from fastser.experiment import events
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.runtime.files import cache_at
from fastser.settings import QUICK, Settings
from fastser.training.schedule import Epoch

SMALL = QUICK.override(
    [
        "protocol.min_validation_utterances=1",
        "training.max_epochs=1",
        "training.precision=float32",
        "attack.bim_steps=1",
        "noise.snr_db=0",
        "noise.scenes=park",
        "spectrogram.num_bins=32",
        "spectrogram.segment_frames=64",
        "spectrogram.segment_hop=64",
    ]
)
"""Settings of the cheapest runs that have every part: training, clean speech, noise, attacks."""


def stand_in_experiment(
    folder: Path, settings: Settings, *, speeds: Sequence[float] = (), device: str = "cpu"
) -> Experiment:
    """Prepare the smallest stand-ins.

    Args:
        folder: Folder of the corpora and of the cache. Another process makes the same experiment from it.
        settings: All settings.
        speeds: Speed factors of the source.
        device: Device of models and data.
    """
    with cache_at(folder / "cache"):
        made = generate(folder, utterances_per_class=1)
        source = prepare(read_corpus("iemocap", made.iemocap), settings, speeds=speeds, device=device)
        target = prepare(read_corpus("msp-improv", made.msp_improv), settings, device=device)
        noise = prepare_noise(read_noise("demand", made.demand), settings)
    return Experiment(settings, 0, source, target, noise, torch.device(device))


class SilentListener:
    """Listener that ignores all progress."""

    def started(self, run_id: RunId) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def condition(self, name: str) -> None: ...


def event_names(out: Path) -> list[str]:
    """Return the events in the log of a results folder, in order."""
    return [record["event"] for record in events.read(out / "log.jsonl")]
