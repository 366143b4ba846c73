"""The step of the package's build that compiles the CPU kernels, and its ways to go on without them."""

import platform
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

build_native: Any = pytest.importorskip("build_native", reason="kernels/build_native.py is part of a checkout only")

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of two kernels on Linux on x86-64, without settings in the environment."""
    folder = tmp_path / "native"
    (folder / "src").mkdir(parents=True)
    for name in ("processor", "first", "second"):
        (folder / "src" / f"{name}.cpp").touch()
    monkeypatch.setattr(build_native, "NATIVE", folder)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("FASTSER_BUILD", raising=False)
    return folder


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that only makes its output file; it refuses sources named `broken.cpp`."""
    program = tmp_path / "compiler"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *broken.cpp*) echo "broken.cpp:1:1: error: expected a kernel" >&2; exit 1;; esac\n'
        'while [ "$1" != -o ]; do shift; done; echo library > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(program))
    return program


def add_libraries(folder: Path, *, editable: bool = False) -> dict[str, Any]:
    """Return hatchling's build data after the step. `folder` takes the libraries."""
    build_data: dict[str, Any] = {"pure_python": True, "tag": None, "force_include": {}}
    folder.mkdir(exist_ok=True)
    build_native.add_libraries(build_data, folder, editable=editable)
    return build_data


PURE = {"pure_python": True, "tag": None, "force_include": {}}
LIBRARIES = ["processor.so", "v3.so", "v4-bf16.so", "v4.so"]


@pytest.mark.usefixtures("compiler")
def test_a_wheel_holds_the_libraries_and_names_the_platform(source_tree: Path, tmp_path: Path) -> None:
    (source_tree / "stale.so").touch()
    built = tmp_path / "built"
    assert add_libraries(built) == {
        "pure_python": False,
        "tag": "py3-none-linux_x86_64",
        "force_include": {str(built / name): f"fastser_kernels/native/{name}" for name in LIBRARIES},
    }
    assert sorted(path.name for path in built.iterdir()) == LIBRARIES
    assert [path.name for path in source_tree.glob("*.so")] == ["stale.so"]


@pytest.mark.usefixtures("compiler")
def test_an_editable_install_has_the_libraries_in_the_source_tree(source_tree: Path, tmp_path: Path) -> None:
    build_data = add_libraries(tmp_path / "built", editable=True)
    assert build_data == {"pure_python": False, "tag": "py3-none-linux_x86_64", "force_include": {}}
    assert sorted(path.name for path in source_tree.glob("*.so")) == LIBRARIES


NO_LIBRARIES = {
    "no compiler": ({"CXX": "/nonexistent"}, "there is no C++ compiler (/nonexistent)"),
    "failing compiler": ({"CXX": "false"}, "the C++ compiler false failed: exit status 1"),
    "off": ({"FASTSER_BUILD": "off"}, "FASTSER_BUILD=off"),
}


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
@pytest.mark.parametrize(("environ", "reason"), NO_LIBRARIES.values(), ids=NO_LIBRARIES)
def test_without_libraries_the_package_is_pure_python_and_one_line_says_so(
    source_tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    environ: dict[str, str],
    reason: str,
    editable: bool,
) -> None:
    (source_tree / "v3.so").touch()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert add_libraries(tmp_path / "built", editable=editable) == PURE
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("fastser is built without compiled CPU kernels: ")
    assert said[0].endswith(reason)
    assert (source_tree / "v3.so").exists() != editable  # an editable install would load the library of an older build


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")], ids=lambda name: name
)
def test_another_system_gets_a_pure_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert add_libraries(tmp_path / "built") == PURE
    assert capsys.readouterr().err.endswith(f"there are none for {system} on {machine}\n")


@pytest.mark.usefixtures("compiler")
def test_aarch64_has_one_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    build_data = add_libraries(tmp_path / "built")
    assert build_data["tag"] == "py3-none-linux_aarch64"
    assert sorted(path.name for path in (tmp_path / "built").iterdir()) == ["neon.so", "processor.so"]


def test_a_required_build_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSER_BUILD", "require")
    monkeypatch.setenv("CXX", "/nonexistent")
    with pytest.raises(build_native.BuildError, match=r"there is no C\+\+ compiler"):
        add_libraries(tmp_path / "built")


def test_an_unknown_wish_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSER_BUILD", "yes")
    with pytest.raises(build_native.BuildError, match='FASTSER_BUILD=yes is unknown: give "require" or "off"'):
        add_libraries(tmp_path / "built")


@pytest.mark.usefixtures("compiler")
def test_one_broken_kernel_leaves_the_libraries_as_they_were(
    source_tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (source_tree / "v3.so").write_text("earlier")
    (source_tree / "src" / "broken.cpp").touch()
    with pytest.raises(build_native.BuildError, match=r"failed: broken\.cpp:1:1: error: expected a kernel"):
        build_native.build(source_tree)
    assert "expected a kernel" in capfd.readouterr().err
    assert (source_tree / "v3.so").read_text() == "earlier"
    assert sorted(path.name for path in source_tree.iterdir()) == ["processor.so", "src", "v3.so"]


@pytest.mark.usefixtures("compiler")
def test_sanitizers_have_libraries_of_their_own(source_tree: Path) -> None:
    built = build_native.build(source_tree, sanitizers=True)
    assert [path.name for path in built] == [
        "processor.so",
        "v3+sanitizers.so",
        "v4+sanitizers.so",
        "v4-bf16+sanitizers.so",
    ]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("runs", "fastest"), [(("v3",), "v3"), (("v3", "v4", "v4-bf16"), "v4-bf16")])
def test_the_fastest_variant_can_be_built_alone(
    source_tree: Path, monkeypatch: pytest.MonkeyPatch, runs: tuple[str, ...], fastest: str
) -> None:
    class Processor:
        def __init__(self, path: str) -> None:
            assert path == str(source_tree / "processor.so")

        def fastser_runs(self, name: bytes) -> bool:
            return name.decode() in runs

    monkeypatch.setattr(build_native.ctypes, "CDLL", Processor)
    assert [path.name for path in build_native.build(source_tree, fastest=True)] == ["processor.so", f"{fastest}.so"]
