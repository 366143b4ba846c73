"""The command as a user runs it: in a process of its own, on the stand-ins, killed, shared and misused."""

import random
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from running import GRID, TRAININGS, Start, finish, starter, tables


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start the command with a cache that this module shares."""
    return starter(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def uninterrupted(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    status, said, err = finish(start(*GRID, "--out", out))
    assert (status, err) == (0, "")
    assert f"0 reused, {TRAININGS} to do" in said
    assert f"{TRAININGS} of {TRAININGS} trainings finished" in said
    return out


def test_every_table_and_figure_is_there(uninterrupted: Path) -> None:
    for name, text in tables(uninterrupted).items():
        rows = text.splitlines()
        assert rows[0].startswith("model,augmentation,condition,corpus,uar_mean,uar_std,n_repeats,n_folds"), name
        assert any(re.search(r",synthetic [^,]*,\d+\.\d+,,1,[12],", row) for row in rows), name
    report = (uninterrupted / "report.md").read_text()
    assert report.startswith("# fastser report (synthetic speech, quick scale)")
    assert "![Figure 2" in report
    assert (uninterrupted / "figure2.png").stat().st_size > 10_000
    assert len(list((uninterrupted / "runs").glob("*.json"))) == TRAININGS


def test_again_reuses_everything_and_writes_the_same(start: Start, uninterrupted: Path) -> None:
    before = tables(uninterrupted), {p.name: p.stat().st_mtime_ns for p in (uninterrupted / "runs").glob("*.json")}
    status, said, _ = finish(start(*GRID, "--out", uninterrupted))
    assert status == 0
    assert f"{TRAININGS} reused, 0 to do" in said
    assert before == (
        tables(uninterrupted),
        {p.name: p.stat().st_mtime_ns for p in (uninterrupted / "runs").glob("*.json")},
    )


def test_killed_at_three_random_moments_it_ends_in_the_same_tables(
    start: Start, uninterrupted: Path, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    finished = [0]
    for _ in range(3):
        process = start(*GRID, "--out", tmp_path)
        assert process.stdout is not None
        trainings_to_wait_for = moments.randrange(4)
        for line in process.stdout:
            if "to do" in line or line.startswith("["):
                trainings_to_wait_for -= 1
            if trainings_to_wait_for < 0:
                break
        time.sleep(moments.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        finished.append(len(list((tmp_path / "runs").glob("*.json"))))
    assert finished == sorted(finished)
    assert finished[-1] < TRAININGS, f"it was over before the third kill, seed {seed}"
    status, said, err = finish(start(*GRID, "--out", tmp_path))
    assert status == 0, err
    assert f"{finished[-1]} reused, {TRAININGS - finished[-1]} to do" in said, f"seed {seed}"
    assert tables(tmp_path) == tables(uninterrupted), f"seed {seed}"


def test_two_processes_share_one_folder(start: Start, uninterrupted: Path, tmp_path: Path) -> None:
    processes = [start(*GRID, "--out", tmp_path) for _ in range(2)]
    outcomes = [finish(process) for process in processes]
    assert [status for status, *_ in outcomes] == [0, 0], [err for *_, err in outcomes]
    run_here = [len(re.findall(r"^\[.*\d s\); ", out, re.MULTILINE)) for _, out, _ in outcomes]
    assert sum(run_here) == TRAININGS
    assert min(run_here) > 0
    assert tables(tmp_path) == tables(uninterrupted)
    assert not list(tmp_path.rglob("*.part"))


def test_interrupt_says_how_to_go_on(start: Start, tmp_path: Path) -> None:
    process = start(*GRID, "--out", tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[1/"):
            break
    process.send_signal(signal.SIGINT)
    status, said, err = finish(process)
    assert status == 130
    assert err == ""
    assert re.search(rf"interrupted: \d+ of {TRAININGS} trainings are finished .* the same command goes on", said)
    assert f"report so far: {tmp_path / 'report.md'}" in said
    assert re.match(r"\d+ of 16 trainings finished", (tmp_path / "report.md").read_text().splitlines()[2])


def test_a_second_signal_ends_at_once(start: Start, tmp_path: Path) -> None:
    process = start(*GRID, "--out", tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[1/"):
            break
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping where the training can go on; again to end at once\n"
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert (status, err) == (130, "interrupted; the same command goes on where it was\n")
    assert not (tmp_path / "report.md").exists()


def test_dry_run_shows_the_grid_and_writes_nothing(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, said, err = finish(start("--all", "--dry-run", "--out", out))
    assert (status, err) == (0, "")
    assert re.findall(r"= (\d+) trainings", said) == ["40", "10", "20"]
    assert re.search(r"0 reused, 70 to do, about \d+ (s|min)", said)
    assert not out.exists()


def test_a_changed_setting_never_mixes_with_old_results(start: Start, uninterrupted: Path) -> None:
    status, said, _ = finish(start(*GRID, "--set=training.learning_rate=0.002", "--dry-run", "--out", uninterrupted))
    assert status == 0
    assert f"0 reused, {TRAININGS} to do" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to do: give --all, --table 1..4 or --figure 2"),
        (["--all", "--source=iemocap=/nowhere/at/all"], "/nowhere/at/all"),
        (["--all", "--source=iemocap"], "--source iemocap: expected NAME=PATH"),
        (["--all", "--source=iemocaps=."], "iemocaps"),
        (["--all", "--source=demand=."], "demand: is noise, not speech"),
        (["--all", "--noise=folder=."], "--noise alone is not enough"),
        (["--all", "--models=proposed,resnet"], "--models: there is no 'resnet'; known are cnn, cnn-lstm"),
        (["--all", "--augmentations=specaugment"], "--augmentations: there is no 'specaugment'"),
        (["--all", "--device=cuda:99"], "--device cuda:99: there is no such CUDA device"),
        (["--all", "--device=banana"], "--device banana: not a device"),
        (["--all", "--set=training.batchsize=3"], "no setting 'training.batchsize'; did you mean training.batch_size?"),
        (["--all", "--set=training.batch_size=many"], "setting training.batch_size"),
        (["--all", "--set=spectrogram.segment_frames=8"], "setting spectrogram.segment_frames"),
        (["--all", "--set=model.compression=0.01"], "compression 0.01 leaves no map"),
        (["--all", "--set=model.cnn_kernels=[[0,1],[1,1],[1,1]]"], "setting model.cnn_kernels"),
        (["--all", "--out=/proc/nowhere"], "--out /proc/nowhere cannot be written"),
        (["--all", "--slurm=partition=gpu"], "--slurm is for --executor slurm, this is --executor serial"),
        (["--all", "--gpus-per-run=1", "--executor=slurm"], "--gpus-per-run is for --executor ray"),
        (["--all", "--gpus-per-run=1.5", "--executor=ray"], "--gpus-per-run 1.5: expected 0, a share from 0.001 to 1"),
        (["--all", "--executor=slurm", "--slurm=nonsense!"], "--slurm nonsense!: expected the long name"),
        (["--all", "--executor=slurm", "--slurm=time"], "--slurm time: expected time=VALUE"),
        (["--all", "--executor=slurm", "--slurm=array-parallelism=x"], "array-parallelism=x: expected a whole number"),
        (["--table=5"], "'--table'"),
        (["--figure=1"], "'--figure'"),
        (["--tabel=1"], "No such option: --tabel"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fastser.reproduce import main

    monkeypatch.setenv("FASTSER_CACHE", str(tmp_path / "cache"))
    if not any(a.startswith("--out") for a in arguments):
        arguments = [*arguments, f"--out={tmp_path / 'out'}"] if arguments else arguments
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err


def write_speech(path: Path, speaker: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(speaker).normal(0, 0.1, int(16_000 * seconds))
    soundfile.write(path, noise, 16_000)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four speakers with 4 x 6 utterances each."""
    lines = ["path,speaker,emotion"]
    for speaker in range(4):
        for emotion in ("angry", "happy", "neutral", "sad"):
            for take in range(6):
                name = f"wav/{speaker}-{emotion}-{take}.wav"
                write_speech(tmp_path / name, 100 * speaker + take)
                lines.append(f"{name},s{speaker},{emotion}")
    (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "corpus.csv"


SMALL = [
    "--table=3",
    "--scale=quick",
    "--models=cnn",
    "--augmentations=none",
    "--folds=1",
    "--set=training.max_epochs=1",
    "--set=attack.bim_steps=1",
]


def test_a_bad_file_is_named_skipped_and_counted(start: Start, manifest: Path, tmp_path: Path) -> None:
    lfs = tmp_path / "wav" / "0-angry-0.wav"
    lfs.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    status, said, err = finish(start(*SMALL, f"--source=manifest={manifest}", "--out", tmp_path / "out"))
    assert status == 0, err
    assert re.search(r"warning: .*0-angry-0\.wav: .*git.lfs.*skipped", said)
    assert "95 utterances" in (tmp_path / "out" / "report.md").read_text()


def test_a_test_speaker_without_a_class_is_named(start: Start, manifest: Path, tmp_path: Path) -> None:
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("wav/0-sad")]
    manifest.write_text("\n".join(lines))
    status, said, err = finish(start(*SMALL, f"--source=manifest={manifest}", "--dry-run"))
    assert status == 0, err
    assert "warning: corpus.csv: test speaker s0 has no 'sad' utterance; the UAR of this fold" in said


def test_one_corpus_cannot_be_both_source_and_target(start: Start, manifest: Path) -> None:
    roles = [f"--{role}=manifest={manifest}" for role in ("source", "target")]
    status, _, err = finish(start(*SMALL, *roles, "--dry-run"))
    assert status == 2
    assert re.fullmatch(r"error: --source and --target share 96 files, such as .*0-angry-0\.wav\n", err)


def test_too_many_bad_files_are_an_error_unless_allowed(start: Start, manifest: Path, tmp_path: Path) -> None:
    for path in sorted((tmp_path / "wav").iterdir())[:6]:
        path.write_bytes(b"")
    arguments = [*SMALL, f"--source=manifest={manifest}", "--out", str(tmp_path / "out")]
    status, _, err = finish(start(*arguments))
    assert status == 2
    assert re.fullmatch(
        r"error: corpus.csv: 6 of 96 files are unusable, first .*0-angry-0\.wav: .*; --allow-bad-files .*\n", err
    )
    status, said, err = finish(start(*arguments, "--allow-bad-files"))
    assert status == 0, err
    assert said.count("; skipped") == 6


def test_noise_shorter_than_an_utterance_is_refused_before_anything_is_trained(
    start: Start, manifest: Path, tmp_path: Path
) -> None:
    write_speech(tmp_path / "noise" / "kitchen" / "short.wav", 1, seconds=0.1)
    status, _, err = finish(
        start(
            *SMALL,
            f"--source=manifest={manifest}",
            f"--noise=folder={tmp_path / 'noise'}",
            '--set=noise.scenes=["kitchen"]',
            "--out",
            tmp_path / "out",
        )
    )
    assert status == 2
    assert "kitchen" in err
    assert err.count("\n") == 1
    assert not list((tmp_path / "out" / "runs").glob("*.json"))


def test_one_failed_training_does_not_stop_the_others(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastser.experiment import experiment
    from fastser.reproduce import main
    from fastser.training.loop import TrainingError

    real = experiment.build_model

    def build(name: str, **sizes: object) -> object:
        if name == "cnn":
            raise TrainingError("the training loss is nan after epoch 1")
        return real(name, **sizes)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment, "build_model", build)
    monkeypatch.setenv("FASTSER_CACHE", str(tmp_path / "cache"))
    arguments = [*SMALL, "--models=cnn,densenet", f"--source=manifest={manifest}", f"--out={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    said = capsys.readouterr().out
    assert "1 of 2 trainings finished" in said
    assert "failed: corpus.csv: cnn, none, fold s0, repeat 1: the training loss is nan after epoch 1" in said
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Failed trainings" in report
