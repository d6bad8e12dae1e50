"""Ingest and sync: what enters, what changes nothing, what is retracted, and what no fault may break."""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import vasprun as v
from tiny import MD, N_CALCULATIONS, N_CONFIGURATIONS, tree

from mlpdata import ahead, durable, intake, portions
from mlpdata.api import Store
from mlpdata.discover import Output
from mlpdata.errors import (
    CheckFailed,
    InputError,
    LicenseError,
    NewerSchema,
    ParseError,
    StoreError,
    StoreLocked,
    UsageError,
)
from mlpdata.intake import ingest, sync
from mlpdata.outcome import IngestReport
from mlpdata.runs import Event
from mlpdata.schema.sidecar import Sidecar
from mlpdata.testing.faults import failing_at, recorded

RYDBERG = 13.605693122990
"""[eV], CODATA 2022."""
VASPRUN = Path("raw/md/vasprun.xml")
pytestmark = pytest.mark.usefixtures("raw")


def exact(store: str = "store") -> str | None:
    return sync("raw", store, exact=True).content


def column(name: str, store: str = "store") -> list[object]:
    return Store(store).snapshot().sql(f"SELECT {name} FROM calculations ORDER BY path").column(0).to_pylist()


# what enters


def test_what_enters_is_what_the_files_print() -> None:
    report = ingest("raw")

    assert (len(report.entered), report.n_entered, report.n_configurations) == (N_CALCULATIONS, N_CONFIGURATIONS, 7)
    assert (report.refused, report.unchanged, report.not_outputs, report.exit_code) == ([], [], 1, 0)
    printed = lzma.decompress(Path("raw/equilibrium/strain00.out.xz").read_bytes()).decode()
    rydberg = float(re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", printed, flags=re.MULTILINE)[0])
    asked = "SELECT energy FROM configurations WHERE path LIKE '%strain00%'"
    assert Store("store").snapshot().sql(asked).column(0).to_pylist() == [pytest.approx(rydberg * RYDBERG, rel=1e-12)]


def test_what_sidecars_and_options_say_is_in_the_store() -> None:
    ingest("raw", temperature=300.0, tags={"set": "a"}, citation="A. Author, 2026")

    calculations = Store("store").snapshot().calculations()
    assert {one.license for one in calculations} == {"CC0-1.0"}
    assert {one.citation for one in calculations} == {"A. Author, 2026"}
    assert {one.temperature_target for one in calculations} == {300.0}
    assert all(one.tags == {"project": "tiny", "set": "a"} for one in calculations)
    assert sorted(one.kind for one in calculations) == ["aimd", "random", "random", "unknown", "unknown"]


def test_an_unknown_license_is_counted() -> None:
    Path("raw/mlpdata.yaml").unlink()
    assert ingest("raw").unknown_license == N_CALCULATIONS


def test_the_same_again_changes_nothing_and_says_so() -> None:
    first = ingest("raw")
    before = tree(Path("store"))
    again = ingest("raw")

    assert (again.entered, len(again.unchanged), again.snapshot) == ([], N_CALCULATIONS, first.snapshot)
    assert tree(Path("store")) == before
    assert len(list(Store().log())) == 1


def test_a_file_that_repeats_another_enters_once() -> None:
    shutil.copy(VASPRUN, "raw/md/copy.xml")
    report = ingest("raw")

    assert report.n_entered == N_CONFIGURATIONS
    assert report.unchanged == [VASPRUN.as_posix()]  # copy.xml comes first by name


def test_a_file_that_moved_is_the_same_to_ingest_and_renamed_by_an_exact_sync() -> None:
    sync("raw", exact=True)
    VASPRUN.rename("raw/md/moved.xml")

    assert ingest("raw").entered == []
    report = sync("raw", exact=True)
    assert [(one.path, one.replaced) for one in report.entered] == [("md/moved.xml", True)]
    assert report.content == exact("scratch")


def test_a_run_that_grew_takes_the_place_of_its_beginning() -> None:
    whole = VASPRUN.read_text()
    VASPRUN.write_text(whole[: whole.rindex(" <calculation>")])
    assert ingest("raw").n_entered == N_CONFIGURATIONS - 1
    VASPRUN.write_text(whole)

    report = ingest("raw")

    assert [(one.path, one.replaced, one.n_configurations) for one in report.entered] == [(VASPRUN.as_posix(), True, 3)]
    assert (report.n_configurations, len(Store().snapshot().calculations())) == (N_CONFIGURATIONS, N_CALCULATIONS)
    assert report.retracted == []


def test_a_sidecar_that_changes_changes_the_attributes_and_no_number() -> None:
    ingest("raw")
    ids = Store().snapshot().ids().tolist()
    Path("raw/mlpdata.yaml").write_text("license: CC-BY-4.0\n")

    report = ingest("raw")

    assert all(one.replaced for one in report.entered)
    assert set(column("license")) == {"CC-BY-4.0"}
    assert sorted(Store().snapshot().ids().tolist()) == sorted(ids)


def test_names_are_relative_to_the_project_wherever_it_is_called_from(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ingest("raw").content
    monkeypatch.chdir("raw/md")
    assert ingest("../../raw", "../../other/../again").content == first


# sync


def test_incremental_from_scratch_and_after_a_deletion_that_was_undone_give_the_same_content() -> None:
    content = exact()
    VASPRUN.rename("kept")
    less = sync("raw", exact=True)
    assert (less.retracted, less.n_configurations) == (["md/vasprun.xml"], 4)
    assert less.content == exact("scratch, without")
    Path("kept").rename(VASPRUN)

    assert exact() == content == exact("scratch, with")
    assert len(list(Store().log())) == 3
    assert exact() == content
    assert len(list(Store().log())) == 3


def test_a_tree_that_grew_file_by_file_gives_the_content_of_the_whole() -> None:
    whole = exact("whole")
    for name in ("random", "equilibrium"):
        Path("raw", name).rename(name)
    for name in ("random", "equilibrium"):
        exact()
        Path(name).rename(f"raw/{name}")
    assert exact() == whole


def test_a_copy_whose_original_is_deleted_stays_under_its_own_name() -> None:
    shutil.copy(VASPRUN, "raw/md/zcopy.xml")
    exact()
    VASPRUN.unlink()

    assert exact() == exact("scratch")
    assert "md/zcopy.xml" in column("path")


def test_attributes_that_change_and_change_back_give_the_same_content() -> None:
    content, said = exact(), Path("raw/mlpdata.yaml").read_text()
    Path("raw/mlpdata.yaml").write_text("license: MIT\n")
    assert exact() != content
    Path("raw/mlpdata.yaml").write_text(said)
    assert exact() == content


def test_a_sync_that_is_not_exact_keeps_what_is_gone() -> None:
    exact()
    VASPRUN.unlink()
    assert sync("raw").n_configurations == N_CONFIGURATIONS


def test_the_default_holds_where_no_sidecar_speaks() -> None:
    Path("raw/mlpdata.yaml").unlink()
    sync("raw", default=Sidecar(license="cc-by-4.0"))
    assert set(column("license")) == {"CC-BY-4.0"}


def test_two_processes_give_the_content_of_one() -> None:
    for number in range(5):  # enough files for worker processes to be used
        (VASPRUN.parent / f"{number}.xml").write_text(v.vasprun(v.calculation(shift=number / 100)))
    (VASPRUN.parent / "bad.xml").write_text(MD[:200])
    one, two = (sync("raw", f"store{jobs}", exact=True, jobs=jobs) for jobs in (1, 2))

    assert one.content == two.content
    assert [vars(entered) for entered in one.entered] == [vars(entered) for entered in two.entered]
    assert one.refused == two.refused
    assert one.refused[0].path == "md/bad.xml"


def test_a_reading_process_that_is_killed_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Executor):
        def __init__(self, *_: object, **__: object) -> None: ...

        def submit(self, *_: object) -> Future[object]:  # type: ignore[override]
            future: Future[object] = Future()
            future.set_exception(BrokenProcessPool("a process was terminated abruptly"))
            return future

    monkeypatch.setattr(ahead, "WORTH_WORKERS", 1)
    monkeypatch.setattr(ahead, "ProcessPoolExecutor", Killed)
    with pytest.raises(UsageError, match="--jobs 1"):
        ingest("raw", jobs=2)
    assert not list(Path("store/snapshots").iterdir())


def test_reading_processes_start_once_for_all_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Executor):
        number = 0

        def __init__(self, *_: object, **__: object) -> None:
            Here.number += 1

        def submit(self, read: Callable[..., object], *given: object) -> Future[object]:  # type: ignore[override]
            future: Future[object] = Future()
            future.set_result(read(*given))
            return future

    alone = ingest("raw", "store1")
    for module, name, value in ((portions, "SMALLEST", 1), (portions, "LARGEST", 1), (ahead, "WORTH_WORKERS", 1)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(ahead, "ProcessPoolExecutor", Here)

    assert ingest("raw", "store2", jobs=2).content == alone.content
    assert len(list(Path("store2/segments").iterdir())) > 1
    assert Here.number == 1


def test_a_file_that_breaks_in_a_worker_keeps_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ahead.read_output

    def breaking(output: Output) -> Iterator[Event]:
        yield from read(output)
        if output.name.endswith("vasprun.xml"):
            raise ParseError("expected a header, found none.", path=output.path, line=7)

    monkeypatch.setattr(ahead, "read_output", breaking)
    streamed = ingest("raw", "store1")
    monkeypatch.setattr(
        ahead, "streams", lambda outputs, *_: ((one, ahead.read_whole([one])[0].replayed()) for one in outputs)
    )
    monkeypatch.setattr(intake, "streams", ahead.streams)

    whole = ingest("raw", "store2")
    assert (whole.content, whole.refused) == (streamed.content, streamed.refused)
    assert len(whole.refused) == 1
    assert whole.n_entered == N_CONFIGURATIONS


# damage


DAMAGED = [
    ("empty.xml", b"", "empty file"),
    ("head.xml", MD.encode()[:300], "vasprun.xml|end|expected"),
    ("cut.xml.gz", b"\x1f\x8b\x08\x00", "compressed"),
]
"""Name, content and what is said of files that give nothing."""


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED)
def test_a_damaged_file_among_good_ones_costs_itself_only(name: str, content: bytes, said: str) -> None:
    Path("raw/md", name).write_bytes(content)
    report = ingest("raw")

    assert (report.n_entered, report.exit_code) == (N_CONFIGURATIONS, 0)
    (refused,) = report.refused
    assert refused.path == f"raw/md/{name}"
    assert re.search(said, refused.reason)


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED)
def test_strict_raises_for_a_damaged_file_and_commits_nothing(name: str, content: bytes, said: str) -> None:
    Path("raw/md", name).write_bytes(content)
    with pytest.raises(CheckFailed, match=rf"raw/md/{name}.*Nothing was committed") as caught:
        ingest("raw", strict=True)
    assert caught.value.exit_code == 1
    assert not list(Path("store/snapshots").iterdir())
    assert ingest("raw/random", strict=True).n_entered == 2


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED)
def test_a_damaged_file_alone_is_nothing_read(name: str, content: bytes, said: str) -> None:
    path = Path("raw/md", name)
    path.write_bytes(content)
    assert ingest(path).exit_code == 3
    with pytest.raises(InputError, match=said):
        ingest(path, strict=True)


def test_a_run_that_was_cut_gives_its_good_frames_is_named_and_is_not_strictly_whole() -> None:
    VASPRUN.write_text(MD[: MD.rindex('<varray name="forces"')])
    report = ingest("raw", dry_run=True)

    assert report.n_entered == N_CONFIGURATIONS - 1
    assert [one.path for one in report.damaged] == [VASPRUN.as_posix()]
    assert report.exit_code == 0
    with pytest.raises(CheckFailed, match=r"vasprun\.xml"):
        ingest("raw", strict=True)


def test_the_second_run_of_a_file_that_breaks_leaves_the_first() -> None:
    both = lzma.decompress(Path("raw/equilibrium/strain00.out.xz").read_bytes())
    second = lzma.decompress(Path("raw/equilibrium/strain01.out.xz").read_bytes())
    Path("both.out").write_bytes(both + second[: len(second) // 2])
    report = ingest("both.out")

    assert report.entered[0].n_configurations == 1
    assert Store().snapshot().read().energy.shape == (1,)


def test_an_error_before_the_first_frame_of_a_file_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ahead.read_output

    def breaking(output: Output) -> Iterator[Event]:
        if output.name.endswith("vasprun.xml"):
            raise ParseError("expected a header, found none.", path=output.path, line=7)
        yield from read(output)

    monkeypatch.setattr(ahead, "read_output", breaking)
    report = ingest("raw")
    assert [(one.path, one.line) for one in report.refused] == [(VASPRUN.as_posix(), 7)]
    assert report.n_entered == 4


def test_a_folder_without_outputs_is_an_error_and_retracts_nothing() -> None:
    content = exact()
    Path("nothing").mkdir()
    for call in (lambda: ingest("nothing"), lambda: sync("nothing", exact=True)):
        with pytest.raises(InputError, match=r"nothing: expected outputs of a known code, found none"):
            call()
    shutil.move("raw/notes.txt", "nothing/notes.txt")
    with pytest.raises(InputError, match="found only 1 files"):
        ingest("nothing", "new store")
    assert Store().snapshot().content == content
    assert not Path("new store").exists()


# what is wrong with the call


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: ingest("nowhere"), UsageError, "nowhere: expected a file or folder"),
        (lambda: sync("nowhere"), UsageError, "nowhere: expected a folder"),
        (lambda: ingest("raw", license="free"), LicenseError, "expected an SPDX license, found 'free'"),
        (lambda: sync("raw", default=Sidecar(license="free")), LicenseError, "free"),
    ],
)
def test_a_wrong_call_writes_nothing(call: object, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call()  # type: ignore[operator]
    assert not Path("store").exists()


def test_a_dry_run_reads_everything_and_writes_nothing() -> None:
    ingest("raw/random")
    before = tree(Path())

    report = ingest("raw", dry_run=True)

    assert (report.n_entered, report.unchanged, report.snapshot) == (
        5,
        ["raw/random/rattle00.xml.xz", "raw/random/rattle01.xml.xz"],
        None,
    )
    assert tree(Path()) == before
    assert ingest("raw", "other", dry_run=True).n_entered == N_CONFIGURATIONS
    assert not Path("other").exists()


# the disk and the store


def test_a_full_disk_at_any_operation_leaves_the_old_snapshot() -> None:
    before = ingest("raw/random").snapshot
    for name in ["whole", *map(str, range(6))]:
        shutil.copytree("store", name)
    operations = recorded(lambda: ingest("raw", "whole"))
    final = Store("whole").snapshot().content

    for store in range(6):
        nth = 1 + store * (len(operations) - 2) // 5  # the last one syncs the folder of the new HEAD
        with failing_at(nth, errno.ENOSPC, lasting=True), pytest.raises(StoreError, match="No space left"):
            ingest("raw", str(store))
        assert Store(str(store)).snapshot().record.id == before, operations[nth - 1]
        assert ingest("raw", str(store)).content == final


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("kibibytes", [64, 256, 320])
def test_a_disk_that_is_really_full_is_said_and_nothing_is_half_written(kibibytes: int) -> None:
    Path("disk").mkdir()
    size = f"size={kibibytes}k"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", "disk"], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(StoreError, match="disk is full; nothing was committed"):
            ingest(["raw", *more(40)], "disk/store")
        assert not list(Path("disk/store").rglob("snapshots/*.json"))
    finally:
        subprocess.run(["umount", "disk"], check=True)


def more(number: int) -> list[Path]:
    """Longer runs, which no small disk holds."""
    Path("long").mkdir()
    steps = [v.calculation(shift=n / 1000) for n in range(200)]
    paths = [Path(f"long/{n}.xml") for n in range(number // 10)]
    for n, path in enumerate(paths):
        path.write_text(v.vasprun(*steps[n:]))
    return paths


def test_a_store_that_another_process_holds_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    ingest("raw/random")
    acquire = durable._acquire
    monkeypatch.setattr(durable, "_acquire", lambda handle, path, timeout: acquire(handle, path, min(timeout, 0.1)))

    with durable.lock(Path("store.work/lock")), pytest.raises(StoreLocked, match=rf"held by process {os.getpid()}\."):
        ingest("raw")
    assert ingest("raw").n_entered == 5


def test_a_store_of_a_newer_schema_is_refused_and_left_alone() -> None:
    ingest("raw/random")
    newer(Path("store"))
    before = tree(Path("store"))

    with pytest.raises(NewerSchema, match="expected schema version 2 or lower, found 3"):
        ingest("raw")
    assert tree(Path("store")) == before


def newer(store: Path) -> None:
    """Give a store a snapshot that a later version would write."""
    from mlpdata.digest import canonical_json, sha256_json
    from mlpdata.schema.noun import STORE_VERSION

    record = Store(store).snapshot().record.as_json()
    record["schema_version"] = STORE_VERSION + 1
    name = sha256_json(record)
    (store / "snapshots" / f"{name}.json").write_bytes(canonical_json(record))
    (store / "HEAD").write_text(f"{name}\n")


def test_progress_is_told_of_every_file_that_is_read() -> None:
    told: list[tuple[int, int, str]] = []
    ingest("raw", progress=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(n, 5) for n in range(1, 6)]
    assert told[-1][2] == "raw/random/rattle01.xml.xz"


def test_a_report_is_json_without_loss() -> None:
    import json

    Path("raw/md/empty.xml").touch()
    report = ingest("raw")
    plain = json.loads(json.dumps(report.as_json(), allow_nan=False))

    assert plain["n_entered"] == N_CONFIGURATIONS
    assert plain["refused"][0]["path"] == "raw/md/empty.xml"
    assert isinstance(report, IngestReport)
    assert len(plain["entered"]) == N_CALCULATIONS


def test_an_attribute_that_is_said_later_does_not_drop_what_was_said_before(raw: Path) -> None:
    file = raw / "md/vasprun.xml"
    ingest(file, "store", license="CC0-1.0", tags={"a": "1"})
    ingest(file, "store", citation="A. Author, 2026")
    (calculation,) = Store("store").snapshot().calculations()
    assert (calculation.license, calculation.citation) == ("CC0-1.0", "A. Author, 2026")
    assert calculation.tags["a"] == "1"
