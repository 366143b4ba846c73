"""A model and data for tests of evaluation."""

from dataclasses import dataclass

from torch import Tensor, nn

from fastser.data.dataset import Dataset, Subset
from fastser.data.noise import NoiseBank
from fastser.data.normalisation import Normalisation
from fastser.settings import QUICK, Settings


class Pooled(nn.Module):
    """Mean over time and one linear layer. It records the size of each batch, and whether its gradient is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(QUICK.spectrogram.num_bins, 4)
        self.batches: list[tuple[int, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append((len(x), x.requires_grad))
        logits: Tensor = self.layer(x.mean(1))
        return logits


@dataclass(frozen=True)
class Prepared:
    """Stand-ins for speech and noise, and two test utterances of each class."""

    settings: Settings
    dataset: Dataset
    noise: NoiseBank
    normalisation: Normalisation
    test: Subset
