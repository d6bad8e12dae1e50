"""The README is run as it is written: every bash and python block, in order, in a project with a few real outputs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlpdata.schema.noun import from_user
from mlpdata.schema.sidecar import Sidecar

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
    (text,) = blocks("yaml")
    sidecar = from_user(Sidecar, yaml.safe_load(text), "README.md")
    assert sidecar.kind == "aimd"


def test_every_verb_of_the_readme_exists_and_every_verb_is_in_it() -> None:
    verbs = set(re.findall(r"^  (\w+)  ", run("mlpdata --help", ROOT), flags=re.MULTILINE))
    named = set(re.findall(r"mlpdata (\w+)", README))
    assert verbs
    assert verbs <= named | {"sync", "report"}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
