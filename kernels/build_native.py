"""Build of the compiled CPU kernels: a hook of the package's build, and a command for developers.

`pip install .` calls the hook. Without a C++ compiler it says so in one line, and the package installs as pure Python.
`python kernels/build_native.py` builds into the source tree; `--sanitizers` adds variants with AddressSanitizer and
UBSan for tests. CXX names another compiler.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).parent / "fastser_kernels" / "native"

COMMON = ["-std=c++17", "-O3", "-fPIC", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
COMMON += ["-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes"]
COMMON += ["-Wno-maybe-uninitialized"]  # headers of gcc 12

V4 = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
VARIANTS = {
    "x86_64": {"v3": ["-march=x86-64-v3"], "v4": V4, "v4-bf16": [*V4, "-mavx512bf16"]},
    "aarch64": {"neon": ["-march=armv8-a"]},
}
"""Compiler options of each variant, by architecture."""

SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


class BuildError(RuntimeError):
    """The compiled kernels cannot be built here. The message is one sentence."""


def compiler() -> list[str]:
    """Return the command of the C++ compiler.

    Raises:
        BuildError: If there is none.
    """
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for name in candidates:
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    raise BuildError(f"there is no C++ compiler ({', '.join(candidates)})")


def build(sanitizers: bool = False) -> list[Path]:
    """Compile all variants for this machine's architecture, and return the libraries.

    Args:
        sanitizers: Build "VARIANT+sanitizers" instead.

    Raises:
        BuildError: If the system or its compiler cannot build them.
    """
    architecture = platform.machine()
    if sys.platform != "linux" or architecture not in VARIANTS:
        raise BuildError(f"there are no compiled kernels for {sys.platform} on {architecture}")
    command = compiler()
    sources = sorted(NATIVE.glob("src/*.cpp"))
    kernels = [source for source in sources if source.name != "processor.cpp"]
    extra = SANITIZERS if sanitizers else []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects: dict[str, list[Any]] = {}
        for variant, options in VARIANTS[architecture].items():
            name = f"{variant}+sanitizers" if sanitizers else variant
            for source in kernels:
                target = Path(folder) / f"{name}-{source.stem}.o"
                job = pool.submit(_run, [*command, *COMMON, *options, *extra, "-c", str(source), "-o", str(target)])
                objects.setdefault(name, []).append((job, target))
        built = [_link(command, [NATIVE / "src" / "processor.cpp"], NATIVE / "processor.so", ["-fPIC", "-O2"])]
        for name, parts in objects.items():
            for job, _ in parts:
                job.result()
            built.append(_link(command, [target for _, target in parts], NATIVE / f"{name}.so", extra))
    return built


def _link(command: list[str], parts: list[Path], library: Path, options: list[str]) -> Path:
    """Link without an OpenMP runtime: the library takes the one that torch has loaded."""
    unfinished = library.with_suffix(f".{os.getpid()}.part")
    _run([*command, *options, "-shared", *map(str, parts), "-o", str(unfinished)])
    unfinished.replace(library)  # a process that has the old file loaded keeps it
    return library


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{finished.stderr}")
    if finished.stderr:
        print(finished.stderr, file=sys.stderr)


if __name__ == "__main__":
    print(*build(sanitizers="--sanitizers" in sys.argv[1:]), sep="\n")
