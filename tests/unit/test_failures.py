"""Failures: which runs were lost and why, by what schedulers, MPI libraries and codes really print."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from pathlib import Path
from typing import get_args

import pytest
import vasprun as v

from mlpdata import causes
from mlpdata.causes import CAUSES, LONGEST, SIGNS, Cause, strongest
from mlpdata.failures import Failure, cause_of, failures
from mlpdata.inspection import inspect_file
from mlpdata.intake import ingest, sync
from mlpdata.outcome import Refused
from mlpdata.run_folder import INFLATED, PIECE, RunFolder
from mlpdata.schema.calculation import Calculation, LeftOut, Source
from mlpdata.store.commit import Repository
from mlpdata.testing.samples import calculation as sample
from mlpdata.testing.samples import frames

HERE = Path(__file__).parents[1] / "data/failures"
DATA = Path(__file__).parents[1] / "data"
CUT = "expected </modeling> at the end, found none. The run was killed or is still going."
HOUR = 3600.0


def record(name: str = "vasprun.xml", **changes: object) -> Calculation:
    """A run that was cut off, by default."""
    path = f"runs/1/{name}"
    source = Source(path=path.partition("#")[0], sha256="1" * 64, bytes=10, reader="vasp/xml", reader_version=1)
    given: dict[str, object] = {"status": "truncated", "status_reason": CUT, "path": path, "sources": (source,)}
    return sample(1, **{**given, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with an output that was cut off."""
    run = tmp_path / "runs/1"
    run.mkdir(parents=True)
    (run / "vasprun.xml").write_text("<modeling>\n")
    return run


def lost(calculation: Calculation, folder: Path | None, **said: object) -> Failure:
    found = cause_of(calculation, None, folder, **said)
    assert found is not None
    return found


def test_each_cause_is_explained_in_one_sentence_and_has_a_place_in_the_table() -> None:
    assert set(CAUSES) == set(get_args(Cause))
    assert all(sentence.endswith(".") and sentence.count(".") == 1 for sentence in CAUSES.values())
    assert {sign.cause for sign in SIGNS} == set(CAUSES) - {"truncated", "unreadable", "empty"}


LOGS = [
    ("slurm-time.out", "walltime", 5, "slurmstepd: error: *** JOB 900117 ON n042 CANCELLED AT"),
    ("slurm-memory.out", "memory", 3, "slurmstepd: error: Detected 1 oom-kill event(s)"),
    ("slurm-memory-old.out", "memory", 2, "slurmstepd: error: Exceeded job memory limit"),
    ("slurm-scancel.out", "node", 2, "slurmstepd: error: *** JOB 900120"),
    ("slurm-preempted.out", "node", 1, "slurmstepd: error: *** JOB 900121"),
    ("slurm-node.out", "node", 2, "slurmstepd: error: *** STEP 900122.0"),
    ("run.e4711", "walltime", 1, ">> PBS: job killed: walltime 7230 exceeded limit 7200"),
    ("run.e4712", "memory", 1, ">> PBS: job killed: mem 2097152kb exceeded limit 1048576kb"),
    ("run.e4713", "node", 1, ">> PBS: job killed: node 1 (n013) requested job terminate"),
    ("run.e4714", "walltime", 1, "User defined signal 1"),
    ("lsf.o815", "walltime", 4, "TERM_RUNLIMIT: job killed after reaching LSF run time limit."),
    ("lsf.o816", "memory", 1, "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."),
    ("lsf.o817", "node", 1, "TERM_OWNER: job killed by owner."),
    ("mpich.err", "crash", 2, "BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES RANK 7 PID 3703 RUNNING AT n046"),
    ("openmpi.err", "crash", 2, "mpirun noticed that process rank 0 with PID 9138 on node n047 exited on signal 11"),
    ("quota.err", "disk", 1, "forrtl: Disk quota exceeded"),
    ("full.err", "disk", 1, "cp: error writing 'WAVECAR': No space left on device"),
    ("allocate.err", "memory", 1, "forrtl: severe (41): insufficient virtual memory"),
    ("vasp-zbrent/vasp.out", "crash", 4, "ZBRENT: fatal error in bracketing"),
    ("vasp-stopcar/vasp.out", "stopped", 2, "hard stop encountered! aborting job ..."),
    ("vasp-input/vasp.out", "input", 1, "Error reading item 'IBRION' from file INCAR."),
]


@pytest.mark.parametrize(("log", "cause", "line", "words"), LOGS, ids=[row[0] for row in LOGS])
def test_the_log_beside_an_output_says_why_it_was_cut(
    folder: Path, log: str, cause: str, line: int, words: str
) -> None:
    shutil.copy(HERE / log, folder)
    found = lost(record(), folder, n_configurations=3, last_step=2)

    assert (found.cause, found.evidence.place) == (cause, f"{Path(log).name}:{line}")
    assert found.evidence.words.startswith(words)
    assert (found.folder, found.n_configurations, found.last_step, found.code) == (folder, 3, 2, "vasp")


TAILS = [
    ("pw-routine.out", "crash", 3, "Error in routine cdiaghg (12): S matrix not positive definite"),
    ("pw-namelist.out", "input", 3, "Error in routine read_namelists (1):"),
    ("pw-seconds.out", "walltime", 2, "Maximum CPU time exceeded"),
    ("pw-exit.out", "stopped", 2, "Program stopped by user request"),
    ("pw-scf.out", "scf", 2, "convergence NOT achieved after 100 iterations: stopping"),
    ("cp2k-scf.out", "scf", 5, "SCF run NOT converged. To continue the calculation regardless,"),
    ("cp2k-walltime.out", "walltime", 2, "exceeded requested execution time:"),
    ("cp2k-cholesky.out", "crash", 1, "[ABORT] Cholesky decompose failed: the matrix is not positive definite or "
     "ill-conditioned."),
    ("orca-scf.out", "scf", 3, "SCF NOT CONVERGED AFTER 125 CYCLES"),
    ("orca-input.out", "input", 2, "UNRECOGNIZED OR DUPLICATED KEYWORD(S) IN SIMPLE INPUT LINE"),
    ("orca-mdci.out", "crash", 1, "ORCA finished by error termination in MDCI"),
    ("g16-scf.log", "scf", 2, "Convergence failure"),
    ("g16-memory.log", "memory", 1, "galloc: could not allocate memory."),
    ("g16-disk.log", "disk", 1, "Erroneous write. Write -1 instead of 198024."),
    ("g16-input.log", "input", 1, "QPErr --- A syntax error was detected in the input line."),
    ("g16-multiplicity.log", "input", 1, "The combination of multiplicity 1 and 9 electrons is impossible."),
    ("g16-link.log", "crash", 2, "Error termination via Lnk1e in /opt/g16/l103.exe"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cause", "line", "words"), TAILS, ids=[row[0] for row in TAILS])
def test_the_output_itself_says_why_it_ended(folder: Path, name: str, cause: str, line: int, words: str) -> None:
    shutil.copy(HERE / "tails" / name, folder)
    found = lost(record(name, status="failed", status_reason="it broke off"), folder)

    assert (found.cause, found.evidence.place) == (cause, f"{name}:{line}")
    assert found.evidence.words.startswith(words)


def test_the_message_in_vasp_s_box_is_given_and_not_the_letters_around_it(folder: Path) -> None:
    shutil.copy(HERE / "vasp-box/vasp.out", folder)
    found = lost(record(), folder)
    assert found.cause == "crash"
    assert "The number of k points was asked to change on the way." in found.evidence.words
    assert "EEE" not in found.evidence.words
    assert "###" not in found.evidence.words


def test_srun_cancels_the_step_of_a_run_that_crashed_and_the_crash_is_the_cause(folder: Path) -> None:
    shutil.copy(HERE / "slurm-segfault.out", folder)
    found = lost(record(), folder)
    assert (found.cause, found.evidence.line) == ("crash", 4)
    assert "task 3: Segmentation fault" in found.evidence.words


def test_what_is_out_of_memory_is_also_killed_and_memory_is_the_cause(folder: Path) -> None:
    shutil.copy(HERE / "slurm-memory.out", folder)
    shutil.copy(HERE / "mpich.err", folder)
    assert lost(record(), folder).cause == "memory"


def test_what_the_reader_found_is_cited_with_its_line() -> None:
    reason = "line 812: convergence NOT achieved after 100 iterations: stopping"
    found = lost(record("pw.out", status="failed", status_reason=reason), None)
    assert (found.cause, str(found.evidence)) == ("scf", f"pw.out:812: {reason.partition(': ')[2]}")


def test_a_failed_run_that_nothing_explains_is_a_crash_and_a_cut_one_is_truncated() -> None:
    assert lost(record(status="failed", status_reason="the status is 'ABORTED'"), None).cause == "crash"
    cut = lost(record(), None)
    assert (cut.cause, cut.evidence.words, cut.folder) == ("truncated", CUT, None)


def test_a_format_without_an_end_mark_is_no_loss_unless_a_log_says_so(folder: Path) -> None:
    """MOVEMENT of PWmat has none: that it ends tells nothing."""
    found = inspect_file(DATA / "foreign/MOVEMENT", None)
    assert found["status"] == "truncated"
    unknown = record(status_reason=found["reason"])
    assert cause_of(unknown, None, folder) is None
    shutil.copy(HERE / "slurm-time.out", folder)
    assert lost(unknown, folder).cause == "walltime"


def test_a_run_that_ended_well_is_no_failure_whatever_its_logs_say(folder: Path) -> None:
    shutil.copy(HERE / "slurm-time.out", folder)
    assert cause_of(record(status="complete", status_reason=""), None, folder, n_configurations=3) is None


def test_nothing_given_is_no_failure() -> None:
    assert cause_of(None, None, None) is None


@pytest.mark.parametrize(
    ("left_out", "cause"),
    [
        ((LeftOut(line=7, reason="expected a converged self-consistency loop, found one that gave up."),), "scf"),
        ((LeftOut(line=7, reason="expected an energy, found none."),), "empty"),
        ((), "empty"),
    ],
)
def test_a_run_that_ended_well_and_gave_nothing_is_lost(left_out: tuple[LeftOut, ...], cause: str) -> None:
    done = record(status="complete", status_reason="", left_out=left_out)
    found = lost(done, None, n_configurations=0)
    assert (found.cause, found.evidence.line) == (cause, 7 if left_out else 0)


def test_a_refused_file_is_unreadable_with_its_place_unless_a_log_says_why(folder: Path) -> None:
    refusal = Refused("runs/1/vasprun.xml", 12, "parse", "expected a number, found '***'.")
    found = cause_of(None, refusal, folder)
    assert found is not None
    assert (found.cause, str(found.evidence)) == ("unreadable", "vasprun.xml:12: expected a number, found '***'.")
    assert found.code is None
    shutil.copy(HERE / "slurm-time.out", folder)
    again = cause_of(None, refusal, folder)
    assert again is not None
    assert again.cause == "walltime"
    units = cause_of(None, Refused("runs/1/vasprun.xml", None, "units-unknown", "expected units."), folder)
    assert units is not None
    assert units.cause == "unreadable"


def relaxation(**changes: object) -> Calculation:
    return record("OUTCAR", status="complete", status_reason="", run_kind="relax", **changes)


def test_a_relaxation_that_took_all_its_steps_counts_only_where_that_is_asked_for(folder: Path) -> None:
    """VASP ends well at NSW and says nothing; a title that holds NSW is none."""
    (folder / "OUTCAR").write_text(" SYSTEM =  a title NSW = 3\n   NSW    =      5    number of steps for IOM\n")
    assert cause_of(relaxation(), None, folder, n_configurations=5) is None
    found = lost(relaxation(), folder, n_configurations=5, unconverged=True)
    assert (found.cause, found.evidence.file) == ("geometry", "OUTCAR")
    assert cause_of(relaxation(), None, folder, n_configurations=4, unconverged=True) is None
    (folder / "vasp.out").write_text(" reached required accuracy - stopping structural energy minimisation\n")
    assert cause_of(relaxation(), None, folder, n_configurations=5, unconverged=True) is None


def test_steps_that_were_left_out_count_as_steps(folder: Path) -> None:
    (folder / "INCAR").write_text("IBRION = 2; NSW = 5\n")
    done = relaxation(left_out=(LeftOut(line=1, reason="expected ...", frames=2),))
    assert lost(done, folder, n_configurations=3, unconverged=True).evidence.file == "INCAR"


def test_other_codes_say_that_the_steps_were_used_up(folder: Path) -> None:
    (folder / "OUTCAR").write_text("\n     The maximum number of steps has been reached.\n\n   JOB DONE.\n")
    assert lost(relaxation(), folder, n_configurations=5, unconverged=True).evidence.line == 2
    warned = relaxation(warnings=("the ions did not converge (exit status 3).",))
    assert lost(warned, None, n_configurations=5, unconverged=True).cause == "geometry"


def test_molecular_dynamics_ends_by_its_number_of_steps_and_that_is_no_loss(folder: Path) -> None:
    (folder / "OUTCAR").write_text("     The maximum number of steps has been reached.\n")
    cut = record("OUTCAR", run_kind="md")
    assert lost(cut, folder).cause == "truncated"


def test_gaussian_breaks_off_an_optimisation_at_its_step_limit(folder: Path) -> None:
    (folder / "OUTCAR").write_text("    -- Number of steps exceeded,  NStep=   5\n Error termination via Lnk1e\n")
    failed = record("OUTCAR", status="failed", status_reason="line 2: Error termination via Lnk1e", run_kind="relax")
    assert cause_of(failed, None, folder) is None
    assert lost(failed, folder, unconverged=True).cause == "geometry"


def test_the_last_correction_of_custodian_names_the_error(folder: Path) -> None:
    shutil.copy(HERE / "custodian.json", folder)
    found = lost(record(), folder)
    assert (found.cause, str(found.evidence)) == ("crash", "custodian.json:6: VaspErrorHandler: brmix")
    packed = folder / "custodian.json.gz"
    packed.write_bytes(gzip.compress((folder / "custodian.json").read_bytes()))
    (folder / "custodian.json").unlink()
    assert lost(record(), folder).evidence.place == "custodian.json.gz:6"


def test_a_crash_is_heard_behind_the_last_step_of_molecular_dynamics(folder: Path) -> None:
    (folder / "OUTCAR").write_text("     The maximum number of steps has been reached.\n Error in routine punch (1):\n")
    assert lost(record("OUTCAR", run_kind="md"), folder).evidence.line == 2


def test_names_and_words_that_are_no_utf_8_are_made_so(folder: Path) -> None:
    (folder / "slurm-\udcff.out").write_bytes(b"\xff\xfe n042 DUE TO TIME LIMIT\n")
    (folder / "custodian.json").write_text(r'[{"corrections": [{"handler": "\ud800", "errors": ["\ud800"]}]}]')
    found = lost(record(), folder)
    assert found.cause == "walltime"
    assert str(found.evidence).encode()
    (folder / "slurm-\udcff.out").unlink()
    assert str(lost(record(), folder).evidence).encode()


@pytest.mark.parametrize(
    "journal",
    ["", "{", "[" * 100_000, "[1, null]", '[{"corrections": {"errors": 1}}]', '[{"corrections": [{"errors": "x"}]}]',
     '[{"corrections": [{"handler": "UnconvergedErrorHandler", "errors": ["Unconverged"]}]}]'],
)  # fmt: skip
def test_a_journal_that_says_nothing_is_passed_over(folder: Path, journal: str) -> None:
    (folder / "custodian.json").write_text(journal)
    assert lost(record(), folder).cause == "truncated"


def test_files_to_restart_from_are_named_and_an_empty_contcar_is_none(folder: Path) -> None:
    """VASP makes CONTCAR when it starts: killed in its first step it leaves it empty."""
    for name, content in {
        "CONTCAR": "",
        "WAVECAR": "w",
        "w-1.restart": "r",
        "w-RESTART.wfn": "x",
        "m.gbw": "g",
    }.items():
        (folder / name).write_text(content)
    (folder / "si.save").mkdir()
    assert lost(record(), folder).restart == ("WAVECAR", "w-1.restart", "w-RESTART.wfn", "m.gbw", "si.save")


def test_logs_of_earlier_attempts_are_not_heard(folder: Path) -> None:
    """The first attempt ran into its limit; the second was cut, and its own log says nothing of that."""
    now = time.time()
    shutil.copy(HERE / "slurm-time.out", folder / "slurm-99.out")
    (folder / "slurm-100.out").write_text("starting\n")
    for name in ("slurm-99.out", "slurm-100.out", "vasprun.xml"):
        os.utime(folder / name, (now, now))
    assert lost(record(), folder).cause == "truncated"
    (folder / "slurm-100.out").unlink()
    assert lost(record(), folder).cause == "walltime"
    os.utime(folder / "slurm-99.out", (now - 2 * HOUR, now - 2 * HOUR))
    assert lost(record(), folder).cause == "truncated"


def test_a_log_in_a_folder_of_several_runs_is_heard_only_if_it_bears_the_run_s_name(folder: Path) -> None:
    shutil.copy(HERE / "slurm-time.out", folder)
    shutil.copy(HERE / "run.e4712", folder / "other.e1")
    assert lost(record(), folder, shared=True).cause == "truncated"
    shutil.copy(HERE / "run.e4711", folder / "vasprun.e1")
    assert lost(record(), folder, shared=True).evidence.place == "vasprun.e1:1"


def test_the_log_of_a_path_lies_above_its_images_and_the_path_is_what_is_run_again(folder: Path) -> None:
    image = folder / "03"
    image.mkdir()
    (image / "OUTCAR").write_text("cut\n")
    (image / "CONTCAR").write_text("Si\n")
    shutil.copy(HERE / "slurm-time.out", folder)
    found = lost(record("03/OUTCAR", kind="reaction_path"), image)
    assert (found.cause, found.folder, found.restart) == ("walltime", folder, ("03/CONTCAR",))


def test_links_and_pipes_are_not_followed(folder: Path, tmp_path: Path) -> None:
    shutil.copy(HERE / "slurm-time.out", tmp_path / "outside")
    (folder / "slurm-1.out").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "slurm-2.out")
    (folder / "WAVECAR").symlink_to(tmp_path / "outside")
    found = lost(record(), folder)
    assert (found.cause, found.restart) == ("truncated", ())


def test_of_a_long_log_the_end_is_read_and_lines_are_counted_from_there(folder: Path) -> None:
    words = (HERE / "slurm-time.out").read_text()
    (folder / "slurm-1.out").write_text("a line\n" * PIECE + words)
    assert lost(record(), folder).evidence.place == "slurm-1.out:-1"
    (folder / "slurm-1.out").write_text(words + "a line\n" * PIECE)
    assert lost(record(), folder).cause == "truncated"


def test_compressed_logs_are_read_up_to_a_bound(folder: Path) -> None:
    words = (HERE / "slurm-time.out").read_bytes()
    (folder / "slurm-1.out.gz").write_bytes(gzip.compress(words))
    assert lost(record(), folder).evidence.place == "slurm-1.out.gz:5"
    (folder / "slurm-1.out.gz").write_bytes(gzip.compress(words)[:-20])
    assert lost(record(), folder).cause in ("walltime", "truncated")
    (folder / "slurm-1.out.gz").write_bytes(gzip.compress(bytes(4 * INFLATED) + words))
    started = time.perf_counter()
    assert lost(record(), folder).cause == "truncated"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [b"x" * (1 << 20), b"CANCELLED AT" * 80_000, b"=>> PBS: job killed: \n" * 40_000, b"\n" * (1 << 20),
     b"*** JOB " * 100_000, b"EEEEEEE " * 100_000, bytes(1 << 20)],
    ids=["one line", "repeated", "without its cause", "empty lines", "half a sign", "box", "zeros"],
)  # fmt: skip
def test_a_hostile_text_costs_time_in_proportion_to_its_length(text: bytes) -> None:
    started = time.perf_counter()
    hit = strongest(text)
    assert time.perf_counter() - started < 1
    assert hit is None or len(hit.words) <= LONGEST


def test_a_folder_of_very_many_files_is_looked_at_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpdata.run_folder.ENTRIES", 10)
    for number in range(20):
        (folder / f"f{number}").touch()
    assert len(RunFolder.at(folder).entries) == 10


def test_a_folder_that_cannot_be_read_is_as_if_it_were_empty(tmp_path: Path) -> None:
    assert RunFolder.at(tmp_path / "none").entries == {}
    assert lost(record(), tmp_path / "none").cause == "truncated"


WHOLE = v.vasprun(*(v.calculation(shift=0.01 * step) for step in range(3)))
CUT_OFF = WHOLE[: WHOLE.rindex("<calculation>") + 20]


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A tree of runs, not touched for a day: one whole, one cut by its limit, one cut that nothing explains."""
    raw = tmp_path / "raw"
    for name, text in {"whole": WHOLE, "limit": CUT_OFF, "cut": CUT_OFF.replace("-10.5", "-10.25")}.items():
        (raw / name).mkdir(parents=True)
        (raw / name / "vasprun.xml").write_text(text)
    shutil.copy(HERE / "slurm-time.out", raw / "limit/slurm-7.out")
    aged(raw)
    return raw


def aged(raw: Path, hours: float = 24) -> None:
    for path in raw.rglob("*"):
        then = time.time() - hours * HOUR
        os.utime(path, (then, then))


def test_the_store_and_the_tree_together_give_the_list(campaign: Path) -> None:
    sync(campaign, campaign.parent / "store")
    found = failures(campaign.parent / "store", campaign)

    assert [(one.path, one.cause) for one in found.lost] == [
        ("cut/vasprun.xml", "truncated"),
        ("limit/vasprun.xml", "walltime"),
    ]
    cut, limit = found.lost
    assert limit.folder == campaign / "limit"
    assert limit.evidence.place == "slurm-7.out:5"
    assert (limit.n_configurations, limit.last_step, limit.code) == (2, 1, "vasp")
    assert cut.evidence.file == "vasprun.xml"
    assert (found.n_running, found.n_replaced) == (0, 0)
    assert json.loads(json.dumps(limit.as_json()))["evidence"]["line"] == 5


def test_runs_are_found_whether_the_tree_was_synced_or_ingested(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(campaign.parent)
    ingest("raw", "store")
    for root in (None, Path("raw"), campaign):
        assert [one.cause for one in failures("store", root).lost] == ["truncated", "walltime"]
    assert [one.path for one in failures("store", Path("raw/limit")).lost] == ["raw/limit/vasprun.xml"]
    assert [one.folder for one in failures("store", Path("raw/limit")).lost] == [Path("raw/limit")]


def test_a_tree_that_moved_away_leaves_what_the_store_knows(campaign: Path) -> None:
    sync(campaign, campaign.parent / "store")
    campaign.rename(campaign.parent / "elsewhere")
    found = failures(campaign.parent / "store")
    assert [(one.cause, one.folder) for one in found.lost] == [("truncated", None), ("truncated", None)]


def test_a_run_that_changed_a_short_while_ago_is_counted_and_not_listed(campaign: Path) -> None:
    store = campaign.parent / "store"
    sync(campaign, store)
    (campaign / "cut/OSZICAR").write_text("still going\n")
    found = failures(store, campaign)
    assert ([one.cause for one in found.lost], found.n_running) == (["walltime"], 1)
    assert len(failures(store, campaign, running=None).lost) == 2
    assert len(failures(store, campaign, running=0).lost) == 2


def test_a_run_that_another_one_continues_is_not_listed(tmp_path: Path) -> None:
    """The second was cut, too: it is the one to go on with."""
    repository = Repository.open_or_create(tmp_path / "store")
    with repository.stage() as writer:
        for number, continues in ((1, ""), (2, "runs/1/vasprun.xml")):
            writer.begin()
            writer.append(frames(2, number))
            writer.end(sample(number, status="truncated", status_reason=CUT, continues=continues))
        repository.commit(writer)
    found = failures(tmp_path / "store")
    assert ([one.path for one in found.lost], found.n_replaced) == (["runs/2/vasprun.xml"], 1)
    assert len(failures(tmp_path / "store", replaced=True).lost) == 2


def stored(tmp_path: Path, **statuses: str) -> list[str]:
    """Paths of the failures of runs whose outputs are files of one folder."""
    repository = Repository.open_or_create(tmp_path / "store")
    with repository.stage() as writer:
        for number, (name, status) in enumerate(statuses.items()):
            writer.begin()
            writer.append(frames(2, number))
            writer.end(record(name, status=status, status_reason="", identity=name))
        repository.commit(writer)
    return [one.path for one in failures(tmp_path / "store").lost]


def test_a_later_run_of_the_same_file_that_is_complete_makes_it_good(tmp_path: Path) -> None:
    assert stored(tmp_path, **{"x.out": "failed", "x.out#2": "complete"}) == []


def test_an_earlier_run_of_the_same_file_does_not(tmp_path: Path) -> None:
    assert stored(tmp_path, **{"x.out": "complete", "x.out#2": "failed"}) == ["runs/1/x.out#2"]


def test_an_attempt_that_was_kept_aside_is_made_good_by_the_output_of_that_name(tmp_path: Path) -> None:
    assert stored(tmp_path, **{"OUTCAR.old": "failed", "OUTCAR": "complete", "x.out~": "failed"}) == ["runs/1/x.out~"]


def test_a_numbered_series_in_one_folder_is_no_series_of_attempts(tmp_path: Path) -> None:
    assert stored(tmp_path, **{"conf_1.out": "failed", "conf_2.out": "complete"}) == ["runs/1/conf_1.out"]


def test_refused_files_are_listed_unless_their_run_was_read_from_another_file(campaign: Path) -> None:
    store = campaign.parent / "store"
    damaged = campaign / "two"
    damaged.mkdir()
    shutil.copy(DATA / "espresso/scf.out", damaged / "pw.out")
    sync(campaign, store)
    refused = [Refused("two/pw.xml", 3, "parse", "cut"), Refused("gone/x.out", 3, "parse", "gone")]
    (damaged / "pw.xml").write_text("<")
    aged(campaign)
    found = failures(store, campaign, refused=refused)
    assert ("two/pw.xml", "unreadable") in [(one.path, one.cause) for one in found.lost]
    assert "gone/x.out" not in [one.path for one in found.lost]
    assert "gone/x.out" in [one.path for one in failures(store, refused=refused).lost]


def test_a_file_whose_run_was_read_from_the_others_is_no_lost_run(tmp_path: Path) -> None:
    repository = Repository.open_or_create(tmp_path / "store")
    note = "OUTCAR:3, of the same run, could not be read: expected a number."
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(2, 1))
        writer.end(record(status="complete", status_reason="", warnings=(note,)))
        repository.commit(writer)
    refused = [Refused("runs/1/OUTCAR", 3, "parse", "x"), Refused("runs/2/OUTCAR", 3, "parse", "x")]
    assert [one.path for one in failures(tmp_path / "store", refused=refused).lost] == ["runs/2/OUTCAR"]


def test_members_of_archives_have_no_folder(tmp_path: Path) -> None:
    tree = _tree_of_archive(tmp_path)
    repository = Repository.open_or_create(tmp_path / "store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(2, 1))
        source = Source(path="x.tar!a/OUTCAR", sha256="1" * 64, bytes=1, reader="vasp/outcar", reader_version=1)
        writer.end(record(path="x.tar!a/OUTCAR", sources=(source,)))
        repository.commit(writer)
    (found,) = failures(tmp_path / "store", tree).lost
    assert (found.path, found.folder, found.cause) == ("x.tar!a/OUTCAR", None, "truncated")


def _tree_of_archive(tmp_path: Path) -> Path:
    tree = tmp_path / "raw"
    tree.mkdir()
    (tree / "x.tar").write_bytes(b"")
    shutil.copy(HERE / "slurm-time.out", tree)
    return tree


@pytest.mark.parametrize("path", ["../secret/OUTCAR", "/etc/OUTCAR"])
def test_a_path_of_a_store_never_leads_out_of_the_tree(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/OUTCAR").touch()
    shutil.copy(HERE / "slurm-time.out", tmp_path / "secret")
    tree = tmp_path / "raw"
    tree.mkdir()
    repository = Repository.open_or_create(tree / "store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(2, 1))
        source = Source(path=path, sha256="1" * 64, bytes=1, reader="vasp/outcar", reader_version=1)
        writer.end(record(path=path, sources=(source,)))
        repository.commit(writer)
    (found,) = failures(tree / "store").lost
    assert (found.folder, found.cause) == (None, "truncated")


def test_signs_are_ordered_from_the_cause_to_the_mere_fact() -> None:
    """Every line of a log at once: what tells most is heard, whatever the order of the lines."""
    texts = [path.read_bytes() for path in sorted(HERE.glob("*.[oe]*")) if path.is_file()]
    assert len(texts) > 15
    for whole in (b"".join(texts), b"".join(texts[::-1])):
        hit = strongest(whole)
        assert hit is not None
        assert hit.cause == "memory"
    assert causes.SIGNS[-1].cause == "node"
