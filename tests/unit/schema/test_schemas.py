"""The committed JSON Schemas are those of the nouns."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from mlpdata.schema import publish
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.method import Method
from mlpdata.schema.params import Params

COMMITTED = Path(__file__).parents[3] / "schemas"
SCHEMAS = publish.schemas()


def test_the_committed_schemas_are_all_there_and_no_more() -> None:
    assert sorted(path.name for path in COMMITTED.glob("*.json")) == sorted(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_committed_schema_is_that_of_its_noun(name: str) -> None:
    expected = publish.text(SCHEMAS[name])

    assert (COMMITTED / name).read_text() == expected, "run python -m mlpdata.schema.publish schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_writing_them_gives_the_committed_files(tmp_path: Path) -> None:
    publish.main(tmp_path / "schemas")

    assert {path.name: path.read_bytes() for path in (tmp_path / "schemas").iterdir()} == {
        path.name: path.read_bytes() for path in COMMITTED.glob("*.json")
    }


def test_nouns_satisfy_their_schemas() -> None:
    method = Method(code="vasp")
    calculation = Calculation(path="a", identity="b", sources=(), method=method, status="complete")

    jsonschema.validate(json.loads(calculation.model_dump_json()), SCHEMAS["calculation.json"])
    jsonschema.validate(json.loads(Params().model_dump_json()), SCHEMAS["params.json"])


def test_every_field_of_every_noun_is_described() -> None:
    for name, schema in SCHEMAS.items():
        definitions = schema.get("$defs", {})
        for kind, definition in {name: schema, **definitions}.items():
            for field, said in definition.get("properties", {}).items():
                inherited = definitions.get(said.get("$ref", "").removeprefix("#/$defs/"), {})
                assert said.get("description") or inherited.get("description"), f"{kind}.{field}"
