"""Errors of a PTX program that runs in the machine."""


class RuleError(Exception):
    """A rule that an instruction breaks, and the thread that breaks it."""

    def __init__(self, rule: str, row: int | None = None, thread: int | None = None) -> None:
        super().__init__(rule)
        self.rule, self.row, self.thread = rule, row, thread


class PtxError(Exception):
    """A broken rule with its place: kernel, line of the PTX text, line of the Triton source, block and thread."""
