"""Synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND, in the same folders and label files as the real ones."""

import hashlib
import json
import logging
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora.synthetic.layouts import write_demand, write_iemocap, write_msp_improv
from fastser.runtime.files import expanded, naming_full_disk

_CHECKSUMS = "checksums.json"
"""Name of the file with the CRC-32 of each generated file."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Roots of the three generated corpora, ready for their readers."""

    iemocap: Path
    msp_improv: Path
    demand: Path


def generate(folder: Path, seed: int = 0, utterances_per_class: int = 4) -> StandIns:
    """Generate the three stand-ins below `folder`, or find those of an earlier call, unless a file was damaged since.

    The function writes to a temporary folder and renames it when all three corpora are complete. An interrupted call
    therefore leaves no incomplete corpus. Two processes may generate at the same time: the second to finish uses the
    files of the first.

    Args:
        folder: Folder of the stand-ins of all seeds and sizes; made if missing.
        seed: Seed of every recording; the same seed gives the same bits.
        utterances_per_class: Utterances of each emotion by each of the 10 + 12 speakers.

    Returns:
        The roots of the three corpora.

    Raises:
        DiskFullError: If the disk is full. No incomplete corpus is left.
    """
    folder = expanded(folder)
    target = folder / f"seed{seed}-x{utterances_per_class}-{_code_version()}"
    damaged = _damaged_file(target)
    if damaged is not None:
        if target.is_dir():
            _LOG.warning("%s is missing or damaged; the stand-ins are made again", damaged)
        with naming_full_disk(target):
            _generate(target, seed, utterances_per_class, replace=target.is_dir())
    return _stand_ins(target)


def _generate(target: Path, seed: int, utterances_per_class: int, *, replace: bool) -> None:
    """Generate the stand-ins in a temporary folder and rename it to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".generating-") as temporary:
        unfinished = Path(temporary) / target.name
        unfinished.mkdir()
        stand_ins = _stand_ins(unfinished)
        write_iemocap(stand_ins.iemocap, seed, utterances_per_class)
        write_msp_improv(stand_ins.msp_improv, seed, utterances_per_class)
        write_demand(stand_ins.demand, seed)
        (unfinished / _CHECKSUMS).write_text(json.dumps(_checksums(unfinished)))
        try:
            if replace:
                target.rename(Path(temporary) / "damaged")
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _stand_ins(root: Path) -> StandIns:
    return StandIns(root / "IEMOCAP_full_release", root / "MSP-IMPROV", root / "DEMAND")


def _checksums(root: Path) -> dict[str, int]:
    """Return the CRC-32 of each file below a folder, by its path relative to the folder."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != _CHECKSUMS)
    return {path.relative_to(root).as_posix(): zlib.crc32(path.read_bytes()) for path in files}


def _damaged_file(root: Path) -> Path | None:
    """Return a file that is missing or does not hold what was generated, or None if there is no such file."""
    try:
        expected = json.loads((root / _CHECKSUMS).read_text())
    except (OSError, ValueError):
        return root / _CHECKSUMS
    found = _checksums(root)
    return next((root / name for name, checksum in expected.items() if found.get(name) != checksum), None)


def _code_version() -> str:
    """Return a hash of the source of this package, so that files of an older generator are not reused."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
