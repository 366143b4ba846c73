"""The scripts in `examples/` run without a download and print a result."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "dense_block_in_a_model": r"accuracy on new images: (9\d|100)\.\d %",
    "mixup_and_bim": r"mixup, alpha 1.0: [5-9]\d\.\d % on clean data, [0-4]?\d\.\d % under BIM",
    "robustness_of_own_models": r"^CNN on (.|\n)*WaveformModel minus CNN(.|\n)*mean_level(.|\n)*no gradient"
    r"(.|\n)*^cnn on (.|\n)*^fgsm(.|\n)*one speaker",
    "run_on_a_manifest": r"^cnn,none,clean,moods\.csv,\d+\.\d\d,,1,2,",
    "train_with_parts": r"tested on speaker Ses01F.*\n  clean +\d+\.\d\n(  noise-\d+db +\d+\.\d\n){3}  fgsm .*\n  bim ",
}
"""Pattern of the result that each example prints."""


def test_every_example_is_run_and_is_short() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTED)
    assert all(len(path.read_text().splitlines()) < 60 for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", PRINTED)
def test_example_prints_its_result(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"FASTSER_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(PRINTED[name], done.stdout, re.M), done.stdout
