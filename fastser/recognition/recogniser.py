"""Recognisers: trained models that label recordings, with the features that they were trained on."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastser.data.audio import AudioError
from fastser.data.decoding import decode_all
from fastser.data.features import FeatureExtractor
from fastser.data.segments import SegmentBank, bank_in_memory
from fastser.data.utterance_frames import utterance_frames
from fastser.evaluation.inference import BATCH_SIZE, outputs_of, row_means
from fastser.evaluation.model_error import ModelError
from fastser.recognition.build import model_of, takes_utterances
from fastser.recognition.model_file import ModelDescription, read_model_file
from fastser.recognition.packaged_models import model_path
from fastser.recognition.waveforms import as_in_training, read_waveform
from fastser.runtime.precision import in_precision

Per = Literal["file", "segment"]
"""Unit of a prediction: the whole recording, or each of its segments."""

Record = dict[str, Any]
"""A prediction: file, start and end in seconds, label, and the posterior p_CLASS of each class."""

_FILES_PER_CHUNK, _SECONDS_PER_CHUNK = 32, 300.0
"""Number of files, and their duration, from which a chunk of files is recognised together."""


@dataclass(frozen=True)
class FilePredictions:
    """Predictions of one file.

    Attributes:
        path: The file, as it was given.
        records: Its predictions. Empty if the file is unusable.
        seconds: Its duration.
        error: Why the file is unusable, or None.
    """

    path: Path
    records: list[Record]
    seconds: float = 0.0
    error: AudioError | None = None


class Recogniser:
    """A trained model that labels recordings.

    Files are decoded, resampled, levelled, normalised and cut into segments as in the training of the model. The
    posteriors of a recording are those of its segments, averaged.

    Args:
        model: Network of segments, or yardstick of whole utterances.
        description: Description of the model.
        device: Device of the model.

    Attributes:
        classes: Names of the classes, in the order of the posteriors.
        sample_rate: Sample rate of the model's features in hertz. Other recordings are resampled.
        metadata: Description of the model as plain JSON: architecture, features, training data, scores, versions.

    Raises:
        ModelError: If the model standardises spectrograms by speaker.
    """

    def __init__(self, model: nn.Module, description: ModelDescription, device: torch.device | str = "cpu") -> None:
        settings = description.settings
        if settings.spectrogram.normalisation == "speaker":
            raise ModelError(
                "the model standardises spectrograms by speaker, which needs all recordings of a speaker; train one "
                "with spectrogram.normalisation=utterance or training-set"
            )
        self.classes = description.classes
        self.sample_rate = settings.audio.sample_rate
        self.metadata = description.to_json()
        self._description = description
        self._device = torch.device(device)
        self._model = in_precision(model.to(self._device).eval(), settings.evaluation.precision)
        self._utterances = takes_utterances(description)

    @property
    def segment_seconds(self) -> float:
        """Length of a segment in seconds."""
        return self._seconds(self._description.settings.spectrogram.segment_frames)

    @property
    def shortest_seconds(self) -> float:
        """Duration in seconds below which a recording is padded: a segment, or a window where no segments are cut."""
        return self._seconds(1) if self._utterances else self.segment_seconds

    def predict(
        self, audio: Any, sample_rate: int | None = None, *, per: Per = "file", hop: float | None = None
    ) -> list[Record]:
        """Label one recording.

        Args:
            audio: Path of an audio file, or an array or tensor of floating-point samples, full scale 1. Its shape is
                [samples], or [samples, channels] with channels that are averaged, as those of files are.
            sample_rate: Sample rate of an array in hertz. A file brings its own.
            per: "file" for one prediction, "segment" for one of each segment.
            hop: Seconds from one segment to the next. Default: as in the training.

        Returns:
            One dictionary for each prediction: "file" (None for an array), "start" and "end" in seconds, "label", and
            "p_CLASS" for each class.

        Raises:
            AudioError: If the file cannot be used.
            ModelError: If the array or another argument cannot be used.
        """
        extract = self._extractor(per, hop)
        waveform = read_waveform(audio, sample_rate, self.sample_rate)
        file = os.fspath(audio) if isinstance(audio, str | Path) else None
        return self._records([file], [waveform], per, extract)[0]

    def predict_files(
        self, paths: Sequence[Path], *, per: Per = "file", hop: float | None = None
    ) -> Iterator[FilePredictions]:
        """Label files, several of them in one batch. Unusable files do not end the iteration.

        Args:
            paths: Audio files.
            per: As in `predict`.
            hop: As in `predict`.

        Yields:
            The predictions of each file, in the order of `paths`.

        Raises:
            ModelError: If an argument cannot be used.
        """
        extract = self._extractor(per, hop)
        chunk: list[tuple[Path, NDArray[np.float32] | AudioError]] = []
        samples = 0
        for path, decoded in zip(paths, decode_all(paths, self.sample_rate), strict=True):
            chunk.append((path, decoded.result))
            samples += 0 if isinstance(decoded.result, AudioError) else len(decoded.result)
            if len(chunk) == _FILES_PER_CHUNK or samples > _SECONDS_PER_CHUNK * self.sample_rate:
                yield from self._of_chunk(chunk, per, extract)
                chunk, samples = [], 0
        yield from self._of_chunk(chunk, per, extract)

    def _of_chunk(
        self, chunk: Sequence[tuple[Path, NDArray[np.float32] | AudioError]], per: Per, extract: FeatureExtractor
    ) -> Iterator[FilePredictions]:
        usable = [(path, result) for path, result in chunk if not isinstance(result, AudioError)]
        found = iter(self._records([str(path) for path, _ in usable], [w for _, w in usable], per, extract))
        for path, result in chunk:
            if isinstance(result, AudioError):
                yield FilePredictions(path, [], error=result)
            else:
                yield FilePredictions(path, next(found), len(result) / self.sample_rate)

    def check_hop(self, hop: float, *, per: Per = "file", argument: str = "hop") -> int:
        """Check the time from one segment to the next, and return it in frames.

        Args:
            hop: The time in seconds.
            per: As in `predict`.
            argument: Name of the time in the error message.

        Raises:
            ModelError: If the time is shorter than a frame or longer than a segment, or the model has no segments.
        """
        if self._utterances and per == "file":
            name = self._description.architecture
            raise ModelError(f"{argument} {hop:g}: the model '{name}' takes whole recordings without hop; leave it out")
        spectrogram = self._description.settings.spectrogram
        frames = round(hop * self.sample_rate / spectrogram.hop_length) if 0 < hop < math.inf else 0
        if not 1 <= frames <= spectrogram.segment_frames:
            shortest = spectrogram.hop_length / self.sample_rate
            longest = spectrogram.segment_frames * shortest
            raise ModelError(
                f"{argument} {hop:g}: expected from {shortest:g} s to {longest:g} s, the length of one segment of this "
                "model"
            )
        return frames

    def _extractor(self, per: Per, hop: float | None) -> FeatureExtractor:
        """Check the arguments of a prediction, and return the feature extractor whose settings cut the segments."""
        if per not in ("file", "segment"):
            raise ModelError(f"per is {per!r}, expected 'file' or 'segment'")
        spectrogram = self._description.settings.spectrogram
        if hop is not None:
            spectrogram = spectrogram.model_copy(update={"segment_hop": self.check_hop(hop, per=per)})
        return FeatureExtractor.create(spectrogram, self.sample_rate)

    def _records(
        self,
        files: Sequence[str | None],
        waveforms: Sequence[NDArray[np.float32]],
        per: Per,
        extract: FeatureExtractor,
    ) -> list[list[Record]]:
        """Return the predictions of each waveform."""
        if not waveforms:
            return []
        settings = self._description.settings
        prepared = [as_in_training(w, settings.audio, settings.spectrogram.win_length) for w in waveforms]
        bank = bank_in_memory(prepared, extract, self._device)
        durations = [len(waveform) / self.sample_rate for waveform in waveforms]
        posteriors = self._posteriors(bank, per)
        if per == "file":
            places = [(row, 0.0, duration) for row, duration in enumerate(durations)]
        else:
            places = self._places(bank, durations)
        found: list[list[Record]] = [[] for _ in waveforms]
        for (row, start, end), values in zip(places, posteriors.float().cpu().tolist(), strict=True):
            label = self.classes[int(np.argmax(values))]
            posterior = {f"p_{name}": value for name, value in zip(self.classes, values, strict=True)}
            found[row].append({"file": files[row], "start": start, "end": end, "label": label, **posterior})
        return found

    def _posteriors(self, bank: SegmentBank, per: Per) -> Tensor:
        """Return the posteriors of recordings or of segments, [recordings or segments, classes]."""
        normalisation = self._description.normalisation
        if self._utterances and per == "file":
            recordings = utterance_frames(bank, range(bank.num_utterances), normalisation)
            return outputs_of(self._model, (frames[None] for frames in recordings))
        if self._utterances:
            places = zip(bank.start.tolist(), bank.length.tolist(), strict=True)
            segments = (bank.frames[None, start : start + length] for start, length in places)
            return outputs_of(self._model, ((one - normalisation.mean) / normalisation.std for one in segments))
        parts = torch.arange(len(bank.start), device=self._device).split(BATCH_SIZE)
        by_segment = outputs_of(self._model, (bank.gather(part, normalisation) for part in parts))
        return by_segment if per == "segment" else row_means(by_segment, bank.recording)

    def _places(self, bank: SegmentBank, durations: Sequence[float]) -> list[tuple[int, float, float]]:
        """Return recording, start and end in seconds of each segment."""
        counts = (bank.sums[:, 0] / bank.frames.shape[1]).long()
        recording = bank.recording.cpu()
        first = bank.start.cpu() - (counts.cumsum(0) - counts)[recording]
        hop, places = self._description.settings.spectrogram.hop_length, []
        for row, begin, frames in zip(recording.tolist(), first.tolist(), bank.length.tolist(), strict=True):
            start = begin * hop / self.sample_rate
            places.append((row, start, min(start + self._seconds(frames), durations[row])))
        return places

    def _seconds(self, frames: int) -> float:
        """Return the duration of consecutive frames."""
        spectrogram = self._description.settings.spectrogram
        return ((frames - 1) * spectrogram.hop_length + spectrogram.win_length) / self.sample_rate


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Recogniser:
    """Load a trained model that labels recordings.

    Args:
        path: File of weights that `--keep-models` or `python -m fastser.train` wrote, or the name of a packaged model.
        device: Device of the model.

    Raises:
        ModelError: If the file cannot be used.

    Example:
        >>> import fastser
        >>> recogniser = fastser.load_model("models/emodb.safetensors")  # doctest: +SKIP
        >>> recogniser.predict("03a01Fa.wav")[0]["label"]  # doctest: +SKIP
        'happy'
    """
    file = model_path(path)
    description, weights = read_model_file(file)
    return Recogniser(model_of(file, description, weights), description, device)
