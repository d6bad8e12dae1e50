"""The gates over one run: what they mark is counted with its place, and the whole run shows a mistaken unit."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.checks.gatekeeper import MISTAKEN, Gatekeeper
from mlpdata.checks.measures import Circumstances
from mlpdata.frames import Frames
from mlpdata.units import HARTREE


def springs(n_steps: int = 20) -> Frames:
    """Two atoms on a spring of 5 eV/angstrom^2, whose bond swings by 0.05 angstrom about 1.2."""
    stretch = 0.05 * np.sin(0.7 * np.arange(n_steps))
    ends = np.stack([-(1.2 + stretch) / 2, (1.2 + stretch) / 2], axis=1)
    pull = np.stack([5 * stretch, -5 * stretch], axis=1)
    along = np.array([1.0, 0, 0])
    return Frames(
        np.full(n_steps, 2),
        {
            "atomic_numbers": np.full(2 * n_steps, 8),
            "positions": ends.reshape(-1, 1) * along,
            "forces": pull.reshape(-1, 1) * along,
            "energy": 2.5 * stretch**2,
            "pbc": np.zeros((n_steps, 3)),
            "step": np.arange(n_steps),
            "source_line": 100 + 10 * np.arange(n_steps),
        },
    )


def remarks(frames: Frames, *cuts: int) -> tuple[str, ...]:
    """What is said of a run that comes in several blocks."""
    keeper = Gatekeeper(Circumstances(code="vasp"))
    for part in np.split(np.arange(len(frames)), cuts):
        keeper.admit(frames.select(part))
    return keeper.remarks()


def test_nothing_is_said_of_a_sound_run() -> None:
    assert remarks(springs(), 7, 8) == ()


def test_marks_are_counted_over_blocks_with_the_line_of_the_first() -> None:
    frames = springs()
    forces = frames.forces.copy()
    forces[2 * 9 : 2 * 12, 1] += 1.0  # an atom of steps 9, 10 and 11 each pushed aside

    said = remarks(frames.with_arrays(forces=forces), 10)

    assert said == ("net-force: 3 marked, the first at line 190",)


def test_a_mark_without_a_line_says_none() -> None:
    frames = springs().without("source_line")
    assert remarks(frames.with_arrays(forces=frames.forces + 1.0)) == ("net-force: 20 marked",)


@pytest.mark.parametrize("cuts", [(), (1,), (4, 5, 19)])
def test_a_mistaken_unit_is_named_however_the_run_is_cut(cuts: tuple[int, ...]) -> None:
    frames = springs()
    first, *others = remarks(frames.with_arrays(energy=frames.energy / HARTREE), *cuts)

    assert first.startswith("mistaken-units: over 19 steps the energy changes 0.03675 times as much")
    assert "energies are in hartree" in first
    assert [other.partition(":")[0] for other in others] == ["energy-work"]


def test_gradients_are_named() -> None:
    frames = springs()
    first, *_ = remarks(frames.with_arrays(forces=-frames.forces))
    assert "they are gradients" in first


def test_forces_with_a_bias_that_the_energy_lacks_name_no_mistake() -> None:
    frames = springs()
    keeper = Gatekeeper(Circumstances(forces_are="biased"))
    keeper.admit(frames.with_arrays(forces=-frames.forces))

    assert not any(remark.startswith(MISTAKEN) for remark in keeper.remarks())


def test_what_is_rejected_is_left_out_once_with_its_line() -> None:
    frames = springs().with_arrays(scf_converged=np.arange(20) != 4)
    keeper = Gatekeeper(Circumstances(forces_are="projected"))

    kept, left_out = keeper.admit(frames)

    assert len(kept) == 0
    assert [one.line for one in left_out] == list(range(140, 141)) + [n for n in range(100, 300, 10) if n != 140]
    assert "converged" in left_out[0].reason
    assert "projected out" in left_out[1].reason


def test_what_is_rejected_is_not_marked_as_well() -> None:
    frames = springs()
    forces = frames.forces.copy()
    forces[8, 1] += 1.0  # step 4

    said = remarks(frames.with_arrays(forces=forces, scf_converged=np.arange(20) != 4))

    assert said == ()


def test_an_empty_block_passes() -> None:
    kept, left_out = Gatekeeper(Circumstances()).admit(springs(0))
    assert (len(kept), left_out) == (0, [])
