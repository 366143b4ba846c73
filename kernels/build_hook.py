"""Build hook of hatchling: wheels and editable installs get the compiled CPU kernels."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))  # hatchling loads this file by its path

from build_native import add_libraries


class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
    """Step of the build that compiles the kernels before the wheel is written."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the libraries and add them to the wheel."""
        self._folder = tempfile.TemporaryDirectory()
        add_libraries(build_data, Path(self._folder.name), editable=version == "editable")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the libraries, which the wheel now holds."""
        self._folder.cleanup()
