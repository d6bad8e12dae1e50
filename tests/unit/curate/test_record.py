"""The DFT record as YAML, and the environment."""

from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path

import jsonschema
import yaml

from mlpdata.curate.record import dft_record, environment, records
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.dft_record import DftRecord
from mlpdata.schema.method import Convergence, Kpoints, Method, Pseudopotential, Smearing
from mlpdata.schema.publish import schemas

METHOD = Method(
    code="vasp",
    code_version="6.3.2",
    functional="PBE",
    dispersion="D3(BJ)",
    cutoff_energy=500.0,
    kpoints=Kpoints(mesh=(4, 4, 1), centring="gamma"),
    smearing=Smearing(method="methfessel-paxton", width=0.2),
    convergence=Convergence(electronic=1e-6, ionic_force=0.02),
    spin="restricted",
    pseudopotentials=(Pseudopotential(element="Cu", title="PAW_PBE Cu 22Jun2005", exchange="PE"),),
)
ROWS = [
    {"formula": "Cu16", "configurations": 7, "charge": None},
    {"formula": "CH4OCu48", "configurations": 3, "charge": 0.0, "multiplicity": 1},
    {"formula": "Cu16", "configurations": 2},
]


def calculation(method: Method, path: str = "a") -> Calculation:
    return Calculation(path=path, identity=path, sources=(), method=method, status="complete")


def test_a_record_states_system_parameters_and_structure() -> None:
    record = dft_record(METHOD, ROWS)

    assert record.system.name == "H-C-O-Cu"
    assert [(one.formula, one.configurations) for one in record.system.composition] == [("CH4OCu48", 3), ("Cu16", 9)]
    assert record.dft_parameters.encut == 500.0
    assert record.dft_parameters.basis == "plane waves"
    assert (record.dft_parameters.charge, record.dft_parameters.multiplicity) == ((0.0,), (1,))
    assert record.structure.slab is None


def test_records_are_yaml_that_the_published_schema_accepts() -> None:
    other = METHOD.replace(functional="PBEsol")
    rows = [{"method_id": METHOD.id, **row} for row in ROWS]

    documents = yaml.safe_load(records([calculation(METHOD), calculation(METHOD, "b"), calculation(other)], rows))

    assert [one["method"] for one in documents] == sorted([METHOD.id, other.id])
    for one in documents:
        jsonschema.validate(one, schemas()["dft_record.json"])
        assert DftRecord.model_validate_json(json.dumps(one)).as_json() == one
    mine = next(one for one in documents if one["method"] == METHOD.id)
    assert mine["dft_parameters"]["kpoints"]["mesh"] == [4, 4, 1]
    assert mine["dft_parameters"]["smearing"] == {"method": "methfessel-paxton", "width": 0.2}
    assert mine["dft_parameters"]["convergence"]["ionic_force"] == 0.02


def test_an_empty_store_has_no_records() -> None:
    assert yaml.safe_load(records([], [])) == []


def test_the_environment_names_versions() -> None:
    found = environment()

    assert found["python"] == platform.python_version()
    assert {"numpy", "pydantic", "zarr"} <= set(found["packages"])


def test_the_environment_tells_neither_who_nor_where() -> None:
    text = json.dumps(environment())

    for secret in (socket.gethostname(), str(Path.home()), str(Path.cwd()), os.environ.get("USER", "nobody-here")):
        assert secret not in text
