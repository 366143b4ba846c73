"""Any noise: `<scene>/*.wav`. The sub-folder names the scene; files directly in the folder are one scene."""

from pathlib import Path

from .base import CorpusError, NoiseCorpus, NoiseRecording
from .files import ANY_AUDIO, audio_files, is_synthetic, require_folder, titled


def read(path: Path) -> NoiseCorpus:
    """Read a folder of noise.

    The name of the folder becomes the title. It is also the scene of the files directly in the folder.

    Raises:
        CorpusError: If the folder holds no audio.
    """
    require_folder(path, "a folder of noise")
    root = path.resolve()
    recordings = [
        NoiseRecording(_scene(file.relative_to(root), root.name), file) for file in audio_files(root, ANY_AUDIO)
    ]
    if not recordings:
        raise CorpusError(f"{path}: holds no noise; looked for SCENE/*.wav (or {', '.join(ANY_AUDIO[1:])})")
    synthetic = is_synthetic(path)
    ordered = tuple(sorted(recordings, key=_order))
    return NoiseCorpus("folder", titled(root.name, synthetic), root, ordered, synthetic=synthetic)


def _scene(relative: Path, root_name: str) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else root_name


def _order(recording: NoiseRecording) -> tuple[str, Path]:
    return recording.scene, recording.path
