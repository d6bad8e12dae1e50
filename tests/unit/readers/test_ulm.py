"""ULM containers: what ASE wrote comes back, and nothing that a file says of offsets and lengths is believed."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import ase.io.ulm
import numpy as np
import pytest

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.ulm import MAX_JSON, Group, Ulm, tag_of


def written(*items: dict[str, Any], tag: str = "Test") -> bytes:
    """A container as ASE writes it; a nested dict becomes a group."""
    out = BytesIO()
    writer = ase.io.ulm.Writer(out, tag=tag)
    for item in items:
        for name, value in item.items():
            if isinstance(value, dict):
                writer.child(name).write(**value)
            else:
                writer.write(name, value)
        writer.sync()
    return out.getvalue()


def test_what_ase_wrote_comes_back() -> None:
    forces = np.arange(6.0).reshape(2, 3)
    container = Ulm(written({"a": 1, "text": "x", "group": {"forces": forces, "energy": -1.5}}, {"b": np.arange(3)}))

    first, second = container.item(0), container.item(1)
    assert (container.tag, len(container), container.whole) == ("Test", 2, True)
    assert (first["a"], first["text"]) == (1, "x")
    assert first.group("group")["energy"] == -1.5
    assert first.group("group")["forces"].tolist() == forces.tolist()
    assert second["b"].tolist() == [0, 1, 2]
    assert sorted(first) == ["a", "group", "text"]


def test_a_group_that_is_not_there_is_empty() -> None:
    group = Ulm(written({"a": 1})).item(0).group("results")

    assert isinstance(group, Group)
    assert len(group) == 0
    with pytest.raises(KeyError):
        group["energy"]


def test_files_of_before_2016_have_another_magic() -> None:
    assert Ulm(b"AFFormat" + written({"a": 1})[8:]).item(0)["a"] == 1


def test_numbers_of_big_endian_machines_are_turned() -> None:
    data = written({"a": np.array([1.0, 2.0]), "_little_endian": False})
    swapped = data.replace(struct.pack("<2d", 1.0, 2.0), struct.pack(">2d", 1.0, 2.0))

    assert Ulm(swapped).item(0)["a"].tolist() == [1.0, 2.0]


def test_the_tag_tells_what_is_in_it() -> None:
    data = written({"a": 1}, tag="ASE-Trajectory")

    assert tag_of(data[:1000]) == "ASE-Trajectory"
    assert tag_of(data[:20]) is None
    assert tag_of(b"%PDF-1.4" + data[8:]) is None


def with_word(data: bytes, place: int, value: int) -> bytes:
    """`data` with one of its 64-bit integers replaced."""
    return data[:place] + struct.pack("<q", value) + data[place + 8 :]


def offset_of_item(data: bytes) -> int:
    return int(struct.unpack_from("<q", data, struct.unpack_from("<q", data, 40)[0])[0])


@pytest.mark.parametrize("value", [-1, 1 << 20, 1 << 61])
@pytest.mark.parametrize("place", [32, 40])
def test_a_table_that_lies_outside_is_refused(place: int, value: int) -> None:
    with pytest.raises(ParseError, match="table"):
        Ulm(with_word(written({"a": 1}), place, value))


@pytest.mark.parametrize("value", [-1, 0, 1 << 40])
def test_an_item_that_lies_outside_is_refused(value: int) -> None:
    data = written({"a": 1})
    container = Ulm(with_word(data, struct.unpack_from("<q", data, 40)[0], value))

    with pytest.raises(ParseError, match="item at byte"):
        container.item(0)


@pytest.mark.parametrize("value", [-1, 10_000])
def test_json_that_lies_outside_is_refused(value: int) -> None:
    data = written({"a": 1})
    container = Ulm(with_word(data, offset_of_item(data), value))

    with pytest.raises(ParseError, match="bytes of JSON"):
        container.item(0)


def test_json_larger_than_any_real_one_is_refused_before_it_is_read() -> None:
    data = written({"a": 1})

    with pytest.raises(LimitExceeded):
        Ulm(with_word(data, offset_of_item(data), MAX_JSON + 1)).item(0)


@pytest.mark.parametrize(
    "pointer",
    [
        '[[2, 3], "float64", 100000]',
        '[[99999999999, 9999999999], "float64", 0]',
        '[[-2, -3], "float64", 56]',
        '[[2, 3], "object", 56]',
        '[[2, 3], "U10", 56]',
        '[[2, 3], "float64", -8]',
        '[[2, 3], "float64"]',
        '[[2.0, 3], "float64", 56]',
        '[[0, 1e999], "float64", 56]',
        '[[0, 99999999999999999999], "float64", 56]',
        '"x"',
        "7",
    ],
)
def test_an_array_that_lies_outside_or_is_of_no_known_type_is_refused(pointer: str) -> None:
    item = Ulm(container_of(f'{{"a.": {{"ndarray": {pointer}}}}}')).item(0)

    with pytest.raises(ParseError):
        item["a"]


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "{", "{'a': 1}", '{"a": %s}' % ("9" * 5000), "\udcff"])
def test_json_that_is_none_or_nested_too_deep_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Ulm(container_of(text)).item(0)


def container_of(text: str) -> bytes:
    """A container with one item, whose JSON is `text`."""
    spelled = text.encode("utf-8", "surrogateescape")
    header = b"- of Ulm" + b"Test".ljust(16) + struct.pack("<4q", 3, 1, 48, 56)
    return header + struct.pack("<q", len(spelled)) + spelled


def test_a_container_cut_anywhere_is_refused_or_says_that_it_is_not_whole() -> None:
    data = written({"a": np.arange(4.0)}, {"b": 2})
    for end in range(len(data)):
        try:
            container = Ulm(data[:end])
        except ParseError:
            continue
        if container.whole:  # cut behind the last entry of its table that is used
            assert container.item(0)["a"].tolist() == [0, 1, 2, 3]
            assert container.item(1)["b"] == 2
            assert end > len(data) - 8 * 42
