"""The sentence of a model card that says which models and speakers its scores are of."""

import pytest
from made_up import confusion, finished, run_id

from fastser.report.cross_validation import cross_validation_sentence


@pytest.mark.fast
@pytest.mark.parametrize(
    ("folds", "repeats", "sentence"),
    [
        (
            ("a", "b"),
            2,
            "the means of 4 models of the same kind, each of which was trained without the speaker that tested it: "
            "2 of 6 speakers of EMO-DB, 2 folds, in 2 repeats.",
        ),
        (
            ("a",),
            1,
            "those of another model of the same kind, which was trained without the speaker that tested it: "
            "1 of 6 speakers of EMO-DB, 1 fold, once.",
        ),
        (
            ("split",),
            3,
            "the means of 3 models of the same kind, each of which was tested on the test set of the corpus' own "
            "split: 1 of 6 speakers of EMO-DB, in 3 repeats.",
        ),
    ],
)
def test_the_sentence_says_how_the_models_were_tested(folds: tuple[str, ...], repeats: int, sentence: str) -> None:
    places = [run_id("source", "cnn", "none", fold, repeat + 1) for fold in folds for repeat in range(repeats)]
    said = cross_validation_sentence([finished(place, {"clean": confusion(50)}) for place in places], 6)
    assert f"not those of this model. They are {sentence} The intervals" in said
