"""Door `python -m fastser.train`: a model trained on all speakers of a corpus, for use on other recordings."""

from fastser.cli.door import BEGINS_ANEW, announce, run_command, status_of
from fastser.cli.train_options import TrainOptions

HELP = """Train a model on all utterances of a corpus, and write it with a model card.

Runs of fastser.reproduce with the same model and settings tell how well such a model recognises a speaker whom it has
not heard, and after how many epochs to stop.

Models: cnn, cnn-lstm, densenet, densenet-lstm, proposed; linear, majority.
Augmentations: none, speed, mixup, speed+mixup.

Exit status: 0 all done; 2 unusable arguments or data; 130 interrupted, the same command begins anew.
"""


def train(options: TrainOptions) -> int:
    """Run the command with parsed options, and turn errors into one sentence and an exit status."""

    def run() -> int:
        from fastser.cli.checks import check_train

        check_train(options)
        announce()
        from fastser.cli.train_main import train_and_write  # imports torch, which wrong arguments do without

        return train_and_write(options)

    return status_of(run, BEGINS_ANEW)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(TrainOptions, train, HELP)


if __name__ == "__main__":
    main()
