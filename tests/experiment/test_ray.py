"""The Ray executor: one real cluster on this machine, and signals and addresses with a stand-in for Ray."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from processes import (
    SMALL_RUNS,
    Command,
    Start,
    events,
    family,
    finish,
    history,
    suspend_within_a_run,
    tables,
)

pytest.importorskip("ray", reason="the extra [ray] is not installed")

RAY = ["--executor=ray", "--checkpoint-minutes=0"]
FAKE_RAY = f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\nimport fake_ray\nfake_ray.install()"


def listening_addresses(pids: set[int]) -> set[str]:
    """Return the addresses on which processes accept connections."""
    inodes = set()
    for pid in pids:
        try:
            descriptors = [str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {inode for text in descriptors for inode in re.findall(r"^socket:\[(\d+)]$", text)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in inodes:
                packed = bytes.fromhex(local.partition(":")[0])
                words = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
                found.add(socket.inet_ntop(socket.AF_INET if table == "tcp" else socket.AF_INET6, words))
    return found


def test_killed_workers_and_a_killed_driver_cost_nothing_and_leave_nothing_behind(
    start: Start,
    grid: list[str],
    serial: dict[str, str],
    stand_ins: Path,
    must_be_gone: set[int],
    tmp_path: Path,
) -> None:
    """A worker is killed within a run, another one begins the run again, and then the driver is killed.

    The audio is not there meanwhile, because workers map what the driver has decoded.
    """
    process = start(*grid, *RAY, "--out", tmp_path)
    (corpora,) = [folder for folder in stand_ins.iterdir() if folder.name.startswith("seed")]
    victim = suspend_within_a_run(tmp_path, process)
    gone = corpora.rename(corpora.with_name("gone"))
    try:
        members = family(process.pid)
        assert victim["pid"] in members - {process.pid}
        addresses = listening_addresses(members)
        assert addresses
        assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}
        os.kill(victim["pid"], signal.SIGKILL)
        again = (record for record in events(tmp_path, process) if record["key"] == victim["key"])
        begun = [record for record in (next(again), next(again)) if record["event"] in ("started", "continued")]
        assert len({record["pid"] for record in begun}) == 2
        must_be_gone |= members | family(process.pid)
        process.kill()
        process.communicate()
    finally:
        gone.rename(corpora)
    status, said, err = finish(start(*grid, "--executor=serial", "--out", tmp_path))
    assert (status, err) == (0, "")
    assert f"{SMALL_RUNS} of {SMALL_RUNS} runs finished" in said
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_RUNS
    begun_in_all = sum(of_key["started"] + of_key["continued"] for of_key in counts.values())
    assert SMALL_RUNS < begun_in_all <= SMALL_RUNS + 1 + 2  # the killed worker's run, and those of the killed driver


def test_ctrl_c_leaves_a_checkpoint_and_ends_with_status_130(start: Start, grid: list[str], tmp_path: Path) -> None:
    endless = ["--set=training.max_epochs=100000", "--set=training.stop_after=100000"]
    process = start(*grid, *RAY, *endless, "--out", tmp_path, script=FAKE_RAY)
    begun = next(record for record in events(tmp_path, process) if record["event"] == "started")
    process.send_signal(signal.SIGINT)
    status, said, err = finish(process)
    assert (status, err) == (130, "")
    assert "saving the running runs, so that they can be continued; press again to end at once" in said
    assert re.search(rf"interrupted: 0 of {SMALL_RUNS} runs are finished .*the same command continues", said)
    assert history(tmp_path) == {begun["key"]: {"started": 1, "stopped": 1}}
    assert (tmp_path / "checkpoints" / f"{begun['key']}.safetensors").exists()


def test_an_address_where_nothing_answers_is_named(command: Command, grid: list[str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        status, _, err = command(*grid, "--executor=ray", f"--ray-address={address}", "--out", tmp_path)
    assert status == 2
    assert err == f"error: --ray-address {address}: nothing answers there ([Errno 111] Connection refused)\n"
