"""Models that are part of the package, by name."""

from pathlib import Path

from fastser.evaluation.model_error import ModelError
from fastser.runtime.files import expanded, printable

FOLDER = Path(__file__).parent / "packaged"
"""Folder of the packaged models."""

SUFFIX = ".safetensors"
"""Suffix of a file of weights."""

FOREIGN_SUFFIXES = (".pt", ".pth", ".ckpt", ".onnx")
"""Suffixes of models that other programs read. None of them is audio."""

CAUTIONS = {
    "emodb": (
        "Of 20 combinations of network and augmentation this one had the highest UAR on clean speech, so its scores "
        "are somewhat too high. On the clean speech of RAVDESS, another corpus, its UAR is 38.0 % (33.6 to "
        "42.8). Chance is 25 %."
    ),
}
"""Sentences about the scores of packaged models, for their cards.

`docs/evidence.md` has the comparison, and `docs/evaluate.md` the command that tests RAVDESS.
"""


def packaged_models() -> dict[str, Path]:
    """Return the packaged models by name."""
    return {path.stem: path for path in sorted(FOLDER.glob(f"*{SUFFIX}"))}


def default_model() -> Path:
    """Return the packaged model that is used where none is named.

    Raises:
        ModelError: If there is not exactly one packaged model.
    """
    known = packaged_models()
    if not known:
        raise ModelError("this installation has no packaged model; give MODEL, the path of a .safetensors file")
    if len(known) > 1:
        raise ModelError(f"this installation has several packaged models; give MODEL, one of {', '.join(known)}")
    return next(iter(known.values()))


def names_model(text: str) -> bool:
    """Return whether a text is the name of a packaged model, or ends like the path of a model of any format.

    A folder, and a file with the name of a packaged model, is meant first: it is to be labelled.
    """
    is_model = Path(text).suffix.lower() in (SUFFIX, *FOREIGN_SUFFIXES)
    return (is_model and not Path(text).is_dir()) or (text in packaged_models() and not Path(text).exists())


def model_path(model: str | Path) -> Path:
    """Return the path of a packaged model, or of a file of weights.

    Raises:
        ModelError: If there is no such file, or it is a model of another program.
    """
    known = packaged_models()
    path = known.get(str(model), expanded(Path(model)))
    advice = "give the path of a .safetensors file"
    advice += f", or one of the packaged models {', '.join(known)}" if known else ""
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise ModelError(f"{printable(model)}: models of the form {path.suffix} cannot be read; {advice}")
    if not path.is_file():
        raise ModelError(f"{printable(model)}: there is no such model; {advice}")
    return path
