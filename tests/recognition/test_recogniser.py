"""A recogniser gives the posteriors of the grid for the files that the grid has tested."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from kept_models import Keep

import fastser
from fastser.data.audio import AudioError, decode
from fastser.evaluation.model_error import ModelError
from fastser.recognition.recogniser import Record


def posteriors(records: list[Record]) -> np.ndarray:
    return np.array([[value for name, value in record.items() if name.startswith("p_")] for record in records])


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("cnn", []),
        ("proposed", ["audio.level=equal", "spectrogram.last_segment=shifted", "spectrogram.segment_hop=16"]),
        ("cnn", ["spectrogram.normalisation=utterance", "spectrogram.last_segment=dropped"]),
        ("linear", []),
        ("linear", ["spectrogram.normalisation=utterance", "audio.level=equal"]),
    ],
    ids=["cnn", "equal level, shifted", "by utterance, dropped", "linear", "linear by utterance"],
)
def test_posteriors_are_those_of_the_grid(keep: Keep, model: str, settings: list[str]) -> None:
    kept = keep(model, *settings)
    recogniser = fastser.load_model(kept.file)
    paths = [kept.audio[id] for id in kept.recorded.utterance_ids]
    together = [found.records[0] for found in recogniser.predict_files(paths)]
    single = [recogniser.predict(path)[0] for path in paths]
    for found in (together, single):
        np.testing.assert_allclose(posteriors(found), kept.recorded.posteriors, rtol=0, atol=1e-6)
        assert [r["label"] for r in found] == [recogniser.classes[i] for i in kept.recorded.posteriors.argmax(1)]
    assert [record["file"] for record in single] == [str(path) for path in paths]


@pytest.mark.fast
def test_segments_cover_the_file_and_average_to_its_posteriors(keep: Keep) -> None:
    kept = keep("cnn")
    recogniser = fastser.load_model(kept.file)
    path = next(iter(kept.audio.values()))
    seconds = len(decode(path, recogniser.sample_rate)) / recogniser.sample_rate
    (whole,), segments = recogniser.predict(path), recogniser.predict(path, per="segment")
    assert (whole["start"], whole["end"]) == (0.0, seconds)
    assert [segment["start"] for segment in segments] == pytest.approx([0.64 * i for i in range(len(segments))])
    assert segments[-1]["end"] <= seconds < segments[-1]["end"] + 0.01
    assert all(segment["end"] - segment["start"] <= recogniser.segment_seconds + 1e-9 for segment in segments)
    np.testing.assert_allclose(posteriors(segments).mean(0), posteriors([whole])[0], atol=1e-6)
    denser = recogniser.predict(path, per="segment", hop=0.32)
    assert denser[1]["start"] == pytest.approx(0.32)
    np.testing.assert_allclose(posteriors(denser)[2], posteriors(segments)[1], atol=1e-5)


def test_segments_of_a_yardstick(keep: Keep) -> None:
    kept = keep("linear")
    recogniser = fastser.load_model(kept.file)
    path = next(iter(kept.audio.values()))
    segments = recogniser.predict(path, per="segment")
    assert len(segments) == len(fastser.load_model(keep("cnn").file).predict(path, per="segment"))
    np.testing.assert_allclose(posteriors(segments).sum(1), 1, atol=1e-5)
    with pytest.raises(ModelError, match="'linear' takes whole recordings without hop"):
        recogniser.predict(path, hop=0.1)


@pytest.mark.fast
def test_arrays_are_taken_with_their_sample_rate(keep: Keep, tmp_path: Path) -> None:
    kept = keep("cnn")
    recogniser = fastser.load_model(kept.file)
    samples, rate = soundfile.read(next(iter(kept.audio.values())), dtype="float32")
    (from_array,) = recogniser.predict(samples, rate)
    assert from_array["file"] is None
    soundfile.write(tmp_path / "faster.wav", samples, 44_100, "FLOAT")
    (of_file,) = recogniser.predict(tmp_path / "faster.wav")
    (of_tensor,) = recogniser.predict(torch.from_numpy(samples), 44_100)
    assert posteriors([of_file]).tolist() == posteriors([of_tensor]).tolist()
    assert posteriors([of_file]).tolist() != posteriors([from_array]).tolist()
    two = np.stack([samples, 0.5 * samples[::-1]], axis=1)
    soundfile.write(tmp_path / "stereo.wav", two, rate, "FLOAT")
    (of_stereo,) = recogniser.predict(tmp_path / "stereo.wav")
    assert posteriors([of_stereo]).tolist() == posteriors(recogniser.predict(two, rate)).tolist()
    assert posteriors([of_stereo]).tolist() != posteriors([from_array]).tolist()
    (short,) = recogniser.predict(samples[:50], rate)
    assert short["end"] == 50 / rate


@pytest.mark.fast
def test_unusable_arguments_are_one_sentence(keep: Keep, tmp_path: Path) -> None:
    kept = keep("cnn")
    recogniser = fastser.load_model(kept.file)
    path, samples = next(iter(kept.audio.values())), np.ones(8000, np.float32)
    for arguments, options, message in (
        ((samples,), {}, "give sample_rate"),
        ((samples, -1), {}, "sample_rate is -1"),
        ((path, 16_000), {}, "a file brings its sample rate along"),
        ((samples.astype(np.int16), 16_000), {}, "the array is int16"),
        ((samples.reshape(2, -1), 16_000), {}, r"the array is float32 \[2, 4000\]"),
        ((samples.reshape(-1, 1, 2), 16_000), {}, r"the array is float32 \[4000, 1, 2\]"),
        ((np.stack([samples, -samples], axis=1), 16_000), {}, "the array cannot be used: its 2 channels cancel"),
        ((0 * samples, 16_000), {}, "the array is silent"),
        ((path,), {"per": "word"}, "per is 'word'"),
        ((path,), {"hop": 9.0}, r"hop 9: expected from 0.01 s to 0.64 s, the length of one segment"),
        ((path,), {"hop": -1.0}, "hop -1: expected"),
    ):
        with pytest.raises(ModelError, match=message):
            recogniser.predict(*arguments, **options)  # type: ignore[arg-type]
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match=r"empty\.wav"):
        recogniser.predict(tmp_path / "empty.wav")
    found = [*recogniser.predict_files([tmp_path / "empty.wav", path])]
    assert found[0].error is not None
    assert found[1].records == recogniser.predict(path)


def test_a_model_that_standardises_by_speaker_is_refused(keep: Keep) -> None:
    kept = keep("linear", "spectrogram.normalisation=speaker")
    with pytest.raises(ModelError, match="standardises spectrograms by speaker, which needs all recordings"):
        fastser.load_model(kept.file)
