"""Reading on the workers of a dask.distributed cluster: real processes, some of which are killed on the way."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vasprun as v
from tiny import Verb, refused, write_outputs

from mlpdata import IngestReport, ahead, cluster, sync
from mlpdata.cluster import Cluster
from mlpdata.discover import Output
from mlpdata.errors import UsageError
from mlpdata.readers.place import Member

distributed = pytest.importorskip("distributed")

N_RUNS, N_MEMBERS = 40, 5


@contextmanager
def local_cluster(folder: Path, workers: int = 2) -> Iterator[Any]:
    """Worker processes of this machine; what they write is below `folder`."""
    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        local_directory=folder,
        silence_logs="CRITICAL",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers that no test harms."""
    with local_cluster(tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Any]:
    """Two workers to be killed."""
    with local_cluster(tmp_path) as started:
        yield started


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs on disk and in an archive, one of them damaged; named by a path that is relative to the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    raw = write_outputs(here / "raw")
    for number in range(N_RUNS):
        folder = raw / f"strained/{number:02d}"
        folder.mkdir(parents=True)
        (folder / "vasprun.xml").write_text(v.vasprun(v.calculation(shift=number / 1000)))
    (raw / "strained/00/vasprun.xml.bad").write_text(v.vasprun(v.calculation())[:200])
    with tarfile.open(raw / "old.tar", "w") as archive:
        for number in range(N_MEMBERS):
            content = v.vasprun(v.calculation(shift=0.1 + number / 1000)).encode()
            member = tarfile.TarInfo(f"{number}/vasprun.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw


@pytest.fixture
def alone(tree: Path) -> IngestReport:
    """What one process reads."""
    return sync("raw", "alone", exact=True)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is a batch of its own."""
    monkeypatch.setattr(ahead, "TOGETHER", 1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    monkeypatch.setattr(cluster, "LOOK", 0.1)


def same(one: IngestReport, other: IngestReport) -> None:
    assert one.content == other.content
    assert [vars(entered) for entered in one.entered] == [vars(entered) for entered in other.entered]
    assert one.refused == other.refused


def on_workers(started: Any, action: Callable[[], object]) -> None:
    """Do something in each worker process; a function that is defined in another one travels by value."""
    with distributed.Client(started.scheduler_address, set_as_default=False) as client:
        client.run(action)


@contextmanager
def replaced_on_workers(started: Any, module: str, name: str, stand_in: object) -> Iterator[None]:
    """A module of theirs has `stand_in` for a while."""

    def exchange() -> None:
        from importlib import import_module

        there = import_module(module)
        there.kept = getattr(there, name)
        setattr(there, name, stand_in)

    def restore() -> None:
        import sys

        setattr(sys.modules[module], name, sys.modules[module].kept)

    on_workers(started, exchange)
    try:
        yield
    finally:
        on_workers(started, restore)


# the same


def test_workers_give_what_one_process_gives(lasting: Any, alone: IngestReport) -> None:
    report = sync("raw", exact=True, scheduler=lasting.scheduler_address)
    assert len(report.entered) == 5 + N_RUNS + N_MEMBERS
    assert len(report.refused) == 1
    same(report, alone)
    assert sorted(path.name for path in Path().iterdir()) == ["alone", "alone.work", "raw", "store", "store.work"]


def test_a_worker_needs_no_archive_because_members_travel_as_bytes(
    lasting: Any, alone: IngestReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, home, members = Cluster.submit, ahead.read_output, []

    def elsewhere(output: Output) -> Output:
        if not isinstance(output.path, Member):
            return output
        members.append(output.path)
        return replace(output, path=replace(output.path, archive=Path("/nowhere/old.tar")))

    def only_from_disk(output: Output) -> object:
        assert isinstance(output.path, Path)
        return home(output)

    monkeypatch.setattr(Cluster, "submit", lambda self, read, batch: submit(self, read, [*map(elsewhere, batch)]))
    monkeypatch.setattr(ahead, "read_output", only_from_disk)
    same(sync("raw", exact=True, scheduler=lasting.scheduler_address), alone)
    assert len(members) == N_MEMBERS


def test_what_a_worker_cannot_read_is_read_here(lasting: Any, alone: IngestReport) -> None:
    def blind(output: Output) -> Iterator[object]:
        from mlpdata.errors import InputError

        raise InputError("expected the package of its reader, found none.")

    with replaced_on_workers(lasting, "mlpdata.ahead", "read_output", blind):
        same(sync("raw", exact=True, scheduler=lasting.scheduler_address), alone)


@pytest.mark.parametrize(("bytes_under_way", "most"), [(1 << 20, 2 * ahead.PER_WORKER + 1), (20_000, 10)])
def test_some_batches_are_under_way_at_a_time_and_no_more(
    lasting: Any, one_by_one: None, monkeypatch: pytest.MonkeyPatch, bytes_under_way: int, most: int
) -> None:
    sent, under_way, counts = Cluster.submit, 0, []

    def submit(self: Cluster, read: Callable[..., object], batch: list[Output]) -> object:
        nonlocal under_way
        under_way += 1
        counts.append(under_way)
        return sent(self, read, batch)

    def result(self: cluster.Sent[object]) -> object:
        nonlocal under_way
        found = arrived(self)
        under_way -= 1
        return found

    arrived = cluster.Sent.result
    monkeypatch.setattr(Cluster, "submit", submit)
    monkeypatch.setattr(cluster.Sent, "result", result)
    monkeypatch.setattr(ahead, "UNDER_WAY", bytes_under_way)
    sync("raw", scheduler=lasting.scheduler_address)
    assert len(counts) > 40
    assert 1 < max(counts) <= most


def test_large_messages_are_no_reason_for_a_warning(lasting: Any, alone: IngestReport) -> None:
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": 100}):
        same(sync("raw", exact=True, scheduler=lasting.scheduler_address), alone)


def test_one_thread_of_a_worker_reads_at_a_time() -> None:
    reading = []

    def read(batch: list[Output]) -> int:
        reading.append(batch)
        time.sleep(0.01)
        n_reading = len(reading)
        reading.pop()
        return n_reading

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: cluster._on_worker(read, [], cluster.VERSION), range(8))) == {1}


# killed


IN_FLIGHT = 0.5
"""Seconds in which results that a worker sent before it was stopped arrive: what it holds then, it holds for good."""


class Killing:
    """Kills workers, for good, while they hold work; called as the progress of a sync."""

    def __init__(self, started: Any, victims: int) -> None:
        self._scheduler, self._nannies = started.scheduler, list(started.workers.values())[:victims]
        self._thread = threading.Thread(target=self._kill)
        self.held = 0
        """Victims that died with work in hand."""

    def __call__(self, done: int, *_: object) -> None:
        """At the fifth output the victims are stopped, so that what is sent to them stays with them."""
        if done == 5:
            for nanny in self._nannies:
                nanny.close_gracefully()  # it does not start another
                os.kill(nanny.pid, signal.SIGSTOP)
            self._thread.start()

    def _kill(self) -> None:
        time.sleep(IN_FLIGHT)
        for nanny in self._nannies:
            worker = self._scheduler.workers[nanny.worker_address]
            until = time.monotonic() + 20
            while not worker.processing and time.monotonic() < until:
                time.sleep(0.01)
            self.held += bool(worker.processing)
            os.kill(nanny.pid, signal.SIGKILL)


def test_one_of_two_workers_is_killed_and_nothing_is_lost_or_doubled(
    mortal: Any, alone: IngestReport, one_by_one: None
) -> None:
    killing = Killing(mortal, victims=1)
    report = sync("raw", exact=True, scheduler=mortal.scheduler_address, progress=killing)
    assert killing.held == 1
    assert len(mortal.scheduler.workers) == 1
    same(report, alone)


def test_without_any_worker_left_the_wait_is_short_and_nothing_is_committed(
    mortal: Any, alone: IngestReport, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    killing = Killing(mortal, victims=2)

    def kill(done: int, *_: object) -> None:
        monkeypatch.setattr(cluster, "PATIENCE", 1.0)
        killing(done)

    with pytest.raises(UsageError, match=r"found none left for 1 s.*`dask worker tcp://.* starts one"):
        sync("raw", exact=True, scheduler=mortal.scheduler_address, progress=kill)
    assert killing.held == 2
    assert not list(Path("store/snapshots").iterdir())
    same(sync("raw", exact=True), alone)


def test_work_that_kills_its_workers_is_named(mortal: Any, one_by_one: None) -> None:
    mortal.scheduler.allowed_failures = 0
    with pytest.raises(UsageError, match=r"several killed one after the other while they read .*vasprun\.xml"):
        sync("raw", scheduler=mortal.scheduler_address, progress=Killing(mortal, victims=1))
    assert not list(Path("store/snapshots").iterdir())


SCHEDULER = """
import sys, time, distributed
if __name__ == "__main__":
    options = dict(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")
    with distributed.LocalCluster(local_directory=sys.argv[1], **options) as started:
        print(started.scheduler_address, flush=True)
        time.sleep(100)
"""


def test_a_scheduler_that_is_killed_ends_the_sync(
    tmp_path: Path, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 5.0)
    (tmp_path / "scheduler.py").write_text(SCHEDULER)
    command = [sys.executable, str(tmp_path / "scheduler.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as machine:
        address = machine.stdout.readline().strip()

        def kill(done: int, *_: object) -> None:
            if done == 5:
                os.killpg(machine.pid, signal.SIGKILL)
                machine.wait()

        with pytest.raises(UsageError, match=rf"expected the scheduler at {address} to stay, found it gone"):
            sync("raw", scheduler=address, progress=kill)
    assert not list(Path("store/snapshots").iterdir())


# refused


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """A port where somebody says `answer` to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        guests = []

        def serve() -> None:
            try:
                while True:
                    guest, _ = server.accept()
                    guests.append(guest)
                    guest.sendall(answer)
            except OSError:
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for guest in guests:
                guest.close()


CURE = "`dask scheduler` starts one"


@pytest.mark.parametrize("command", ["ingest", "sync"])
def test_nobody_at_the_address_is_one_line(impatient: None, verb: Verb, command: str) -> None:
    answer = verb(command, "raw", "--scheduler", "tcp://127.0.0.1:1")
    refused(answer, 2, "expected a dask.distributed scheduler at tcp://127.0.0.1:1, found: ", CURE)


@pytest.mark.parametrize(
    "address", ["nonsense", "tcp://127.0.0.1:port", "carrier-pigeon://coop:1", "tls://127.0.0.1:1"]
)
def test_an_address_that_is_none_is_one_line(verb: Verb, address: str) -> None:
    refused(verb("sync", "raw", "--scheduler", address), 2, f"scheduler at {address}, found: ", CURE)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another protocol"),
        (b"SSH-2.0-x\r\n", "another protocol"),
        (b"", "nobody"),
    ],
)
def test_another_protocol_is_one_line(impatient: None, verb: Verb, answer: bytes, said: str) -> None:
    with listening(answer) as address:
        refused(verb("sync", "raw", "--scheduler", address), 2, address, said, CURE)


def test_the_address_of_a_worker_is_not_that_of_a_scheduler(lasting: Any, verb: Verb) -> None:
    worker = next(iter(lasting.scheduler.workers))
    refused(verb("sync", "raw", "--scheduler", worker), 2, worker, "found: Worker", CURE)


def test_a_scheduler_without_workers_is_one_line(tmp_path: Path, impatient: None, verb: Verb) -> None:
    with local_cluster(tmp_path, workers=0) as started:
        answer = verb("sync", "raw", "--scheduler", started.scheduler_address)
    refused(answer, 2, "found none", f"`dask worker {started.scheduler_address} --nthreads 1`")


def test_without_the_package_the_extra_is_named(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(verb("sync", "raw", "--scheduler", "tcp://127.0.0.1:1"), 2, "package distributed", "mlpdata[dask]")


def test_workers_of_another_version_are_refused(lasting: Any, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "VERSION", "9.9")
    answer = verb("sync", "raw", "--scheduler", lasting.scheduler_address)
    refused(answer, 2, "expected mlpdata 9.9 on the workers, found 0.1.0 on tcp://", "same environment")


def test_workers_of_another_version_that_come_later_are_refused(lasting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "VERSION", "9.9")
    monkeypatch.setattr(cluster, "_check_workers", lambda *_: None)
    with pytest.raises(UsageError, match=r"expected mlpdata 9\.9 on the workers, found 0\.1\.0\."):
        sync("raw", scheduler=lasting.scheduler_address)


def test_workers_without_mlpdata_are_refused(lasting: Any) -> None:
    def forget() -> None:
        import sys

        sys.kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "mlpdata"}
        sys.modules["mlpdata"] = None

    def remember() -> None:
        import sys

        sys.modules.update(sys.kept)

    on_workers(lasting, forget)
    try:
        with pytest.raises(UsageError, match=r"on the workers, found none that works on tcp:.*mlpdata.*same environ"):
            sync("raw", scheduler=lasting.scheduler_address)
    finally:
        on_workers(lasting, remember)


def test_workers_that_do_not_see_the_files_are_refused(lasting: Any, tree: Path) -> None:
    with (
        replaced_on_workers(lasting, "mlpdata.cluster", "_answer", lambda _: ("0.1.0", False)),
        pytest.raises(UsageError, match=r"same paths, found that tcp://.* does not.*is mounted") as caught,
    ):
        sync("raw", scheduler=lasting.scheduler_address)
    assert Path(caught.value.path).is_relative_to(tree)
