"""Predictions that are kept while a test runs, so that an interrupted test continues."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastser.evaluation.condition import Condition
from fastser.evaluation.trial import Trial
from fastser.runtime.code_digest import code_digest
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write


class KeptPosteriors:
    """Posteriors of finished conditions in a folder, by a key of everything that they depend on.

    Args:
        folder: Folder, which is made if it is missing.
        key: Digest of model, data and settings.

    Attributes:
        reused: Number of conditions that were found.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self.reused = 0
        folder.mkdir(parents=True, exist_ok=True)

    def posteriors(self, trial: Trial, condition: Condition) -> Tensor:
        """Return the posteriors under a condition: the kept ones, or new ones, which are then kept."""
        key = digest(self._key, condition.name, repr(condition), code_digest(condition))
        path = self._folder / f"{key}.npz"
        device = trial.test.segments.device
        try:
            with np.load(path) as archive:
                kept = torch.from_numpy(archive["posteriors"]).to(device)
            self.reused += 1
            return kept
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            found = trial.posteriors(condition)
        with atomic_write(path) as part, part.open("wb") as stream:
            np.savez(stream, posteriors=found.float().cpu().numpy())
        return found
