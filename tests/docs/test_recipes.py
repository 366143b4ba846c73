"""The seven recipes of CONTRIBUTING.md, run as they stand there: each registers one object that reaches all outputs."""

import contextlib
import csv
import io
import json
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from fastser.attacks import ATTACKS
from fastser.cli.main import run
from fastser.cli.options import CliOptions
from fastser.data.corpora import READERS
from fastser.evaluation.conditions import CONDITIONS
from fastser.evaluation.metrics import METRICS
from fastser.experiment.executors import EXECUTORS
from fastser.experiment.tables import TABLES
from fastser.models import MODELS
from fastser.settings import PAPER_CLASSES

DOCUMENT = Path(__file__).parents[2] / "CONTRIBUTING.md"
RECIPES = {
    "corpus reader": (READERS, "folder-of-speech"),
    "model": (MODELS, "tiny"),
    "attack": (ATTACKS, "random-sign"),
    "condition": (CONDITIONS, "low-pass"),
    "metric": (METRICS, "min-recall"),
    "table": (TABLES, "table5"),
    "executor": (EXECUTORS, "reversed"),
}


@dataclass
class Results:
    """Printed lines and results folder of a command that uses all recipes."""

    status: int
    printed: str
    out: Path

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file."""
        with (self.out / name).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def recipes() -> Iterator[None]:
    """Register the objects of the recipes for the tests of this file."""
    found = dict(re.findall(r"<!-- recipe: (.+?) -->\s*```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL))
    assert found.keys() == RECIPES.keys()
    module = types.ModuleType("recipes")
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "recipes", module)
        for title, (registry, name) in RECIPES.items():
            stack.enter_context(registry.including())
            before = set(registry)
            exec(compile(found[title], f"CONTRIBUTING.md, recipe {title}", "exec"), module.__dict__)
            assert set(registry) - before == {name}
        yield


@pytest.fixture(scope="module")
def results(recipes: None, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Run the quick grid with all recipes."""
    folder = tmp_path_factory.mktemp("recipes")
    speech = folder / "speech"
    speech.mkdir()
    generator = np.random.default_rng(0)
    for speaker in ("ann", "bob", "cleo"):
        for emotion in PAPER_CLASSES:
            sf.write(speech / f"{speaker}_{emotion}_1.wav", 0.1 * generator.standard_normal(16_000), 16_000)
    options = CliOptions(
        table=("5",),
        source=f"folder-of-speech={speech}",
        scale="quick",
        set=("training.max_epochs=1",),
        executor="reversed",
        augmentations="none",
        out=folder / "results",
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("FASTSER_CACHE", str(folder / "cache"))
        status = run(options, "python -m fastser.reproduce --table 5")
    return Results(status, printed.getvalue(), options.out)


def test_the_plan_names_reader_and_model(results: Results) -> None:
    assert results.status == 0
    assert "speech: 12 utterances, 3 speakers" in results.printed
    assert "1 model (tiny)" in results.printed
    assert "2 yardsticks (linear, majority)" in results.printed


def test_the_executor_runs_the_plan_from_its_end(results: Results) -> None:
    log = [json.loads(line) for line in (results.out / "log.jsonl").read_text().splitlines()]
    started = [record["key"] for record in log if record["event"] == "started"]
    identities = [json.loads((results.out / "runs" / f"{key}.json").read_text())["identity"] for key in started]
    models, folds = ([identity[name] for identity in identities] for name in ("model", "fold"))
    assert models == [*2 * ["majority", "linear"], *2 * ["tiny"]]
    assert folds == [*2 * ["bob"], *2 * ["ann"], "bob", "ann"]


def test_each_run_holds_condition_attack_and_metric(results: Results) -> None:
    records = [json.loads(path.read_text()) for path in (results.out / "runs").glob("*.json")]
    assert sorted(record["identity"]["model"] for record in records) == 2 * ["linear"] + 2 * ["majority"] + 2 * ["tiny"]
    for record in records:
        curve = {"bim-0.02", "bim-0.04", "bim-0.08"}
        assert {"clean", "low-pass", "random-sign", "fgsm", "bim"} | curve == record["conditions"].keys()
        assert all(0 <= condition["min-recall"] <= condition["uar"] for condition in record["conditions"].values())


def test_the_table_has_a_csv_file(results: Results) -> None:
    rows = results.rows("table5.csv")
    assert [row["condition"] for row in rows] == 3 * ["low-pass", "fgsm", "bim", "random-sign"]
    assert {row["model"] for row in rows} == {"tiny", "linear", "majority"}
    assert all(row["uar_mean"] for row in rows)


def test_the_metric_is_in_the_csv_file_of_metrics(results: Results) -> None:
    rows = results.rows("metrics.csv")
    assert {row["metric"] for row in rows} == {"uar", "accuracy", "min-recall"}
    assert {row["condition"] for row in rows} >= {"low-pass", "random-sign"}


def test_the_report_shows_all_of_it(results: Results) -> None:
    report = (results.out / "report.md").read_text("utf-8")
    section = report[report.index("## Table 5") :]
    for text in ("Tiny", "low-pass", "random sign", "lowest recall", "speech"):
        assert text in section
    assert "n/a" not in section[: section.index("More in")]
