"""`mlpdata record`, `check`, `split`, `freeze`, and what the verbs after them ask for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import N_CONFIGURATIONS, Verb, refused

pytestmark = pytest.mark.usefixtures("project")
TWO = "split: {stratify: [], fractions: {train: 0.6, test: 0.4}}\n"


def test_the_record_is_yaml_of_every_method(verb: Verb) -> None:
    said = yaml.safe_load(verb("record").out)
    assert {one["dft_parameters"]["code"]["name"] for one in said} == {"vasp", "quantum-espresso"}
    verb("record", "--out", "new/methods.yaml")
    assert yaml.safe_load(Path("new/methods.yaml").read_text()) == said
    assert json.loads(verb("record", "--json").out)["methods"] == said


def test_a_check_that_fails_ends_with_one_and_says_why(verb: Verb) -> None:
    answer = verb("check")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert "license CC0-1.0, to train: yes." in answer.out
    found = verb("check", "--json")
    assert (found.code, bool(json.loads(found.out)["errors"])) == (1, True)
    Path("loose.yaml").write_text("check: {one_theory: false}\n")
    assert verb("check", "--params", "loose.yaml").code == 0


def test_a_split_is_made_frozen_and_extended(verb: Verb) -> None:
    Path("params.yaml").write_text(TWO)
    assert verb("split").out.startswith("splits/main.json: train ")
    made = json.loads(verb("split", "--json").out)
    assert sum(made["parts"].values()) == N_CONFIGURATIONS
    assert verb("freeze").out.startswith("views/main: train ")
    assert json.loads(verb("freeze", "--json").out)["split"] == made["id"]
    assert verb("split", "--extend", "splits/main.json", "--out", "splits/next.json").code == 0
    parts = [json.loads(Path(f"splits/{name}.json").read_text())["parts"] for name in ("main", "next")]
    assert all(set(parts[0][part]) <= set(parts[1][part]) for part in parts[0])


def test_a_query_is_frozen_as_one_part(verb: Verb) -> None:
    answer = verb("freeze", "SELECT id FROM configurations WHERE kind = 'aimd'", "--out", "views/md")
    assert answer.out.startswith("views/md: all 3; view ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["freeze"], 4, "splits/main.json: expected a split, found none. Make it by `mlpdata split`."),
        (["freeze", "SELECT 1"], 2, "expected the column id, found 1."),
        (
            ["freeze", "SELECT id FROM configurations WHERE false"],
            2,
            "expected at least one configuration, found none.",
        ),
        (["freeze", "SELECT id FROM configurations LIMIT 2"], 2, "expected ORDER BY beside LIMIT"),
        (["split", "--extend", "none.json"], 4, "none.json: expected a split, found none."),
        (["split", "--params", "none.yaml"], 2, "none.yaml: expected a file of parameters, found none."),
        (["train"], 4, "views/main: expected a view, found none."),
        (["train", "--device", "tpu"], 2, "expected the device cpu or cuda, found 'tpu'."),
        (["evaluate"], 4, "models/main: expected a model, found none. Make it by `mlpdata train`."),
        (["md"], 4, "models/main: expected a model, found none. Make it by `mlpdata train`."),
        (["report"], 4, "expected"),
    ],
)
def test_what_is_missing_or_wrong_is_a_line_with_its_cure(
    verb: Verb, arguments: list[str], code: int, said: str
) -> None:
    refused(verb(*arguments), code, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: {fractions: {train: 0.8, test: 0.8}}", "expected fractions that sum to one, found 1.6"),
        ("split: {stratify: [nope]}", "expected the column nope"),
        ("split: {select: 'DROP TABLE configurations'}", "expected one SELECT"),
        ("splt: {}", "params.yaml: splt: expected one of name, ingest"),
        ("split: [", "params.yaml:1: expected YAML"),
    ],
)
def test_parameters_that_are_wrong_are_a_line(verb: Verb, text: str, said: str) -> None:
    Path("params.yaml").write_text(text)
    refused(verb("split"), 2, said)
    assert not Path("splits").exists()


def test_a_part_that_is_not_there_is_named(verb: Verb) -> None:
    from mlpdata.curate.freeze import open_view
    from mlpdata.errors import NotFound

    verb("freeze", "SELECT id FROM configurations", "--out", "views/main")
    with pytest.raises(NotFound, match="part"):
        open_view(Path("views/main")).rows("test")


@pytest.mark.parametrize(
    ("missing", "arguments"), [("torch", ["train"]), ("torch", ["evaluate"]), ("jinja2", ["report"])]
)
def test_a_missing_package_is_a_line_that_installs_it(missing: str, arguments: list[str]) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from mlpdata.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    extra = {"torch": "train", "jinja2": "report"}[missing]
    assert done.returncode == 2
    assert (
        done.stderr
        == f"mlpdata: expected the package {missing}, found none. Install it by: pip install 'mlpdata[{extra}]'\n"
    )
