"""From audio files to a tested model, with the parts of fastser and without its command line.

The corpora are small synthetic stand-ins for IEMOCAP and DEMAND, made on first use in a temporary folder. Replace
`stand_ins.iemocap` by the folder of a real corpus, and "iemocap" by the name of its reader. Decoded audio is cached in
your user cache folder, or in $FASTSER_CACHE.
"""

import tempfile
from pathlib import Path

import torch

from fastser.augmentation import AUGMENTATIONS
from fastser.data import prepare, prepare_noise, read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.evaluation.conditions import conditions, evaluate, headline_names
from fastser.evaluation.inference import validation_score
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.experiment.folds import folds
from fastser.models import build_model
from fastser.settings import QUICK
from fastser.training.loop import train


def main() -> None:
    """Train a model, leave one speaker out, and test it on this speaker under every condition of the paper."""
    settings = QUICK.override(["training.max_epochs=6", "attack.bim_steps=4"])
    with tempfile.TemporaryDirectory() as folder:
        stand_ins = generate(Path(folder), utterances_per_class=2)
        corpus = read_corpus("iemocap", stand_ins.iemocap)
        noise = prepare_noise(read_noise("demand", stand_ins.demand), settings)
        dataset = prepare(corpus, settings)
    print(corpus.summary)

    fold = folds(dataset.corpus)[0]
    training, validation, test = (dataset.subset(part) for part in (fold.train, fold.validation, fold.test))
    spectrogram = settings.spectrogram
    torch.manual_seed(0)
    model = build_model("proposed", 4, settings.model, spectrogram.segment_frames, spectrogram.num_bins)
    history = train(
        model,
        training,
        validation_score(validation, settings.training.monitor),
        settings,
        AUGMENTATIONS["none"],
        seed=0,
        on_epoch=lambda e: print(f"epoch {e.number}: loss {e.loss:.3f}, validation {100 * e.score:.1f} %"),
    )

    print(f"weights of epoch {history.kept_epoch}, tested on speaker {fold.name}, UAR in percent (chance is 25):")
    trial = SegmentTrial(model, test, settings, history.normalisation, noise=noise)
    for name, result in evaluate(trial, conditions("source", settings)).items():
        if name in headline_names(settings):  # without the single noise scenes
            print(f"  {name:12} {100 * result.uar:5.1f}")


if __name__ == "__main__":
    main()
