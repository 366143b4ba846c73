"""Any noise: `<scene>/*.wav`, where the sub-folder names the scene; files in the folder itself are one scene."""

from pathlib import Path

from .base import AUDIO_SUFFIXES, CorpusError, NoiseCorpus, NoiseRecording
from .files import audio_files, is_synthetic, require_folder

SUFFIXES = (*AUDIO_SUFFIXES, ".ogg", ".mp3")


def read(path: Path) -> NoiseCorpus:
    """Read a folder of noise; the folder's name becomes the title, and the scene of the files directly in it.

    Raises:
        CorpusError: If it holds no audio.
    """
    require_folder(path, "a folder of noise")
    root = path.resolve()
    recordings = [
        NoiseRecording(_scene(file.relative_to(root), root.name), file) for file in audio_files(root, SUFFIXES)
    ]
    if not recordings:
        raise CorpusError(f"{path}: holds no noise; looked for SCENE/*.wav (or {', '.join(SUFFIXES[1:])})")
    synthetic = is_synthetic(path)
    title = f"synthetic {root.name}" if synthetic else root.name
    scenes = len({recording.scene for recording in recordings})
    summary = f"{title}: {len(recordings)} noise recordings of {scenes} scene{'s' if scenes > 1 else ''}"
    return NoiseCorpus("folder", title, tuple(sorted(recordings, key=_order)), summary, (), synthetic)


def _scene(relative: Path, root_name: str) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else root_name


def _order(recording: NoiseRecording) -> tuple[str, Path]:
    return recording.scene, recording.path
