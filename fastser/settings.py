"""Settings of the protocol, typed, each with its source.

A source is a section of Latif et al. 2020 ("paper 4.2"), or "open N" with the origin of the value in a few words. Open
questions are listed in `docs/open-questions.md`, with the reason for each default. There are three `Settings`, `PAPER`,
`OPEN` and `QUICK`. Every field can be changed on the command line (`--set training.batch_size=32`), and each finished
run records all of them.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from fastser.runtime.errors import UserError

PAPER_CLASSES = ("angry", "happy", "neutral", "sad")
"""The four emotions of the paper (section 4.1), in the order of label indices and posterior columns."""


MIN_RATE, MAX_RATE = 1_000, 768_000
"""Sample rates in hertz: from below telephone speech to the highest rate of recorders."""

MAX_WIDTH, MAX_LAYERS, MAX_N_FFT, MAX_FRAMES, MAX_REPEATS = 100_000, 1_000, 65_536, 100_000, 10_000
"""Upper limits far above any use. A larger number is a typing error that would exhaust the memory."""

MAX_SNR_DB = 200.0
"""Largest absolute SNR. Gains beyond it leave the range of float32 when they are squared."""

MIN_POWER, MAX_POWER = 1e-37, 1e37
"""Limits of a power in float32: a smaller one becomes 0, a larger one infinite."""


HELP = """Print every setting with its value, its source and the open question that it answers.

A source is a section of Latif et al. 2020, such as "paper 4.2". Where the paper leaves a value open, the source is the
origin of our choice, and the number of the open question stands beside it. The questions are below the table, and
docs/open-questions.md has the reasons. Where --scale or --set changes a value, that is its source, and the brackets
behind it name the section of the paper scale's value. Each setting can be changed with --set, here and in the other
commands.
"""
"""Text of `python -m fastser.settings --help`."""


class SettingsError(UserError, ValueError):
    """An unknown setting or an invalid value. The message is one sentence."""


def _from(source: str, default: Any, **limits: Any) -> Any:
    """Return a field with its source and limits."""
    return Field(default, json_schema_extra={"source": source}, **limits)


def _require_distinct(name: str, values: Sequence[str]) -> None:
    if repeated := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise ValueError(f"{name} has {', '.join(repeated)} more than once; give each value once")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AudioSettings(_Frozen):
    """Waveforms."""

    sample_rate: int = _from("paper 4.1", 16_000, ge=MIN_RATE, le=MAX_RATE)
    level: Literal["kept", "equal"] = _from("open 39: not in the paper", "kept")


class SpectrogramSettings(_Frozen):
    """Fixed-width spectrogram segments (paper 4.2).

    Window and hop are in samples at `AudioSettings.sample_rate`, segment sizes in frames.
    """

    win_length: int = _from("paper 4.2: 25 ms, Hamming", 400, gt=0)
    hop_length: int = _from("paper 4.2: 10 ms", 160, gt=0)
    n_fft: int = _from("open 1: next power of two", 512, gt=0, le=MAX_N_FFT)
    kind: Literal["linear", "log-mel"] = _from("open 1: the paper names an STFT, not mel", "linear")
    num_bins: int = _from("paper 4.2: height 128", 128, ge=16)
    power_floor: float = _from("open 2: usual practice", 1e-10, ge=MIN_POWER, le=MAX_POWER)
    segment_frames: int = _from("paper 4.2: 256 frames", 256, ge=16, le=MAX_FRAMES)
    segment_hop: int = _from("open 5: no overlap, as in the cited study", 256, gt=0)
    last_segment: Literal["padded", "shifted", "dropped"] = _from("open 6: keeps every utterance", "padded")
    normalisation: Literal["training-set", "speaker", "utterance"] = _from(
        "open 3: as in the closest public pipeline", "training-set"
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} must not exceed n_fft {self.n_fft}")
        if self.num_bins > self.n_fft // 2 + 1:
            raise ValueError(f"num_bins {self.num_bins} must not exceed the n_fft / 2 + 1 = {self.n_fft // 2 + 1} bins")
        if self.segment_hop > self.segment_frames:
            raise ValueError(f"segment_hop {self.segment_hop} must not exceed segment_frames {self.segment_frames}")
        return self


Width = Annotated[int, Field(gt=0, le=MAX_WIDTH)]
"""Number of filters or units of a layer."""

Kernel = tuple[PositiveInt, PositiveInt]
"""Size of a convolution kernel, bins x frames."""


class ModelSettings(_Frozen):
    """Sizes of the five architectures (paper 4.4)."""

    stem: Literal["conv7x7-stride2", "conv7x7-stride2-maxpool", "conv3x3"] = _from(
        "open 12: as in DenseNet, without its pool", "conv7x7-stride2"
    )
    layers_per_block: int = _from("paper 4.4: L = 6", 6, gt=0, le=MAX_LAYERS)
    proposed_growth_rate: int = _from("paper 4.4: G = 24", 24, gt=0, le=MAX_WIDTH)
    densenet_growth_rate: int = _from("paper 4.4: G = 16", 16, gt=0, le=MAX_WIDTH)
    compression: float = _from("open 14: not in the paper", 1.0, gt=0, le=1)
    lstm_units: int = _from("open 16: as in the studies it follows", 128, gt=0, le=MAX_WIDTH)
    lstm_directions: Literal["forward", "both"] = _from("open 16: the paper says LSTM, not BLSTM", "forward")
    highway_units: int = _from("paper 4.4: 128", 128, gt=0, le=MAX_WIDTH)
    highway_layers: int = _from("paper 4.4: three", 3, gt=0, le=MAX_LAYERS)
    dense_units: int = _from("paper 4.4: 1 000", 1000, gt=0, le=MAX_WIDTH)
    cnn_filters: tuple[Width, Width, Width] = _from("open 22: others' code of Satt et al. 2017", (16, 24, 32))
    cnn_kernels: tuple[Kernel, Kernel, Kernel] = _from(
        "open 22: as in Satt et al. 2017, bins x frames", ((12, 16), (8, 12), (5, 7))
    )
    cnn_units: tuple[Width, Width] = _from("open 23: as in CNN-LSTM", (128, 64))
    dropout: float = _from("paper 4.4: 0.5", 0.5, ge=0, lt=1)
    dropout_place: Literal["lstm", "fuse", "output"] = _from("open 40: paper 4.4 names this place", "lstm")

    @model_validator(mode="after")
    def _compression_leaves_maps(self) -> Self:
        if self.compression * 2 * min(self.proposed_growth_rate, self.densenet_growth_rate) < 1:
            raise ValueError(f"compression {self.compression} leaves no map after a transition")
        return self


class TrainingSettings(_Frozen):
    """Optimisation of one model (paper 4.4, last paragraph)."""

    learning_rate: float = _from("paper 4.4", 1e-3, gt=0)
    batch_size: int = _from("open 24: others' code of an earlier study", 64, ge=2)
    max_epochs: int = _from("open 24: others' code of an earlier study", 100, gt=0)
    schedule: Literal["plateau", "cosine"] = _from("paper 4.4: by the validation accuracy", "plateau")
    class_weights: Literal["none", "balanced"] = _from("open 41: not in the paper", "none")
    halve_after: int = _from("paper 4.4: five epochs without gain", 5, gt=0)
    stop_after: int = _from("paper 4.4: 20 epochs without gain", 20, gt=0)
    monitor: Literal["accuracy", "uar"] = _from("open 25: the paper says accuracy", "accuracy")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = _from(
        "open 38: not in the paper; auto is chosen before the first run", "auto"
    )


MixupWeights = Literal["sample", "batch"]
"""Number of mixup weights that a batch draws: one per sample, or one."""


class AugmentationSettings(_Frozen):
    """Training-set augmentation (paper 4.3)."""

    speed_factors: tuple[Annotated[float, Field(gt=0, le=10)], ...] = _from(
        "paper 4.3: 0.9 and 1.1", (0.9, 1.1), min_length=1
    )
    mixup_alpha: float = _from("open 26: from the range known for speech", 0.2, gt=0)
    mixup_weights: MixupWeights = _from("open 27: not in the paper", "sample")

    @model_validator(mode="after")
    def _speeds_differ(self) -> Self:
        _require_distinct("speed_factors", [f"{factor:g}" for factor in self.speed_factors])
        if 1.0 in self.speed_factors:
            raise ValueError("speed_factors has 1, the speed of the recordings, which is always there; leave it out")
        return self


Decibels = Annotated[float, Field(ge=-MAX_SNR_DB, le=MAX_SNR_DB)]
"""SNR in decibels."""


class NoiseSettings(_Frozen):
    """Noise on the test set (paper 5.2)."""

    snr_db: tuple[Decibels, ...] = _from("paper 5.2: 0, 10, 20 dB", (0.0, 10.0, 20.0), min_length=1)
    scenes: tuple[str, ...] = _from(
        "paper 5.2: five scenes", ("kitchen", "park", "station", "traffic", "cafeteria"), min_length=1
    )

    @model_validator(mode="after")
    def _conditions_differ(self) -> Self:
        levels = [f"{snr_db + 0.0:g}" for snr_db in self.snr_db]  # as in the names of conditions, without a minus zero
        _require_distinct("snr_db", levels)
        _require_distinct("scenes", self.scenes)
        return self


class AttackSettings(_Frozen):
    """Adversarial attacks on the test set (paper 5.3)."""

    eps: float = _from("paper 5.3: 0.08", 0.08, gt=0)
    eps_unit: Literal["deviation", "range"] = _from("open 31: not in the paper", "deviation")
    bim_steps: int = _from("open 32: rule of the cited study", 24, gt=0)
    bim_relative_step: float = _from("open 32: rule of the cited study, eps / 20.4", 1 / 20.4, gt=0)
    curve_eps: tuple[PositiveFloat, ...] = _from("open 31: not in the paper", (0.02, 0.04))

    @model_validator(mode="after")
    def _eps_differ(self) -> Self:
        _require_distinct("curve_eps", [f"{eps:g}" for eps in self.curve_eps])
        if long := [eps for eps in self.curve_eps if float(f"{eps:g}") != eps]:
            raise ValueError(f"curve_eps has {long[0]}; give at most six digits, as names of conditions have")
        return self


class EvaluationSettings(_Frozen):
    """Tests of a trained model, under attacks too."""

    precision: Literal["float32", "bfloat16"] = _from("open 38: not in the paper", "float32")


class ProtocolSettings(_Frozen):
    """Folds and repeats (paper 4.4 and 5)."""

    folds: int | None = _from("paper 5: every speaker is tested once (null)", None, gt=0)
    repeats: int = _from("paper 4.4: 10", 10, gt=0, le=MAX_REPEATS)
    min_validation_utterances: int = _from("open 37: not in the paper", 10, gt=0)
    cross_corpus_validation: float = _from("paper 5.4: 30 % of the target", 0.3, gt=0, lt=1)


class Settings(_Frozen):
    """All settings of the protocol."""

    scale: Literal["paper", "open", "quick"] = "paper"
    audio: AudioSettings = AudioSettings()
    spectrogram: SpectrogramSettings = SpectrogramSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    noise: NoiseSettings = NoiseSettings()
    attack: AttackSettings = AttackSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    protocol: ProtocolSettings = ProtocolSettings()

    def override(self, assignments: Sequence[str], given: str | None = None) -> "Settings":
        """Return a copy with `section.name=value` assignments applied.

        Args:
            assignments: Texts such as "training.batch_size=32", as `--set` gives them.
            given: Start of error messages: the option that gives all assignments, with its text. None names `--set`.

        Raises:
            SettingsError: If a name is unknown or a value is invalid.
        """
        tree: dict[str, Any] = self.model_dump()
        for assignment in assignments:
            start = given or f"--set {assignment}"
            name, equals, text = assignment.partition("=")
            section, dot, leaf = name.strip().partition(".")
            if not equals or not dot:
                got = f", got '{assignment}'" if given else ""
                raise SettingsError(f"{start}: expected SECTION.NAME=VALUE, such as training.batch_size=32{got}")
            if not isinstance(tree.get(section), dict) or leaf not in tree[section]:
                near = get_close_matches(name.strip(), self.describe(), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"{start}: there is no setting '{name.strip()}'{hint}")
            value = _parse(text.strip())
            is_list = isinstance(tree[section][leaf], tuple | list)  # a list after an earlier assignment
            tree[section][leaf] = [value] if is_list and not isinstance(value, list) else value
        try:
            return Settings.model_validate(tree)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
            start = f"{given}: " if given else ""
            raise SettingsError(f"{start}setting {where}: {reason}{got}") from None

    def describe(self) -> Mapping[str, tuple[Any, str]]:
        """Return every setting as "section.name" -> (value, source)."""
        rows: dict[str, tuple[Any, str]] = {}
        for section, info in type(self).model_fields.items():
            value = getattr(self, section)
            if isinstance(value, BaseModel):
                for leaf, leaf_info in type(value).model_fields.items():
                    extra = leaf_info.json_schema_extra
                    source = str(extra["source"]) if isinstance(extra, dict) else ""
                    rows[f"{section}.{leaf}"] = (getattr(value, leaf), source)
            else:
                rows[section] = (value, info.description or "")
        return rows


def _parse(text: str) -> Any:
    """Parse one value of `--set`: JSON, a comma-separated list, or plain text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [_parse(part) for part in text.split(",")] if "," in text else text


PAPER = Settings()
"""The published protocol."""

QUICK = Settings(
    scale="quick",
    spectrogram=SpectrogramSettings(kind="log-mel", num_bins=64, segment_frames=128, segment_hop=128),
    model=ModelSettings(
        stem="conv7x7-stride2-maxpool",
        layers_per_block=3,
        proposed_growth_rate=8,
        densenet_growth_rate=8,
        lstm_units=32,
        highway_units=32,
        dense_units=64,
        cnn_filters=(6, 8, 12),
        cnn_kernels=((6, 8), (4, 6), (3, 3)),
    ),
    training=TrainingSettings(batch_size=16, max_epochs=8, halve_after=4, stop_after=8),
    protocol=ProtocolSettings(folds=2, repeats=1),
)
"""The same architectures and protocol in small, so that every table is filled within minutes on two CPU cores."""

OPEN = QUICK.model_copy(
    update={
        "scale": "open",
        "audio": AudioSettings(level="equal"),
        "spectrogram": QUICK.spectrogram.model_copy(update={"segment_hop": 64, "last_segment": "shifted"}),
        "training": TrainingSettings(
            batch_size=32, max_epochs=12, schedule="cosine", class_weights="balanced", monitor="uar"
        ),
        "protocol": ProtocolSettings(repeats=3),
    }
)
"""The whole protocol, with every speaker and three repeats, in networks that are meant for two CPU cores.

`docs/evidence.md` says how the values were chosen.
"""

SCALES = {"paper": PAPER, "open": OPEN, "quick": QUICK}

if __name__ == "__main__":
    from fastser.cli.settings_command import main

    main()
