"""DEMAND (Thiemann et al. 2013): channel 1 of the five scenes of the paper (section 5.2), from folders or zip files."""

import logging
import lzma
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import soundfile as sf

from fastser.data.audio import AudioError, declared_sample_rate
from fastser.data.contents import open_file
from fastser.data.file_kind import other_file
from fastser.runtime.files import atomic_write, cache_dir, naming_full_disk

from .base import CorpusError, NoiseCorpus, NoiseRecording
from .files import AUDIO_SUFFIXES, first_few, is_synthetic, require_folder, titled

SCENES = {
    "cafeteria": ("PCAFETER", "SCAFE"),
    "kitchen": ("DKITCHEN",),
    "park": ("NPARK",),
    "station": ("PSTATION",),
    "traffic": ("STRAFFIC",),
}
"""Environments of DEMAND for each scene, in order of preference."""

_LOG = logging.getLogger(__name__)

_HEAD_BYTES = 512

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError)
"""Exceptions of zipfile for a damaged archive. RuntimeError means an encrypted one or an unknown compression."""


def read(path: Path) -> NoiseCorpus:
    """Read the folder that holds the environments of DEMAND; 16 kHz is preferred where both rates exist.

    Raises:
        CorpusError: If none of the five scenes exists, or a recording cannot be opened.
    """
    require_folder(path, "DEMAND")
    recordings = []
    warnings = []
    for scene, environments in SCENES.items():
        found = next(((name, file) for name in environments if (file := _recording(path, name))), None)
        if found is None:
            warnings.append(f"{path}: the scene {scene} is missing; looked for {' and '.join(environments)}")
            continue
        environment, recording = found
        if environment != environments[0]:
            warnings.append(f"{path}: {environments[0]} is missing; {environment} stands for the scene {scene}")
        recordings.append(NoiseRecording(scene, recording))
    if not recordings:
        wanted = first_few([environments[0] for environments in SCENES.values()])
        raise CorpusError(f"{path}: is not DEMAND; looked for {wanted}, as NAME/ch01.wav, NAME_16k/ or NAME_16k.zip")
    synthetic = is_synthetic(path)
    title = titled("DEMAND", synthetic)
    return NoiseCorpus("demand", title, path, tuple(recordings), len(SCENES), tuple(warnings), synthetic)


def _recording(root: Path, environment: str) -> Path | None:
    """Return channel 1 of an environment at the lowest available rate; a folder is preferred to a zip file."""
    folders = [root / environment, *(root / f"{environment}_{rate}k" for rate in (16, 48))]
    folders += [folder / environment for folder in folders[1:]]
    files = [folder / f"ch01{suffix}" for folder in folders for suffix in AUDIO_SUFFIXES]
    unpacked = [(_sample_rate(file), file) for file in files if file.is_file()]
    zipped = [(1000 * rate, root / f"{environment}_{rate}k.zip") for rate in (16, 48)]
    offers = unpacked + [(rate, file) for rate, file in zipped if file.is_file()]
    if not offers:
        return None
    _, best = min(offers, key=lambda offer: offer[0])
    return _unpack(best, environment) if best.suffix == ".zip" else best


def _sample_rate(file: Path) -> int:
    try:
        with open_file(file) as stream:
            return int(sf.info(stream).samplerate)
    except sf.LibsndfileError:
        try:
            return declared_sample_rate(file)
        except AudioError as error:
            raise CorpusError(str(error)) from None


def _unpack(archive: Path, environment: str) -> Path:
    """Copy channel 1 from a zip file into the cache, unless the cache has it, and return its path."""
    try:
        with zipfile.ZipFile(archive) as opened:
            held = opened.namelist()
            name = next((n for suffix in AUDIO_SUFFIXES if (n := f"{environment}/ch01{suffix}") in held), None)
            if name is not None:
                return _extracted(opened, name, cache_dir() / "demand" / archive.stem)
    except _DAMAGED as error:
        with archive.open("rb") as stream:
            reason = other_file(stream.read(_HEAD_BYTES))
        detail = f", it {reason}" if reason and not zipfile.is_zipfile(archive) else f" ({error})"
        raise CorpusError(f"{archive}: is not a whole zip file{detail}") from None
    except OSError as error:
        if error.filename is not None:
            raise
        raise CorpusError(f"{archive}: is not a whole zip file ({error.strerror})") from None
    except RuntimeError as error:
        raise CorpusError(f"{archive}: cannot be unpacked ({error})") from None
    raise CorpusError(f"{archive}: holds no {environment}/ch01.wav")


def _extracted(archive: zipfile.ZipFile, name: str, stem: Path) -> Path:
    checksum = archive.getinfo(name).CRC
    file = stem.with_name(f"{stem.name}-{checksum:08x}") / Path(name).name
    if file.is_file() and zlib.crc32(file.read_bytes()) != checksum:
        _LOG.warning("%s is damaged; it is unpacked again", file)
        file.unlink()
    if not file.is_file():
        with naming_full_disk(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, atomic_write(file) as part, part.open("wb") as target:
            shutil.copyfileobj(source, target)
    return file
