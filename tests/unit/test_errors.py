"""Errors: each has a stable code and an exit code, and travels between processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from mlpdata import errors
from mlpdata.errors import CorruptError, MlpdataError, ParseError

TREE = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, MlpdataError) and one is not MlpdataError
]
EXIT_CODES = {
    "check-failed": 1, "usage": 2, "unit": 2, "license": 2, "input": 3, "unavailable": 3, "not-recognised": 3, "parse": 3, "units-unknown": 3, "limit": 3,
    "store": 4, "locked": 4, "newer-schema": 4, "not-found": 4, "commit-uncertain": 4, "corrupt": 5,
}  # fmt: skip
"""What scripts of users rely on."""


def test_codes_and_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {one.code: one.exit_code for one in TREE} == EXIT_CODES


def test_every_error_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for one in TREE:
        assert f"- {one.__name__} " in errors.__doc__


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ({}, "expected a number."),
        ({"path": "OUTCAR"}, "OUTCAR: expected a number."),
        ({"path": "OUTCAR", "line": 12}, "OUTCAR:12: expected a number."),
    ],
)
def test_an_error_names_its_place(place: dict[str, object], shown: str) -> None:
    assert str(ParseError("expected a number.", **place)) == shown  # type: ignore[arg-type]


def test_a_place_is_filled_in_where_it_was_unknown_only() -> None:
    error = ParseError("expected a number.", line=7)

    assert str(error.at("outer", 3)) == "outer:7: expected a number."
    assert str(error.at("another", 1)) == "outer:7: expected a number."


def test_an_error_is_a_json_object() -> None:
    assert CorruptError("expected bytes.", path="a").as_json() == {
        "code": "corrupt",
        "message": "expected bytes.",
        "path": "a",
        "line": None,
    }


def _fail() -> None:
    raise ParseError("expected a number.", path="OUTCAR", line=12)


def test_a_worker_sends_its_error_home_whole() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(ParseError) as caught:
        pool.submit(_fail).result()

    assert (caught.value.path, caught.value.line) == ("OUTCAR", 12)
