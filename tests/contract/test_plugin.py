"""Readers that other packages bring: the worked example, and what a broken one costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_cover  # thousands of readings: traced they would take minutes

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
BIN = Path(sys.executable).parent


def install(folder: Path, name: str, points: dict[str, str]) -> None:
    """What an installer leaves beside the modules of a package: its name and its entry points."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[mlpdata.readers]\n{lines}")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of the search path on which the example is installed, as its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    install(tmp_path, "mlpdata_toy", project["project"]["entry-points"]["mlpdata.readers"])
    for module in project["tool"]["setuptools"]["py-modules"]:
        (tmp_path / f"{module}.py").write_text((EXAMPLE / f"{module}.py").read_text())
    return tmp_path


def run(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=path, env=environment)


def test_the_example_is_short() -> None:
    assert len((EXAMPLE / "mlpdata_toy.py").read_text().splitlines()) < 40


def test_the_readme_announces_it_as_its_package_does() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (EXAMPLE.parents[1] / "README.md").read_text(), re.DOTALL)
    announced = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    assert tomllib.loads(block)["project"]["entry-points"] == announced


def test_an_installed_plugin_reads_its_files(installed: Path) -> None:
    done = run(installed, str(BIN / "mlpdata"), "inspect", "--json", str(EXAMPLE / "argon.toy"))

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["reader"], found["n_frames"], found["status"]) == ("toy/out", 3, "complete")
    assert found["last"]["energy"] == -0.01018
    assert found["last"]["forces"][1] == [0.0109, -0.00002, -0.00023]


def test_the_example_fulfils_the_contract(installed: Path) -> None:
    done = run(installed, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE))

    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


BROKEN = {
    "raises an error": "raise RuntimeError('out of order')\n",
    "needs what is not installed": "import no_such_module\n",
    "brings something else": "READER = 'a string'\n",
    "brings nothing": "",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_named_and_costs_nothing_else(installed: Path, how: str) -> None:
    (installed / "broken_plugin.py").write_text(BROKEN[how])
    install(installed, "broken_plugin", {"unlucky": "broken_plugin:READER"})

    done = run(installed, str(BIN / "mlpdata"), "inspect", "--json", str(EXAMPLE / "argon.toy"))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_frames"] == 3
    assert "the reader unlucky (broken_plugin:READER) is not there" in done.stderr


def test_doctor_lists_the_plugins_and_what_is_wrong_with_them(installed: Path) -> None:
    (installed / "broken_plugin.py").write_text(BROKEN["raises an error"])
    install(installed, "broken_plugin", {"unlucky": "broken_plugin:READER"})

    done = run(installed, str(BIN / "mlpdata"), "doctor", "--json")

    rows = {row["name"]: (row["state"], row["cure"]) for row in json.loads(done.stdout)}
    assert rows["reader toy"] == ("found", "")
    assert rows["reader unlucky"] == ("broken", "mend its package: RuntimeError: out of order")
