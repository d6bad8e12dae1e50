"""What a template reads from the path of a run."""

from __future__ import annotations

import time

import pytest

from mlpdata.errors import UsageError
from mlpdata.said.templates import Templates, template


def read(text: str, path: str) -> dict[str, str] | None:
    return template(text).fields(path.split("/"))


def values(text: str, path: str) -> dict[str, object]:
    return {name: one.value for name, one in Templates([text], "--from-path").statements(path, path.split("/")).items()}


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (
            "{system}/{temperature}K/{run}",
            "Cu111_CO2/500K/run3/vasprun.xml",
            {"system": "Cu111_CO2", "temperature": 500.0},
        ),
        ("{system}/{temperature}K/", "Cu/298.15K/a/b/OUTCAR", {"system": "Cu", "temperature": 298.15}),
        ("{system}_{temperature}K.out", "Cu111_CO2_500K.out", {"system": "Cu111_CO2", "temperature": 500.0}),
        ("{temperature}K_{system}/*/{kind}", "300K_Pt_111/2019/aimd/OUTCAR", {"temperature": 300.0, "system": "Pt_111", "kind": "aimd"}),
        ("{kind}_{system}", "reaction_path_Cu_111/OUTCAR", {"kind": "reaction_path", "system": "Cu_111"}),
        ("{temperature}.{run}", "300.1/OUTCAR", {"temperature": 300.0}),
        ("**/{temperature}K", "a/b/c/700K/OUTCAR", {"temperature": 700.0}),
        ("{system}/**/{temperature}K", "Cu/700K/OUTCAR", {"system": "Cu", "temperature": 700.0}),
        ("**/T{temperature}.log", "a/T300.log", {"temperature": 300.0}),
        ("{author}/{tag.series}/*-{group}", "alice/scan1/x-y-g7/OUTCAR", {"tags.author": "alice", "tags.series": "scan1", "group": "g7"}),
        ("{license}/{system}", "cc by 4.0/Cu/OUTCAR", {"license": "CC-BY-4.0", "system": "Cu"}),
        ("./{system}", "Kupfer-Öl 1/OUTCAR", {"system": "Kupfer-Öl 1"}),
    ],
)  # fmt: skip
def test_fields_stand_for_parts_of_the_path(text: str, path: str, expected: dict[str, object]) -> None:
    assert values(text, path) == expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{system}/{temperature}K", "Cu/coldK/OUTCAR"),
        ("{system}/{temperature}K", "Cu/500/OUTCAR"),
        ("{system}/{temperature}K", "deep/Cu/500K/OUTCAR"),
        ("{system}/{run}", "Cu/OUTCAR"),
        ("{system}", "OUTCAR"),
        ("{system}/*", "Cu/OUTCAR"),
        ("a/{system}/b", "a/Cu/OUTCAR"),
        ("x{system}", "x/OUTCAR"),
        ("**/{temperature}K", "a/b/OUTCAR"),
        ("{system}/**/x", "x/OUTCAR"),
        ("{kind}/{run}", "gas/1/OUTCAR"),
    ],
)
def test_a_path_of_another_form_says_nothing(text: str, path: str) -> None:
    assert read(text, path) is None


def test_the_file_itself_is_no_level_unless_the_template_has_some_of_its_name() -> None:
    assert read("{system}/{run}", "Cu/OUTCAR") is None
    assert read("{system}/{run}.out", "Cu/7.out") == {"system": "Cu", "run": "7"}


def test_of_several_ways_to_match_an_earlier_field_takes_as_much_as_it_can() -> None:
    assert read("{system}_{adsorbate}", "Cu_111_CO/OUTCAR") == {"system": "Cu_111", "tags.adsorbate": "CO"}


def test_the_first_template_that_matches_counts() -> None:
    templates = Templates(["{system}/{temperature}K", "{kind}/{system}"], "--from-path")

    first = templates.statements("Cu/300K/OUTCAR", ["Cu", "300K", "OUTCAR"])
    second = templates.statements("defect/Cu/OUTCAR", ["defect", "Cu", "OUTCAR"])

    assert {name: one.value for name, one in first.items()} == {"system": "Cu", "temperature": 300.0}
    assert {name: one.value for name, one in second.items()} == {"kind": "defect", "system": "Cu"}
    assert {one.place for one in first.values()} == {"--from-path"}


def test_paths_that_do_not_match_are_counted_and_the_first_is_named() -> None:
    templates = Templates(["{system}/{temperature}K"], "--from-path")
    for path in ("Cu/300K/OUTCAR", "old/x/OUTCAR", "old/y/OUTCAR"):
        templates.statements(path, path.split("/"))

    assert templates.remarks() == ["--from-path says nothing of 2 runs, the first is old/x/OUTCAR: it does not match."]
    templates.raise_if_useless()


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("{temperature}K", "0K/OUTCAR", "temperature: expected a temperature above zero such as 300, found '0'"),
        ("{license}", "free/OUTCAR", "license: expected an SPDX license, found 'free'"),
    ],
)
def test_a_value_that_is_none_of_its_field_costs_that_run_only(text: str, path: str, reason: str) -> None:
    templates = Templates([text], "--from-path")

    assert templates.statements(path, path.split("/")) == {}
    assert reason in templates.remarks()[0]


def test_templates_that_match_nothing_are_a_mistake_that_shows_a_path_and_how_they_were_read() -> None:
    templates = Templates(["{kind}/{temperature}K/{run}"], "--from-path")
    templates.statements("Cu/500K/a/OUTCAR", ["Cu", "500K", "a", "OUTCAR"])

    with pytest.raises(UsageError) as caught:
        templates.raise_if_useless()

    message = str(caught.value)
    assert "the first is" not in message
    assert "Cu/500K/a/OUTCAR" in message
    assert "reads kind (one of equilibrium, aimd," in message
    assert "temperature (a number), run (ignored)" in message


def test_templates_that_were_asked_for_no_run_are_no_mistake() -> None:
    Templates(["{system}"], "--from-path").raise_if_useless()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a template relative to the root"),
        ("/home/{system}", "expected a template relative to the root"),
        ("../{system}", "expected a template relative to the root"),
        ("a/b", "expected a field such as {system}, found none"),
        ("{run}/*", "expected a field such as {system}, found none"),
        ("{system", "found a brace alone in '{system'"),
        ("system}", "found a brace alone in 'system}'"),
        ("{}", "expected a field such as {system} or {tag.NAME}, found {}"),
        ("{temperature:g}K", "found {temperature:g}"),
        ("{a/b}", "found a brace alone"),
        ("{tags}", "found {tags}"),
        ("{tag.}", "found {tag.}"),
        ("{method.code}", "found {method.code}"),
        ("{system}{temperature}K", "expected text between two fields"),
        ("{system}*", "expected text between two fields"),
        ("{system}/{system}_{temperature}K", "expected each field once, found 'system' again"),
        ("{x}/{tag.x}", "expected each field once, found 'tags.x' again"),
        ("**/{system}/**/{kind}", "expected ** once at most"),
        ("{temperatur}K", "expected {temperature}, found {temperatur}. For a tag of that name write {tag.temperatur}"),
    ],
)
def test_a_template_that_cannot_be_understood_is_refused(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        template(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["{a}_{b}_{c}_{d}_{e}_{f}X", "*_*_*_*_*_{f}X", "{a}_{temperature}_{b}_{kind}X"])
def test_a_hostile_name_takes_no_longer_than_its_length(text: str) -> None:
    hostile = template(text)
    started = time.process_time()

    for name in ("_" * 1000, "1_" * 500, "1" * 1000, "_" * 10_000_000, "aimd_" * 200):
        assert hostile.fields([name, "OUTCAR"]) is None

    assert time.process_time() - started < 1
