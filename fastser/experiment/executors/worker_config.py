"""What another process needs to run the same trainings: a JSON file that says where the packed data are mapped from.

A worker reads no audio file and no label: it maps what the process that wrote the file had decoded, so that its memory
holds the corpora once per node (the page cache), and it cannot see another state of the corpus than that process did.
"""

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fastser_kernels.registration import use_reference, uses_reference
from pydantic import TypeAdapter

from fastser.data.corpora.base import Corpus
from fastser.data.dataset import Dataset
from fastser.data.noise import NoiseBank
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import build_bank
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.store import ResultStore
from fastser.runtime.device import named_device
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, cache_dir
from fastser.settings import Settings


class WorkerConfigError(RuntimeError):
    """A worker that cannot do what the file says, in one sentence."""


@dataclass(frozen=True)
class MappedWaveforms:
    """Where packed waveforms lie: the file of samples, and the other attributes of `PackedWaveforms`."""

    samples: Path
    offsets: list[int]
    key: str

    @classmethod
    def of(cls, packed: PackedWaveforms) -> "MappedWaveforms":
        """Describe waveforms that lie in the cache."""
        assert isinstance(packed.samples, np.memmap)
        return cls(Path(str(packed.samples.filename)), packed.offsets.tolist(), packed.key)

    def open(self) -> PackedWaveforms:
        """Map them."""
        _must_exist(self.samples)
        samples = np.memmap(self.samples, np.float32, "c")
        return PackedWaveforms(samples, np.asarray(self.offsets, np.int64), {}, self.key)


@dataclass(frozen=True)
class MappedDataset:
    """A prepared corpus without its arrays; `speeds` are those of its segment bank."""

    corpus: Corpus
    waveforms: MappedWaveforms
    speeds: tuple[float, ...]
    warnings: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, dataset: Dataset, settings: Settings) -> "MappedDataset":
        """Describe a dataset that `prepare` gave."""
        perturbed = len(dataset.bank.sums) > dataset.bank.num_utterances
        speeds = settings.augmentation.speed_factors if perturbed else ()
        return cls(dataset.corpus, MappedWaveforms.of(dataset.waveforms), speeds, dataset.warnings, dataset.key)

    def open(self, settings: Settings, device: torch.device) -> Dataset:
        """Map it, or copy it to the GPU."""
        waveforms = self.waveforms.open()
        rate = settings.audio.sample_rate
        bank = build_bank(waveforms, settings.spectrogram, rate, speeds=self.speeds, device=device)
        return Dataset(self.corpus, waveforms, bank, self.warnings, self.key)


@dataclass(frozen=True)
class MappedNoise:
    """A noise bank without its array."""

    waveforms: MappedWaveforms
    scenes: tuple[str, ...]


@dataclass(frozen=True)
class WorkerConfig:
    """A `Runner` as plain values.

    Attributes:
        settings: All settings.
        seed: Seed of the run.
        device: Where models are trained, "cpu" or "cuda".
        threads: Threads of one training on the CPU.
        eager: Whether the references in plain PyTorch compute.
        cache: Folder of packed corpora, on storage that every worker sees.
        out: Folder of the results, likewise.
        keep_models: Whether trained weights are kept.
        checkpoint_seconds: As in `Runner`.
        retry_failed: As in `Runner`.
        source: As in `Experiment`.
        target: As in `Experiment`.
        noise: As in `Experiment`.
    """

    settings: Settings
    seed: int
    device: str
    threads: int
    eager: bool
    cache: Path
    out: Path
    keep_models: bool
    checkpoint_seconds: float
    retry_failed: bool
    source: MappedDataset | None
    target: MappedDataset | None
    noise: MappedNoise | None

    @classmethod
    def of(cls, job: Runner, out: Path, threads: int) -> "WorkerConfig":
        """Describe a job whose data lie in the cache and whose results go to `out`."""
        experiment = job.experiment
        settings, noise = experiment.settings, experiment.noise
        return cls(
            settings=settings,
            seed=experiment.seed,
            device=str(experiment.device),
            threads=threads,
            eager=uses_reference(),
            cache=cache_dir().resolve(),
            out=out.resolve(),
            keep_models=job.keep_models_in is not None,
            checkpoint_seconds=job.checkpoint_seconds,
            retry_failed=job.retry_failed,
            source=MappedDataset.of(experiment.source, settings) if experiment.source else None,
            target=MappedDataset.of(experiment.target, settings) if experiment.target else None,
            noise=MappedNoise(MappedWaveforms.of(noise.waveforms), noise.scenes) if noise else None,
        )

    def write(self) -> Path:
        """Write it below `out`, under a name of its content."""
        text = _JSON.dump_json(self)
        path = self.out / "workers" / f"{digest(text.decode())}.json"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(text)
        return path

    def job(self, stop: threading.Event) -> Runner:
        """Make this process ready to run the trainings: threads, cache, device, determinism, data.

        Args:
            stop: Set when the running training is to stop where it can go on.

        Raises:
            WorkerConfigError: If the data are not where the writer had them.
            DeviceError: If the device is not there.
        """
        os.environ["FASTSER_CACHE"] = str(self.cache)
        torch.set_num_threads(self.threads)
        use_reference(self.eager)
        device = named_device(self.device)
        noise = None
        if self.noise is not None:
            noise = NoiseBank(self.noise.waveforms.open(), self.noise.scenes, self.settings.audio.sample_rate)
        experiment = Experiment(
            self.settings,
            self.seed,
            self.source.open(self.settings, device) if self.source else None,
            self.target.open(self.settings, device) if self.target else None,
            noise,
            device,
        )
        return Runner(
            experiment,
            ResultStore(self.out),
            self.out if self.keep_models else None,
            stop,
            self.checkpoint_seconds,
            self.retry_failed,
        )


_JSON = TypeAdapter(WorkerConfig)


def read_worker_config(path: Path) -> WorkerConfig:
    """Read a file that `WorkerConfig.write` wrote.

    Raises:
        WorkerConfigError: If it is not there.
    """
    _must_exist(path)
    return _JSON.validate_json(path.read_bytes())


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise WorkerConfigError(
            f"{path} is not there on {socket.gethostname()}: --out and $FASTSER_CACHE must lie on storage "
            "that every worker sees under the same path"
        )
