"""Digest of the C++ sources, which ties a compiled library to the sources that it was made from.

The build loads this file by its path, without the package, because torch is not installed there.
"""

import hashlib
from pathlib import Path


def sources_digest(folder: Path) -> str:
    """Return a digest of the names and contents of the C++ files in a folder, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]*")):
        content = path.read_bytes()
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]
