"""Choice of an utterance, and its clips: clean, in noise at each SNR, after each attack."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from safetensors import SafetensorError

from fastser.attacks import ATTACKS, NamedAttack
from fastser.data.corpora.attribution import attribution_of
from fastser.data.features import FeatureExtractor
from fastser.data.noise import NoiseError, draw_noise
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.experiment import Experiment
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run
from fastser.report.audio.attacked import AttackedUtterance
from fastser.report.audio.inverse import with_gains
from fastser.training.yardsticks import YARDSTICKS

LONGEST_SECONDS = 4.0
HIGHEST_RATE = 16_000
_PEAK = 0.9
_FAVOURITES = ("proposed", "none")
"""Model and augmentation that are heard if their runs are there."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound with the model's answer to it.

    Attributes:
        title: What is heard, "noise, 10 dB SNR (kitchen)".
        answer: The model's answer with its posterior.
        correct: Whether the answer is the true class.
        flac: The sound as a FLAC file.
    """

    title: str
    answer: str
    correct: bool
    flac: bytes


@dataclass(frozen=True)
class Listening:
    """Clips of one utterance.

    Attributes:
        clips: The clips, the clean one first. Empty if the report has no audio.
        about: Sentences about utterance and model.
        notes: Sentences about what is left out, and why.
    """

    clips: Sequence[Clip] = ()
    about: Sequence[str] = ()
    notes: Sequence[str] = ()


def listen(experiment: Experiment, runs: Sequence[Run], store: ResultStore, *, wanted: bool = True) -> Listening:
    """Make the clips of one utterance of the source corpus.

    Args:
        experiment: Data and settings.
        runs: Finished runs.
        store: Results folder, which may keep weights.
        wanted: Whether the user wants audio.
    """
    source = experiment.source
    if not wanted:
        return Listening(notes=["The report was asked to have no audio (--no-audio)."])
    if source is None:
        return Listening()
    attribution = attribution_of(source.corpus)
    if attribution is not None and not attribution.audio_may_be_shared:
        return Listening(notes=[f"The licence of {source.corpus.title} does not let its audio be passed on."])
    networks = [run for run in runs if run.id.point.task == "source" and run.id.point.model not in YARDSTICKS]
    if not networks:
        return Listening(notes=["No network is finished on the source corpus."])
    run = min(networks, key=lambda run: _rank(run, store))
    results = {name: result for name, result in store.posteriors(run.id.key).items() if name in run.confusions}
    index = _chosen(experiment, results)
    if index is None:
        return Listening(notes=["The stored results do not name an utterance of the source corpus."])
    return _Maker(experiment, run, results, index).listening(store)


def _rank(run: Run, store: ResultStore) -> tuple[bool, bool, bool, int]:
    """Return the key by which the run to hear is chosen: kept weights first, then the favourite model."""
    point = run.id.point
    return (
        not store.weights(run.id.key).exists(),
        point.model != _FAVOURITES[0],
        point.augmentation != _FAVOURITES[1],
        point.repeat,
    )


def _chosen(experiment: Experiment, results: Mapping[str, ConditionResult]) -> int | None:
    """Return the index of the utterance to hear, or None.

    It is the first one of a suitable length whose answer is right for clean speech and wrong after the last attack, or
    else the first one of a suitable length, or else the shortest.
    """
    assert experiment.source is not None
    clean = results.get("clean")
    places = {utterance.id: i for i, utterance in enumerate(experiment.source.corpus.utterances)}
    if clean is None or not clean.utterance_ids or any(name not in places for name in clean.utterance_ids):
        return None
    seconds = np.diff(experiment.source.waveforms.offsets) / experiment.settings.audio.sample_rate
    attacks = [name for name in ATTACKS if name in results]
    right = clean.posteriors.argmax(axis=1) == clean.labels
    wrong = results[attacks[-1]].posteriors.argmax(axis=1) != clean.labels if attacks else right
    telling = dict(zip(clean.utterance_ids, right & wrong, strict=True))
    suitable = [name for name in clean.utterance_ids if 1.5 <= seconds[places[name]] <= LONGEST_SECONDS]
    best = next((name for name in suitable if telling[name]), None) or next(iter(suitable), None)
    return places[best or min(clean.utterance_ids, key=lambda name: seconds[places[name]])]


@dataclass(frozen=True)
class _Maker:
    """Everything that the clips of one utterance are made of."""

    experiment: Experiment
    run: Run
    results: Mapping[str, ConditionResult]
    index: int

    @property
    def _samples(self) -> NDArray[np.float32]:
        assert self.experiment.source is not None
        return np.asarray(self.experiment.source.waveforms[self.index])

    @property
    def _id(self) -> str:
        assert self.experiment.source is not None
        return self.experiment.source.corpus.utterances[self.index].id

    def listening(self, store: ResultStore) -> Listening:
        """Return all clips that can be made."""
        noisy, notes = self._noisy()
        attacked, more = self._attacked(store)
        sounds = {"clean": ("clean", np.asarray(self._samples, np.float64)), **noisy, **attacked}
        rate = self.experiment.settings.audio.sample_rate
        shown = {name: (title, wave[: int(LONGEST_SECONDS * rate)]) for name, (title, wave) in sounds.items()}
        loudest = max(float(np.abs(wave).max(initial=0.0)) for _, wave in shown.values())
        gain = _PEAK / loudest if loudest > 0 else 1.0
        clips = [
            Clip(title, *self._answer(name), _flac(gain * wave, rate))
            for name, (title, wave) in shown.items()
            if name in self.results
        ]
        point = self.run.id.point
        about = [
            f"Utterance {self._id}, spoken as {self._truth}. The answers are those of {point.model}, augmentation "
            f"{point.augmentation}, fold {point.fold}, repeat {point.repeat}, which was {self._training} on its "
            "speaker.",
        ]
        if len(self._samples) > LONGEST_SECONDS * rate:
            about.append(f"Its first {LONGEST_SECONDS:g} s are heard. The answers are about the whole utterance.")
        return Listening(clips, about, [*notes, *more])

    @property
    def _truth(self) -> str:
        assert self.experiment.source is not None
        return self.experiment.source.corpus.utterances[self.index].emotion

    @property
    def _training(self) -> str:
        """Return "trained" if the fold of a corpus' own split trains on the speaker, otherwise "not trained"."""
        assert self.experiment.source is not None
        utterances, point = self.experiment.source.corpus.utterances, self.run.id.point
        fold = self.experiment.folds(point.task)[point.fold]
        seen = {utterances[i].speaker for i in fold.train}
        return "trained" if utterances[self.index].speaker in seen else "not trained"

    def _answer(self, condition: str) -> tuple[str, bool]:
        result = self.results[condition]
        row = result.utterance_ids.index(self._id)
        answer = int(result.posteriors[row].argmax())
        return f"{self.run.classes[answer]}, {100 * result.posteriors[row, answer]:.0f} %", answer == result.labels[row]

    def _noisy(self) -> tuple[dict[str, tuple[str, NDArray[np.float64]]], list[str]]:
        """Return the utterance with the noise of the tests, by name of the condition. The lowest noise comes first."""
        noise, settings, source = self.experiment.noise, self.experiment.settings.noise, self.experiment.source
        assert source is not None
        if noise is None:
            return {}, ["There is no noise corpus, so that nothing is heard in noise."]
        seed = int(self.run.metadata["seeds"]["noise"])
        try:
            drawn = draw_noise(noise, settings.scenes, source.waveforms, [(self.index, self._id)], seed)
        except NoiseError as error:
            return {}, [f"Nothing is heard in noise: {error}."]
        scene = int(drawn.drawn[0])
        start = int(drawn.start[scene, 0])
        excerpt = noise.waveforms.samples[start : start + len(self._samples)].astype(np.float64)
        return {
            f"noise-{snr:g}db": (
                f"noise, {snr:g} dB SNR ({settings.scenes[scene]})",
                self._samples + float(drawn.gain(snr)[scene, 0]) * excerpt,
            )
            for snr in sorted(settings.snr_db, reverse=True)
        }, []

    def _attacked(self, store: ResultStore) -> tuple[dict[str, tuple[str, NDArray[np.float64]]], list[str]]:
        """Return the utterance after each attack, by name of the condition."""
        attacks = [attack for attack in ATTACKS.values() if attack.name in self.results]
        if attacks and not store.weights(self.run.id.key).exists():
            return {}, ["Attacked speech is left out, because no weights were kept (--keep-models keeps them)."]
        settings = self.experiment.settings
        extract = FeatureExtractor.create(settings.spectrogram, settings.audio.sample_rate)
        found, notes = {}, []
        for attack in attacks:
            try:
                gains = self._gains_db(attack, store)
            except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
                notes.append(f"Speech after {attack.title} is left out: {type(error).__name__}: {error}.")
                continue
            title = f"after {attack.title}, changed by up to {float(np.abs(gains).max()):.1f} dB"
            found[attack.name] = title, with_gains(self._samples, gains, extract)
        return found, notes

    def _gains_db(self, attack: NamedAttack, store: ResultStore) -> NDArray[np.float32]:
        with self.experiment.kernels():
            return AttackedUtterance.of(self.experiment, self.run, store, self._id).gains_db(attack)


def _flac(samples: NDArray[np.float64], rate: int) -> bytes:
    if rate > HIGHEST_RATE:
        samples, rate = soxr.resample(samples, rate, HIGHEST_RATE), HIGHEST_RATE
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(samples, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()
