"""Trajectories on disk: what is written is read, what was damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlpdata.dynamics.trajectory import Trajectory, read, write
from mlpdata.errors import CorruptError, NotFound

ARRAYS = (
    "time",
    "potential",
    "kinetic",
    "temperature",
    "atomic_numbers",
    "cell",
    "pbc",
    "kept",
    "positions",
    "velocities",
)


def trajectory(n_steps: int = 101, ensemble: str = "nve", slope: float = 0.0) -> Trajectory:
    """Eight atoms whose total energy rises by `slope` [eV/fs]."""
    time = np.arange(n_steps) * 2.0
    swing = np.sin(time / 10)
    return Trajectory(
        ensemble="nve" if ensemble == "nve" else "langevin",
        start_temperature=300.0,
        timestep=2.0,
        seed=7,
        failure=None,
        time=time,
        potential=-10.0 - swing,
        kinetic=swing + slope * time,
        temperature=300 + 10 * swing,
        atomic_numbers=np.full(8, 14, np.uint8),
        cell=np.eye(3) * 5.43,
        pbc=np.ones(3, np.int8),
        kept=np.array([0, 50]),
        positions=np.random.default_rng(0).normal(size=(2, 8, 3)),
        velocities=np.zeros((2, 8, 3)),
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = trajectory()

    write(tmp_path / "md" / "300K", written)
    found = read(tmp_path / "md" / "300K")

    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
        assert getattr(found, name).dtype == getattr(written, name).dtype
    assert found.summary() == written.summary()


def test_the_same_run_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", trajectory())
    write(tmp_path / "b", trajectory())

    def contents(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    assert contents("a") == contents("b")


def test_the_summary_says_drift_in_both_units() -> None:
    summary = trajectory(slope=8e-6).summary()  # 8 meV/ps of eight atoms

    assert summary["drift"]["value"] == pytest.approx(1.0)
    assert summary["drift_per_step"] == pytest.approx(1.6e-5)
    assert summary["units"]["drift"] == "meV/atom/ps"
    assert summary["duration"] == pytest.approx(0.2)
    json.dumps(summary, allow_nan=False)


def test_a_thermostat_has_a_temperature_but_no_drift() -> None:
    summary = trajectory(ensemble="langevin").summary()

    assert summary["drift"] is summary["drift_per_step"] is summary["fluctuation"] is None
    assert summary["temperature"]["value"] == pytest.approx(300, abs=5)


def test_a_run_too_short_for_errors_has_a_summary_without_them() -> None:
    summary = trajectory(n_steps=3).summary()

    assert summary["drift"] is summary["temperature"] is None
    assert summary["steps"] == 2


@pytest.mark.parametrize("name", ["positions.npy", "time.npy"])
def test_a_flipped_bit_is_reported(tmp_path: Path, name: str) -> None:
    write(tmp_path, trajectory())
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CorruptError, match=name):
        read(tmp_path)


def test_an_absent_array_and_a_foreign_record_are_reported(tmp_path: Path) -> None:
    write(tmp_path, trajectory())
    (tmp_path / "cell.npy").unlink()
    with pytest.raises(CorruptError, match=r"cell\.npy"):
        read(tmp_path)

    (tmp_path / "md.json").write_text('{"ensemble": "nve"}')
    with pytest.raises(CorruptError, match=r"md\.json"):
        read(tmp_path)


def test_an_empty_folder_holds_no_trajectory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="expected a trajectory"):
        read(tmp_path)
