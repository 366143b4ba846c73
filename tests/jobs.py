"""What tests of trainings in their own process share: data, a listener, the log."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import prepare, prepare_noise
from fastser.experiment import events
from fastser.experiment.experiment import Experiment
from fastser.experiment.store import RunId
from fastser.settings import Settings
from fastser.training.loop import Epoch


def stand_in_experiment(
    folder: Path, settings: Settings, *, speeds: Sequence[float] = (), device: str = "cpu"
) -> Experiment:
    """The smallest stand-ins, in a folder that is also the cache: another process makes the same from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", str(folder / "cache"))
        made = generate(folder, utterances_per_class=1)
        source = prepare(read_corpus("iemocap", made.iemocap), settings, speeds=speeds, device=device)
        target = prepare(read_corpus("msp-improv", made.msp_improv), settings, device=device)
        noise = prepare_noise(read_noise("demand", made.demand), settings)
    return Experiment(settings, 0, source, target, noise, torch.device(device))


class Nobody:
    """A listener that does not listen."""

    def started(self, training: RunId) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def condition(self, name: str) -> None: ...


def event_names(out: Path) -> list[str]:
    """What the log of a results folder says happened, in order."""
    return [record["event"] for record in events.read(out / "log.jsonl")]
