"""The documents are true: their Python runs, their commands parse, their links and names exist."""

import pkgutil
import re
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile as sf
import torch
import typer
from snippets import DOCUMENTS, ROOT, Block, arguments, blocks, commands, run_and_check_shapes

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.command import command_of
from fastser.cli.compare_options import CompareOptions
from fastser.cli.cut_options import CutOptions
from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.evaluate_options import EvaluateOptions
from fastser.cli.export_options import ExportOptions
from fastser.cli.manifest_options import ManifestOptions
from fastser.cli.options import CliOptions, chosen, settings_of_scale
from fastser.cli.predict_options import PredictOptions
from fastser.cli.sensitivity_options import SensitivityOptions
from fastser.cli.settings_command import SettingsOptions
from fastser.cli.train_options import TrainOptions
from fastser.data.corpora.name_pattern import NamePattern
from fastser.experiment.executors import EXECUTORS
from fastser.experiment.executors.automatic import with_named_executor
from fastser.models import MODELS
from fastser.runtime.options import flag_of, named_fields
from fastser.settings import PAPER

PYTHON_BLOCKS = [
    block
    for document in DOCUMENTS
    if document.name != "CONTRIBUTING.md"  # its recipes belong together and have a test of their own
    for block in blocks(document)
    if block.language == "python"
]
COMMANDS = [(document, command) for document in DOCUMENTS for command in commands(document)]
FLAGS = {
    flag_of(field.name, field.metadata["option"])
    for options in (
        CliOptions,
        CompareOptions,
        CutOptions,
        DoctorOptions,
        EvaluateOptions,
        ExportOptions,
        ManifestOptions,
        PredictOptions,
        SensitivityOptions,
        SettingsOptions,
        TrainOptions,
    )
    for field in named_fields(options)
}
NOT_OURS = {"--requeue", "--help", "--config", "--version"}
"""Options in the documents that belong to sbatch or that every command has."""

Options = TypeVar("Options")


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    """A folder with the names of EMO-DB: four speakers with four texts in four emotions, 0.3 s of noise each.

    A folder NOISE with one scene lies beside it.
    """
    folder = tmp_path / "EMODB"
    folder.mkdir()
    rng = np.random.default_rng(0)
    (tmp_path / "NOISE" / "street").mkdir(parents=True)
    sf.write(tmp_path / "NOISE" / "street" / "1.wav", rng.uniform(-0.1, 0.1, 8000), 16_000)
    for speaker in ("03", "08", "09", "10"):
        for text in ("a01", "a02", "a04", "a05"):
            for emotion in "WFNT":
                sf.write(folder / f"{speaker}{text}{emotion}a.wav", rng.uniform(-0.1, 0.1, 4800), 16_000)
    return folder


@pytest.mark.usefixtures("cache", "emodb")
@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.name)
def test_python_blocks_run_and_the_shapes_in_their_comments_are_right(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = block._replace(text=block.text.replace("steps=24", "steps=2"))  # the paper's number takes long on a CPU
    with torch.random.fork_rng():
        torch.manual_seed(0)
        compared = run_and_check_shapes(block, {"__name__": "snippet"})
    assert compared == len(re.findall(r"^\w+ = .*#.*\[\d+(?:, \d+)*\]", block.text, re.M))


def test_the_documents_have_python_blocks_with_shapes() -> None:
    assert {block.document.name for block in PYTHON_BLOCKS} >= {"README.md"}
    assert any(re.search(r"# .*\[\d+, \d+", block.text) for block in PYTHON_BLOCKS)


def parse(options: type[Options], command: str) -> Options:
    """Return the options that a command line gives."""
    parsed: list[Options] = []
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command_of(options, lambda given: parsed.append(given) or 0, ""))
    app(arguments(command), standalone_mode=False)
    return parsed[0]


@pytest.mark.fast
@pytest.mark.parametrize(("document", "command"), COMMANDS, ids=lambda value: getattr(value, "name", None))
def test_commands_are_understood_by_the_real_command_line(document: Path, command: str) -> None:
    door = command.split()[2]
    if door == "fastser":
        assert command in ("python -m fastser", "python -m fastser --version")
        return
    if door == "fastser.settings":
        given = parse(SettingsOptions, command)
        assert settings_of_scale(given.scale).override(given.set)
        return
    if door == "fastser.evaluate":
        evaluated = parse(EvaluateOptions, command)
        assert (evaluated.model is None) != (evaluated.weights is None)
        assert "=" in str(evaluated.corpus)
        return
    if door == "fastser.predict":
        assert parse(PredictOptions, command).chosen_format()
        return
    if door == "fastser.export":
        assert parse(ExportOptions, command).paths()
        return
    if door == "fastser.train":
        trained = parse(TrainOptions, command)
        assert trained.settings()
        assert "=" in str(trained.source)
        return
    if door == "fastser.doctor":
        examined = parse(DoctorOptions, command)
        assert all(corpus is None or "=" in corpus for corpus in (examined.source, examined.target, examined.noise))
        return
    if door == "fastser.manifest":
        manifest = parse(ManifestOptions, command)
        assert manifest.folder is not None
        assert NamePattern.parse(str(manifest.pattern)).fields
        return
    if door == "fastser.cut":
        cut = parse(CutOptions, command)
        assert cut.source is not None
        assert cut.out is not None
        return
    if door == "fastser.compare":
        folders = parse(CompareOptions, command)
        assert folders.first is not None
        assert folders.second is not None
        return
    options: CliOptions | SensitivityOptions
    if door == "fastser.sensitivity":
        options = parse(SensitivityOptions, command)
        assert options.asked()
    else:
        assert door == "fastser.reproduce"
        options = parse(CliOptions, command)
        assert options.tables()
        chosen("--augmentations", options.augmentations, AUGMENTATIONS)
    assert options.settings()
    options.kernel_mode()
    options = with_named_executor(options)
    assert not options.foreign_options()
    assert options.executor in EXECUTORS
    chosen("--models", options.models, MODELS)
    for corpus in (options.source, options.target, options.noise):
        assert corpus is None or "=" in corpus


@pytest.mark.fast
def test_a_command_with_an_unknown_option_is_noticed() -> None:
    with pytest.raises(typer.TyperException):
        test_commands_are_understood_by_the_real_command_line(ROOT, "python -m fastser.reproduce --all --modells cnn")


@pytest.mark.fast
def test_the_two_commands_of_the_readme_stay_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    assert "pip install . && python -m fastser.reproduce --all" in readme
    assert "pip install -e '.[test]' && pytest" in readme


@pytest.mark.fast
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_options_in_inline_code_exist(document: Path) -> None:
    named = set(re.findall(r"`(--[a-z-]+)", document.read_text()))
    assert named <= FLAGS | NOT_OURS, named - FLAGS - NOT_OURS


@pytest.mark.fast
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_and_paths_exist(document: Path) -> None:
    text = document.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (document.parent / link).exists()]
    paths = re.findall(r"`((?:fastser|kernels|docs|tests|benchmarks|examples)/[\w./-]+)`", text)
    missing += [path for path in paths if "NAME" not in path and "FAMILY" not in path and not (ROOT / path).exists()]
    assert not missing, missing


@pytest.mark.fast
def test_the_places_of_open_questions_hold_the_named_functions_and_settings() -> None:
    text = (ROOT / "docs/open-questions.md").read_text()
    places = re.findall(r"`([\w.]+)` (?:of `(\w+)` )?in `(\S+\.py)`", text)
    assert len(places) > 10
    missing = [place for place in places if place[0].rpartition(".")[2] not in (ROOT / place[2]).read_text()]
    settings = PAPER.describe()
    sections = {name.partition(".")[0] for name in settings if "." in name}
    named = [name for name in re.findall(r"`(\w+\.\w+)`", text) if name.partition(".")[0] in sections]
    assert len(named) > 30
    missing += [(name, "", "settings.py") for name in named if name not in settings]
    assert not missing, missing


@pytest.mark.fast
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_dotted_names_exist(document: Path) -> None:
    missing = [name for name in set(re.findall(r"`(fastser(?:\.\w+)+)`", document.read_text())) if not exists(name)]
    assert not missing, missing


@pytest.mark.fast
def test_dotted_names_and_paths_in_docstrings_exist() -> None:
    sources = [path for folder in ("fastser", "kernels/fastser_kernels") for path in (ROOT / folder).rglob("*.py")]
    missing = []
    for source in sources:
        text = source.read_text()
        missing += [name for name in re.findall(r"`(fastser(?:_kernels)?(?:\.\w+)+)`", text) if not exists(name)]
        paths = re.findall(r"`((?:fastser|kernels|docs|tests|benchmarks|examples)/[\w./-]+)`", text)
        missing += [path for path in paths if not (ROOT / path).exists()]
    assert len(sources) > 100
    assert not missing, missing


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.fast
def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert exists("fastser.evaluation.inference.validation_score")
    assert exists("fastser.data.dataset.Subset.normalisation")
    assert not exists("fastser.evaluation.validation_score")
    assert not exists("fastser.data.waveforms")
