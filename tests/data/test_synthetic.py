"""Synthetic stand-ins: reproducible bits, layouts of the real corpora, properties of speech and noise."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from fastser.data.corpora import PAPER_CLASSES, Corpus, read_corpus, read_noise
from fastser.data.corpora.synthetic import StandIns, generate, layouts
from fastser.data.corpora.synthetic.seeds import named_generator


@pytest.fixture(scope="module", autouse=True)
def short_noise():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "NOISE_SECONDS", 6)
        yield


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    return generate(tmp_path_factory.mktemp("stand-ins"), seed=0, utterances_per_class=1)


@pytest.fixture(scope="module")
def iemocap(stand_ins: StandIns) -> Corpus:
    return read_corpus("iemocap", stand_ins.iemocap)


@pytest.fixture(scope="module")
def msp_improv(stand_ins: StandIns) -> Corpus:
    return read_corpus("msp-improv", stand_ins.msp_improv)


def contents(stand_ins: StandIns) -> dict[str, str]:
    root = stand_ins.demand.parent
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_seed_determines_every_byte(stand_ins: StandIns, tmp_path: Path) -> None:
    again, other = (contents(generate(tmp_path, seed, utterances_per_class=1)) for seed in (0, 1))
    assert again == contents(stand_ins)
    assert again.keys() == other.keys()
    audio = [name for name in again if name.endswith(".wav")]
    assert all(again[name] != other[name] for name in audio)
    assert len({again[name] for name in audio}) == len(audio)


def test_utterances_do_not_depend_on_how_many_are_made(stand_ins: StandIns, msp_improv: Corpus, tmp_path: Path) -> None:
    more = read_corpus("msp-improv", generate(tmp_path, seed=0, utterances_per_class=2).msp_improv)
    paths = {utterance.id: utterance.path for utterance in more.utterances}
    shared = [utterance for utterance in msp_improv.utterances if utterance.id in paths]
    assert len(shared) == len(msp_improv.utterances)
    assert all(utterance.path.read_bytes() == paths[utterance.id].read_bytes() for utterance in shared)


def test_iemocap_layout_is_read_back(iemocap: Corpus, stand_ins: StandIns) -> None:
    assert iemocap.synthetic
    assert "synthetic" in iemocap.title
    assert iemocap.speakers == tuple(f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM")
    assert iemocap.class_counts() == dict.fromkeys(PAPER_CLASSES, 10)
    assert Counter(u.speaker for u in iemocap.utterances) == dict.fromkeys(iemocap.speakers, 4)
    assert {u.session for u in iemocap.utterances} == set("12345")
    assert any(u.id[5] != u.id.split("_")[-1][0] for u in iemocap.utterances)
    assert len(list(stand_ins.iemocap.rglob("*.wav"))) == 40 + 10, "one turn of no class in each dialogue"
    assert iemocap.left_out == (("frustrated", 5),)


def test_msp_improv_layout_is_read_back(msp_improv: Corpus, stand_ins: StandIns) -> None:
    assert msp_improv.synthetic
    assert msp_improv.speakers == tuple(f"{letter}0{session}" for letter in "FM" for session in range(1, 7))
    assert msp_improv.class_counts() == dict.fromkeys(PAPER_CLASSES, 12)
    letters = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
    intended = {u.id: letters[u.id.split("-")[2][-1]] for u in msp_improv.utterances}
    differing = [u for u in msp_improv.utterances if intended[u.id] != u.emotion]
    assert 0 < len(differing) < len(msp_improv.utterances)
    assert len(list(stand_ins.msp_improv.rglob("*.wav"))) == 48 + 12, "one turn of no class by each speaker"
    assert msp_improv.left_out == (("other", 6),)


def test_demand_layout_is_read_back_and_scenes_differ(stand_ins: StandIns) -> None:
    noise = read_noise("demand", stand_ins.demand)
    assert noise.synthetic
    assert set(noise.scenes) == {"kitchen", "park", "station", "traffic", "cafeteria"}
    assert not noise.warnings
    bands = []
    for recording in noise.recordings:
        waveform, rate = soundfile.read(recording.path)
        assert (rate, waveform.size) == (16_000, 6 * 16_000)
        assert 0.01 < np.std(waveform) < 0.1
        assert np.max(np.abs(waveform)) < 1.0
        seconds = np.std(waveform.reshape(6, -1), axis=1)
        assert seconds.min() > 0.003, "no stretch is silent"
        _, power = scipy.signal.welch(waveform, rate, nperseg=1024)
        bands.append(10 * np.log10(power[1:].reshape(16, -1).mean(1)))
    distances = [np.std(a - b) for index, a in enumerate(bands) for b in bands[:index]]
    assert min(distances) > 2.5, "the long-term spectra differ in shape, in dB"


def test_levels_and_durations_are_those_of_speech(iemocap: Corpus, msp_improv: Corpus) -> None:
    levels = {}
    for corpus in (iemocap, msp_improv):
        for utterance in corpus.utterances:
            waveform, rate = soundfile.read(utterance.path)
            assert rate == 16_000
            assert waveform.ndim == 1
            assert 0.75 < waveform.size / rate < 1.8
            assert 0.02 < np.max(np.abs(waveform)) < 0.96
            assert abs(waveform.mean()) < 1e-3
            levels.setdefault((corpus.name, utterance.emotion), []).append(20 * np.log10(np.std(waveform)))
    for corpus in (iemocap, msp_improv):
        angry, happy, neutral, sad = (np.mean(levels[corpus.name, emotion]) for emotion in PAPER_CLASSES)
        assert -25 > neutral > -40
        assert min(angry, happy) > neutral > sad


def mean_f0(waveform: np.ndarray, rate: int) -> float:
    """Return the median over voiced frames of 40 ms of the highest autocorrelation peak between 60 and 600 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 640)[::160]
    frames = frames[np.std(frames, axis=1) > 0.5 * np.std(waveform)] * np.hanning(640)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, :640]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(640), 2048)) ** 2)[:640]
    correlation = correlation / correlation[:, :1] / (window / window[0])
    low, high = rate // 600, rate // 60
    peaks = correlation[:, low:high]
    first = [np.flatnonzero(row > 0.9 * row.max())[0] for row in peaks]
    return float(np.median(rate / (low + np.array(first))))


@pytest.mark.parametrize("name", ["iemocap", "msp_improv"])
def test_speakers_raise_and_lower_their_pitch_with_emotion(name: str, request: pytest.FixtureRequest) -> None:
    corpus: Corpus = request.getfixturevalue(name)
    f0 = {(u.speaker, u.emotion): mean_f0(*soundfile.read(u.path)) for u in corpus.utterances}
    semitones = {
        emotion: [12 * np.log2(f0[speaker, emotion] / f0[speaker, "neutral"]) for speaker in corpus.speakers]
        for emotion in PAPER_CLASSES
    }
    assert np.median(semitones["happy"]) > 3
    assert np.median(semitones["angry"]) > 2
    assert np.median(semitones["sad"]) < -1
    neutral = {speaker: f0[speaker, "neutral"] for speaker in corpus.speakers}
    women = [value for speaker, value in neutral.items() if "F" in speaker]
    men = [value for speaker, value in neutral.items() if "M" in speaker]
    assert 80 < np.median(men) < 145
    assert 160 < np.median(women) < 250


def test_existing_stand_ins_are_reused(stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastser.data.corpora.synthetic.write_iemocap", lambda *_: pytest.fail("generated again"))
    assert generate(stand_ins.demand.parents[1], seed=0, utterances_per_class=1) == stand_ins


def test_an_interrupted_generation_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        assert any(tmp_path.rglob("*.wav"))
        raise KeyboardInterrupt

    monkeypatch.setattr("fastser.data.corpora.synthetic.write_msp_improv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, utterances_per_class=1)
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_simultaneous_generations_uses_the_files_of_the_first(
    stand_ins: StandIns, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("fastser.data.corpora.synthetic.write_iemocap", lambda root, *_: root.mkdir())
    monkeypatch.setattr("fastser.data.corpora.synthetic.write_demand", lambda root, *_: root.mkdir())

    def overtaken(root: Path, *_: object) -> None:
        first = tmp_path / root.parent.name / "MSP-IMPROV"
        first.mkdir(parents=True)
        (first / "Evalution.txt").write_text("from the first")

    monkeypatch.setattr("fastser.data.corpora.synthetic.write_msp_improv", overtaken)
    found = generate(tmp_path, utterances_per_class=1)
    assert (found.msp_improv / "Evalution.txt").read_text() == "from the first"
    assert list(tmp_path.iterdir()) == [found.demand.parent]


def test_named_generators_are_the_same_in_another_process() -> None:
    draw = "named_generator(0, 'iemocap', 'Ses01F').integers(2**32)"
    code = f"from fastser.data.corpora.synthetic.seeds import named_generator; print({draw})"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(there.stdout) == named_generator(0, "iemocap", "Ses01F").integers(2**32)
