"""Four kinds of models under noise and attack: a CNN of spectrograms, waveforms with a mask, scikit-learn, own weights.

The corpora are small synthetic stand-ins for IEMOCAP and DEMAND, made on first use in a temporary folder. None of the
models is trained: replace them by yours, and "iemocap=..." by your corpus.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import fastser
from fastser.data.corpora.synthetic import generate

CLASSES = ["angry", "happy", "neutral", "sad"]


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
    torch.manual_seed(0)
    cnn = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv2d(1, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveMaxPool2d(1))
    cnn = cnn.extend([nn.Flatten(), nn.Linear(8, 4)])
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder), utterances_per_class=1)
        speech, noise = f"iemocap={made.iemocap}", f"demand={made.demand}"

        spectrograms = fastser.evaluate(cnn, speech, noise=noise, classes=CLASSES, title="CNN", progress=False)
        print(spectrograms)
        waveforms = fastser.evaluate(WaveformModel(), speech, inputs="waveform", classes=CLASSES, progress=False)
        print(waveforms)
        print(spectrograms.compare(waveforms))
        print(fastser.evaluate(mean_level, speech, classes=CLASSES, progress=False))


if __name__ == "__main__":
    main()
