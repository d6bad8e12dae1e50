"""What is said of a run, who says it, and who contradicts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlpdata.errors import UsageError
from mlpdata.said.sayings import Said, Sayings, against_output
from mlpdata.schema.calculation import RunKind
from mlpdata.schema.sidecar import Sidecar


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    return tmp_path / "tree"


def write(folder: Path, text: str, name: str = "mlpdata.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def of(sayings: Sayings, tree: Path, name: str) -> Said:
    return sayings.of(name, (tree / name).parent, tree)


def said(tree: Path, name: str, **given: object) -> Said:
    return of(Sayings(**given), tree, name)  # type: ignore[arg-type]


def conflicts(said: Said) -> list[tuple[str, object, str, object, str]]:
    return [(one.field, one.winner.value, one.winner.place, one.loser.value, one.loser.place) for one in said.conflicts]


def test_where_nothing_is_said_nothing_holds(tree: Path) -> None:
    assert said(tree, "a/b/OUTCAR") == Said(Sidecar())


def test_each_source_is_above_the_next_and_each_field_knows_its_place(tree: Path) -> None:
    """Options, map, template, sidecars from the nearest up, default: one field each that nobody above states."""
    write(tree, "kind: aimd\ncitation: top\ntags:\n  x: '1'\n  y: '2'\n")
    write(tree / "a", "citation: near\ntags: {y: '3'}\n")
    table = write(tree.parent, "path,energy_kind\na/b,free\n", "lists.csv")

    found = said(
        tree,
        "a/b/OUTCAR",
        said=Sidecar(system="Cu", names={"energy": "E"}, tags={"z": "4"}),
        default=Sidecar(license="mit", citation="nobody"),
        maps=[table],
        templates=["{series}/{group}"],
    )

    assert found.sidecar == Sidecar(
        system="Cu", kind="aimd", citation="near", group="b", license="MIT", energy_kind="free",
        names={"energy": "E"}, tags={"x": "1", "y": "3", "z": "4", "series": "a"},
    )  # fmt: skip
    assert found.places == {
        "system": "--system",
        "names.energy": "--energy-key",
        "tags.z": "--tag",
        "energy_kind": "lists.csv:2",
        "tags.series": "--from-path",
        "group": "--from-path",
        "citation": "a/mlpdata.yaml:1",
        "tags.y": "a/mlpdata.yaml:2",
        "kind": "mlpdata.yaml:1",
        "tags.x": "mlpdata.yaml:4",
        "license": "params.yaml",
    }
    assert found.conflicts == ()


def test_what_a_record_says_of_its_attributes_names_the_file_without_the_line(tree: Path) -> None:
    write(tree / "a", "\n\ntemperature: 300\n")

    found = said(tree, "a/OUTCAR", said=Sidecar(kind="aimd"), default=Sidecar(group="folder"))

    assert found.rests_on == {
        "kind": "declared by --kind",
        "temperature_target": "declared in a/mlpdata.yaml",
        "group": "declared in params.yaml",
    }


def test_a_sidecar_below_another_is_no_conflict_and_neither_is_what_is_above_the_default(tree: Path) -> None:
    write(tree, "kind: aimd\n")
    write(tree / "a", "kind: defect\n")

    found = said(tree, "a/b/OUTCAR", default=Sidecar(kind="random"))

    assert (found.sidecar.kind, found.conflicts) == ("defect", ())


def test_a_template_and_a_sidecar_that_differ_are_both_named_and_the_template_counts(tree: Path) -> None:
    write(tree / "a", "license: MIT\ntemperature: 300\n")

    found = said(tree, "a/500K/OUTCAR", templates=["a/{temperature}K"])

    assert found.sidecar.temperature == 500
    assert conflicts(found) == [("temperature", 500.0, "--from-path", 300.0, "a/mlpdata.yaml:2")]
    assert str(found.conflicts[0]) == (
        "a/500K/OUTCAR: temperature: 500.0 (--from-path) counts, not 300.0 (a/mlpdata.yaml:2)"
    )
    assert found.conflicts[0].as_json()["loser"] == {"value": "300.0", "place": "a/mlpdata.yaml:2"}


def test_two_sources_that_agree_are_no_conflict(tree: Path) -> None:
    write(tree / "a", "temperature: 500\nlicense: cc0\n")
    assert said(tree, "a/500K/OUTCAR", templates=["a/{temperature}K"], said=Sidecar(license="CC0-1.0")).conflicts == ()


def test_every_source_below_the_winner_that_differs_is_named(tree: Path) -> None:
    write(tree / "a", "kind: defect\n")
    table = write(tree.parent, "path,kind\na,random\n", "runs.csv")

    found = said(tree, "a/aimd/OUTCAR", said=Sidecar(kind="phonon"), maps=[table], templates=["a/{kind}"])

    assert conflicts(found) == [
        ("kind", "phonon", "--kind", "random", "runs.csv:2"),
        ("kind", "phonon", "--kind", "aimd", "--from-path"),
        ("kind", "phonon", "--kind", "defect", "a/mlpdata.yaml:1"),
    ]


def test_of_the_rows_of_a_map_the_most_specific_counts_and_equals_that_differ_are_a_conflict(tree: Path) -> None:
    table = write(tree.parent, "path,kind,group\na,defect,g\na/b*,aimd,\na/*b,random,\n", "runs.csv")

    found = said(tree, "a/b/OUTCAR", maps=[table])

    assert (found.sidecar.kind, found.sidecar.group) == ("aimd", "g")
    assert conflicts(found) == [("kind", "aimd", "runs.csv:3", "random", "runs.csv:4")]


def test_runs_of_which_the_same_is_said_share_one_answer_but_conflicts_name_each(tree: Path) -> None:
    write(tree, "kind: defect\n")
    sayings = Sayings(templates=["a/{kind}"])

    first, second = (of(sayings, tree, f"a/aimd/{number}/OUTCAR") for number in (1, 2))
    assert [one.run for one in (*first.conflicts, *second.conflicts)] == ["a/aimd/1/OUTCAR", "a/aimd/2/OUTCAR"]
    assert first.sidecar is second.sidecar
    assert of(sayings, tree, "b/1/OUTCAR") is of(sayings, tree, "b/2/OUTCAR")


def test_a_sidecar_carries_the_rules_of_its_tree(tree: Path) -> None:
    """Relative to its own folder, so that the tree may lie anywhere."""
    write(
        tree / "a", "from_path: '{system}/{temperature}K'\nmap: lists/kinds.csv\nruns:\n  '**/slab*': {group: slabs}\n"
    )
    write(tree / "a/lists", "path,kind\nCu,aimd\nCu/300K,defect\n", "kinds.csv")

    found = said(tree, "a/Cu/300K/slab1/OUTCAR")

    assert found.sidecar == Sidecar(system="Cu", temperature=300, kind="defect", group="slabs")
    assert found.places == {
        "kind": "a/lists/kinds.csv:3",
        "system": "a/mlpdata.yaml:1",
        "temperature": "a/mlpdata.yaml:1",
        "group": "a/mlpdata.yaml:4",
    }
    assert said(tree, "b/Cu/300K/OUTCAR").sidecar == Sidecar()


def test_rules_of_a_sidecar_below_are_above_those_of_one_above_and_no_conflict(tree: Path) -> None:
    write(tree, "from_path: '{system}'\nmap: kinds.csv\nruns: {'a': {group: far}}\n")
    write(tree, "path,kind\na,aimd\n", "kinds.csv")
    write(tree / "a", "from_path: ['x/{kind}', '{system}']\nmap: [kinds.csv]\nruns: {'b': {group: near}}\n")
    write(tree / "a", "path,kind\nb,defect\n", "kinds.csv")

    found = said(tree, "a/b/c/OUTCAR")

    assert (found.sidecar.system, found.sidecar.kind, found.sidecar.group) == ("b", "defect", "near")
    assert found.conflicts == ()


def test_what_a_sidecar_says_of_some_runs_is_above_what_it_says_of_all(tree: Path) -> None:
    write(tree, "kind: defect\nruns:\n  md_*:\n    kind: aimd\n    tags: {by: hand}\n")
    write(tree / "a", "kind: random\n")

    named = said(tree, "md_1/OUTCAR")
    assert (named.sidecar.kind, named.sidecar.tags, named.conflicts) == ("aimd", {"by": "hand"}, ())
    assert named.places == {"kind": "mlpdata.yaml:4", "tags.by": "mlpdata.yaml:5"}
    assert said(tree, "other/OUTCAR").sidecar.kind == "defect"
    assert said(tree, "a/OUTCAR").sidecar.kind == "random"


def test_an_option_and_the_rule_of_a_sidecar_that_differ_are_a_conflict(tree: Path) -> None:
    write(tree, "from_path: '{system}'\n")
    assert conflicts(said(tree, "Cu/1/OUTCAR", templates=["{run}/{system}"])) == [
        ("system", "1", "--from-path", "Cu", "mlpdata.yaml:1")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: aimd\nlisense: MIT\n", "mlpdata.yaml:2: lisense: expected one of license, citation, kind"),
        ("license: Nope\n", "mlpdata.yaml:1: expected an SPDX license, found 'Nope'"),
        ("\nkind: gas\n", "mlpdata.yaml:2: kind: "),
        ("tags:\n  a: '1'\n  b: 2\n", "mlpdata.yaml:3: tags.b: "),
        ("kind: aimd\nkind: defect\n", "mlpdata.yaml:2: expected each key once, found 'kind' again."),
        ("runs:\n  a: {kind: aimd}\n  a: {kind: defect}\n", "mlpdata.yaml:3: expected each key once"),
        ("runs:\n  a:\n    kid: aimd\n", "mlpdata.yaml:3: runs.a.kid: expected one of license, citation, kind"),
        ("runs:\n  a:\n    license: Nope\n", "mlpdata.yaml:3: expected an SPDX license"),
        ("runs:\n  /a: {kind: aimd}\n", "mlpdata.yaml:2: expected a path below the folder"),
        ("\nfrom_path: '{system'\n", "mlpdata.yaml:2: expected {field}, found a brace alone"),
        ("map: [../other.csv]\n", "mlpdata.yaml:1: expected a path below the folder"),
        ("map: link.csv\n", "mlpdata.yaml:1: expected a table in the folder of the sidecar, found 'link.csv'"),
        ("map: none.csv\n", "none.csv: expected a readable table"),
        ("- 1\n", "mlpdata.yaml:1: the document: "),
        ("kind: [\n", "mlpdata.yaml:2: expected YAML"),
    ],
)
def test_a_sidecar_that_cannot_be_understood_is_named_with_its_line(tree: Path, text: str, expected: str) -> None:
    secret = write(tree.parent, "path,kind\nsecret,aimd\n", "secret.csv")
    (tree / "link.csv").symlink_to(secret)
    write(tree, text)

    with pytest.raises(UsageError) as caught:
        said(tree, "a/OUTCAR")

    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(tree))


def test_an_empty_sidecar_says_nothing(tree: Path) -> None:
    write(tree, "# nothing yet\n")
    assert said(tree, "a/OUTCAR") == Said(Sidecar())


def test_merged_keys_of_yaml_hold_too(tree: Path) -> None:
    write(tree, "runs:\n  a: &one {kind: aimd}\n  b:\n    <<: *one\n    group: g\n")
    assert said(tree, "b/OUTCAR").sidecar == Sidecar(kind="aimd", group="g")


def test_places_are_the_same_however_the_tree_was_reached(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree, "kind: aimd\n")
    write(tree / "a", "group: g\n")
    absolute = said(tree, "a/b/OUTCAR")
    (tree.parent / "other").symlink_to(tree)
    monkeypatch.chdir(tree)

    assert said(Path(), "a/b/OUTCAR") == absolute
    assert said(tree.parent / "other", "a/b/OUTCAR") == absolute
    assert said(Path("../tree/a/.."), "a/b/OUTCAR") == absolute


def test_a_folder_outside_the_project_is_named_with_its_own_name(tree: Path) -> None:
    """Names begin with the folder that was given, in which the sidecars begin."""
    write(tree.parent, "kind: random\n")
    write(tree, "kind: aimd\n")
    write(tree / "a", "group: g\n")

    found = Sayings().of("tree/a/OUTCAR", tree / "a", tree)

    assert found.places == {"kind": "tree/mlpdata.yaml:1", "group": "tree/a/mlpdata.yaml:1"}


def test_templates_and_maps_begin_in_the_tree_that_was_given(tree: Path) -> None:
    table = write(tree.parent, "path,kind\nCu,aimd\n", "runs.csv")
    sayings = Sayings(templates=["{system}/{temperature}K"], maps=[table])

    found = sayings.of("raw/2019/Cu/300K/OUTCAR", tree / "raw/2019/Cu/300K", tree, tree="raw/2019")

    assert found.sidecar == Sidecar(system="Cu", temperature=300, kind="aimd")


def test_an_archive_stands_for_a_folder(tree: Path) -> None:
    write(tree / "a", "kind: aimd\n")
    sayings = Sayings(templates=["a/*/{system}/{temperature}K"])

    found = sayings.of("a/old.tar.gz", tree / "a", tree, member="Cu/300K/OUTCAR")

    assert found.sidecar == Sidecar(system="Cu", temperature=300, kind="aimd")
    sayings.of("a/old.tar.gz", tree / "a", tree, member="README/OUTCAR")
    assert "the first is a/old.tar.gz!README/OUTCAR" in sayings.conclude()[0]


def test_the_walk_may_say_which_folders_have_a_sidecar(tree: Path) -> None:
    write(tree, "kind: aimd\n")
    write(tree / "a", "group: g\n")
    asked: list[str] = []

    def has_sidecar(folder: str) -> bool:
        asked.append(folder)
        return folder == str(tree)

    sayings = Sayings(has_sidecar=has_sidecar)

    assert of(sayings, tree, "a/b/OUTCAR").sidecar == of(sayings, tree, "a/OUTCAR").sidecar == Sidecar(kind="aimd")
    assert sorted(asked) == [str(tree), str(tree / "a"), str(tree / "a/b")]


def test_what_was_of_no_use_is_said_in_the_end(tree: Path) -> None:
    write(tree, "from_path: '{system}/{temperature}K'\nruns: {'x*': {kind: aimd}}\n")
    table = write(tree.parent, "path,kind\na,aimd\nb,aimd\n", "runs.csv")
    sayings = Sayings(maps=[table], templates=["{system}"])
    of(sayings, tree, "a/b/OUTCAR")
    of(sayings, tree, "OUTCAR")

    assert sayings.conclude() == [
        "runs.csv:3: 'b' matches no run.",
        "--from-path says nothing of 1 run, the first is OUTCAR: the last part of the template stands for a folder and "
        "meets the file; leave it out, or add its ending.",
        "mlpdata.yaml:1 says nothing of 2 runs, the first is a/b/OUTCAR: it does not match.",
        "mlpdata.yaml:2: 'x*' matches no run.",
    ]


def test_a_template_that_matches_no_run_at_all_is_refused(tree: Path) -> None:
    sayings = Sayings(templates=["{system}/{temperature}C"])
    of(sayings, tree, "a/300K/OUTCAR")

    with pytest.raises(UsageError, match=r"--from-path: expected a template that matches .* a/300K/OUTCAR"):
        sayings.conclude()


@pytest.mark.parametrize(
    ("declared", "printed", "n"), [(300, 300.9, 0), (300, 301.1, 1), (300, None, 0), (None, 300, 0)]
)
def test_a_temperature_that_differs_from_the_printed_set_point_is_a_conflict(
    declared: float | None, printed: float | None, n: int
) -> None:
    one = Said(Sidecar(temperature=declared), {"temperature": "runs.csv:7"})

    found = against_output("a/OUTCAR", one, "md", printed)

    assert [str(conflict) for conflict in found] == [
        f"a/OUTCAR: temperature: 300.0 (runs.csv:7) counts, not {printed} (output)"
    ] * n  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "run_kind", "contradicts"),
    [
        ("equilibrium", "md", True),
        ("aimd", "md", False),
        ("liquid_amorphous", "md", False),
        ("aimd", "single_point", False),
        ("aimd", "relax", True),
        ("equilibrium", "relax", False),
        ("equilibrium", "neb", True),
        ("reaction_path", "neb", False),
        ("unknown", "md", False),
    ],
)
def test_a_kind_that_the_run_cannot_give_is_a_conflict(kind: str, run_kind: RunKind, contradicts: bool) -> None:
    one = Said(Sidecar(kind=kind), {"kind": "--kind"})  # type: ignore[arg-type]

    found = against_output("a/OUTCAR", one, run_kind, None)

    assert [(one.field, one.winner.place, one.loser.value) for one in found] == (
        [("kind", "--kind", f"a run of kind {run_kind}")] if contradicts else []
    )


def test_a_folder_whose_name_is_no_utf8_says_nothing_and_can_be_printed(tree: Path) -> None:
    """The system gives such bytes as lone surrogates."""
    sayings = Sayings(templates=["{system}/{run}"])
    of(sayings, tree, "Cu/1/OUTCAR")

    assert of(sayings, tree, "\udcff/1/OUTCAR").sidecar == Sidecar()
    assert sayings.conclude() == [
        "--from-path says nothing of 1 run, the first is \\udcff/1/OUTCAR: system: expected text in UTF-8, found other bytes."
    ]


def test_a_tree_of_many_levels_ends_in_no_error(tree: Path) -> None:
    name = "/".join(["d"] * 3000)
    assert Sayings(has_sidecar=lambda _: False).of(f"{name}/OUTCAR", tree / name, tree).sidecar == Sidecar()


def test_many_runs_are_asked_for_in_little_time(tree: Path) -> None:
    """20 microseconds a run are 2 s for 10^5; the bound leaves room for a busy machine."""
    write(tree, "license: MIT\n")
    sayings = Sayings(templates=["{system}/{temperature}K/{run}"], has_sidecar=lambda folder: folder == str(tree))
    names = [f"Cu{number % 50}/{300 + number % 5}K/{number}/OUTCAR" for number in range(10_000)]
    folders = [(tree / name).parent for name in names]
    started = time.process_time()

    for name, folder in zip(names, folders, strict=True):
        sayings.of(name, folder, tree)

    assert time.process_time() - started < 1.5
