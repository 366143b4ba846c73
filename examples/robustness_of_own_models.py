"""Four models under noise and attack: a CNN of spectrograms, waveforms with a mask, a function, and kept weights.

The corpora are small synthetic stand-ins, and only the last model is trained: put yours in their places.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

import fastser
from fastser.cli.main import run
from fastser.cli.options import CliOptions
from fastser.data.corpora.synthetic import generate


class WaveformModel(nn.Module):
    """A model with the signature of those of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 8, 400, stride=160)
        self.classifier = nn.Linear(8, 4)

    def forward(self, input_values: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """Return the logits of a padded batch [batch, samples]."""
        maps = self.frames(input_values[:, None]).relu()
        counted = attention_mask[:, 399::160][:, None]
        return (self.classifier((maps * counted).sum(2) / counted.sum(2)),)


def mean_level(segments: np.ndarray) -> np.ndarray:
    """Return probabilities [batch, 4] from arrays [batch, frames, bins], as `predict_proba` of scikit-learn does."""
    scores = np.exp(np.outer(segments.mean((1, 2)), [1.0, 0.5, -0.5, -1.0]))
    return np.asarray(scores / scores.sum(1, keepdims=True))


def main() -> None:
    """Test the models and compare two of them."""
    classes = ["angry", "happy", "neutral", "sad"]
    cnn = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv2d(1, 4, 7, stride=4), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder), utterances_per_class=1)
        speech, noise = f"iemocap={made.iemocap}", f"demand={made.demand}"
        spectrograms = fastser.evaluate(cnn, speech, noise=noise, classes=classes, title="CNN", progress=False)
        waveforms = fastser.evaluate(WaveformModel(), speech, inputs="waveform", classes=classes, progress=False)
        print(spectrograms, waveforms, spectrograms.compare(waveforms), sep="\n\n")
        print(fastser.evaluate(mean_level, speech, classes=classes, progress=False))
        grid = CliOptions(table=("3",), scale="quick", models="cnn", augmentations="none", folds=1, keep_models=True)
        grid = replace(grid, source=speech, executor="serial", out=Path(folder))  # runs of a second need no workers
        run(grid, "python examples/robustness_of_own_models.py")
        weights = max(Path(folder, "models").iterdir(), key=lambda file: file.stat().st_size)  # not of a yardstick
        print(fastser.evaluate(weights, speech, speakers=["Ses01F"], conditions=["fgsm"], progress=False))


if __name__ == "__main__":
    main()
