"""Outputs that PySCF printed, compared with the values that its functions returned in the same runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.inspection import inspect_file

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


def expected() -> dict[str, Any]:
    known = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}
    return {path: wanted for path, wanted in known.items() if wanted.get("format") == "pyscf-out"}


@pytest.mark.parametrize(("path", "wanted"), expected().items(), ids=lambda one: str(one)[-30:])
def test_energy_forces_and_convergence_are_those_of_the_functions(path: str, wanted: dict[str, Any]) -> None:
    found = inspect_file(CORPUS / path)

    assert (found["error"], found["reader"], found["status"]) == (None, "pyscf/out", "complete")
    assert found["method"]["code_version"] == wanted["version"]
    assert found["last"]["energy"] == pytest.approx(wanted["energy_eV"], rel=1e-9)
    assert np.allclose(found["last"]["forces"], wanted["forces_eVA"], atol=2e-8)  # ten decimals are printed
    assert bool(found["last"]["scf_converged"]) == wanted["converged"]


def test_levels_of_theory_are_those_of_the_scripts_echoed_above_the_outputs() -> None:
    method = inspect_file(CORPUS / "pyscf/generated/h2o_pbe_grad.out")["method"]

    assert (method["functional"], method["basis"], method["spin"]) == ("PBE", "def2-svp", "restricted")


def test_a_geometry_given_in_bohr_is_in_angstrom() -> None:
    last = inspect_file(CORPUS / "pyscf/generated/hf_bohr_units.out")["last"]

    assert last["positions"][1][2] == pytest.approx(0.926060119110, abs=1e-8)
