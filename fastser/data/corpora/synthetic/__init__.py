"""Synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND, in the same folders and label files as the real ones."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora.synthetic.layouts import write_demand, write_iemocap, write_msp_improv


@dataclass(frozen=True, slots=True)
class StandIns:
    """Roots of the three generated corpora, ready for their readers."""

    iemocap: Path
    msp_improv: Path
    demand: Path


def generate(folder: Path, seed: int = 0, utterances_per_class: int = 4) -> StandIns:
    """Generate the three stand-ins below `folder`, or find those of an earlier call.

    The function writes to a temporary folder and renames it when all three corpora are complete. An interrupted call
    therefore leaves no incomplete corpus. Two processes may generate at the same time: the second to finish uses the
    files of the first.

    Args:
        folder: Folder of the stand-ins of all seeds and sizes; made if missing.
        seed: Seed of every recording; the same seed gives the same bits.
        utterances_per_class: Utterances of each emotion by each of the 10 + 12 speakers.

    Returns:
        The roots of the three corpora.
    """
    target = folder / f"seed{seed}-x{utterances_per_class}-{_code_version()}"
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".generating-") as temporary:
            unfinished = Path(temporary) / target.name
            unfinished.mkdir()
            stand_ins = _stand_ins(unfinished)
            write_iemocap(stand_ins.iemocap, seed, utterances_per_class)
            write_msp_improv(stand_ins.msp_improv, seed, utterances_per_class)
            write_demand(stand_ins.demand, seed)
            try:
                unfinished.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
    return _stand_ins(target)


def _stand_ins(root: Path) -> StandIns:
    return StandIns(root / "IEMOCAP_full_release", root / "MSP-IMPROV", root / "DEMAND")


def _code_version() -> str:
    """Return a hash of the source of this package, so that files of an older generator are not reused."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
