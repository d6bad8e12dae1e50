"""The README is run as it is written: bash and python blocks in order in a project with a few real outputs; blocks that
show answers, and shell loops, over a small campaign."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
import vasprun as v
import yaml

from mlpdata.schema.noun import from_user
from mlpdata.schema.sidecar import Sidecar, SidecarFile

if TYPE_CHECKING:
    from object_store import Bucket

ROOT = Path(__file__).parents[2]
RAW = ROOT / "examples" / "silicon" / "raw"
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent

SMALL = {
    "train": {"epochs": 2, "threads": 1, "model": {"channels": 4, "l_max": 0, "cutoff": 4.0}},
    "md": {
        "duration": 0.02,
        "equilibration": 0.0,
        "temperatures": [50.0],
        "start": "SELECT id FROM configurations WHERE kind = 'equilibrium' ORDER BY id LIMIT 1",
    },
    "evaluate": {"energy_mae": 1e6, "force_mae": 1e6},
}
"""A model that is made in seconds: here it is asked whether the commands work, not whether the model is good."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/: outputs of pw.x from the example, and a vasprun.xml of ASE's where it is installed."""
    import ase.test

    folder = tmp_path_factory.mktemp("readme")
    for name in (
        "aimd/300K/run1.out.xz",
        *(f"random/rattle0{i}.xml.xz" for i in range(4)),
        *(f"equilibrium/strain0{i}.out.xz" for i in range(4)),
    ):
        (folder / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(RAW / name, folder / "runs" / name)
    for kind in ("aimd", "random", "equilibrium"):
        shutil.copy(RAW / kind / "mlpdata.yaml", folder / "runs" / kind)
    vasprun = Path(ase.test.__file__).parent / "testdata" / "vasp" / "vasprun_dfpt.xml"
    shutil.copy(vasprun, folder / "vasprun.xml")
    shutil.copy(ROOT / "tests" / "data" / "extxyz" / "crystal.extxyz", folder / "train.extxyz")
    (folder / "params.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


def run(command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        shlex.split(command, comments=True), cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def an_id(project: Path) -> str:
    """What a user copies out of a query."""
    return run('mlpdata sql "SELECT hex(id) FROM configurations ORDER BY id LIMIT 1" --format csv', project).split()[-1]


@pytest.fixture(scope="module")
def walked(project: Path) -> Path:
    """The project after every bash block."""
    for block in blocks("bash"):
        for line in block.splitlines():
            if line.strip():
                run(line.replace("$ID", an_id(project)) if "$ID" in line else line, project)
    return project


def test_every_bash_block_runs(walked: Path) -> None:
    assert "no fault" in run("mlpdata verify", walked)


def test_the_python_blocks_run_after_them(walked: Path) -> None:
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=walked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "torch.float64" in done.stdout


def test_the_sidecar_of_the_readme_is_one() -> None:
    plain, rules = blocks("yaml")
    assert from_user(Sidecar, yaml.safe_load(plain), "README.md").kind == "aimd"
    assert set(from_user(SidecarFile, yaml.safe_load(rules), "README.md").runs) == {"SiGe/600K/*"}


# the campaign


def molecular_dynamics(first: int, n_steps: int, temperature: float) -> str:
    """A run of VASP whose energy rises with each step."""
    loops = [v.three(free=v.FREE + step / 1000) for step in range(first, first + n_steps)]
    steps = (v.calculation(loop, [loop], shift=0.003 * (first + number)) for number, loop in enumerate(loops))
    return v.vasprun(*steps, parameters={"TEBEG": f"{temperature:.8f}", "TEEND": f"{temperature:.8f}"})


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A tree as people leave it, two hours old: a run with its restart, one cut by the queue, one in an archive."""
    root = tmp_path / "campaign"
    whole = molecular_dynamics(10, 4, 600)
    yaml_block, csv_block = blocks("yaml")[1], blocks("csv")[0]
    contents = {
        "SiGe/300K/a/vasprun.xml": molecular_dynamics(0, 4, 300),
        "SiGe/300K/b/vasprun.xml": molecular_dynamics(3, 4, 300),
        "SiGe/600K/a/vasprun.xml": whole[: whole.rindex("<calculation>") + 500],
        "SiGe/600K/a/slurm-7.out": "Loading vasp/6.4\n"
        "slurmstepd: error: *** JOB 7 ON n042 CANCELLED AT 2026-03-01T04:10:22 DUE TO TIME LIMIT ***\n",
        "SiGe/600K/a/job.sh": "srun vasp_std\n",
        "SiGe/tests/x/vasprun.xml": molecular_dynamics(50, 1, 300),
        ".mlpdataignore": "tests/\n",
        "mlpdata.yaml": yaml_block,
        "runs.csv": csv_block,
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    packed = molecular_dynamics(20, 5, 900).encode()
    with tarfile.open(root / "2019.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("SiGe/900K/a/vasprun.xml")
        member.size = len(packed)
        archive.addfile(member, io.BytesIO(packed))
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    return tmp_path


def shown() -> list[tuple[str, str]]:
    """The commands whose answers the README shows, with these."""
    pieces = [piece for block in blocks("console") for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, answer) for command, _, answer in (piece.partition("\n") for piece in pieces)]


def comparable(answer: str) -> list[list[str]]:
    """The words of each line, without what differs from run to run: times and ids."""
    plain = re.sub(r"\(\d+\.\d s\)|\b[0-9a-f]{12}\b", "...", answer)
    return [line.split() for line in plain.splitlines()]


def test_the_answers_that_are_shown_are_those_that_are_given(campaign: Path) -> None:
    answers = shown()
    assert len(answers) > 5
    for command, answer in answers:
        assert comparable(run(command, campaign)) == comparable(answer), command


def test_what_the_queue_ended_is_submitted_again_and_what_waits_is_not(campaign: Path) -> None:
    """Stand-ins for a scheduler: `squeue` prints the file of waiting folders, `sbatch` writes to it."""
    (loop,) = (block for block in blocks("shell") if "sbatch" in block)
    folder = campaign / "campaign/SiGe/600K/a"
    (folder / "CONTCAR").write_text("where it was\n")
    stand_ins, queue = campaign / "bin", campaign / "queue"
    stand_ins.mkdir()
    queue.touch()
    (stand_ins / "squeue").write_text(f"#!/bin/sh\ncat {queue}\n")
    (stand_ins / "sbatch").write_text(f'#!/bin/sh\ntest -f "$1" && pwd >> {queue}\n')
    for program in stand_ins.iterdir():
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stand_ins}:{BIN}:{os.environ['PATH']}", "USER": "somebody"}
    for _ in range(2):
        subprocess.run(["bash", "-c", loop], cwd=campaign, env=environment, capture_output=True, check=True)
        assert queue.read_text() == f"{folder}\n"
    assert (folder / "POSCAR").read_text() == "where it was\n"


@contextmanager
def running(command: str, folder: Path) -> Iterator[IO[str]]:
    """What a server says on stderr, as long as it runs."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DASK_TEMPORARY_DIRECTORY": str(folder)}
    with subprocess.Popen(
        shlex.split(command), stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as server:
        assert server.stderr is not None
        try:
            yield server.stderr
        finally:
            server.terminate()


def test_the_workers_of_the_readme_read_what_one_process_reads(campaign: Path) -> None:
    pytest.importorskip("distributed")
    (block,) = (block for block in blocks("shell") if "dask" in block)
    scheduler, workers, sync = (line.partition("#")[0].strip(" &") for line in block.splitlines())
    options = "--dashboard-address 127.0.0.1:0"
    with running(f"{scheduler.replace('8786', '0')} --host 127.0.0.1 {options}", campaign) as lines:
        address = next(found[0] for line in lines if (found := re.search(r"tcp://[\d.]+:\d+", line)))
        with running(f"{workers.replace('tcp://127.0.0.1:8786', address)} {options}", campaign):
            there = run(f"{sync.replace('tcp://127.0.0.1:8786', address)} --json --store there", campaign)
    here = run("mlpdata sync campaign --json --store here", campaign)
    assert json.loads(there)["content"] == json.loads(here)["content"]


def test_the_store_in_a_bucket_of_the_readme_is_made_and_asked(project: Path, bucket: Bucket) -> None:
    (block,) = (block for block in blocks("shell") if "s3://" in block)
    settings, *commands = block.splitlines()
    assert set(re.findall(r"AWS_\w+", settings)) <= set(os.environ)
    bucket.ask("PUT", "/group")
    for command in commands:
        run(command, project)
    assert bucket.object("s3://group/silicon", "HEAD")


def test_every_verb_of_the_readme_exists_and_every_verb_is_in_it() -> None:
    verbs = set(re.findall(r"^  (\w+)  ", run("mlpdata --help", ROOT), flags=re.MULTILINE))
    named = set(re.findall(r"mlpdata (\w+)", README))
    assert verbs
    assert verbs <= named | {"report"}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
