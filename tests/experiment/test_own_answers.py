"""Own answers: assignments of settings that a user compares with the baseline."""

import pytest

from fastser.experiment.own_answers import own_question
from fastser.settings import QUICK, SettingsError

pytestmark = pytest.mark.fast


def test_each_text_is_an_answer_whose_assignments_change_together() -> None:
    question = own_question(
        ["training.learning_rate=3e-4", " spectrogram.segment_frames=64  spectrogram.segment_hop=32"], QUICK, "mixup"
    )
    others = {answer.title: settings for answer, settings in question.alternatives(QUICK).items()}
    assert others == {
        "training.learning_rate=3e-4": QUICK.override(["training.learning_rate=0.0003"]),
        "spectrogram.segment_frames=64 spectrogram.segment_hop=32": QUICK.override(
            ["spectrogram.segment_hop=32", "spectrogram.segment_frames=64"]
        ),
    }
    assert (question.number, question.augmentation) == (None, "mixup")
    assert question.answer_of(QUICK) == (
        "training.learning_rate=0.001, spectrogram.segment_frames=128, spectrogram.segment_hop=128"
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["training.batch_size"], "--vary training.batch_size: expected SECTION.NAME=VALUE, such as"),
        (["model.cnn_units=[8, 8]"], r"--vary model.cnn_units=\[8, 8\]: assignments stand with spaces between them"),
        (["training.batch_size=8,training.max_epochs=2"], "max_epochs=2: assignments stand with spaces between them"),
        (
            ["training.batch_size=8  training.lerning_rate=1"],
            "--vary training.batch_size=8 training.lerning_rate=1: there is no setting 'training.lerning_rate'; did",
        ),
        (["training.batch_size=many"], "--vary training.batch_size=many: setting training.batch_size: .*, got 'many'$"),
        (
            ["spectrogram.segment_frames=64"],
            "--vary spectrogram.segment_frames=64: setting spectrogram: segment_hop 128 must not exceed",
        ),
        (["training.batch_size=16"], "--vary training.batch_size=16: has the same settings as the baseline; leave"),
        ([""], "--vary: the text is empty; give NAME=VALUE"),
        (
            ["model.dropout=0.1 training.batch_size=8", "training.batch_size=8 model.dropout=1e-1"],
            "--vary training.batch_size=8 .*: has the same settings as --vary model.dropout=0.1 training.batch_size=8;",
        ),
        (["attack.curve_eps=0.01"], "--vary attack.curve_eps=0.01: this study has no curve over eps"),
        (["noise.snr_db=5"], "--vary noise.snr_db=5: the baseline and its answers .* same noise settings.* --set$"),
        (["protocol.folds=3"], "--vary protocol.folds=3: .* the same protocol settings"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_refused_in_one_sentence(texts: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        own_question(texts, QUICK, "none")
    assert "\n" not in str(error.value)
