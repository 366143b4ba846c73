"""`python -m benchmarks.precision_on_speech`: the paired difference and its interval, and a page that grows."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import stats

from benchmarks import precision_on_speech
from benchmarks.precision_on_speech import difference
from fastser.training import precision

PAIRS = list(product(("03", "08", "09", "10"), (1, 2, 3)))
UTTERANCES = [
    f"{speaker}{text}{letter}a" for speaker, text, letter in product(("03", "08", "11"), ("a01", "b02"), "WFNT")
]


def write_emodb(folder: Path) -> None:
    """Write three speakers with half a second of noise for each utterance."""
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir()
    for name in UTTERANCES:
        soundfile.write(folder / "wav" / f"{name}.wav", 0.1 * rng.normal(size=8000), 16_000)


def test_the_interval_is_that_of_a_t_test_over_folds() -> None:
    rng = np.random.default_rng(0)
    exact = {pair: 60 + 5 * rng.normal() for pair in PAIRS}
    rounded = {pair: uar + rng.normal() for pair, uar in exact.items()}
    found = difference(exact, rounded)
    assert found is not None
    by_fold = np.array([rounded[pair] - exact[pair] for pair in PAIRS]).reshape(4, 3).mean(axis=1)
    expected = stats.ttest_1samp(by_fold, 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(by_fold.mean())
    assert found.uar == pytest.approx((np.mean([*exact.values()]), np.mean([*rounded.values()])))
    by_repeat = np.array([exact[pair] for pair in PAIRS]).reshape(4, 3).mean(axis=0)
    assert found.between_seeds == pytest.approx(by_repeat.std(ddof=1))
    assert found.pairs == 12


def test_only_pairs_count() -> None:
    exact = {("03", 1): 50.0, ("03", 2): 60.0, ("08", 1): 70.0}
    found = difference(exact, {("03", 2): 61.0, ("09", 1): 0.0})
    assert found is not None
    assert (found.pairs, found.mean, found.uar) == (1, 1.0, (60.0, 61.0))
    assert found.interval is found.between_seeds is None
    assert difference(exact, {}) is None


def test_a_second_call_reuses_every_run_and_adds_a_repeat(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_emodb(tmp_path)
    small = ["training.max_epochs=1", "spectrogram.segment_frames=32", "spectrogram.segment_hop=32"]
    small += ["protocol.min_validation_utterances=1", "spectrogram.num_bins=16"]
    arguments = ["--emodb", str(tmp_path), "--out", str(tmp_path / "out"), "--models=cnn", "--device=cpu"]
    arguments += [f"--set={assignment}" for assignment in small]
    precision_on_speech.main([*arguments, "--repeats=1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(":")[0] for line in lines[:6]] == [
        f"[{2 * i + j + 1}/6] {name}, cnn, none, fold {fold}, repeat 1"
        for i, fold in enumerate(("03", "08", "11"))
        for j, name in enumerate(("float32", "bfloat16"))
    ]
    assert not any("reused" in line or "rror" in line for line in lines)
    precision_on_speech.main([*arguments, "--repeats=2"])
    assert sum(line.endswith(": reused") for line in capsys.readouterr().out.splitlines()) == 6
    page = (tmp_path / "out" / "precision.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| CNN")]
    assert "| 6 of 6 |" in row
    assert "n/a" not in row
    assert "3 folds x 2 repeats" in page


def test_precisions_that_cannot_be_compared_are_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_emodb(tmp_path)
    monkeypatch.setattr(precision, "first_wrong", lambda _: "the 1x1 convolution")
    monkeypatch.setattr(precision, "_warn", lambda _: None)
    with pytest.raises(SystemExit, match="bfloat16 cannot be compared on this machine"):
        precision_on_speech.main(["--emodb", str(tmp_path), "--out", str(tmp_path / "out")])
