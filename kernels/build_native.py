"""Build of the compiled CPU kernels: a command for developers, and a step of the package's build.

`python kernels/build_native.py` builds into the source tree. `--sanitizers` builds variants with AddressSanitizer and
UBSan for tests. `--fastest` builds only the fastest variant that this processor runs.

`pip install` and `python -m build` call `add_libraries` through `build_hook.py`. Without a C++ compiler the package is
built as pure Python, and one line says so.

The environment variable CXX names another compiler. FASTSER_BUILD=require makes a failed compilation an error of the
package's build. FASTSER_BUILD=off builds a package without compiled kernels.
"""

import argparse
import ctypes
import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).parent / "fastser_kernels" / "native"
sources_digest = runpy.run_path(str(NATIVE / "sources.py"))["sources_digest"]

ENVIRONMENT = "FASTSER_BUILD"
"""Environment variable that is "require", "off" or empty."""

COMMON = ["-std=c++17", "-O3", "-fPIC", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
COMMON += ["-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes"]
COMMON += ["-Wno-maybe-uninitialized"]  # headers of gcc 12

V4 = ["-march=x86-64-v4", "-mprefer-vector-width=512"]
VARIANTS = {
    "x86_64": {"v3": ["-march=x86-64-v3"], "v4": V4, "v4-bf16": [*V4, "-mavx512bf16"]},
    "aarch64": {"neon": ["-march=armv8-a"]},
}
"""Compiler options of each variant, by architecture, the fastest variant last."""

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


def build(folder: Path = NATIVE, *, sanitizers: bool = False, fastest: bool = False) -> list[Path]:
    """Compile the variants for this machine's architecture, and return the libraries.

    Args:
        folder: Folder of the libraries.
        sanitizers: Build "VARIANT+sanitizers" instead.
        fastest: Build only the fastest variant that this processor runs.

    Raises:
        BuildError: If the system or its compiler cannot build them. No library of a variant is changed then.
    """
    architecture = platform.machine()
    if sys.platform != "linux" or architecture not in VARIANTS:
        raise BuildError(f"there are none for {sys.platform} on {architecture}")
    command, variants, suffix = compiler(), VARIANTS[architecture], "+sanitizers" if sanitizers else ""
    processor = _link(command, [NATIVE / "src" / "processor.cpp"], folder / "processor.so", ["-fPIC", "-O2"])
    if fastest:
        variants = _fastest(processor, variants)
    sources = [source for source in sorted(NATIVE.glob("src/*.cpp")) if source.name != "processor.cpp"]
    extra = SANITIZERS if sanitizers else []
    digest = f'-DFASTSER_SOURCES="{sources_digest(NATIVE / "src")}"'
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects: dict[str, list[Path]] = {name: [] for name in variants}
        jobs: list[Future[None]] = []
        for source in sources:
            for name, options in variants.items():
                target = Path(scratch) / f"{name}-{source.stem}.o"
                arguments = [*COMMON, *options, *extra, digest, "-c", str(source), "-o", str(target)]
                jobs.append(pool.submit(_run, [*command, *arguments]))
                objects[name].append(target)
        try:
            for job in jobs:
                job.result()
        except BuildError:
            pool.shutdown(cancel_futures=True)
            raise
        return [processor] + [
            _link(command, parts, folder / f"{name}{suffix}.so", extra) for name, parts in objects.items()
        ]


def add_libraries(build_data: dict[str, Any], folder: Path, *, editable: bool) -> None:
    """Build the libraries for a package that hatchling builds, or print one line that says why there are none.

    The wheel gets a tag of this platform without a Python ABI, because ctypes loads the libraries.

    Args:
        build_data: The build data of a hatchling hook, which is completed here.
        folder: Folder that holds the libraries until the wheel is written.
        editable: Whether the package is installed in editable mode. The libraries then lie in the source tree.

    Raises:
        BuildError: If FASTSER_BUILD is "require" and the libraries cannot be built, or if its value is unknown.
    """
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted not in ("", "require", "off"):
        raise BuildError(f'{ENVIRONMENT}={wanted} is unknown: give "require" or "off", or unset the variable')
    try:
        if wanted == "off":
            raise BuildError(f"{ENVIRONMENT}=off")
        libraries = build(NATIVE if editable else folder)
    except BuildError as error:
        if wanted == "require":
            raise
        if editable:
            for stale in NATIVE.glob("*.so"):
                stale.unlink()
        print(f"fastser is built without compiled CPU kernels: {error}", file=sys.stderr)
        return
    build_data["pure_python"] = False
    build_data["tag"] = f"py3-none-linux_{platform.machine()}"
    if not editable:
        build_data["force_include"] |= {str(path): f"fastser_kernels/native/{path.name}" for path in libraries}


def _fastest(processor: Path, variants: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the fastest variant that this processor runs, with its options."""
    runs = ctypes.CDLL(str(processor)).fastser_runs
    names = [name for name in variants if runs(name.encode())]
    if not names:
        raise BuildError(f"this processor runs none of the variants {', '.join(variants)}")
    return {names[-1]: variants[names[-1]]}


def _link(command: list[str], parts: list[Path], library: Path, options: list[str]) -> Path:
    """Link without an OpenMP runtime: the library takes the one that torch has loaded."""
    unfinished = library.with_suffix(f".{os.getpid()}.part")
    _run([*command, *options, "-shared", *map(str, parts), "-o", str(unfinished)])
    unfinished.replace(library)  # a process that has the old file loaded keeps it
    return library


def _run(command: list[str]) -> None:
    """Run the compiler and print its messages.

    Raises:
        BuildError: If it fails. The message names the first error.
    """
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.stderr:
        print(finished.stderr, file=sys.stderr)
    if finished.returncode:
        errors = [line for line in finished.stderr.splitlines() if "error" in line]
        reason = errors[0] if errors else f"exit status {finished.returncode}"
        raise BuildError(f"the C++ compiler {command[0]} failed: {reason}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Build the compiled CPU kernels into the source tree.")
    parser.add_argument("--sanitizers", action="store_true", help='build "VARIANT+sanitizers" for tests')
    parser.add_argument("--fastest", action="store_true", help="build only the fastest variant that runs here")
    options = parser.parse_args()
    try:
        print(*build(sanitizers=options.sanitizers, fastest=options.fastest), sep="\n")
    except BuildError as error:
        sys.exit(f"error: the compiled CPU kernels cannot be built: {error}")


if __name__ == "__main__":
    main()
