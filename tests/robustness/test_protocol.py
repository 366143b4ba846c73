"""`fastser.protocol`: folds, what `fit` gets, and that no test speaker is in its data."""

import numpy as np
import torch
from small_models import CLASSES, Corpora, make_spectrogram_net
from small_runs import SMALL
from torch import nn

import fastser
from fastser.robustness import Part


def test_every_speaker_is_tested_by_a_model_that_has_not_heard_this_speaker(corpora: Corpora) -> None:
    calls: list[tuple[Part, Part, int]] = []

    def fit(train: Part, validation: Part, seed: int) -> nn.Module:
        calls.append((train, validation, seed))
        return make_spectrogram_net()

    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["clean"], "progress": False}
    result = fastser.protocol(fit, corpora.speech, seed=7, folds=3, **arguments)
    tested = list(dict.fromkeys(result.results["clean"].speakers))
    assert len(calls) == len(tested) == 3
    for (train, validation, seed), speaker in zip(calls, tested, strict=True):
        assert seed == 7
        assert speaker not in {*train.speakers, *validation.speakers}
        assert not set(train.speakers) & set(validation.speakers)
        assert not set(train.files) & set(validation.files)
        assert train.classes == tuple(CLASSES)
        assert len(train.files) == len(train.labels) == len(list(train.waveforms()))
        segments, labels = train.segments()
        assert segments.shape == (len(labels), SMALL.spectrogram.segment_frames, SMALL.spectrogram.num_bins)
        assert abs(segments.mean()) < 0.5  # normalised by the training set, with padding
    assert result.title == "fit"


def test_numbers_are_those_of_evaluate_with_the_normalisation_of_the_fold(corpora: Corpora) -> None:
    torch.manual_seed(0)
    arguments = {"classes": CLASSES, "settings": SMALL, "conditions": ["attacks"], "progress": False}
    seen: list[Part] = []

    def fit(train: Part, _validation: Part, _seed: int) -> nn.Module:
        seen.append(train)
        return make_spectrogram_net()

    result = fastser.protocol(fit, corpora.speech, folds=1, **arguments)
    (train,) = seen
    normalisation = train._dataset.subset(train._utterances).normalisation()
    speaker = result.results["clean"].speakers[0]
    expected = fastser.evaluate(
        make_spectrogram_net(), corpora.speech, speakers=[speaker], normalisation=normalisation, **arguments
    )
    for name in ("clean", "fgsm", "bim"):
        np.testing.assert_array_equal(result.results[name].posteriors, expected.results[name].posteriors)
