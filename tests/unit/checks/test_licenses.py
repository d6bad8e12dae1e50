"""Licenses: names become SPDX, expressions are judged by their parts, the unknown blocks publishing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.checks.licenses import LICENSES, Purpose, normalise, verdict
from mlpdata.errors import LicenseError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by 4", "CC-BY-4.0"),
        ("Creative Commons Attribution 4.0 International License", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://www.creativecommons.org/licenses/by-nc-sa/4.0/legalcode", "CC-BY-NC-SA-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("CC0", "CC0-1.0"),
        ("CC BY-NC-ND 4.0", "CC-BY-NC-ND-4.0"),
        ("MIT License", "MIT"),
        ("(MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("BSD 3-Clause", "BSD-3-Clause"),
        ("GPLv3", "GPL-3.0-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("LGPL-3.0", "LGPL-3.0-only"),
        ("ODbL", "ODbL-1.0"),
        ("LicenseRef-VASP-outputs", "LicenseRef-VASP-outputs"),
        ("mit or (apache 2.0 and cc0)", "MIT OR (Apache-2.0 AND CC0-1.0)"),
        ("MIT AND CC BY 4.0 OR CC0", "(MIT AND CC-BY-4.0) OR CC0-1.0"),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    ],
)
def test_what_people_write_becomes_spdx(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize("identifier", LICENSES)
def test_every_identifier_of_the_table_is_its_own_name(identifier: str) -> None:
    assert normalise(identifier) == identifier
    assert normalise(identifier.lower()) == identifier


@pytest.mark.parametrize(
    ("text", "near"),
    [("CC-BY-5.0", "CC-BY-4.0"), ("CC BY", "CC-BY-4.0"), ("MITT", "MIT"), ("Apache-3.0", "Apache-2.0")],
)
def test_an_unknown_license_is_refused_with_near_matches(text: str, near: str) -> None:
    with pytest.raises(LicenseError, match=f"Near: .*{near}"):
        normalise(text)


@pytest.mark.parametrize(
    "text", ["", "  ", "MIT AND", "OR MIT", "(MIT", "MIT)", "MIT MIT", "()", "MIT WITH luck", "MIT WITH", "a" * 2000]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(LicenseError, match="expected"):
        normalise(text)


@pytest.mark.parametrize(
    ("expression", "purpose", "allowed"),
    [
        (None, "train", "review"),
        (None, "redistribute", "no"),
        (None, "commercial", "no"),
        ("CC0-1.0", "commercial", "yes"),
        ("CC-BY-4.0", "commercial", "yes"),
        ("CC-BY-4.0", "redistribute", "yes"),
        ("CC-BY-NC-4.0", "train", "yes"),
        ("CC-BY-NC-4.0", "redistribute", "yes"),
        ("CC-BY-NC-4.0", "commercial", "no"),
        ("CC-BY-NC-SA-4.0", "commercial", "no"),
        ("CC-BY-ND-4.0", "redistribute", "review"),
        ("CC-BY-ND-4.0", "train", "yes"),
        ("LicenseRef-mine", "train", "review"),
        ("LicenseRef-mine", "commercial", "review"),
        ("MIT AND CC-BY-NC-4.0", "commercial", "no"),
        ("MIT OR CC-BY-NC-4.0", "commercial", "yes"),
        ("LicenseRef-mine AND CC-BY-4.0", "redistribute", "review"),
        ("CC-BY-NC-4.0 OR LicenseRef-mine", "commercial", "review"),
        ("MIT AND (CC-BY-NC-4.0 OR CC0-1.0)", "commercial", "yes"),
    ],
)
def test_verdicts(expression: str | None, purpose: Purpose, allowed: str) -> None:
    assert verdict(expression, purpose).allowed == allowed


def test_a_verdict_names_the_duty_of_whoever_passes_it_on() -> None:
    assert "under the same license" in verdict("CC-BY-SA-4.0", "redistribute").reason
    assert "name the authors" in verdict("CC-BY-4.0", "redistribute").reason


def test_unknown_says_how_to_state_a_license() -> None:
    assert "--license" in verdict(None, "redistribute").reason


LEAVES = st.sampled_from([*LICENSES, "LicenseRef-one"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(EXPRESSIONS)
def test_normalising_twice_changes_nothing(expression: str) -> None:
    once = normalise(expression)

    assert normalise(once) == once


@settings(max_examples=50, deadline=None)
@given(LEAVES, LEAVES, st.sampled_from(["train", "redistribute", "commercial"]))
def test_and_is_never_freer_and_or_never_stricter_than_a_part(first: str, second: str, purpose: Purpose) -> None:
    order = ["no", "review", "yes"]
    parts = [order.index(verdict(one, purpose).allowed) for one in (first, second)]

    assert order.index(verdict(f"{first} AND {second}", purpose).allowed) == min(parts)
    assert order.index(verdict(f"{first} OR {second}", purpose).allowed) == max(parts)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_either_spdx_or_refused(text: str) -> None:
    try:
        expression = normalise(text)
    except LicenseError:
        return
    assert normalise(expression) == expression
