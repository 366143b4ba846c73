"""Properties of the readers of noise: scenes are the names of folders, and a damaged archive gives a sentence."""

import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile as sf
from hypothesis import example, given, settings
from reader_examples import NAMES, folder, repeatable, touch

from fastser.data.corpora import CorpusError, read_noise
from fastser.data.corpora.names import plain_name


@repeatable
@given(st.dictionaries(NAMES, st.sets(NAMES, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_noise_folder_names_its_scenes(scenes: dict[str, set[str]]) -> None:
    with folder() as root:
        for scene, names in scenes.items():
            for name in names:
                touch(root / scene / f"{name}_.wav")
        noise = read_noise("folder", root)
        assert noise.scenes == tuple(sorted({plain_name(scene) for scene in scenes}))
        assert len(noise.recordings) == sum(map(len, scenes.values()))
        assert all(plain_name(r.path.relative_to(root).parts[0]) == r.scene for r in noise.recordings)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return the zip file of a scene, and the recording in it."""
    root = tmp_path_factory.mktemp("zip")
    sf.write(root / "ch01.wav", np.tile(np.random.default_rng(0).uniform(-0.5, 0.5, 25), 20), 16_000)
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as stream:
        stream.write(root / "ch01.wav", "NPARK/ch01.wav")
    return (root / "a.zip").read_bytes(), (root / "ch01.wav").read_bytes()


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3), st.none() | st.integers(0, 10_000))
@example([(6, 1)], None)
@settings(repeatable, max_examples=120)
def test_a_damaged_demand_archive_gives_its_recording_or_a_sentence(
    archive: tuple[bytes, bytes], edits: list[tuple[int, int]], cut: int | None
) -> None:
    whole, inside = archive
    content = bytearray(whole)
    for at, value in edits:
        content[at % len(content)] = value
    with folder() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSER_CACHE", str(root / "cache"))
        (root / "NPARK_16k.zip").write_bytes(content[: cut % len(content)] if cut is not None else content)
        try:
            recordings = read_noise("demand", root).recordings
        except CorpusError as error:
            sentence = str(error)
        else:
            assert recordings[0].path.read_bytes() == inside
            return
        assert sentence.startswith(str(root / "NPARK_16k.zip"))
        assert "None" not in sentence
