"""Parts of paths against the regular expressions that they mean."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mlpdata.said.maps import Map, Row, normal
from mlpdata.said.parts import with_fields, with_wildcards
from mlpdata.said.statements import Statement

MEANS = {"{temperature}": r"(\d+\.\d+|\d+)(?!(?<=\d)\d)", "{kind}": "(aimd|dimer|defect)", "*": ".*"}
LITERAL = st.text("_K1.a", min_size=1, max_size=2)
WILD = st.sampled_from(["{system}", "{temperature}", "{kind}", "{group}", "*"])
NAMES = st.lists(st.sampled_from(["_", "K", "1", "23", ".", "a", "aimd", "dimer"]), max_size=7).map("".join)


def expression(pattern: str) -> str:
    tokens = re.findall(r"\{\w+\}|\*|[^{*]+", pattern)
    return "".join(MEANS.get(token, "(.+)" if token.startswith("{") else re.escape(token)) for token in tokens)


@given(st.lists(LITERAL, min_size=3, max_size=3), st.lists(WILD, min_size=2, max_size=2, unique=True), NAMES)
def test_a_part_matches_as_the_greedy_expression_does(literals: list[str], wild: list[str], name: str) -> None:
    pattern = literals[0] + wild[0] + literals[1] + wild[1] + literals[2]

    found = with_fields(pattern, str).fields(literals[0] + name + literals[2])

    matched = re.fullmatch(expression(pattern), literals[0] + name + literals[2])
    assert (None if found is None else list(found.values())) == (None if matched is None else list(matched.groups()))


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_wildcards_match_as_the_expression_does(pattern: str, name: str) -> None:
    matched = re.fullmatch(re.sub(r"\*+", ".*", pattern), name)
    assert (with_wildcards(pattern or "a").fields(name) is not None) == (
        matched is not None if pattern else name == "a"
    )


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "a*", "*", "**"]), min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5),
)
def test_rows_are_found_as_each_would_be_by_itself(patterns: list[list[str]], path: list[str]) -> None:
    rows = sorted({normal("/".join(pattern)) for pattern in patterns})
    every = Map((Row(row, row, {"group": Statement(row, row)}) for row in rows), "--map")

    found = [layer.statements["group"].value for layer in every.layers(path)]

    assert sorted(found) == [row for row in rows if alone(row, "/".join(path) + "/")]


def alone(row: str, path: str) -> bool:
    """Whether a row matches a path or a folder above, by an expression."""
    means = {"**": r"(?:[^/]+/)*"}
    expression = "".join(means.get(part, part.replace("*", "[^/]*") + "/") for part in row.split("/"))
    return re.match(expression, path) is not None
