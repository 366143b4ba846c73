"""Synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND, in the same folders and label files as the real ones."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora.synthetic.layouts import write_demand, write_iemocap, write_msp_improv


@dataclass(frozen=True, slots=True)
class StandIns:
    """Roots of the three generated corpora, as the readers take them."""

    iemocap: Path
    msp_improv: Path
    demand: Path


def generate(folder: Path, seed: int = 0, utterances_per_class: int = 4) -> StandIns:
    """Generate the three stand-ins below `folder`, or find those that an earlier call generated there.

    The corpora appear by one rename when all three are written, so an interrupted call leaves nothing behind that a
    later one would take for whole, and two processes may generate at once: the second to finish takes the first's.

    Args:
        folder: Where stand-ins of every seed and size are kept; made if missing.
        seed: Every recording follows from it, bit for bit.
        utterances_per_class: Utterances of each emotion by each of the 10 + 12 speakers.

    Returns:
        The three roots.
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
    """Hash of this package's source: stand-ins of an older generator are never taken for this one's."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
