"""Splits of users, and what leaks between their sides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastser.data import leakage
from fastser.data.copies import is_copy
from fastser.data.corpora.base import Corpus, CorpusError, Utterance
from fastser.data.leakage import leaks
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.splits import read_split, sides

pytestmark = pytest.mark.fast
NAMES = ["03a01Fa", "03a02Wa", "08a01Fa", "08a04Wa", "09a05Fa", "09a07Wa"]
CORPUS = Corpus(
    "emodb",
    "EMO-DB",
    Path("/corpus"),
    tuple(Utterance(name, Path(f"/corpus/wav/{name}.wav"), name[:2], "happy") for name in NAMES),
)


def packed(*waveforms: np.ndarray) -> PackedWaveforms:
    offsets = np.cumsum([0, *(len(waveform) for waveform in waveforms)])
    return PackedWaveforms(np.concatenate(waveforms).astype(np.float32), offsets, {}, "key")


def noises() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-0.5, 0.5, 400 + 10 * i).astype(np.float32) for i in range(len(NAMES))]


def written(folder: Path, text: str) -> Path:
    path = folder / "split.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["{}", "{}.wav", "wav/{}.wav", "/home/ada/EMODB/wav/{}.wav", "C:\\EMODB\\wav\\{}.wav"])
def test_files_are_found_by_id_and_by_any_path(tmp_path: Path, form: str) -> None:
    sets = ["train", "train", "dev", "validation", "test", "Test"]
    lines = [f"{form.format(name)},{of}" for name, of in zip(NAMES, sets, strict=True)]
    split = read_split(written(tmp_path, "\n".join(["file,set", *lines])), CORPUS)
    assert split == {"train": (0, 1), "validation": (2, 3), "test": (4, 5)}
    assert sides(split) == ((0, 1, 2, 3), (4, 5))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name,set\n03a01Fa,test\n", "there is no column 'file'"),
        ("file,set\n03a01Fa,probe\n", "line 2: the set is 'probe'"),
        ("file,set\n03a01Fa,train\nwav/03a01Fa.wav,test\n", "line 3: 'wav/03a01Fa.wav' is in test, but line 2"),
        ("file,set\n03a01Fa,train\n", "is in the set 'test'"),
        ("file,set\n03a01Fa,test\nother.wav,train\n", "line 3: EMO-DB has no file 'other.wav'"),
        (None, "the split cannot be read (No such file or directory)"),
    ],
)
def test_a_split_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str | None, part: str) -> None:
    path = tmp_path / "none.csv" if text is None else written(tmp_path, text)
    with pytest.raises(CorpusError) as refusal:
        read_split(path, CORPUS)
    assert part in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_files_of_other_classes_belong_to_no_set(tmp_path: Path) -> None:
    chosen = replace(CORPUS, utterances=CORPUS.utterances[:2])
    text = "file,set\n03a01Fa,test\n08a01Fa,test\n03a02Wa,train\n"
    assert read_split(written(tmp_path, text), chosen, CORPUS) == {"train": (1,), "validation": (), "test": (0,)}


def test_a_name_of_two_utterances_is_refused(tmp_path: Path) -> None:
    twins = [replace(CORPUS.utterances[0], id=f"{n}/a", path=Path(f"/corpus/{n}/a.wav")) for n in (1, 2)]
    with pytest.raises(CorpusError, match="is the name of several utterances"):
        read_split(written(tmp_path, "file,set\na.wav,test\n"), replace(CORPUS, utterances=tuple(twins)))


def test_a_clean_split_has_no_leak() -> None:
    assert leaks(CORPUS, packed(*noises()), [0, 1], [4, 5]) == []


def test_a_speaker_on_both_sides_is_an_error() -> None:
    (leak,) = leaks(CORPUS, packed(*noises()), [0, 2], [1, 3, 4])
    assert leak.severity == "error"
    assert leak.sentence.startswith("2 of 3 test speakers are in the training data too (03, 08)")


def test_the_same_audio_is_an_error_and_at_another_level_a_warning() -> None:
    waveforms = noises()
    waveforms[4] = waveforms[0].copy()
    rounded = np.round(0.7 * waveforms[1] * 2**15) / 2**15
    waveforms[5] = np.concatenate([np.zeros(50), rounded, np.zeros(9)])
    same, alike = leaks(CORPUS, packed(*waveforms), [0, 1], [4, 5])
    assert (same.severity, alike.severity) == ("error", "warning")
    assert "09a05Fa = 03a01Fa" in same.sentence
    assert "09a07Wa = 03a02Wa" in alike.sentence


def test_few_pairs_of_stationary_recordings_are_compared_sample_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    tone = 0.2 * np.sin(np.arange(64_000))
    waveforms = [(tone + generator.uniform(-0.2, 0.2, 64_000)).astype(np.float32) for _ in NAMES]
    waveforms[5] = 0.5 * waveforms[1]
    compared = []

    def counted_comparison(a: np.ndarray, b: np.ndarray) -> bool:
        compared.append((a, b))
        return is_copy(a, b)

    monkeypatch.setattr(leakage, "is_copy", counted_comparison)
    (leak,) = leaks(CORPUS, packed(*waveforms), [0, 1, 2], [4, 5])
    assert "1 test utterances have the audio of training utterances at another level" in leak.sentence
    assert len(compared) == 1


def test_silence_is_no_leak() -> None:
    waveforms = noises()
    waveforms[0], waveforms[4] = np.zeros(300), np.zeros(200)
    assert leaks(CORPUS, packed(*waveforms), [0, 1], [4, 5]) == []


def test_a_text_on_both_sides_is_a_note() -> None:
    named = replace(CORPUS, utterances=tuple(replace(u, text=u.id[2:5]) for u in CORPUS.utterances))
    (leak,) = leaks(named, packed(*noises()), [0, 1], [2])
    assert leak.severity == "note"
    assert "1 text is spoken on both sides ('a01')" in leak.sentence
