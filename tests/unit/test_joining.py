"""Files of one run are joined: the first gives the configurations, the others what it lacks."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.frames import Frames
from mlpdata.joining import Beside, completed
from mlpdata.readers.registry import Ending, Header
from mlpdata.schema.calculation import Source
from mlpdata.schema.method import Convergence, Method, Pseudopotential
from mlpdata.testing.samples import frames

SOURCE = (Source(path="run/OUTCAR", sha256="0" * 64, bytes=1, reader="vasp/outcar", reader_version=1),)


def of_a_run(n: int = 5) -> Frames:
    return frames(n, 1).with_arrays(step=np.arange(n))


def beside(block: Frames) -> Beside:
    return Beside(SOURCE, Header(Method(code="vasp"), "run"), block, Ending("complete"))


def test_moments_that_only_the_other_file_prints_are_added() -> None:
    block = of_a_run()
    moments = np.arange(len(block.positions), dtype=float)

    joined = beside(block.with_arrays(magnetic_moments=moments)).add_to(block)

    assert joined.get("magnetic_moments").tolist() == moments.tolist()
    assert joined.energy.tolist() == block.energy.tolist()


def test_convergence_that_the_first_file_leaves_open_is_what_the_other_says() -> None:
    """V8: vasprun.xml prints iterations, OUTCAR of VASP 6 the verdict."""
    block = of_a_run(3)

    joined = beside(block.with_arrays(scf_converged=[1, 0, 1])).add_to(block.with_arrays(scf_converged=[-1, -1, 0]))

    assert joined.get("scf_converged").tolist() == [1, 0, 0]


def test_numbers_of_the_first_file_are_never_replaced() -> None:
    block = of_a_run()
    rounded = block.with_arrays(energy=np.round(block.energy, 6), forces=np.round(block.forces, 3))

    joined = beside(rounded).add_to(block)

    np.testing.assert_array_equal(joined.energy, block.energy)
    np.testing.assert_array_equal(joined.forces, block.forces)


def test_steps_that_the_first_file_lost_come_from_the_other() -> None:
    whole = of_a_run()
    other = beside(whole)

    other.add_to(whole.select([0, 1, 3]))
    rest = other.rest(1)

    assert rest is not None
    assert rest.get("step").tolist() == [2, 4]
    assert rest.get("source_index").tolist() == [1, 1]


@pytest.mark.parametrize("name", ["energy", "positions"])
def test_a_file_that_contradicts_the_first_is_another_run(name: str) -> None:
    block = of_a_run()
    other = beside(
        block.with_arrays(**{name: block.get(name) + 0.01, "magnetic_moments": np.ones(len(block.positions))})
    )

    joined = other.add_to(block)

    assert not other.agrees
    assert "magnetic_moments" not in joined
    assert other.rest(1) is None


def test_atoms_that_one_file_folds_into_the_cell_are_the_same_atoms() -> None:
    block = of_a_run()
    other = beside(block.with_arrays(positions=block.positions + block.cell[block.configuration_of_atom, 0]))

    other.add_to(block)

    assert other.agrees


def test_a_file_of_one_configuration_without_step_is_found_by_its_energy() -> None:
    block = of_a_run()
    last = block.select([4]).without("step").with_arrays(dipole=[[1.0, 2.0, 3.0]])

    joined = beside(last).add_to(block)

    assert np.isnan(joined.get("dipole")).all(axis=1).tolist() == [True] * 4 + [False]


def test_a_method_is_completed_by_what_the_other_file_states() -> None:
    one = Method(
        code="vasp",
        functional="PBE",
        convergence=Convergence(electronic=1e-5),
        pseudopotentials=(Pseudopotential(element="Si", title="PAW_PBE Si"),),
        settings_as_printed={"PREC": "accurate"},
    )
    other = Method(
        code="vasp",
        functional="RPBE",
        dispersion="D3",
        convergence=Convergence(electronic=1.0, ionic_force=0.01),
        pseudopotentials=(Pseudopotential(element="Si", title="PAW_PBE Si 05Jan2001", digest="sha256:00"),),
        settings_as_printed={"PREC": "low", "LREAL": False},
    )

    whole = completed(one, other)

    assert (whole.functional, whole.dispersion) == ("PBE", "D3")
    assert (whole.convergence.electronic, whole.convergence.ionic_force) == (1e-5, 0.01)
    assert whole.pseudopotentials[0] == Pseudopotential(element="Si", title="PAW_PBE Si", digest="sha256:00")
    assert whole.settings_as_printed == {"PREC": "accurate", "LREAL": False}
