"""Groups and systems: what must not be parted has one name, which does not change while a campaign grows."""

from __future__ import annotations

import numpy as np
from crystals import REST, dynamics, related, run

from mlpdata.relations import relations
from mlpdata.relations.runs import natural

PATH = dynamics(50, 300, seed=1).positions


def test_a_run_that_nothing_binds_has_the_name_it_was_stored_with() -> None:
    one = run("a/OUTCAR", PATH)

    found = relations([one])[0]

    assert found.group == f"a/OUTCAR {one.calculation.id[:8]}" == one.calculation.group
    assert found.rests_on["group"] == "the run by itself"


def test_a_group_is_named_after_its_earliest_run_in_natural_order() -> None:
    runs = [run(f"a/{name}/OUTCAR", PATH[i : i + 3], group="") for i, name in ((4, "run10"), (2, "run9"), (0, "run2"))]

    found = relations(runs)

    assert {one.group for one in found} == {f"a/run2/OUTCAR {runs[2].calculation.id[:8]}"}
    assert {one.rests_on["group"] for one in found} == {"bound to a/run2/OUTCAR: restarts, the same geometries"}


def test_later_runs_change_nothing_of_what_is_said_of_a_group() -> None:
    runs = [run(f"a/run{i}/OUTCAR", PATH[5 * i : 5 * i + 6]) for i in range(8)]

    assert relations(runs[:3]) == relations(runs)[:3]


def test_a_geometry_anywhere_in_two_runs_binds_them() -> None:
    found = related(
        run("a/md/OUTCAR", PATH[:20]),
        run("b/check/OUTCAR", PATH[7], "single_point"),
        run("c/path/OUTCAR", PATH[30:], "neb"),
    )

    assert found["a/md"].group == found["b/check"].group != found["c/path"].group
    assert found["b/check"].rests_on["group"] == "bound to a/md/OUTCAR: the same geometries"


def test_images_of_a_path_are_one_group_by_the_name_of_its_folder() -> None:
    found = related(*(run(f"neb/0{i}/OUTCAR", PATH[i], "neb", group="neb", kind="reaction_path") for i in range(5)))

    assert {one.group for one in found.values()} == {"neb"}
    assert {one.rests_on["kind"] for one in found.values()} == {"the run: an image of a reaction path"}


def test_the_relaxation_of_an_end_point_is_in_the_group_of_the_path() -> None:
    images = [run(f"neb/0{i}/OUTCAR", PATH[i], "neb", group="neb") for i in range(5)]
    found = relations([*images, run("relaxed/OUTCAR", PATH[[9, 0]], "relax")])

    assert {one.group for one in found} == {"neb"}


def test_a_declared_group_names_all_that_is_bound_to_it() -> None:
    said = {"group": "my set", "declared": {"group": "my set"}, "rests_on": {"group": "declared in b/mlpdata.yaml"}}
    found = related(
        run("a/OUTCAR", PATH[:10]),
        run("b/1/OUTCAR", PATH[9], "single_point", **said),
        run("b/2/OUTCAR", PATH[40], "single_point", **said),
        run("c/OUTCAR", PATH[39:42]),
    )

    assert {one.group for one in found.values()} == {"my set"}
    assert found["b/1"].rests_on["group"] == "declared in b/mlpdata.yaml"
    assert found["a"].rests_on["group"].startswith("bound to a/OUTCAR: ")


def test_runs_of_a_folder_declared_as_one_are_one_group() -> None:
    said = {"group": "a/all", "declared": {"group": "folder"}}
    found = relations([run(f"a/all/OUTCAR.{i}", PATH[i], "single_point", **said) for i in range(4)])

    assert {one.group for one in found} == {"a/all"}
    assert found[0].rests_on["group"] == "declared"


def test_what_was_declared_of_a_run_stays_even_where_others_bind_it() -> None:
    first = run("a/1/OUTCAR", PATH[:5], group="one", declared={"group": "one"})
    second = run("a/2/OUTCAR", PATH[4:9], group="two", declared={"group": "two"})
    third = run("a/3/OUTCAR", PATH[8:12])

    assert [one.group for one in relations([first, second, third])] == ["one", "two", "one"]


def test_the_system_is_formula_and_periodic_directions() -> None:
    found = relations([run("a/OUTCAR", PATH), run("b/OUTCAR", PATH, system="bulk", declared={"system": "bulk"})])

    assert [one.system for one in found] == ["Si8 TTT", "bulk"]
    assert found[0].rests_on["system"] == "formula and periodic directions of its configurations"


def test_ethanol_is_named_as_hill_did() -> None:
    ethanol = [6, 6, 8, 1, 1, 1, 1, 1, 1]
    positions = np.random.default_rng(0).normal(scale=3, size=(9, 3))
    free = {"pbc": np.zeros((1, 3)), "cell": np.full((1, 3, 3), np.nan)}

    one = run("e/orca.out", positions, "single_point", numbers=ethanol, energies=np.array([-4200.0]), labels=free)

    assert relations([one])[0].system == "C2H6O"


def test_a_run_without_configurations_and_one_of_several_compositions_are_by_themselves() -> None:
    whole = run("a/set.xyz", PATH[:2])
    mixed = type(whole)(
        calculation=whole.calculation,
        geometry_ids=whole.geometry_ids,
        energies=whole.energies,
        ends=whole.ends.with_arrays(atomic_numbers=[14] * 8 + [14] * 7 + [32]),
        temperature_kinetic=whole.temperature_kinetic,
    )
    empty = type(whole)(
        calculation=run("a/empty/OUTCAR", PATH[:2]).calculation,
        geometry_ids=whole.geometry_ids[:0],
        energies=whole.energies[:0],
        ends=whole.ends.select([]),
        temperature_kinetic=whole.temperature_kinetic[:0],
    )

    found = relations([mixed, empty])

    assert [one.system for one in found] == ["", ""]
    assert found[0].rests_on["system"] == "its configurations have several compositions"
    assert [one.rests_on["group"] for one in found] == ["the run by itself"] * 2


def test_no_runs_have_no_relations() -> None:
    assert relations([]) == []


def test_paths_sort_as_people_number_them() -> None:
    paths = ["a/run2/OUTCAR", "a/run10/OUTCAR", "a/run010/OUTCAR", "a.tar!b/1", "a/OUTCAR", "2/x", "10/x", "a/b/c"]

    assert sorted(paths, key=natural) == [
        "2/x", "10/x", "a/OUTCAR", "a/b/c", "a/run2/OUTCAR", "a/run10/OUTCAR", "a/run010/OUTCAR", "a.tar!b/1",
    ]  # fmt: skip
    assert natural("9" * 10_000) > natural("8" * 10_000)


def test_a_long_chain_is_followed_to_its_start() -> None:
    long = dynamics(1500, 300, seed=2).positions
    runs = [run(f"a/{i}/OUTCAR", long[i : i + 2]) for i in range(1400)]

    found = relations(runs)

    assert [one.continues for one in found[1:]] == [one.path for one in runs[:-1]]
    assert {one.group for one in found} == {runs[0].calculation.group}
    assert REST.shape == (8, 3)
