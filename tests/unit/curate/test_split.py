"""Splits: whole groups, every kind in every part, nothing moves when a store grows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.curate.split import leaks, split
from mlpdata.errors import UsageError
from mlpdata.schema.params import SplitParams
from mlpdata.schema.records import Split

PARAMS = SplitParams()
CONTENT = "c" * 64

Row = tuple[str, str, str, str]
"""id, geometry, group, kind; ids and geometries by any name."""


def table(rows: list[Row]) -> dict[str, Any]:
    """Columns of a store; names become 16 bytes."""
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    return {
        "id": [name_bytes(one) for one in columns[0]],
        "geometry_id": [name_bytes(one) for one in columns[1]],
        "group": np.array(columns[2], str),
        "kind": np.array(columns[3], str),
        "n_atoms": np.full(len(rows), 8),
    }


def name_bytes(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def groups_of(kind: str, sizes: list[int], prefix: str = "") -> list[Row]:
    """Groups of one kind, each configuration with its own geometry."""
    return [
        (f"{prefix}{kind}{group}-{i}", f"{prefix}{kind}{group}-{i}", f"{prefix}{kind}{group}", kind)
        for group, size in enumerate(sizes)
        for i in range(size)
    ]


def part_of(divided: Split, name: str) -> str | None:
    wanted = name_bytes(name).hex()
    return next((part for part, ids in divided.parts.items() if wanted in ids), None)


def kinds_in(divided: Split, rows: list[Row], part: str) -> set[str]:
    return {kind for one, _, _, kind in rows if name_bytes(one).hex() in divided.parts[part]}


def test_ten_equal_groups_give_eight_one_one() -> None:
    divided = split(table(groups_of("aimd", [5] * 10)), PARAMS, CONTENT)

    assert {part: len(ids) for part, ids in divided.parts.items()} == {"train": 40, "valid": 5, "test": 5}
    assert divided.notes == ()


def test_every_kind_with_as_many_groups_as_parts_is_in_every_part() -> None:
    rows = groups_of("aimd", [40, 30, 20]) + groups_of("defect", [1, 1, 1]) + groups_of("random", [1] * 50)

    divided = split(table(rows), PARAMS, CONTENT)

    for part in divided.parts:
        assert kinds_in(divided, rows, part) == {"aimd", "defect", "random"}


def test_a_kind_with_too_few_groups_is_named_in_the_notes() -> None:
    rows = groups_of("aimd", [5] * 10) + groups_of("defect", [3, 3])

    notes = split(table(rows), PARAMS, CONTENT).notes

    assert any(note.startswith("defect: not in") and "2 independent groups" in note for note in notes)


def test_a_kind_mixed_into_the_groups_of_another_reaches_every_part() -> None:
    rows = groups_of("aimd", [5] * 10)
    rows += [(f"defect-{group}", f"defect-{group}", f"aimd{group}", "defect") for group in (0, 3, 7)]

    divided = split(table(rows), PARAMS, CONTENT)

    assert all("defect" in kinds_in(divided, rows, part) for part in divided.parts)


def test_isolated_atoms_and_their_groups_are_always_trained_on() -> None:
    rows = groups_of("isolated_atom", [1] * 9) + groups_of("aimd", [5] * 10)
    rows.append(("friend", "friend", "isolated_atom3", "aimd"))

    divided = split(table(rows), PARAMS, CONTENT)

    assert all(part_of(divided, f"isolated_atom{group}-0") == "train" for group in range(9))
    assert part_of(divided, "friend") == "train"


def test_the_order_of_rows_does_not_matter() -> None:
    rows = groups_of("aimd", [5, 4, 3, 3, 3, 2, 1]) + groups_of("random", [1] * 9)
    order = np.random.default_rng(0).permutation(len(rows))

    assert split(table(rows), PARAMS, CONTENT) == split(table([rows[i] for i in order]), PARAMS, CONTENT)


def test_another_seed_deals_equal_groups_in_another_order() -> None:
    rows = table(groups_of("random", [1] * 40))

    assert split(rows, PARAMS, CONTENT).id != split(rows, PARAMS.replace(seed=1), CONTENT).id


def test_groups_that_share_a_geometry_stay_together_and_the_notes_say_so() -> None:
    rows = groups_of("aimd", [2] * 10)
    rows = [
        (one, "start" if one.endswith("-0") and one < "aimd6" else geometry, *rest) for one, geometry, *rest in rows
    ]

    divided = split(table(rows), PARAMS, CONTENT)

    assert len({part_of(divided, f"aimd{group}-{i}") for group in range(6) for i in range(2)}) == 1
    assert any("link 10 groups into 5" in note for note in divided.notes)
    assert leaks(table(rows), divided) == (0, 0, 0, 0)


def test_a_row_read_from_two_files_is_listed_once_and_links_their_groups() -> None:
    rows = [*groups_of("aimd", [3] * 10), ("aimd0-0", "aimd0-0", "copy", "aimd"), ("new", "new", "copy", "aimd")]

    divided = split(table(rows), PARAMS, CONTENT)

    assert sum(map(len, divided.parts.values())) == 31
    assert part_of(divided, "new") == part_of(divided, "aimd0-2")


def test_leaks_are_counted() -> None:
    rows = [("a", "x", "g", "aimd"), ("b", "y", "g", "aimd"), ("c", "y", "h", "aimd"), ("d", "z", "i", "aimd")]
    ids = {name: name_bytes(name).hex() for name in "abcz"}
    torn = Split(content=CONTENT, recipe={}, parts={"train": (ids["a"], ids["c"]), "test": (ids["b"], ids["z"])})

    found = leaks(table(rows), torn)

    assert found == (1, 1, 1, 1)
    assert found._fields == ("groups", "geometries", "unassigned", "unknown")


def test_growth_keeps_what_is_assigned_and_fills_the_deficit() -> None:
    old = groups_of("aimd", [5] * 10)
    first = split(table(old), PARAMS, CONTENT)
    lacking = [row for row in old if part_of(first, row[0]) != "test"]
    parent = first.replace(parts={**first.parts, "test": ()})

    grown = split(table(lacking + groups_of("aimd", [5], "new")), PARAMS, "d" * 64, parent)

    assert grown.parent == parent.id
    assert all(part_of(grown, row[0]) == part_of(first, row[0]) for row in lacking)
    assert len(grown.parts["test"]) == 5


def test_new_frames_of_an_old_group_join_it() -> None:
    old = groups_of("aimd", [5] * 10)
    first = split(table(old), PARAMS, CONTENT)
    added = [(f"more{group}", f"more{group}", f"aimd{group}", "aimd") for group in range(10)]

    grown = split(table(old + added), PARAMS, CONTENT, first)

    assert all(part_of(grown, f"more{group}") == part_of(first, f"aimd{group}-0") for group in range(10))


def test_a_new_configuration_that_links_two_sides_is_quarantined_and_listed() -> None:
    old = groups_of("aimd", [5] * 10)
    first = split(table(old), PARAMS, CONTENT)
    side = {part: next(row for row in old if part_of(first, row[0]) == part) for part in first.parts}
    bridge = ("bridge", side["test"][1], side["train"][2], "aimd")

    grown = split(table([*old, bridge]), PARAMS, CONTENT, first)

    assert grown.quarantined == (name_bytes("bridge").hex(),)
    assert grown.parts == first.parts
    assert leaks(table([*old, bridge]), grown) == (0, 0, 0, 0)


def test_a_new_group_with_geometries_of_two_sides_is_quarantined_as_a_whole() -> None:
    old = groups_of("aimd", [5] * 10)
    first = split(table(old), PARAMS, CONTENT)
    side = {part: next(row for row in old if part_of(first, row[0]) == part) for part in first.parts}
    added = [("p", side["train"][1], "fresh", "aimd"), ("q", side["test"][1], "fresh", "aimd")]

    grown = split(table(old + added), PARAMS, CONTENT, first)

    assert set(grown.quarantined) == {name_bytes("p").hex(), name_bytes("q").hex()}


def test_one_new_geometry_in_groups_of_two_sides_is_quarantined() -> None:
    old = groups_of("aimd", [5] * 10)
    first = split(table(old), PARAMS, CONTENT)
    side = {part: next(row for row in old if part_of(first, row[0]) == part) for part in first.parts}
    added = [("p", "same", side["train"][2], "aimd"), ("q", "same", side["test"][2], "aimd")]

    grown = split(table(old + added), PARAMS, CONTENT, first)

    assert set(grown.quarantined) == {name_bytes("p").hex(), name_bytes("q").hex()}


def test_an_arrow_table_gives_the_same_split_as_arrays() -> None:
    rows = table(groups_of("aimd", [5, 4, 3, 3, 3, 2, 1]))
    arrow = pa.table(
        {name: pa.array(values, pa.binary(16)) if name.endswith("id") else values for name, values in rows.items()}
    )
    raw = {**rows, "id": np.frombuffer(b"".join(rows["id"]), np.uint8).reshape(-1, 16)}

    assert split(arrow, PARAMS, CONTENT) == split(rows, PARAMS, CONTENT) == split(raw, PARAMS, CONTENT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": {"train": 0.8, "test": 0.1}}, "sum to one, found 0.9"),
        ({"stratify": ("phase",)}, "expected the column phase"),
    ],
)
def test_wrong_parameters_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split(table(groups_of("aimd", [1] * 5)), PARAMS.replace(**change), CONTENT)


def test_configurations_without_a_group_are_refused() -> None:
    with pytest.raises(UsageError, match="expected a group for every configuration"):
        split(table([("a", "a", "", "aimd")]), PARAMS, CONTENT)


def test_a_parent_with_other_parts_is_refused() -> None:
    rows = table(groups_of("aimd", [1] * 5))
    parent = split(rows, PARAMS.replace(fractions={"train": 0.5, "test": 0.5}), CONTENT)

    with pytest.raises(UsageError, match="parts of the parent"):
        split(rows, PARAMS, CONTENT, parent)


def test_an_empty_store_gives_empty_parts() -> None:
    assert split(table([]), PARAMS, CONTENT).parts == {"train": (), "valid": (), "test": ()}


KINDS = st.sampled_from(["aimd", "defect", "random", "isolated_atom"])
ROWS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 200), KINDS), max_size=60).map(
    lambda rows: [(f"c{i}", f"x{geometry}", f"g{group}", kind) for i, (group, geometry, kind) in enumerate(rows)]
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(0, 3))
def test_no_split_leaks_or_loses_a_configuration(rows: list[Row], seed: int) -> None:
    divided = split(table(rows), PARAMS.replace(seed=seed), CONTENT)

    assert leaks(table(rows), divided) == (0, 0, 0, 0)
    assert sum(map(len, divided.parts.values())) == len(rows)
    assert divided.quarantined == ()


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(0, 60))
def test_growth_moves_nothing_and_leaks_nothing(rows: list[Row], cut: int) -> None:
    old = rows[:cut]
    parent = split(table(old), PARAMS, CONTENT)

    grown = split(table(rows), PARAMS, CONTENT, parent)

    assert all(set(ids) <= set(grown.parts[part]) for part, ids in parent.parts.items())
    assert leaks(table(rows), grown) == (0, 0, 0, 0)
    assert sum(map(len, grown.parts.values())) + len(grown.quarantined) == len(rows)
    assert not {name_bytes(row[0]).hex() for row in old} & set(grown.quarantined)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["aimd", "defect", "random"]), st.lists(st.integers(1, 30), max_size=12)))
def test_kinds_are_everywhere_and_shortfalls_are_stated(sizes: dict[str, list[int]]) -> None:
    rows = [row for kind, groups in sizes.items() for row in groups_of(kind, groups)]

    divided = split(table(rows), PARAMS, CONTENT)

    for kind, groups in sizes.items():
        if len(groups) >= 3:
            assert all(kind in kinds_in(divided, rows, part) for part in divided.parts)
    for part, fraction in PARAMS.fractions.items():
        off = abs(len(divided.parts[part]) - fraction * len(rows))
        assert off <= 0.01 * len(rows) or any(note.startswith(f"{part}: wanted") for note in divided.notes)
