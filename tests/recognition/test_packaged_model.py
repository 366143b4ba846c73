"""The model that comes with the package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import fastser
from fastser.recognition.card import card_of
from fastser.recognition.model_file import read_model_file
from fastser.recognition.packaged_models import default_model

pytestmark = pytest.mark.fast


def test_the_packaged_model_is_small_and_says_what_it_is() -> None:
    path = default_model()
    assert path.stat().st_size < 500_000
    recogniser = fastser.load_model(path.stem)
    assert recogniser.classes == ("angry", "happy", "neutral", "sad")
    description, _ = read_model_file(path)
    (corpus,) = description.training["corpora"]
    assert (corpus["title"], len(corpus["speakers"]), corpus["utterances"]) == ("EMO-DB", 10, 339)
    (clean,) = [score for score in description.scores if score["condition"] == "clean"]
    assert 0 < clean["low"] < clean["uar"] < clean["high"] < 1
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card == card_of(description, path)
    assert f"| clean | {100 * clean['uar']:.1f} | {100 * clean['low']:.1f} to {100 * clean['high']:.1f} |" in card
    licence = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"
    for part in (
        licence,
        "<http://emodb.bilderbar.info>",
        "The scores are not those of this model",
        "## What it is not",
    ):
        assert part in card
    assert "distributed under the MIT licence of fastser" in card
    assert "MIT" not in card_of(description, Path("models/emodb.safetensors"))


def test_a_label_does_not_wait_for_the_compiler(tmp_path: Path) -> None:
    """Loading it takes as long as all the rest."""
    sf.write(tmp_path / "speech.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 24_000), 16_000)
    program = "import atexit, sys; atexit.register(lambda: print('torch._dynamo' in sys.modules))"
    program += "; from fastser.predict import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "speech.wav")], capture_output=True, text=True, check=True
    )
    *records, compiler = run.stdout.splitlines()
    assert len(records) == 2
    assert compiler == "False"
