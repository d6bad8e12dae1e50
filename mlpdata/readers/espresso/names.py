"""Names of Quantum ESPRESSO and their meaning: kinds of atoms, functionals, smearings, dispersion corrections."""

from __future__ import annotations

import re
from typing import NamedTuple

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.text import number
from mlpdata.schema.method import Smearing
from mlpdata.units import scalar

_FUNCTIONALS = {
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "SLA PW PSX PSC": "PBEsol",
    "PBESOL": "PBEsol",
    "SLA PW REVX PBC": "revPBE",
    "SLA PW RPB PBC": "revPBE",
    "REVPBE": "revPBE",
    "SLA PW GGX GGC": "PW91",
    "SLA PZ NOGX NOGC": "LDA",
    "PZ": "LDA",
    "SLA PW NOGX NOGC": "LDA-PW",
    "PW": "LDA-PW",
    "SLA LYP B88 BLYP": "BLYP",
    "SLA PZ B88 P86": "BP86",
    "BP": "BP86",
    "HSE": "HSE06",
    "GAUP": "GauPBE",
    "GAUPBE": "GauPBE",
    "VDW-DF": "vdW-DF",
    "VDW-DF2": "vdW-DF2",
    "VDW-DF-CX": "vdW-DF-cx",
    "RVV10": "rVV10",
}
_NONLOCAL = {"vdW-DF": "vdW-DF", "vdW-DF2": "vdW-DF2", "vdW-DF-cx": "vdW-DF-cx", "rVV10": "rVV10"}
_SMEARINGS = {
    "gauss": "gaussian",
    "marzari-vanderbilt": "marzari-vanderbilt",
    "cold": "marzari-vanderbilt",
    "mv": "marzari-vanderbilt",
    "methfessel-paxton": "methfessel-paxton",
    "mp": "methfessel-paxton",
    "fermi-dirac": "fermi-dirac",
    "fd": "fermi-dirac",
}


def atomic_number(kind: str) -> int:
    """Z of a kind of atom; what pw.x allows after the symbol is dropped: Fe1, Fe_a, C-h (pitfall Q7).

    Raises:
        ParseError: no element begins the name.
    """
    letters = re.match(r"[A-Za-z]{0,2}", kind)
    name = letters[0].capitalize() if letters else ""
    z = ATOMIC_NUMBERS.get(name) or ATOMIC_NUMBERS.get(name[:1])
    if z is None:
        raise ParseError(f"expected the name of a kind to begin with a chemical symbol, found {kind!r}.")
    return z


class Species(NamedTuple):
    """One kind of atom."""

    atomic_number: int
    valence: float
    """Electrons of its pseudopotential."""


def species_of(table: bytes) -> dict[bytes, Species]:
    """Kinds by name, from the rows below `atomic species   valence    mass     pseudopotential`.

    The pseudopotential names the element where it can, since a kind may be called anything (pitfall Q7).

    Raises:
        ParseError: a row that lacks one of them.
    """
    found = {}
    for row in table.splitlines():
        fields = row.replace(b"(", b" ").split(maxsplit=4)
        if len(fields) < 4:
            raise ParseError(f"expected a kind, its valence, mass and element, found {row[:60]!r}.")
        kind, valence, _, symbol = fields[:4]
        name = symbol.decode("latin-1").capitalize()
        z = ATOMIC_NUMBERS.get(name) or atomic_number(kind.decode("latin-1"))
        found[kind] = Species(z, number(valence))
    return found


def run_of(name: str, _head: bytes) -> str:
    """What the files of one run share: their stem; AiiDA keeps `aiida.out` beside `data-file-schema.xml`."""
    stem = name.rpartition(".")[0] or name
    return "aiida" if stem == "data-file-schema" else stem


def functional(printed: str) -> str | None:
    """Canonical name of a functional as pw.x prints it; a name that is not in the table is kept."""
    words = " ".join(printed.upper().split())
    return _FUNCTIONALS.get(words, words) or None


def dispersion_of(name: str | None) -> str | None:
    """The dispersion that is part of a functional with a non-local correlation."""
    return _NONLOCAL.get(name or "")


def smearing(name: str, width: float, unit: str) -> Smearing:
    """A smearing by any of the names that pw.x gives it."""
    key = name.strip().lower()
    method = next((full for short, full in _SMEARINGS.items() if key.startswith(short)), key)
    return Smearing(method=method, width=scalar(width, unit, "energy"))
