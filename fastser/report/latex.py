"""`tables.tex`: the tables as LaTeX, for the package booktabs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastser.report.cells import best_and_below, condition_title, model_title, ours_text, paper_corpus, paper_text
from fastser.report.context import ReportContext
from fastser.report.tables import Row
from fastser.runtime.files import atomic_write

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
}


def escaped(text: str) -> str:
    r"""Return a text in which no character has a meaning for LaTeX.

    Example:
        >>> escaped("speed_mixup & 5 %")
        'speed\\_mixup \\& 5 \\%'
    """
    return "".join(_ESCAPES.get(sign, sign) for sign in text).replace("-" + r"\textgreater{}", r"$\rightarrow$")


def write_latex(path: Path, context: ReportContext, tables: Mapping[str, Sequence[Row]]) -> None:
    r"""Write a `table` environment for each table that has a number, with caption and label.

    The document needs `\usepackage{booktabs}`.
    """
    parts = [_environment(name, rows, context) for name, rows in tables.items() if any(row.measured for row in rows)]
    head = [f"% fastser, {context.date}. Needs \\usepackage{{booktabs}}.", f"% {_one_line(context.command)}"]
    with atomic_write(path) as part:
        part.write_text("\n\n".join(["\n".join(head), *parts]) + "\n", encoding="utf-8", errors="backslashreplace")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _environment(name: str, rows: Sequence[Row], context: ReportContext) -> str:
    cells = {(*row.system, row.task, row.condition): row for row in rows}
    systems = list(dict.fromkeys(row.system for row in rows))
    columns = {(row.task, row.condition): row for row in rows if not row.quoted}
    in_paper = any(row.paper_uar is not None for row in rows)
    width = 1 + in_paper
    marks = {at: best_and_below([cells.get((*system, *at)) for system in systems])[0] for at in columns}
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(context.heading(name))}. Mean $\pm$ standard deviation over repeats.}}",
        rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{ll{'r' * (width * len(columns))}}}",
        r"\toprule",
    ]
    titles = [escaped(condition_title(row, len({task for task, _ in columns}) > 1)) for row in columns.values()]
    if in_paper:
        lines.append(_line(["", "", *(rf"\multicolumn{{2}}{{c}}{{{title}}}" for title in titles)]))
        papers = [escaped(f"paper ({paper_corpus(task, rows)})") for task, _ in columns]
        lines.append(_line(["model", "augmentation", *(text for paper in papers for text in (paper, "ours"))]))
    else:
        lines.append(_line(["model", "augmentation", *titles]))
    lines.append(r"\midrule")
    for system in systems:
        texts = [escaped(model_title(system[0])), escaped(system[1])]
        for at in columns:
            row = cells.get((*system, *at))
            ours = escaped(ours_text(row.measured)) if row and row.measured else "-"
            texts += [escaped(paper_text(row))] if in_paper else []
            texts.append(rf"\textbf{{{ours}}}" if system in marks[at] else ours)
        lines.append(_line(texts))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
