"""fastser: speech-emotion models under noise, adversarial attack and corpus change.

`fastser.evaluate(model, ...)` tests anybody's model. `fastser.load_model(path)` labels recordings.
`python -m fastser.reproduce --all` runs the whole protocol of Latif et al. 2020; `fastser.layers`, `fastser.models`,
`fastser.attacks` and `fastser.augmentation` are its parts for other people's models. Nothing heavy is imported here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastser.recognition.recogniser import load_model
    from fastser.robustness.evaluation import evaluate
    from fastser.robustness.protocol import protocol

__all__ = ["__version__", "evaluate", "load_model", "protocol"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what is used from here at its first use."""
    from importlib import import_module

    if name == "evaluate":
        return import_module("fastser.evaluate")
    if name == "load_model":
        return import_module("fastser.recognition.recogniser").load_model
    if name == "protocol":
        return import_module("fastser.robustness").protocol
    raise AttributeError(f"module 'fastser' has no attribute '{name}'")
