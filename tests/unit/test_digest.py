"""Digests: names that depend on content alone."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpdata import digest
from mlpdata.testing.samples import frames

ONE = {
    "atomic_numbers": np.array([8, 1], np.uint8),
    "positions": np.array([[0.0, 0.0, 0.0], [0.96, 0.0, -1.5]]),
    "pbc": np.zeros((1, 3), np.int8),
    "energy": np.array([-14.2]),
}
N = np.array([2])


def changed(name: str, value: object) -> dict[str, np.ndarray]:
    return {**ONE, name: np.asarray(value)}


def test_sha256_is_the_published_value() -> None:
    assert digest.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)

    assert digest.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_canonical_json_has_one_form() -> None:
    value = {"b": [1, -0.0, {"é": None}], "a": True}

    text = digest.canonical_json(value)

    assert text == '{"a":true,"b":[1,0.0,{"é":null}]}'.encode()
    assert digest.canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_canonical_json_refuses_what_json_has_not(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.canonical_json(value)


def test_an_id_is_sha256_over_the_little_endian_doubles() -> None:
    numbers = b"atomic_numbers" + struct.pack("<2q", 8, 1)
    positions = b"positions" + struct.pack("<6d", 0, 0, 0, 0.96, 0, -1.5)
    rest = b"pbc" + struct.pack("<3q", 0, 0, 0) + b"energy" + struct.pack("<d", -14.2)

    expected = hashlib.sha256(b"row/1" + numbers + positions + rest).digest()[:16]

    assert digest.row_ids(ONE, N)[0].tobytes() == expected


def test_negative_zero_is_zero() -> None:
    same = changed("positions", [[-0.0, 0.0, -0.0], [0.96, -0.0, -1.5]])

    assert digest.row_ids(same, N).tolist() == digest.row_ids(ONE, N).tolist()
    assert digest.geometry_ids(same, N).tolist() == digest.geometry_ids(ONE, N).tolist()


def test_absent_and_nan_give_the_same_id() -> None:
    same = changed("stress", np.full((1, 3, 3), np.nan))

    assert digest.row_ids(same, N).tolist() == digest.row_ids(ONE, N).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positions", [[0.0, 0.0, 0.0], [0.96, 0.0, np.nextafter(-1.5, 0)]]),
        ("energy", [np.nextafter(-14.2, 0)]),
        ("atomic_numbers", [1, 8]),
        ("pbc", [[1, 0, 0]]),
        ("charge", [0.0]),
        ("multiplicity", [1]),
    ],
)
def test_any_other_number_gives_another_id(name: str, value: object) -> None:
    assert digest.row_ids(changed(name, value), N).tolist() != digest.row_ids(ONE, N).tolist()


def test_labels_do_not_change_the_geometry_and_noise_below_the_step_neither() -> None:
    noisy = changed("positions", ONE["positions"] + 4e-7)
    moved = changed("positions", ONE["positions"] + 2e-6)

    same = digest.geometry_ids(ONE, N).tolist()
    assert digest.geometry_ids(changed("energy", [1.0]), N).tolist() == same
    assert digest.geometry_ids(noisy, N).tolist() == same
    assert digest.geometry_ids(moved, N).tolist() != same


def test_ids_do_not_depend_on_the_company_in_a_block() -> None:
    block = frames(20, 1)

    alone = np.concatenate([block.select([i]).ids() for i in range(20)])

    np.testing.assert_array_equal(block.ids(), alone)
    assert len({one.tobytes() for one in alone}) == 20


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.randoms())
def test_content_does_not_depend_on_order_and_adds_up(digests: list[bytes], random: object) -> None:
    shuffled = list(digests)
    random.shuffle(shuffled)

    assert digest.content(shuffled) == digest.content(digests)
    total = digest.content(digests[:3]) + digest.content(digests[3:])
    assert digest.content_id(total) == digest.content_id(digest.content(digests))
    assert digest.is_hex(digest.content_id(total))


def test_what_is_shown_depends_on_record_rows_and_their_order() -> None:
    ids = frames(3, 1).ids()
    values = {
        digest.shown("ab" * 32, ids),
        digest.shown("cd" * 32, ids),
        digest.shown("ab" * 32, ids[::-1]),
        digest.shown("ab" * 32, ids[:2]),
        digest.shown("ab" * 32, ids[:0]),
    }

    assert len(values) == 5


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "../" + "0" * 61, "0" * 63 + "\n"])
def test_what_is_no_name_is_told_from_one(text: str) -> None:
    assert not digest.is_hex(text)
    assert digest.is_hex("0123456789abcdef" * 4)
