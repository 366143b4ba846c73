"""Settings: published values, overrides, digests."""

import re
from typing import Any

import pytest
from fastser_kernels import checks

from fastser.data.audio import _RATES
from fastser.runtime.digests import digest
from fastser.settings import MAX_POWER, MAX_RATE, MIN_POWER, MIN_RATE, OPEN, PAPER, QUICK, SCALES, SettingsError

DEFAULTS: dict[str, Any] = {
    "scale": "paper",
    "audio.sample_rate": 16_000,
    "audio.level": "kept",
    "spectrogram.win_length": 400,
    "spectrogram.hop_length": 160,
    "spectrogram.n_fft": 512,
    "spectrogram.kind": "linear",
    "spectrogram.num_bins": 128,
    "spectrogram.power_floor": 1e-10,
    "spectrogram.segment_frames": 256,
    "spectrogram.segment_hop": 256,
    "spectrogram.last_segment": "padded",
    "spectrogram.normalisation": "training-set",
    "model.stem": "conv7x7-stride2",
    "model.layers_per_block": 6,
    "model.proposed_growth_rate": 24,
    "model.densenet_growth_rate": 16,
    "model.compression": 1.0,
    "model.lstm_units": 128,
    "model.lstm_directions": "forward",
    "model.highway_units": 128,
    "model.highway_layers": 3,
    "model.dense_units": 1000,
    "model.cnn_filters": (16, 24, 32),
    "model.cnn_kernels": ((12, 16), (8, 12), (5, 7)),
    "model.cnn_units": (128, 64),
    "model.dropout": 0.5,
    "model.dropout_place": "lstm",
    "training.learning_rate": 1e-3,
    "training.batch_size": 64,
    "training.max_epochs": 100,
    "training.schedule": "plateau",
    "training.class_weights": "none",
    "training.halve_after": 5,
    "training.stop_after": 20,
    "training.monitor": "accuracy",
    "training.precision": "auto",
    "augmentation.speed_factors": (0.9, 1.1),
    "augmentation.mixup_alpha": 0.2,
    "augmentation.mixup_weights": "sample",
    "noise.snr_db": (0.0, 10.0, 20.0),
    "noise.scenes": ("kitchen", "park", "station", "traffic", "cafeteria"),
    "attack.eps": 0.08,
    "attack.eps_unit": "deviation",
    "attack.bim_steps": 24,
    "attack.bim_relative_step": 1 / 20.4,
    "attack.curve_eps": (0.02, 0.04),
    "evaluation.precision": "float32",
    "protocol.folds": None,
    "protocol.repeats": 10,
    "protocol.min_validation_utterances": 10,
    "protocol.cross_corpus_validation": 0.3,
}
"""The published protocol, and the defaults of the settings that the paper leaves open."""

SIZES = {
    "scale",
    "spectrogram.kind",
    "spectrogram.num_bins",
    "spectrogram.segment_frames",
    "spectrogram.segment_hop",
    "model.stem",
    "model.layers_per_block",
    "model.proposed_growth_rate",
    "model.densenet_growth_rate",
    "model.lstm_units",
    "model.highway_units",
    "model.dense_units",
    "model.cnn_filters",
    "model.cnn_kernels",
    "training.batch_size",
    "training.max_epochs",
    "training.halve_after",
    "training.stop_after",
    "protocol.folds",
    "protocol.repeats",
}
"""All settings that the quick scale changes. Its fewer bins are mel bands, so that they span all frequencies."""


@pytest.mark.fast
def test_every_default_is_the_papers_or_the_stated_one() -> None:
    assert {name: value for name, (value, _) in PAPER.describe().items()} == DEFAULTS


def test_bim_step_is_that_of_kurakin_et_al() -> None:
    """One grey level of 255, and min(eps + 4, 1.25 eps) steps, at eps = 0.08."""
    eps = 0.08 * 255
    assert PAPER.attack.eps * PAPER.attack.bim_relative_step == pytest.approx(1 / 255)
    assert PAPER.attack.bim_steps == int(min(eps + 4, 1.25 * eps))


def test_every_setting_names_its_source() -> None:
    for name, (_, source) in PAPER.describe().items():
        if name != "scale":
            assert re.match(r"paper [45]|open \d+: .", source), name


def test_quick_differs_in_sizes_only() -> None:
    paper, quick = PAPER.describe(), QUICK.describe()
    changed = {name for name in paper if paper[name] != quick[name]}
    assert changed == SIZES
    assert {"paper": PAPER, "open": OPEN, "quick": QUICK} == SCALES


@pytest.mark.parametrize(
    ("assignment", "section", "name", "value"),
    [
        ("training.batch_size=32", "training", "batch_size", 32),
        (" training.learning_rate = 1e-4 ", "training", "learning_rate", 1e-4),
        ("training.monitor=uar", "training", "monitor", "uar"),
        ("protocol.folds=3", "protocol", "folds", 3),
        ("protocol.folds=null", "protocol", "folds", None),
        ("noise.snr_db=-5,0", "noise", "snr_db", (-5.0, 0.0)),
        ("noise.snr_db=5", "noise", "snr_db", (5.0,)),
        ("noise.scenes=park", "noise", "scenes", ("park",)),
        ("noise.scenes=park,kitchen", "noise", "scenes", ("park", "kitchen")),
        ("model.cnn_kernels=[[1,2],[3,4],[5,6]]", "model", "cnn_kernels", ((1, 2), (3, 4), (5, 6))),
        ("spectrogram.kind=log-mel", "spectrogram", "kind", "log-mel"),
    ],
)
def test_override(assignment: str, section: str, name: str, value: object) -> None:
    changed = QUICK.override([assignment])
    assert getattr(getattr(changed, section), name) == value
    expected = {f"{section}.{name}"} if QUICK.describe()[f"{section}.{name}"][0] != value else set()
    assert {key for key in DEFAULTS if changed.describe()[key] != QUICK.describe()[key]} == expected


def test_overrides_add_up_and_the_last_one_wins() -> None:
    changed = PAPER.override(["training.batch_size=8", "attack.eps=0.1", "training.batch_size=16"])
    assert (changed.training.batch_size, changed.attack.eps) == (16, 0.1)
    assert PAPER.training.batch_size == 64
    assert PAPER.override([]) == PAPER
    scenes = PAPER.override(["noise.scenes=park,kitchen", "noise.scenes=traffic"])
    assert scenes.noise.scenes == ("traffic",)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.batch_size", "expected SECTION.NAME=VALUE"),
        ("batch_size=3", "expected SECTION.NAME=VALUE"),
        ("scale=quick", "expected SECTION.NAME=VALUE"),
        ("training.batchsize=3", "there is no setting 'training.batchsize'"),
        ("train.batch_size=3", "there is no setting 'train.batch_size'"),
        ("scale.x=3", "there is no setting 'scale.x'"),
        ("training.batch_size=1", "training.batch_size: .*greater than or equal to 2, got 1"),
        ("training.batch_size=2.5", "training.batch_size: .*got 2.5"),
        ("training.learning_rate=fast", "training.learning_rate: .*got 'fast'"),
        ("augmentation.mixup_alpha=NaN", "augmentation.mixup_alpha: .*finite"),
        ("augmentation.speed_factors=0.9,-1", "augmentation.speed_factors.1: .*greater than 0, got -1"),
        ("augmentation.speed_factors=[]", "augmentation.speed_factors: .*at least 1"),
        ("noise.snr_db=[]", "noise.snr_db: .*at least 1"),
        ("noise.snr_db=Infinity", "noise.snr_db.0: .*finite"),
        ("noise.scenes=[]", "noise.scenes: .*at least 1"),
        ("model.cnn_filters=1,2", "model.cnn_filters"),
        ("training.precision=float64", "training.precision: .*'bfloat16' or 'float16', got 'float64'"),
        ("evaluation.precision=auto", "evaluation.precision: .*'float32' or 'bfloat16', got 'auto'"),
        ("spectrogram.kind=mel", "spectrogram.kind: .*'linear' or 'log-mel', got 'mel'"),
        ("spectrogram.n_fft=256", "spectrogram: win_length 400 must not exceed n_fft 256$"),
        ("spectrogram.num_bins=258", r"spectrogram: num_bins 258 must not exceed the n_fft / 2 \+ 1 = 257 bins$"),
        ("spectrogram.n_fft=100000000", "spectrogram.n_fft: .*less than or equal to 65536"),
        ("spectrogram.segment_frames=1000000000", "spectrogram.segment_frames: .*less than or equal to 100000"),
        ("spectrogram.power_floor=1e-60", "spectrogram.power_floor: .*greater than or equal to 0.0"),
        ("spectrogram.power_floor=1e39", r"spectrogram.power_floor: .*less than or equal to 100000"),
        ("audio.sample_rate=16", "audio.sample_rate: .*greater than or equal to 1000, got 16"),
        ("audio.sample_rate=16000000", "audio.sample_rate: .*less than or equal to 768000"),
        ("model.layers_per_block=100000", "model.layers_per_block: .*less than or equal to 1000"),
        ("model.lstm_units=1000000", "model.lstm_units: .*less than or equal to 100000"),
        ("model.cnn_filters=1,2,1000000", "model.cnn_filters.2: .*less than or equal to 100000"),
        ("protocol.repeats=1000000000", "protocol.repeats: .*less than or equal to 10000"),
        ("noise.snr_db=0,1e308", "noise.snr_db.1: .*less than or equal to 200"),
        ("noise.snr_db=-1000", "noise.snr_db.0: .*greater than or equal to -200"),
        ("noise.snr_db=0,5,0", "noise: snr_db has 0 more than once"),
        ("noise.snr_db=0,-0.0", "noise: snr_db has 0 more than once"),
        ("noise.snr_db=0.1,0.10000001", "noise: snr_db has 0.1 more than once"),
        ("noise.scenes=park,street,park", "noise: scenes has park more than once"),
        ("augmentation.speed_factors=0.9,0.9", "augmentation: speed_factors has 0.9 more than once"),
        ("augmentation.speed_factors=1,1.1", "augmentation: speed_factors has 1, the speed of"),
        ("augmentation.speed_factors=90", "augmentation.speed_factors.0: .*less than or equal to 10"),
        ("spectrogram.segment_hop=257", "spectrogram: segment_hop 257 must not exceed segment_frames 256$"),
    ],
)
def test_a_bad_override_is_refused_in_one_sentence(assignment: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        PAPER.override([assignment])
    assert "\n" not in str(error.value)


def test_mel_bands_are_no_more_than_the_bins_of_the_spectrum() -> None:
    with pytest.raises(SettingsError, match=r"num_bins 1000 must not exceed the n_fft / 2 \+ 1 = 257 bins"):
        QUICK.override(["spectrogram.num_bins=1000"])


def test_limits_of_the_settings_are_those_of_what_they_set() -> None:
    assert (_RATES[0], _RATES[-1]) == (MIN_RATE, MAX_RATE)
    assert (MIN_POWER, MAX_POWER) == (checks.MIN_POWER, checks.MAX_POWER)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PAPER.training.batch_size = 3


def test_digest_is_that_of_another_process() -> None:
    """SHA-256 of the canonical JSON `["frames", 1, {"a": 0.5, "b": [1, null, "\\u00e4"]}]`."""
    assert digest("frames", 1, {"b": (1, None, "ä"), "a": 0.5}) == DIGEST


DIGEST = "b43cbfd9f69296e5"


def test_digest_follows_every_setting() -> None:
    changes = [
        "training.batch_size=63",
        "attack.eps=0.081",
        "noise.scenes=park",
        "model.dropout=0.4",
        "audio.sample_rate=8000",
    ]
    digests = {digest(PAPER.override([change])) for change in changes} | {digest(PAPER), digest(QUICK)}
    assert len(digests) == len(changes) + 2
    assert digest(PAPER) == digest(PAPER.override(["training.batch_size=64"]))
    with pytest.raises(TypeError, match="set has no canonical JSON form"):
        digest({1, 2})
