"""The way from a folder and a pattern of file names to a manifest."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fastser.cli.console import make_console, say
from fastser.cli.manifest_options import ManifestOptions
from fastser.cli.options import UsageError
from fastser.cli.writable import writable_file
from fastser.data.corpora.files import first_few
from fastser.data.corpora.name_pattern import FIELDS, NamePattern, Understood, understand
from fastser.data.corpora.names import look_alikes
from fastser.runtime.counted import counted
from fastser.runtime.csv_file import csv_text
from fastser.runtime.files import atomic_write, expanded, printable, relative_below

_SHOWN = 10
"""Number of names of each kind that are printed."""


def run(options: ManifestOptions) -> int:
    """Show what the pattern explains, and write the manifest.

    Returns:
        Exit status 0.

    Raises:
        UsageError: If the folder or the pattern is missing, `--map` is no NAME=LABEL, or `--out` cannot be
            written or is another file.
        CorpusError: If the result would be empty or ambiguous.
    """
    if options.folder is None or options.pattern is None:
        missing = "FOLDER" if options.folder is None else "--pattern '{speaker}_{emotion}_*.wav'"
        raise UsageError(f"give {missing}; --help lists the options")
    folder = expanded(options.folder)
    out = None if options.out is None else writable_file(options.out, "--out")
    understood = understand(folder, NamePattern.parse(options.pattern), _renamed(options.map))
    console = make_console()
    say(console, *_summary(understood, folder))
    if out is None:
        say(console, "nothing is written without --out FILE.csv")
        return 0
    _write(out, understood)
    say(console, f"manifest: {out}", f"next: python -m fastser.doctor --source {shlex.quote(f'manifest={out}')}")
    return 0


def _renamed(assignments: Sequence[str]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for assignment in assignments:
        name, equals, label = (part.strip() for part in assignment.partition("="))
        if not equals or not name or not label:
            raise UsageError(f"--map {assignment}: expected NAME=LABEL, such as ANG=angry")
        if renamed.setdefault(name, label) != label:
            raise UsageError(f"--map {assignment}: {name} is mapped to {renamed[name]} too; give it once")
    return renamed


def _summary(understood: Understood, folder: Path) -> list[str]:
    """Return lines that say what was understood."""
    rows, others = understood.rows, understood.others
    lines = [f"{len(rows)} of {len(rows) + len(others)} audio files match"]
    example, fields = rows[0]
    described = ", ".join(f"{name} {printable(value)}" for name, value in fields.items())
    lines.append(f"for example {printable(example.relative_to(folder).as_posix())}: {described}")
    for field in FIELDS:
        counts = Counter(fields[field] for _, fields in rows if field in fields)
        if counts:
            shown = [f"{printable(name)} ({count})" for name, count in sorted(counts.items())]
            lines.append(f"{field}: {len(counts)} different, {first_few(shown, _SHOWN)}")
            if field in ("speaker", "emotion") and len(counts) == 1:
                lines.append(f"warning: all files have the same {field}")
            lines += [
                f"warning: {field} names that look alike are taken for different: {a}" for a in look_alikes(counts)
            ]
    translated = [f"{name} -> {label}" for name, label in understood.labels.items() if name != label]
    if translated:
        lines.append(f"labels: {first_few(translated, 2 * _SHOWN)}")
    if others:
        names = first_few([printable(file.relative_to(folder).as_posix()) for file in others], _SHOWN)
        lines.append(f"warning: {counted(len(others), 'name')} without a match left out: {names}")
    return lines


def _write(out: Path, understood: Understood) -> None:
    """Write the manifest. Paths are relative to its folder where the audio lies below it.

    Raises:
        UsageError: If another file has this name.
    """
    columns = [field for field in FIELDS if field in understood.rows[0][1]]
    base = out.parent.resolve()
    rows = ([relative_below(base, file), *(fields[column] for column in columns)] for file, fields in understood.rows)
    content = csv_text(["path", *columns], rows).encode("utf-8", "backslashreplace")
    if out.exists() and out.read_bytes() != content:
        raise UsageError(f"--out {printable(out)}: exists, and is another file than this manifest; give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as part:
        part.write_bytes(content)
