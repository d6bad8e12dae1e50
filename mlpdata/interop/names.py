"""Names under which extended XYZ and ASE know the properties of the registry; any other keeps its name."""

from __future__ import annotations

from mlpdata.schema.properties import PROPERTIES, REQUIRED

FOREIGN = {
    "magnetic_moments": "magmoms",
    "magnetic_moment_vectors": "magmoms",
    "initial_magnetic_moments": "initial_magmoms",
    "initial_magnetic_moment_vectors": "initial_magmoms",
    "charges_unspecified": "charges",
    "atomic_energies": "energies",
    "total_magnetization": "magmom",
}
"""Of what has another name there. Velocities keep theirs: ASE's own unit of time would round them."""
SUPERSEDED = {
    "magnetic_moments": "magnetic_moment_vectors",
    "initial_magnetic_moments": "initial_magnetic_moment_vectors",
}
"""Of two properties with one name the vector is written."""
PLACES = ("source_line", "source_index")
"""Where a file has a configuration: said in the sidecar as path:line."""
EXPORTED = tuple(name for name in PROPERTIES if name not in (*REQUIRED, *PLACES))
"""Properties beyond geometry that a format may hold or drop."""


def foreign(name: str) -> str:
    """What extended XYZ and ASE call a property."""
    return FOREIGN.get(name, name)
