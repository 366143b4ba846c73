"""Ray on this machine: the tables of the serial executor bit for bit, whatever dies meanwhile."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import (
    SMALL_GRID,
    SMALL_TRAININGS,
    Start,
    events,
    family,
    finish,
    history,
    starter,
    tables,
    wait_until_gone,
)

pytest.importorskip("ray", reason="the extra [ray] is not installed")

RAY = ["--executor=ray", "--checkpoint-minutes=0"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(cache: Path) -> Start:
    return starter(cache)


@pytest.fixture(scope="module")
def must_be_gone() -> Iterator[set[int]]:
    """Processes that no test may leave behind; Ray's own two agents take a minute to notice a killed driver."""
    pids: set[int] = set()
    yield pids
    wait_until_gone(pids)


def listening_addresses(pids: set[int]) -> set[str]:
    """Addresses on which processes take connections."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes |= set(re.findall(r"^socket:\[(\d+)]$", str(descriptor.readlink())))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in inodes:
                packed = bytes.fromhex(local.partition(":")[0])
                words = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
                found.add(socket.inet_ntop(socket.AF_INET if table == "tcp" else socket.AF_INET6, words))
    return found


def test_a_killed_worker_costs_nothing_and_workers_read_no_corpus(
    start: Start, cache: Path, serial: dict[str, str], tmp_path: Path
) -> None:
    process = start(*SMALL_GRID, *RAY, "--out", tmp_path)
    happened = events(tmp_path, process)
    next(happened)
    (cache / "stand-ins").rename(cache / "gone")
    members = family(process.pid)
    assert listening_addresses(members) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    victim = next(record for record in happened if record["event"] == "started")
    assert victim["pid"] in members
    os.kill(victim["pid"], signal.SIGKILL)
    status, said, err = finish(process)
    (cache / "gone").rename(cache / "stand-ins")
    assert (status, err) == (0, "")
    assert f"{SMALL_TRAININGS} of {SMALL_TRAININGS} trainings finished, 0 of them reused" in said
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    begun = {key: of_key["started"] + of_key["continued"] for key, of_key in counts.items()}
    assert begun == dict.fromkeys(counts, 1) | {victim["key"]: 2}
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_TRAININGS
    wait_until_gone(members)


def test_a_killed_driver_takes_ray_along_and_two_new_ones_share_the_rest(
    start: Start, serial: dict[str, str], must_be_gone: set[int], tmp_path: Path
) -> None:
    process = start(*SMALL_GRID, *RAY, "--out", tmp_path)
    next(record for record in events(tmp_path, process) if record["event"] == "finished")
    must_be_gone |= family(process.pid)
    process.kill()
    process.communicate()
    drivers = [start(*SMALL_GRID, *RAY, "--out", tmp_path), start(*SMALL_GRID, "--out", tmp_path)]
    assert [finish(driver)[0] for driver in drivers] == [0, 0]
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_TRAININGS
    begun = [of_key["started"] + of_key["continued"] for of_key in counts.values()]
    assert sum(begun) <= SMALL_TRAININGS + 2  # those that ran when the driver was killed


def test_ctrl_c_leaves_checkpoints_and_the_next_run_goes_on(
    start: Start, serial: dict[str, str], tmp_path: Path
) -> None:
    process = start(*SMALL_GRID, *RAY, "--out", tmp_path)
    next(record for record in events(tmp_path, process) if record["event"] == "started")
    members = family(process.pid)
    process.send_signal(signal.SIGINT)
    status, said, err = finish(process)
    assert (status, err) == (130, "")
    assert re.search(rf"interrupted: \d+ of {SMALL_TRAININGS} trainings are finished .* the same command goes on", said)
    assert any(of_key["stopped"] for of_key in history(tmp_path).values())
    wait_until_gone(members)
    assert finish(start(*SMALL_GRID, "--out", tmp_path))[0] == 0
    assert tables(tmp_path) == serial
    assert any(of_key["continued"] for of_key in history(tmp_path).values())


def test_more_than_the_machine_has_is_refused(start: Start, tmp_path: Path) -> None:
    status, _, err = finish(start(*SMALL_GRID, "--executor=ray", "--cpus-per-run=4096", "--out", tmp_path))
    assert status == 2
    assert re.fullmatch(r"error: no node of the Ray cluster has .* 4096 CPUs \(--cpus-per-run\) and 0 GPUs .*\n", err)


def test_an_address_where_nothing_answers_is_named(start: Start, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ["--executor=ray", f"--ray-address={address}"]
    status, _, err = finish(start(*SMALL_GRID, *arguments, "--out", tmp_path))
    assert status == 2
    assert err == f"error: --ray-address {address}: nothing answers there ([Errno 111] Connection refused)\n"
