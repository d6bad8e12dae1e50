"""Series: strained, displaced and rattled copies of one parent are told apart by what was done to it."""

from __future__ import annotations

import numpy as np
import pytest
from crystals import CELL, DIAMOND, EDGE, REST, dynamics, kpoints, points, related, run, with_settings

from mlpdata.relations import Relation, Run, relations

RANDOM = np.random.default_rng(11)


def strained(folder: str, strains: list[float], shear: bool = False) -> list[Run]:
    """Copies of silicon at the same fractional coordinates; the energy is quadratic in the strain."""
    runs = []
    for number, strain in enumerate(strains):
        tensor = strain * (np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) if shear else np.eye(3))
        cell = CELL @ (np.eye(3) + tensor)
        energy = np.array([-43.0 + 300 * strain**2])
        runs.append(run(f"{folder}/{number}/OUTCAR", DIAMOND @ cell, "single_point", cells=cell, energies=energy))
    return runs


def rattled(folder: str, size: float, n: int, seed: int = 0, centre: np.ndarray = REST, **more: object) -> list[Run]:
    """Copies whose coordinates are drawn from normal distributions; `size` is the root mean square over atoms."""
    drawn = np.random.default_rng(seed).normal(scale=size / 3**0.5, size=(n, *centre.shape))
    return points(folder, list(centre + drawn), **more)


def displaced(folder: str, length: float, atoms: list[tuple[int, ...]]) -> list[Run]:
    """Copies as phonopy writes them: the atoms named are displaced along x, y or z by one length."""
    structures = []
    for number, which in enumerate(atoms):
        structure = REST.copy()
        for atom in which:
            structure[atom, number % 3] += length
        structures.append(structure)
    return points(folder, structures)


def kinds(found: list[Relation] | dict[str, Relation]) -> list[str]:
    return [one.kind for one in (found.values() if isinstance(found, dict) else found)]


def n_groups(found: list[Relation]) -> int:
    return len({one.group for one in found})


@pytest.mark.parametrize("shear", [False, True])
def test_cells_strained_about_one_of_them_are_a_series(shear: bool) -> None:
    found = related(*strained("eos", [-0.06, -0.03, 0.0, 0.03, 0.06], shear))

    assert kinds(found) == ["strained", "strained", "unknown", "strained", "strained"]
    assert found["eos/0"].rests_on["kind"] == "its cell is strained by 6 % from that of eos/2/OUTCAR"
    assert found["eos/3"].rests_on["kind"] == "its cell is strained by 3 % from that of eos/2/OUTCAR"
    assert len({one.group for one in found.values()}) == 5


def test_a_strain_is_what_is_left_when_the_cell_is_turned_and_all_atoms_are_moved() -> None:
    turn = np.linalg.qr(RANDOM.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    cells = [CELL, 1.02 * CELL @ turn, 0.98 * CELL @ turn.T]
    runs = [
        run(f"eos/{i}/OUTCAR", (DIAMOND + 0.1 * i) @ cell, "single_point", cells=cell, energies=np.array([i - 43.0]))
        for i, cell in enumerate(cells)
    ]

    found = related(*runs)

    assert [one.rests_on.get("kind", "") for one in found.values()] == [
        "",
        "its cell is strained by 2 % from that of eos/0/OUTCAR",
        "its cell is strained by 2 % from that of eos/0/OUTCAR",
    ]


def test_without_energies_cells_are_strained_from_their_mean() -> None:
    runs = [
        run(f"eos/{i}/OUTCAR", DIAMOND @ cell, "single_point", cells=cell, energies=np.array([np.nan]))
        for i, cell in enumerate([0.96 * CELL, 0.99 * CELL, 1.05 * CELL])
    ]

    found = related(*runs)

    assert kinds(found) == ["strained"] * 3
    assert found["eos/2"].rests_on["kind"] == "its cell is strained by 5 % from that of the mean of its series in eos"


def test_cells_that_hardly_differ_are_of_one_group() -> None:
    found = relations(strained("eos", [-0.004, 0.0, 0.004, 0.012]))

    assert n_groups(found) == 2
    assert found[0].group == found[1].group == found[2].group
    assert found[3].group not in found[0].group


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (strained("eos", [0.0, 0.03]), "two are no series"),
        (strained("eos", [0.0, 0.16, 0.2]), "larger than any strain of a series"),
        (strained("eos", [0.0, 0.02]) + strained("other/eos", [0.04, -0.04]), "neither siblings nor one folder"),
        (
            [
                run(f"eos/{i}/OUTCAR", (DIAMOND + 0.01 * RANDOM.normal(size=(8, 3))) @ cell, "single_point", cells=cell)
                for i, cell in enumerate([0.97 * CELL, CELL, 1.03 * CELL])
            ],
            "atoms moved in the cell as well",
        ),
    ],
)
def test_what_is_no_strain_is_no_series(runs: list[Run], why: str) -> None:
    assert set(kinds(relations(runs))) == {"unknown"}, why


def test_single_displaced_atoms_are_phonon_calculations_and_one_group() -> None:
    found = related(*displaced("phonopy/disp", 0.01, [(0,), (0,), (0,), (4,), (4,), (4,)]))

    assert set(kinds(found)) == {"phonon"}
    assert found["phonopy/disp/002"].rests_on["kind"] == (
        "one atom is displaced by 0.01 angstrom from the mean of its series in phonopy/disp"
    )
    assert len({one.group for one in found.values()}) == 1, "0.01 angstrom over 8 atoms: 0.004 RMS"


def test_the_undisplaced_cell_is_the_parent_of_displaced_ones() -> None:
    runs = [*displaced("ph", 0.03, [(0,), (3, 5)]), run("ph/000/OUTCAR", REST, "single_point")]

    found = related(*runs)

    assert [found[name].kind for name in ("ph/001", "ph/002", "ph/000")] == ["phonon", "phonon", "unknown"]
    assert found["ph/002"].rests_on["kind"] == "2 atoms are displaced by 0.03 angstrom from ph/000/OUTCAR"
    assert len({one.group for one in found.values()}) == 1


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (displaced("ph", 0.2, [(0,), (1,), (2,)]), "0.2 angstrom is no small displacement"),
        (displaced("ph", 0.01, [(0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (3, 4, 5, 6, 7)]), "five atoms are not a few"),
        (displaced("ph", 0.01, [(0,), (1,)]) + displaced("ph/x", 0.04, [(2,)]), "two lengths, and two folders"),
    ],
)
def test_what_is_no_finite_displacement_is_no_phonon_calculation(runs: list[Run], why: str) -> None:
    assert "phonon" not in kinds(relations(runs)), why


@pytest.mark.parametrize("size", [0.05, 0.3])
def test_rattled_copies_about_a_relaxed_parent_are_random_and_split_apart(size: float) -> None:
    found = related(*rattled("rattle", size, 6), run("rattle/parent/OUTCAR", REST, "single_point"))

    assert kinds(found) == ["random"] * 6 + ["unknown"]
    for name in ("rattle/001", "rattle/006"):
        told = found[name].rests_on["kind"]
        assert told.startswith("all atoms are displaced by 0.")
        assert told.endswith("angstrom (RMS) from rattle/parent/OUTCAR")
        stated = float(told.split("by ")[1].split()[0])
        assert stated == pytest.approx(size, rel=0.5)
    assert len({one.group for one in found.values()}) == 7


def test_without_a_parent_copies_are_rattled_from_their_mean() -> None:
    found = related(*rattled("rattle", 0.1, 12))

    assert set(kinds(found)) == {"random"}
    assert found["rattle/003"].rests_on["kind"].endswith("from the mean of its series in rattle")


def test_copies_within_two_hundredths_of_an_angstrom_are_one_group_with_their_parent() -> None:
    found = relations([*rattled("rattle", 0.012, 5), run("rattle/0/OUTCAR", REST, "single_point")])

    assert kinds(found)[:5] == ["random"] * 5
    assert n_groups(found) == 1


def test_two_parents_in_one_campaign_are_two_series() -> None:
    other = REST.copy()
    other[4:] += 1.2
    runs = rattled("c", 0.1, 5) + rattled("c/..", 0.1, 5, seed=1, centre=other)
    runs = [
        *runs[:5],
        *(run(f"c/{i + 10:03d}/OUTCAR", one.ends.positions, "single_point") for i, one in enumerate(runs[5:])),
    ]

    found = related(*runs)

    assert set(kinds(found)) == {"random"}
    assert {one.rests_on["kind"] for one in found.values()} <= {
        f"all atoms are displaced by {size} angstrom (RMS) from the mean of its series in c"
        for size in ("0.06", "0.07", "0.08", "0.09", "0.1", "0.2")
    }


def test_snapshots_in_order_of_time_are_no_rattled_copies() -> None:
    steps = dynamics(30, 300, seed=3).positions[10::2]

    assert set(kinds(relations(points("snapshots", list(steps))))) == {"unknown"}


def test_one_adsorbate_in_several_places_is_no_rattled_slab() -> None:
    structures = []
    for site in np.random.default_rng(4).uniform(-0.8, 0.8, size=(6, 3)):
        structure = REST + np.random.default_rng(5).normal(scale=0.002, size=(8, 3))
        structure[7] += site
        structures.append(structure)

    assert set(kinds(relations(points("sites", structures)))) == {"unknown"}


@pytest.mark.parametrize("n", [3, 6, 40])
def test_where_forces_are_not_known_the_parent_is_the_one_near_the_mean(n: int) -> None:
    unknown = {"forces": np.full((8, 3), np.nan)}
    parent = run("r/parent/OUTCAR", REST, "single_point", labels=unknown)

    found = relations([*rattled("r", 0.1, n, labels=unknown), parent])

    assert kinds(found) == ["random"] * n + ["unknown"]
    assert all(one.rests_on["kind"].endswith("from r/parent/OUTCAR") for one in found[:n])


def test_relaxed_structures_are_no_rattled_copies_of_each_other() -> None:
    structures = [REST + np.random.default_rng(i).normal(scale=0.1, size=(8, 3)) for i in range(4)]
    runs = points("sites", structures, labels={"forces": np.full((8, 3), 0.01)})

    assert "random" not in kinds(relations(runs))


@pytest.mark.parametrize("change", [{"cutoff_energy": 500.0}, {"functional": "PBEsol"}])
def test_members_of_a_series_share_theory_and_settings(change: dict) -> None:
    runs = rattled("r", 0.1, 2) + rattled("s", 0.1, 2, seed=4, method=with_settings(**change))

    assert set(kinds(relations(runs))) == {"unknown"}


def test_a_set_of_rattled_copies_and_one_of_displaced_ones_about_one_parent_are_told_apart() -> None:
    found = related(
        *rattled("c/r", 0.1, 5),
        *(run(f"c/r/{one.folder[-3:]}d/OUTCAR", one.ends.positions, "single_point") for one in displaced("x", 0.01, [(0,), (1,), (2,), (3,), (4,), (5,)])),
        run("c/r/parent/OUTCAR", REST, "single_point"),
    )  # fmt: skip

    assert kinds(found) == ["random"] * 5 + ["phonon"] * 6 + ["unknown"]


def test_copies_of_the_same_structures_make_no_series() -> None:
    assert set(kinds(relations([*points("a", [REST] * 5), *points("a/x", [REST + 0.2] * 3)]))) == {"unknown"}


def test_a_member_that_was_computed_twice_is_a_member_twice() -> None:
    runs = rattled("r", 0.1, 4)

    found = relations([*runs, run("r/again/OUTCAR", runs[0].ends.positions, "single_point")])

    assert found[0].rests_on["kind"] == found[4].rests_on["kind"]
    assert found[0].group == found[4].group


def test_molecules_without_a_cell_are_displaced_and_rattled_too() -> None:
    water = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.24, 0.9266, 0.0]])
    drawn = np.random.default_rng(2).normal(scale=0.05, size=(6, 3, 3))
    free = {"pbc": np.zeros((1, 3)), "cell": np.full((1, 3, 3), np.nan)}
    runs = [
        run(
            f"w/{i}/orca.out", water + one, "single_point", numbers=[8, 1, 1], energies=np.array([-2070.0]), labels=free
        )
        for i, one in enumerate(drawn)
    ]

    found = relations(runs)

    assert set(kinds(found)) == {"random"}
    assert found[0].system == "H2O"


def test_a_layer_is_varied_like_a_crystal_though_its_cell_is_flat() -> None:
    flat = {"pbc": np.array([[1, 1, 0]]), "cell": (CELL * [[1], [1], [0]])[None]}
    found = relations(rattled("layer", 0.1, 5, labels=flat))

    assert set(kinds(found)) == {"random"}
    assert found[0].system == "Si8 TTF"


def test_declared_kinds_stay_and_their_runs_are_members_of_the_series_of_others() -> None:
    runs = rattled("r", 0.1, 3)
    first = run(
        runs[0].path, runs[0].ends.positions, "single_point", kind="defect", declared={"kind": "defect"},
        rests_on={"kind": "declared in r/mlpdata.yaml"},
    )  # fmt: skip

    found = relations([first, *runs[1:]])

    assert kinds(found) == ["defect", "random", "random"]
    assert found[0].rests_on["kind"] == "declared in r/mlpdata.yaml"


def test_a_mesh_of_k_points_is_no_series_of_structures() -> None:
    runs = [run(f"k/{n}/OUTCAR", REST + 0.001 * n, "single_point", method=kpoints(n)) for n in (2, 4, 6)]

    assert set(kinds(relations(runs))) == {"unknown"}


def test_edges_of_the_cell_do_not_part_rattled_copies() -> None:
    runs = rattled("r", 0.1, 6)
    inside = [run(one.path, one.ends.positions % EDGE, "single_point") for one in runs]

    assert [one.rests_on["kind"] for one in relations(inside)] == [one.rests_on["kind"] for one in relations(runs)]
