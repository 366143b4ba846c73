"""Mixup and additive noise: formulas, distributions, and draws that depend on seeds alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from fastser.augmentation import draw_mixup, mixup
from fastser.data.noise import NoiseBank, NoiseDraw, NoiseError, draw_noise, snr_gain
from fastser.data.packed_audio import PackedWaveforms

RATE = 16_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.fast
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(9,), (9, 4), (9, 1, 5, 3)])
def test_mixup_is_the_papers_formula(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, generator=seeded()).to(dtype)
    y = torch.arange(9, dtype=torch.int16)
    mixed, y_a, y_b, lam = mixup(x, y, 0.4, generator=seeded(1))
    assert y_a is y
    assert y_b.dtype == torch.int16
    assert lam.dtype == torch.float32
    assert sorted(y_b.tolist()) == list(range(9))
    assert lam.unique().numel() == 9
    weight, x = lam.double().view(9, *(1,) * (x.dim() - 1)), x.double()
    expected = weight * x + (1 - weight) * x[y_b.long()]
    assert mixed.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(mixed.double(), expected, rtol=tolerance, atol=tolerance)


def test_mixup_does_not_change_its_input_and_takes_any_labels() -> None:
    x, y = torch.randn(5, 3, generator=seeded()), torch.eye(5, dtype=torch.float64)
    before = x.clone()
    _, y_a, y_b, _ = mixup(x, y, 1.0, generator=seeded())
    assert torch.equal(x, before)
    assert y_a.dtype == y_b.dtype == torch.float64
    assert y_b.shape == (5, 5)


def test_mixup_repeats_with_the_same_generator() -> None:
    x, y = torch.randn(50, 2, generator=seeded()), torch.arange(50)
    one, same, other = (mixup(x, y, 0.2, generator=seeded(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[2], other[2])
    assert not torch.equal(one[3], other[3])


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4, 1.0, 8.0])
def test_weights_are_from_the_beta_distribution(alpha: float) -> None:
    _, lam = draw_mixup(20_000, alpha, generator=seeded())
    assert 0 <= lam.min() <= lam.max() <= 1
    inside = lam[(lam > 1e-6) & (lam < 1 - 1e-6)].double().numpy()
    beta = stats.beta(alpha, alpha)
    below, above = beta.cdf(1e-6), beta.cdf(1 - 1e-6)
    assert stats.kstest(inside, lambda value: (beta.cdf(value) - below) / (above - below)).pvalue > 0.01
    assert len(inside) / len(lam) == pytest.approx(above - below, abs=0.02)


def test_one_weight_of_a_batch_is_drawn_from_the_same_distribution() -> None:
    generator = seeded()
    weights = [draw_mixup(6, 0.4, weights="batch", generator=generator)[1] for _ in range(2_000)]
    assert all((lam == lam[0]).all() for lam in weights)
    drawn = torch.stack([lam[0] for lam in weights]).double().numpy()
    assert stats.kstest(drawn, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.01, 1e-3, 1e-6])
def test_weights_of_a_small_alpha_are_finite_and_nearly_all_0_or_1(alpha: float) -> None:
    _, lam = draw_mixup(20_000, alpha, generator=seeded())
    assert lam.isfinite().all()
    assert 0 <= lam.min() <= lam.max() <= 1
    between = stats.beta(alpha, alpha).cdf(0.9) - stats.beta(alpha, alpha).cdf(0.1)
    assert ((lam > 0.1) & (lam < 0.9)).float().mean().item() == pytest.approx(between, abs=4e-3)
    assert lam.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_alpha_without_a_beta_distribution_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be finite and greater than 0"):
        draw_mixup(3, alpha)
    with pytest.raises(ValueError, match="alpha must be finite and greater than 0"):
        mixup(torch.ones(2), torch.ones(2), alpha)


def test_mixup_refuses_integers() -> None:
    with pytest.raises(TypeError, match=r"x must be floating point, got torch.uint8"):
        mixup(torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3), 0.2)


def test_mixup_refuses_labels_of_another_length() -> None:
    with pytest.raises(ValueError, match="same length, got 2 and 3"):
        mixup(torch.ones(2), torch.ones(3), 1.0)


def noise_like(samples: int, seed: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


@pytest.mark.fast
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0])
def test_snr_gain_agrees_with_torchaudio_and_with_measured_levels(snr_db: float, torchaudio_functional: Any) -> None:
    speech, noise = noise_like(8_000, 0, 0.02) + np.float32(0.01), noise_like(8_000, 1, 0.3)
    gain = snr_gain(speech, noise, snr_db)
    theirs = torchaudio_functional.add_noise(
        torch.from_numpy(speech)[None], torch.from_numpy(noise)[None], torch.tensor([snr_db])
    )
    np.testing.assert_allclose(speech + np.float32(gain) * noise, theirs[0].numpy(), rtol=0, atol=1e-6)
    ratio = np.sqrt(np.mean(speech.astype(np.float64) ** 2) / np.mean((gain * noise.astype(np.float64)) ** 2))
    assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-6)


def packed(signals: Sequence[np.ndarray]) -> PackedWaveforms:
    return PackedWaveforms(np.concatenate(signals), np.cumsum([0, *map(len, signals)]), {}, "made up")


SCENES = ("park", "kitchen", "park", "kitchen", "station")
RECORDINGS = [noise_like(length, i, 0.1 + i) for i, length in enumerate((9_000, 4_000, 3_000, 900, 1_600))]
NOISE = NoiseBank(packed(RECORDINGS), SCENES, RATE)
SPEECH = packed([noise_like(length, 50 + length, 0.05) for length in (700, 1_500, 1_600, 800)])
UTTERANCES = [(0, "a"), (1, "b"), (2, "c"), (3, "d")]


def drawn(seed: int = 0, utterances: Sequence[tuple[int, str]] = UTTERANCES) -> NoiseDraw:
    return draw_noise(NOISE, ("kitchen", "park", "station"), SPEECH, utterances, seed)


def test_a_draw_depends_on_the_seed_and_the_id_alone() -> None:
    everything = drawn()
    some = drawn(utterances=[UTTERANCES[3], UTTERANCES[1]])
    assert np.array_equal(some.start, everything.start[:, [3, 1]])
    assert np.array_equal(some.gain_at_0db, everything.gain_at_0db[:, [3, 1]])
    assert np.array_equal(some.drawn, everything.drawn[[3, 1]])
    assert not np.array_equal(drawn(1).start, everything.start)
    renamed = drawn(utterances=[(index, name.upper()) for index, name in UTTERANCES])
    assert not np.array_equal(renamed.start, everything.start)


def test_an_excerpt_has_the_requested_snr_and_does_not_depend_on_it() -> None:
    draw = drawn()
    for snr_db in (0.0, 10.0, 20.0):
        gain = draw.gain(snr_db)
        assert gain.dtype == np.float32
        for row in range(3):
            for column, (index, _) in enumerate(UTTERANCES):
                speech, start = SPEECH[index].astype(np.float64), draw.start[row, column]
                noise = gain[row, column] * NOISE.waveforms.samples[start : start + len(speech)].astype(np.float64)
                assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=1e-5)


def test_an_excerpt_lies_inside_one_recording_of_its_scene() -> None:
    rng = np.random.default_rng(0)
    offsets = NOISE.waveforms.offsets
    for scene in ("park", "kitchen", "station"):
        starts = np.array([NOISE.draw(scene, 1_600, rng) for _ in range(300)])
        recording = np.searchsorted(offsets, starts, side="right") - 1
        assert {SCENES[r] for r in recording} == {scene}
        assert (starts + 1_600 <= offsets[recording + 1]).all()
        assert 3 not in recording


def test_excerpts_are_uniform_over_all_long_recordings_of_the_scene() -> None:
    rng = np.random.default_rng(0)
    starts = np.array([NOISE.draw("park", 1_000, rng) for _ in range(4_000)])
    second = starts >= NOISE.waveforms.offsets[2]
    assert second.mean() == pytest.approx(2_001 / (8_001 + 2_001), abs=0.02)
    assert stats.kstest(starts[~second], stats.uniform(0, 8_001).cdf).pvalue > 0.01


def test_each_utterance_draws_one_of_the_scenes() -> None:
    names = [(0, str(i)) for i in range(600)]
    counts = np.bincount(drawn(utterances=names).drawn, minlength=3)
    assert stats.chisquare(counts).pvalue > 0.01


def test_a_silent_stretch_is_drawn_again() -> None:
    recording = noise_like(20_000, 0)
    recording[2_000:18_000] *= 1e-3
    bank = NoiseBank(packed([recording]), ("park",), RATE)
    rng = np.random.default_rng(0)
    starts = np.array([bank.draw("park", 1_000, rng) for _ in range(200)])
    assert ((starts < 2_000) | (starts > 17_000)).all()


def test_an_excerpt_can_be_as_long_as_the_recording() -> None:
    assert NOISE.draw("station", 1_600, np.random.default_rng(0)) == NOISE.waveforms.offsets[4]


def test_noise_shorter_than_the_utterance_is_refused() -> None:
    message = r"noise scene 'station' has no recording as long as an utterance of 0.20 s .*longest has 0.10 s"
    with pytest.raises(NoiseError, match=message):
        NOISE.draw("station", 3_200, np.random.default_rng(0))
    with pytest.raises(NoiseError, match=r"noise scene 'beach' has no recording .*longest has 0.00 s"):
        NOISE.draw("beach", 3_200, np.random.default_rng(0))


def test_noise_that_is_silent_almost_everywhere_is_refused() -> None:
    recording = np.zeros(200_000, np.float32)
    recording[-1] = 1.0
    bank = NoiseBank(packed([recording]), ("park",), RATE)
    with pytest.raises(NoiseError, match="noise scene 'park' is silent almost everywhere"):
        bank.draw("park", 10, np.random.default_rng(0))
