"""Worker configuration: a JSON file with everything that another process needs to execute the same runs.

A worker reads no audio file and no label. It maps the arrays that the process that wrote the file had decoded. Memory
holds the corpora once per node (in the page cache), and a worker cannot see another state of the corpus.
"""

import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from fastser.data.corpora import Corpus
from fastser.data.dataset import Dataset
from fastser.data.noise import NoiseBank
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.segments import build_bank
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.kernel_choice import KernelChoice
from fastser.experiment.own_models import OwnModelError, register_own_models
from fastser.experiment.store import ResultStore
from fastser.runtime.device import named_device
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, cache_at, cache_dir
from fastser.settings import Settings
from fastser.training.precision import bfloat16_fault


class WorkerConfigError(RuntimeError):
    """A configuration that a worker cannot use. The message is one sentence."""


@dataclass(frozen=True)
class MappedWaveforms:
    """Packed waveforms by the path of their samples. See `PackedWaveforms`."""

    samples: Path
    offsets: list[int]
    key: str

    @classmethod
    def of(cls, packed: PackedWaveforms) -> "MappedWaveforms":
        """Describe waveforms that lie in the cache."""
        assert isinstance(packed.samples, np.memmap)
        return cls(Path(str(packed.samples.filename)), packed.offsets.tolist(), packed.key)

    def open(self) -> PackedWaveforms:
        """Map the waveforms."""
        _must_exist(self.samples)
        samples = np.memmap(self.samples, np.float32, "c")
        return PackedWaveforms(samples, np.asarray(self.offsets, np.int64), {}, self.key)


@dataclass(frozen=True)
class MappedDataset:
    """A prepared corpus without its arrays. `speeds` are the speed factors besides the original."""

    corpus: Corpus
    waveforms: MappedWaveforms
    speeds: tuple[float, ...]
    warnings: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, dataset: Dataset) -> "MappedDataset":
        """Describe a dataset from `fastser.data.prepare`."""
        waveforms = MappedWaveforms.of(dataset.waveforms)
        return cls(dataset.corpus, waveforms, dataset.bank.speeds[1:], dataset.warnings, dataset.key)

    def open(self, settings: Settings, device: torch.device) -> Dataset:
        """Map the dataset, or copy it to the GPU."""
        waveforms = self.waveforms.open()
        rate = settings.audio.sample_rate
        speakers = [utterance.speaker for utterance in self.corpus.utterances]
        bank = build_bank(waveforms, settings.spectrogram, rate, speeds=self.speeds, speakers=speakers, device=device)
        return Dataset(self.corpus, waveforms, bank, self.warnings, self.key)


@dataclass(frozen=True)
class MappedNoise:
    """A noise bank without its array."""

    waveforms: MappedWaveforms
    scenes: tuple[str, ...]

    @classmethod
    def of(cls, noise: NoiseBank) -> "MappedNoise":
        """Describe a noise bank that lies in the cache."""
        return cls(MappedWaveforms.of(noise.waveforms), noise.scenes)

    def open(self, settings: Settings) -> NoiseBank:
        """Map the noise."""
        return NoiseBank(self.waveforms.open(), self.scenes, settings.audio.sample_rate)


@dataclass(frozen=True)
class WorkerConfig:
    """A `Runner` as plain values.

    Attributes:
        settings: All settings.
        seed: Seed of the grid.
        device: Device of the models, "cpu" or "cuda".
        threads: Threads of one run on the CPU.
        kernel_choice: As in `Experiment`.
        own_models: Models of the user, `package.module:function` each.
        folder: Folder of the command, in which their modules are looked for.
        cache: Cache folder, on storage that every worker sees.
        out: Results folder, on storage that every worker sees.
        keep_models: As in `Runner`.
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
    kernel_choice: KernelChoice
    own_models: tuple[str, ...]
    folder: Path
    cache: Path
    out: Path
    keep_models: bool
    checkpoint_seconds: float
    retry_failed: bool
    source: MappedDataset | None
    target: MappedDataset | None
    noise: MappedNoise | None

    @classmethod
    def of(cls, runner: Runner, out: Path, threads: int, own_models: tuple[str, ...] = ()) -> "WorkerConfig":
        """Describe a runner whose data lie in the cache and whose results go to `out`."""
        experiment = runner.experiment
        return cls(
            settings=experiment.settings,
            seed=experiment.seed,
            device=str(experiment.device),
            threads=threads,
            kernel_choice=experiment.kernel_choice,
            own_models=own_models,
            folder=Path.cwd(),
            cache=cache_dir().resolve(),
            out=out.resolve(),
            keep_models=runner.keep_models,
            checkpoint_seconds=runner.checkpoint_seconds,
            retry_failed=runner.retry_failed,
            source=MappedDataset.of(experiment.source) if experiment.source else None,
            target=MappedDataset.of(experiment.target) if experiment.target else None,
            noise=MappedNoise.of(experiment.noise) if experiment.noise else None,
        )

    def write(self) -> Path:
        """Write the configuration to `out/workers`, under the digest of its content."""
        text = _JSON.dump_json(self)
        path = self.out / "workers" / f"{digest(text.decode())}.json"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(text)
        return path

    def runner(self, stop: threading.Event) -> Runner:
        """Set up this process for the runs: threads, device, determinism, data.

        Args:
            stop: Event that asks the running run to stop.

        Raises:
            WorkerConfigError: If the data are not where the writer had them, or this machine computes wrongly in the
                precision that the writer chose.
            DeviceError: If the device is not there.
        """
        try:
            register_own_models(self.own_models, self.folder)
        except OwnModelError as error:
            raise WorkerConfigError(str(error)) from None
        torch.set_num_threads(self.threads)
        device = named_device(self.device)
        if "bfloat16" in (self.settings.training.precision, self.settings.evaluation.precision):
            _check_bfloat16(self.settings, device)
        with cache_at(self.cache):
            experiment = Experiment(
                self.settings,
                self.seed,
                self.source.open(self.settings, device) if self.source else None,
                self.target.open(self.settings, device) if self.target else None,
                self.noise.open(self.settings) if self.noise else None,
                device,
                self.kernel_choice,
            )
        return Runner(
            experiment,
            ResultStore(self.out),
            self.keep_models,
            stop,
            self.checkpoint_seconds,
            self.retry_failed,
        )


_JSON = TypeAdapter(WorkerConfig)


def read_worker_config(path: Path) -> WorkerConfig:
    """Read a file that `WorkerConfig.write` wrote.

    Raises:
        WorkerConfigError: If it is not there, or if it was written by another version of fastser.
    """
    _must_exist(path)
    try:
        return _JSON.validate_json(path.read_bytes())
    except ValidationError:
        raise WorkerConfigError(
            f"{path} cannot be read on {socket.gethostname()}, which has another version of fastser than the machine "
            "that wrote it; install the same version on all machines"
        ) from None


def _check_bfloat16(settings: Settings, device: torch.device) -> None:
    fault = bfloat16_fault(settings, device)
    if fault is not None:
        raise WorkerConfigError(
            f"{socket.gethostname()}: {fault}. Use --set training.precision=float32 --set evaluation.precision=float32"
        )


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise WorkerConfigError(
            f"{path} is not there on {socket.gethostname()}: --out and $FASTSER_CACHE must lie on storage "
            "that every worker sees under the same path"
        )
