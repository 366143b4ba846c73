"""The way from the options of `python -m fastser.doctor` to its page: machine, corpora, folds, noise, kernels."""

import re

from rich.console import Console

from fastser.cli.console import make_console, say
from fastser.cli.doctor_corpora import (
    chosen_classes,
    folds_section,
    noise_section,
    speech_section,
    together_section,
)
from fastser.cli.doctor_kernels import kernel_section
from fastser.cli.doctor_machine import machine_section
from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.file_counter import file_counter
from fastser.cli.steps import KERNEL_TESTS, steps
from fastser.cli.writable import writable_folder
from fastser.data.corpora import Corpus, CorpusError, distinct_titles, list_corpus, read_noise
from fastser.data.examination.finding import Finding, has_errors
from fastser.data.examination.noise import examine_noise
from fastser.data.examination.speech import ExaminedCorpus, examine_corpus
from fastser.experiment.roles import name_and_path
from fastser.report.doctor_page import Section, summary, write_page
from fastser.report.html.doctor import write_doctor_html
from fastser.runtime.device import named_device
from fastser.runtime.files import cache_dir, remove_stale_parts
from fastser.settings import PAPER


def run(options: DoctorOptions, command: str) -> int:
    """Examine everything that the options name, print the findings, and write the page.

    Args:
        options: Options of the command line.
        command: The command line as text, for the page.

    Returns:
        Exit status: 0, or 1 if an error was found.

    Raises:
        UserError: If arguments cannot be used.
    """
    out = writable_folder(options.out, "--out")
    settings = PAPER.override(options.set)
    device = named_device(options.device)
    listed = [
        list_corpus(*name_and_path(flag, text))
        for flag, text in (("--source", options.source), ("--target", options.target))
        if text is not None
    ]
    corpora = [_checked(corpus, options.classes) for corpus in distinct_titles(listed)]
    noise = read_noise(*name_and_path("--noise", options.noise)) if options.noise is not None else None
    for folder in (out, out / "folds", out / "files"):
        folder.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(cache_dir())
    console = make_console()
    sections: list[Section] = []

    def show(section: Section) -> None:
        sections.append(section)
        if section.findings:
            lines = (f"  {finding.severity:8}{finding.sentence}" for finding in section.findings)
            say(console, section.title, *lines)

    show(machine_section(settings, device))
    examined: list[ExaminedCorpus] = []
    names: list[str] = []
    for corpus in corpora:
        if isinstance(corpus, Section):
            show(corpus)
            continue
        examined.append(_examined(corpus, console))
        name = _file_name(corpus.title)
        name = f"{name}-2" if name in names else name  # titles can differ in signs that no file name has
        names.append(name)
        show(speech_section(examined[-1], out, name))
        show(folds_section(examined[-1], chosen_classes(corpus, options.classes), settings, out, name))
    if usable := [corpus for corpus in examined if corpus.sounds]:
        show(together_section(usable, out))
    if noise is not None:
        with file_counter(noise.title, len(noise.recordings), console) as on_file:
            recordings = examine_noise(noise, on_file)
        show(noise_section(recordings, settings, examined))
    with steps(KERNEL_TESTS, None, console) as on_test:  # last, because they take longest and concern no corpus
        kernels = kernel_section(settings, device, on_test)
    show(kernels)
    write_page(out / "doctor.md", sections, command)
    write_doctor_html(out / "doctor.html", sections, command)
    say(console, summary(sections), f"page: {out / 'doctor.md'}", f"in a browser: {out / 'doctor.html'}")
    return 1 if has_errors(finding for section in sections for finding in section.findings) else 0


def _checked(corpus: Corpus, classes: str | None) -> Corpus | Section:
    """Return a corpus with all its labels, or a section that says why it is no sound corpus.

    Raises:
        CorpusError: If the corpus cannot have the classes of `--classes`.
    """
    try:
        whole = corpus.select(None)
    except CorpusError as error:
        return Section(f"Corpus: {corpus.title}", (Finding("error", str(error)),))
    whole.select(chosen_classes(whole, classes))
    return whole


def _examined(corpus: Corpus, console: Console) -> ExaminedCorpus:
    with file_counter(corpus.title, len(corpus.utterances), console) as on_file:
        return examine_corpus(corpus, on_file)


def _file_name(title: str) -> str:
    """Return a name for files about a corpus: "EMO-DB" -> "emo-db"."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "corpus"
