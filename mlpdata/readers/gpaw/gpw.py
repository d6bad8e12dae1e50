"""GPAW's .gpw files: the last geometry of a run with its results, in a container of ASE's kind; versions 0 to 6.

Results are in eV and angstrom, and `ha` and `bohr` are the constants that made them so. GPAW calls the energy that is
extrapolated to zero width `energy`, the one that its forces derive from `free_energy`. Results are there after
convergence only.

References:
    gpaw/new/gpw.py (versions), gpaw/calculator.py (results) of GPAW 1.1 to 25.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import ArrayLike

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.ase.atoms import Arrays, as_numbers, decoded, geometry, held, required
from mlpdata.readers.gpaw.method import forces_are, from_parameters, run_of, unusable
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.ulm import Group, Ulm, tag_of
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Method
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64, Quantity

NEWEST = 6
"""Version of the format that is known."""
VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]
"""Places of xx xy xz yx yy yz zx zy zz among the six that are written: xx yy zz yz xz xy."""
WITHOUT_CONVERGED = 4
"""Version from which on nothing but the presence of results tells convergence."""


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one frame of a file.

    Raises:
        ParseError: its geometry cannot be read, or its version is not known.
    """
    item = _item(source)
    frame = geometry(item.group("atoms"), source.limits.atoms)
    parameters = {name: _plain(value) for name, value in item.group("parameters").items()}
    method = _method(item, parameters, periodic=bool(frame["pbc"].any()))
    yield Header(
        method=method,
        identity=sha256_json({"version": method.code_version, "geometry": sha256(frame["positions"].tobytes())}),
        energy_kind="free" if method.smearing else "total",
        forces_are=forces_are(method),
    )
    warnings: list[str] = []
    try:
        yield _printed(item, frame, method, parameters, warnings)
    except ParseError as error:
        left_out = (LeftOut(line=1, reason=error.message),)
        failed = _converged(item) == NO
        yield Ending("failed" if failed else "complete", "the SCF did not converge" if failed else "", left_out)
    else:
        yield Ending("complete", warnings=tuple(warnings))


def _item(source: Input) -> Group:
    """The one item of a container."""
    container = Ulm(source.data)
    if len(container) != 1:
        raise ParseError(f"expected one calculation in the container, found {len(container)}. GPAW did not finish it.")
    item = container.item(0)
    version = item.get("version")
    if not isinstance(version, int) or not 0 <= version <= NEWEST:
        raise ParseError(f"expected version 0 to {NEWEST} of the format, found {str(version)[:40]!r}.")
    return item


def _plain(value: Any) -> Any:
    """A parameter, which may be a group of further ones."""
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, Group) else decoded(value)


def _method(item: Group, parameters: Mapping[str, Any], *, periodic: bool) -> Method:
    """The method as the parameters state it, with the constants that made the numbers."""
    method = from_parameters(parameters, periodic=periodic, n_spins=_n_spins(item))
    constants = {name: item[name] for name in ("ha", "bohr") if isinstance(item.get(name), float)}
    settings = {**method.settings_as_printed, **constants}
    version = str(item.get("gpaw_version", "")) or None
    return method.model_copy(update={"code_version": version, "settings_as_printed": settings})


def _n_spins(item: Group) -> int | None:
    """Components of the density: 1, 2, or 4 where spins are not collinear."""
    density = as_numbers(item.group("density").get("atomic_density_matrices"))
    return len(density) if density is not None and density.ndim else None


def _converged(item: Group) -> int:
    """Whether the SCF converged; the newer format does not say, and holds results only if it did."""
    said = item.group("scf").get("converged")
    if isinstance(said, bool):
        return YES if said else NO
    return YES if item["version"] >= WITHOUT_CONVERGED and len(item.group("results")) else UNKNOWN


def _printed(item: Group, frame: Arrays, method: Method, parameters: Mapping[str, Any], warnings: list[str]) -> Printed:
    """The frame.

    Raises:
        ParseError: no energy that is one of a ground state, or energy or forces that are damaged.
    """
    if reason := unusable(parameters):
        raise ParseError(reason)
    n_atoms = len(frame["atomic_numbers"])
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": frame["atomic_numbers"],
        "positions": Quantity(frame["positions"], "angstrom"),
        "pbc": frame["pbc"][None],
        "scf_converged": [_converged(item)],
        "source_line": [1],
        **_energies(item),
    }
    if "cell" in frame:
        arrays["cell"] = Quantity(frame["cell"][None], "angstrom")
    if "velocities" in frame:
        arrays["velocities"] = Quantity(frame["velocities"], "(eV/u)^0.5")
    results = item.group("results")
    if "forces" in results:
        arrays["forces"] = Quantity(required(results, "forces", (n_atoms, 3)), "eV/angstrom")
    fixed, notes = held(item.group("atoms").get("constraints"), n_atoms)
    if fixed is not None:
        arrays["fixed"] = fixed
    warnings.extend(notes)
    for name, (values, unit) in _optional(item, frame, method, parameters, warnings).items():
        arrays[name] = Quantity(values, unit)
    return Printed([n_atoms], arrays)


def _energies(item: Group) -> dict[str, Quantity]:
    """The energy that the forces derive from, and the one extrapolated to zero width [eV].

    Raises:
        ParseError: GPAW wrote no result, or one that is no number.
    """
    results, hamiltonian = item.group("results"), item.group("hamiltonian")
    if "energy" not in results:
        raise ParseError("expected an energy among the results, found none. The SCF did not converge.")
    names = {"energy": (results, "free_energy"), "energy_sigma0": (results, "energy")}
    if "free_energy" not in results:
        names["energy"] = (hamiltonian, "e_total_free")
    return {name: Quantity(required(there, key, ())[None], "eV") for name, (there, key) in names.items()}


def _optional(
    item: Group, frame: Arrays, method: Method, parameters: Mapping[str, Any], warnings: list[str]
) -> dict[str, tuple[F64, str]]:
    """Further labels with their units; a damaged one is dropped with a warning."""
    results = item.group("results")
    n_atoms = len(frame["atomic_numbers"])
    charge = parameters.get("charge", 0)
    wanted: list[tuple[str, Mapping[str, Any], str, tuple[int, ...], str]] = [
        ("stress", results, "stress", (6,), "eV/angstrom^3"),
        ("fermi_energy", item.group("wave_functions"), "fermi_levels", (1,), "eV"),
        ("charge", {"charge": charge}, "charge", (), "e"),
        ("initial_magnetic_moments", item.group("atoms"), "magmoms", (n_atoms,), "muB"),
    ]
    if not frame["pbc"].any() and charge == 0:  # of a periodic or charged system it depends on the origin
        wanted.append(("dipole", results, "dipole", (3,), "e*angstrom"))
    if method.spin == "unrestricted":  # where spins are paired GPAW fills moments with zeros
        wanted.append(("magnetic_moments", results, "magmoms", (n_atoms,), "muB"))
        wanted.append(("total_magnetization", results, "magmom", (), "muB"))
    if method.spin == "noncollinear":
        wanted.append(("magnetic_moment_vectors", results, "non_collinear_magmoms", (n_atoms, 3), "muB"))
    found: dict[str, tuple[F64, str]] = {}
    for name, there, key, shape, unit in wanted:
        if key not in there:
            continue
        try:
            found[name] = (_rows(name, required(there, key, shape)), unit)
        except ParseError as error:
            warnings.append(f"{name} was not read: {error.message}")
    return found


def _rows(name: str, values: F64) -> F64:
    """Values of one configuration in the shape of a block of one."""
    if name == "stress":
        return values[VOIGT].reshape(1, 3, 3)
    return values.reshape(-1) if values.size == 1 else values[None] if name == "dipole" else values


def _is_gpw(head: bytes) -> bool:
    """Whether a container of a calculation begins with `head`."""
    return (tag_of(head) or "").lower() == "gpaw"


READER = Reader("gpaw/gpw", 1, ("*.gpw",), _is_gpw, read, run_of=run_of, precedence=1)
