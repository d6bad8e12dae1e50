"""The pipeline with the real dvc and git: what is rerun, and that four ways lead to the same names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RAW = ROOT / "examples" / "silicon" / "raw"
BIN = Path(sys.executable).parent

FEW = {
    "aimd/300K": ["run1.out.xz", "run2.out.xz", "run3.out.xz"],
    "random": ["rattle00.xml.xz", "rattle01.xml.xz", "rattle02.xml.xz", "rattle03.xml.xz"],
    "equilibrium": ["strain00.out.xz", "strain01.out.xz", "strain02.out.xz"],
}
SMALL = {
    "split": {"select": "SELECT id FROM configurations WHERE kind <> 'aimd' OR step % 8 = 0"},
    "train": {"epochs": 2, "threads": 1, "model": {"channels": 4, "l_max": 0, "cutoff": 4.0}},
    "md": {
        "duration": 0.02,
        "equilibration": 0.0,
        "temperatures": [100.0],
        "start": "SELECT id FROM configurations WHERE kind = 'equilibrium' ORDER BY id LIMIT 1",
    },
}


def run(project: Path, *command: str, **variables: str) -> str:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", **variables}
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def repro(project: Path, *targets: str, **variables: str) -> set[str]:
    """Stages that `dvc repro` ran."""
    said = run(project, "dvc", "repro", *targets, **variables)
    return {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}


def commit(project: Path, message: str) -> None:
    run(project, "git", "add", "-A")
    run(project, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)


def content(project: Path) -> str:
    return str(json.loads((project / "dataset.json").read_text())["content"])


def split_id(project: Path) -> str:
    return json.dumps(json.loads((project / "splits" / "main.json").read_text())["parts"])


def view_id(project: Path) -> bytes:
    return (project / "views" / "main" / "view.json").read_bytes()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project begun by `mlpdata init`, filled with a few real outputs, run once to its end, committed."""
    project = tmp_path_factory.mktemp("project") / "p"
    run(ROOT, "mlpdata", "init", str(project))
    shutil.copy(RAW / "mlpdata.yaml", project / "raw")
    for folder, names in FEW.items():
        (project / "raw" / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(RAW / folder / name, project / "raw" / folder)
        for above in (Path(folder), *Path(folder).parents):
            if (RAW / above / "mlpdata.yaml").is_file():
                shutil.copy(RAW / above / "mlpdata.yaml", project / "raw" / above)
    params = yaml.safe_load((project / "params.yaml").read_text())
    for section, changes in SMALL.items():
        params[section].update(changes)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert repro(project) == {"ingest", "record", "check", "split", "freeze", "train", "evaluate", "md", "report"}
    commit(project, "first")
    return project


@pytest.fixture
def project(begun: Path, tmp_path: Path) -> Path:
    """A copy of that project, to be changed."""
    return Path(shutil.copytree(begun, tmp_path / "p", symlinks=True))


def test_init_writes_the_pipeline_of_the_root() -> None:
    assert (ROOT / "dvc.yaml").read_bytes() == (ROOT / "pipelines" / "template" / "dvc.yaml").read_bytes()


def test_the_parameters_of_root_and_template_are_valid_and_alike() -> None:
    from mlpdata.project import load_params

    root, template = (load_params(path) for path in (ROOT / "params.yaml", ROOT / "pipelines/template/params.yaml"))
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) == set(
        yaml.safe_load((ROOT / "pipelines/template/params.yaml").read_text())
    )
    assert root.check.replace(purpose="train") == template.check


def test_the_report_is_one_file_that_asks_for_nothing(begun: Path) -> None:
    page = (begun / "results" / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


def test_a_second_repro_does_nothing(project: Path) -> None:
    assert repro(project) == set()


def test_a_parameter_of_the_evaluation_reruns_the_evaluation_and_the_report(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("force_mae: 60.0", "force_mae: 61.0"))
    assert repro(project) <= {"evaluate", "report"}


def test_one_more_raw_file_reruns_what_depends_on_it(project: Path) -> None:
    before = content(project)
    shutil.copy(RAW / "random" / "rattle04.xml.xz", project / "raw" / "random")
    assert {"ingest", "split", "freeze"} <= repro(project, "freeze")
    assert content(project) != before


def test_touching_a_raw_file_without_changing_it_reruns_nothing(project: Path) -> None:
    os.utime(project / "raw" / "random" / "rattle00.xml.xz")
    assert repro(project) == set()


def test_four_ways_lead_to_the_same_content_split_and_view(project: Path, tmp_path: Path) -> None:
    first = content(project), split_id(project), view_id(project)
    extra = project / "raw" / "random" / "rattle04.xml.xz"
    shutil.copy(RAW / "random" / "rattle04.xml.xz", extra)
    repro(project, "freeze")
    grown = content(project), split_id(project), view_id(project)
    assert grown[0] != first[0]
    commit(project, "grown")

    scratch = tmp_path / "elsewhere" / "q"
    scratch.mkdir(parents=True)
    for name in ("raw", "dvc.yaml", "params.yaml"):
        (shutil.copytree if (project / name).is_dir() else shutil.copy)(project / name, scratch / name)
    run(scratch, "git", "init", "-q")
    run(scratch, "dvc", "init", "-q")
    repro(scratch, "freeze", TZ="Asia/Tokyo", LANG="C", PYTHONHASHSEED="7")
    assert (content(scratch), split_id(scratch), view_id(scratch)) == grown, "from scratch elsewhere"

    extra.unlink()
    repro(project, "freeze")
    assert (content(project), split_id(project), view_id(project)) == first, "after a deletion"

    run(project, "git", "stash", "-q")
    run(project, "git", "checkout", "-q", "HEAD~1")
    run(project, "dvc", "checkout", "-q")
    repro(project, "freeze")
    assert (content(project), split_id(project), view_id(project)) == first, "after an old checkout"
    run(project, "mlpdata", "verify")
