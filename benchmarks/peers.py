"""Other libraries that compute the same. They are optional: a missing one is named on the page with the reason."""

import importlib
import sys
import types
from types import ModuleType


def peer(name: str) -> tuple[ModuleType | None, dict[str, str]]:
    """Import a module of another library. If that fails, return None and the reason by the name of the library."""
    try:
        return importlib.import_module(name), {}
    except (ImportError, OSError, RuntimeError) as error:
        library = name.split(".")[0]
        return None, {library: f"not installed or does not load: {str(error).splitlines()[0]}"}


def torchaudio_functional() -> tuple[ModuleType | None, dict[str, str]]:
    """Import torchaudio.functional, also if torchaudio's native library does not fit the installed torch."""
    module, missing = peer("torchaudio.functional")
    if module is not None:
        return module, missing
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    stub = types.ModuleType("torchaudio._extension")
    vars(stub).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False)
    for decorator in ("fail_if_no_align", "fail_if_no_rnnt"):
        setattr(stub, decorator, lambda function: function)
    sys.modules["torchaudio._extension"] = stub
    return peer("torchaudio.functional")
