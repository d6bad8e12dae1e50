"""VASP's vaspout.h5: every ionic step at full precision; VASP 6.

Energies are found by their tags, never by column, and a stress filled with zeros is absent (pitfall V20). The POTCAR in
the file is licensed: title, exchange type and checksum are all that is kept of it.

References:
    The layout is that which VASP's own library py4vasp reads, https://vasp.at/py4vasp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.frames import MAX_ATOMS_PER_BLOCK
from mlpdata.readers.archive import Input
from mlpdata.readers.hdf5 import File, opened, own_errors
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.rehearsal import rehearsed
from mlpdata.readers.vasp import method as vasp_method
from mlpdata.readers.vasp.header import HDF5, Run, Species, element, held, run_of, shared
from mlpdata.readers.vasp.method import Tags
from mlpdata.readers.vasp.outcar_method import potentials
from mlpdata.readers.vasp.outcar_steps import Account
from mlpdata.schema.method import Kpoints
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64, Quantity

_STEPS = "intermediate/ion_dynamics"
_ENERGIES = {
    "free energy TOTEN": "energy",
    "ion-electron TOTEN": "energy",
    "energy(sigma->0)": "energy_sigma0",
    "energy without entropy": "energy_no_entropy",
}
_LOGICAL = {
    "LHFCALC", "LMODELHF", "LUSE_VDW", "LVDW", "LDAU", "LNONCOLLINEAR", "LSORBIT", "LDIPOL", "LMONO", "LSOL",
    "LEPSILON", "LCALCEPS", "LCHIMAG", "LBLUEOUT", "LREAL", "LASPH", "ADDGRID", "ML_LMLFF",
}  # fmt: skip
"""Tags that are stored as 0 or 1."""
_DEFAULTS = {"ISPIN": "1", "ISMEAR": "1", "SIGMA": "0.2", "NELM": "60", "EDIFF": "1E-4", "NSW": "0", "PREC": "normal"}
_MODES = {"e": "list", "l": "line", "g": "gamma", "m": "monkhorst-pack", "a": "gamma"}


def magic(head: bytes) -> bool:
    """Whether a file is HDF5 with the groups of VASP in its root."""
    return head.startswith(b"\x89HDF\r\n\x1a\n") and b"intermediate" in head and b"incar" in head


@rehearsed
def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The header, blocks of frames, the ending of one vaspout.h5.

    Raises:
        ParseError: it cannot be opened, or lacks what describes the run.
        LimitExceeded: an array larger than the file can hold.
    """
    with opened(source.data) as file:
        with own_errors():
            run = _run(file, source)
        yield run.header
        account = Account(warnings=list(run.warnings))
        with own_errors():
            steps = _steps(file, account)
        n_atoms = len(run.atomic_numbers)
        size = max(1, MAX_ATOMS_PER_BLOCK // n_atoms)
        for first in range(0, steps, size):
            with own_errors():
                block = _block(file, run, slice(first, min(first + size, steps)), account)
            if block is not None:
                yield block
        with own_errors():
            yield _ending(file, account)


def _text(file: File, path: str) -> str:
    """A scalar or a short array as text; "" where there is none."""
    if not file.has(path):
        return ""
    value = file.dataset(path)[()]
    words = [
        one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in np.asarray(value).ravel().tolist()
    ]
    return " ".join(words).strip()


def _run(file: File, source: Input) -> Run:
    """All that the steps share."""
    version = ".".join(_text(file, f"version/{part}") or "?" for part in ("major", "minor", "patch"))
    user = {name.upper(): _tag(name.upper(), _text(file, f"input/incar/{name}")) for name in file.names("input/incar")}
    used = {**_DEFAULTS, **user}
    used.setdefault("IBRION", "-1" if used["NSW"] in {"0", "1"} else "0")
    if used.get("LHFCALC") == "T":
        used = {"AEXX": "0.25", "HFSCREEN": "0.0", **used}
    electrons = _text(file, "results/electron_eigenvalues/nelectrons")
    if electrons:
        used["NELECT"] = electrons
    species = _species(file)
    n_atoms = sum(one.n_atoms for one in species)
    if not 0 < n_atoms <= source.limits.atoms:
        raise LimitExceeded(f"expected 1 to {source.limits.atoms} atoms, found {n_atoms}.")
    numbers = np.repeat(np.array([one.atomic_number for one in species], np.uint8), [one.n_atoms for one in species])
    start = [sha256(_text(file, f"original/{part}/content").encode()) for part in ("incar", "kpoints", "poscar")]
    tags = Tags(user, used)
    warning = "PSTRESS: whether energies are enthalpies is not said, so none is stored (V3)."
    return shared(
        tags,
        species,
        numbers,
        [version, sha256_json(start)],
        _kpoints(file),
        (warning,) if tags.number("PSTRESS") else (),
    )


def _tag(name: str, value: str) -> str:
    return {"0": "F", "1": "T"}.get(value, value) if name in _LOGICAL else value


def _species(file: File) -> list[Species]:
    """The kinds of atom in the order of POSCAR."""
    symbols = _text(file, "input/poscar/ion_types").split() or _text(file, "results/positions/ion_types").split()
    counts = _text(file, "input/poscar/number_ion_types").split()
    if not symbols or len(symbols) != len(counts) or not all(count.isdecimal() for count in counts):
        raise ParseError(f"expected as many kinds of atom as counts, found {symbols} and {counts}.")
    known = potentials(_text(file, "input/potcar/content").encode("latin-1"))
    unnamed = [vasp_method.pseudopotential(symbol, "", None) for symbol in symbols[len(known) :]]
    found = []
    for symbol, count, potential in zip(symbols, counts, [*known, *unnamed], strict=False):
        number, repaired = element(symbol.split("_")[0], potential.title, "")
        found.append(Species(int(count), number, potential, repaired))
    return found


def _kpoints(file: File) -> Kpoints:
    mode = _text(file, "input/kpoints/mode")[:1].lower()
    mesh = [_text(file, f"input/kpoints/nkp{axis}") for axis in "xyz"]
    points = _text(file, "results/electron_eigenvalues/kpoints")
    divisions = [int(one) for one in mesh if one.isdecimal() and int(one) > 0]
    explicit = "results/electron_eigenvalues/kpoint_coords"
    count = len(file.dataset(explicit)) if file.has(explicit) else int(points) if points.isdecimal() else None
    a, b, c = divisions if len(divisions) == 3 else (0, 0, 0)
    return Kpoints(mesh=(a, b, c) if a else None, centring=_MODES.get(mode), count=count)


def _steps(file: File, account: Account) -> int:
    """How many steps there are to read; what is not read is told."""
    names = ("energies", "forces", "lattice_vectors", "position_ions")
    lengths = [len(file.dataset(f"{_STEPS}/{name}")) if file.has(f"{_STEPS}/{name}") else 0 for name in names]
    learned = _tag("ML_LMLFF", _text(file, "input/incar/ML_LMLFF")).upper().strip(".").startswith("T")
    if learned and max(lengths):
        account.lose(
            0, "expected DFT, found steps that a machine-learned force field may have made (V11).", max(lengths)
        )
        return 0
    if max(lengths) > min(lengths):
        account.lose(
            0,
            "expected energies, forces, cell and positions of each step, found fewer of some. The run was cut.",
            max(lengths) - min(lengths),
        )
    return min(lengths)


def _block(file: File, run: Run, steps: slice, account: Account) -> Printed | None:
    """The frames of some steps; a number that is not finite costs its frame."""
    n, n_atoms = steps.stop - steps.start, len(run.atomic_numbers)
    cells = _scale(file) * file.numbers(f"{_STEPS}/lattice_vectors", (n, 3, 3), steps)
    fractional = file.numbers(f"{_STEPS}/position_ions", (n, n_atoms, 3), steps)
    forces = file.numbers(f"{_STEPS}/forces", (n, n_atoms, 3), steps)
    energies = _energies(file, run, steps, account)
    kept = np.ones(n, bool)
    for values in (cells, fractional, forces, energies["energy"] if not run.external_pressure else np.zeros(n)):
        kept &= np.isfinite(values.reshape(n, -1)).all(axis=1)
    for i in np.flatnonzero(~kept).tolist():
        account.lose(
            0, f"expected finite numbers at step {steps.start + i}, found NaN or infinity. The frame was left out."
        )
    if not kept.any():
        return None
    x, y, z = (fractional[kept][..., axis, None] for axis in range(3))
    a, b, c = (cells[kept][:, None, axis] for axis in range(3))
    count = int(kept.sum())
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.tile(run.atomic_numbers, count),
        "positions": Quantity((x * a + y * b + z * c).reshape(-1, 3), "angstrom", basis="fractional"),
        "cell": Quantity(cells[kept], "angstrom"),
        "pbc": np.ones((count, 3), np.int8),
        "forces": Quantity(forces[kept].reshape(-1, 3), "eV/angstrom"),
        "charge": Quantity(np.full(count, run.charge), "e"),
        "scf_converged": _converged(file, run, steps)[kept],
        "step": np.arange(steps.start, steps.stop)[kept],
    }
    arrays |= {name: Quantity(values[kept], "eV") for name, values in energies.items()}
    arrays |= _optional(file, run, steps, kept, account)
    return Printed(np.full(count, n_atoms), arrays)


def _scale(file: File) -> float:
    """What lattice vectors are multiplied by."""
    path = next((one for one in ("results/positions/scale", "input/poscar/scale") if file.has(one)), "")
    scale = float(file.numbers(path, ())) if path else 1.0
    if not 0 < scale < float("inf"):
        raise ParseError(f"expected a positive scale of the cell, found {scale}.")
    return scale


def _energies(file: File, run: Run, steps: slice, account: Account) -> dict[str, F64]:
    """Energies by their tags [eV]; none with PSTRESS (V3)."""
    tags = [" ".join(one.decode("latin-1").split()) for one in file.dataset(f"{_STEPS}/energies_tags")[()].tolist()]
    values = file.numbers(f"{_STEPS}/energies", (steps.stop - steps.start, len(tags)), steps)
    found = {_ENERGIES[tag]: values[:, i] for i, tag in reversed(list(enumerate(tags))) if tag in _ENERGIES}
    if "energy" not in found:
        raise ParseError(f"expected the tag free energy TOTEN among the energies, found {tags}.")
    for name in sorted(found.keys() - {"energy"}):
        damaged = ~np.isfinite(found[name])
        if damaged.any():
            account.warnings.append(f"{name} of {int(damaged.sum())} steps is not finite; it was left out.")
        found[name] = np.where(damaged, np.nan, found[name])
    return {name: np.full(len(values), np.nan) for name in found} if run.external_pressure else found


def _converged(file: File, run: Run, steps: slice) -> NDArray[np.int8]:
    """What VASP 6.5 says of each electronic loop: zero is yes; earlier versions say nothing."""
    n, path = steps.stop - steps.start, f"{_STEPS}/electronic_step_converged"
    if not run.is_self_consistent:
        return np.full(n, NO, np.int8)
    if not file.has(path) or len(file.dataset(path)) < steps.stop:
        return np.full(n, UNKNOWN, np.int8)
    said = np.asarray(file.dataset(path)[steps], np.float64).reshape(n, -1)[:, 0]
    return np.where(said == 0.0, YES, NO).astype(np.int8)


def _optional(
    file: File, run: Run, steps: slice, kept: NDArray[np.bool_], account: Account
) -> dict[str, Quantity | ArrayLike]:
    """Stress [kB], moments and fixed atoms, where they are stored whole."""
    n, n_atoms, found = len(kept), len(run.atomic_numbers), dict[str, Quantity | ArrayLike]()
    if file.has(f"{_STEPS}/stress"):
        stress = -file.numbers(f"{_STEPS}/stress", (n, 3, 3), steps)[kept]
        empty = (stress == 0.0).all(axis=(1, 2))  # pitfall V20: zero-filled is not computed
        damaged = ~np.isfinite(stress).all(axis=(1, 2))
        if damaged.any():
            account.warnings.append(f"stress of {int(damaged.sum())} steps is not finite; it was left out.")
        stress[empty | damaged] = np.nan
        found["stress"] = Quantity(stress, "kbar", sign=-1)
    moments = _moments(file, steps, n_atoms)
    if moments is not None and not np.isfinite(moments).all():
        account.warnings.append("moments are not finite; those of some steps were left out.")
    elif moments is not None:
        name = "magnetic_moments" if moments.shape[-1] == 1 else "magnetic_moment_vectors"
        rows = moments[kept].reshape(-1, moments.shape[-1])
        found[name] = Quantity(rows[:, 0] if rows.shape[1] == 1 else rows, "muB")
    free = "input/poscar/selective_dynamics_ions"
    if file.has(free):
        cells = file.numbers(f"{_STEPS}/lattice_vectors", (steps.stop - steps.start, 3, 3), steps)
        along_axes = not cells[:, ~np.eye(3, dtype=bool)].any()
        fixed = held(file.numbers(free, (n_atoms, 3)) != 0, along_axes=along_axes)
        found["fixed"] = np.tile(fixed, (int(kept.sum()), 1))
    return found


def _moments(file: File, steps: slice, n_atoms: int) -> F64 | None:
    """Moments of the atoms [muB], (n, n_atoms, 1) or (n, n_atoms, 3): sums over orbitals of all but the charge."""
    paths = (f"{_STEPS}/magnetism/spin_moments/values", f"{_STEPS}/magnetism/moments")
    path = next((one for one in paths if file.has(one)), "")
    if not path:
        return None
    dataset = file.dataset(path)
    n = steps.stop - steps.start
    if (
        len(dataset.shape) != 4
        or len(dataset) < steps.stop
        or dataset.shape[1] not in {2, 4}
        or dataset.shape[2] != n_atoms
    ):
        return None
    moments: F64 = file.numbers(path, (n, *dataset.shape[1:]), steps)[:, 1:].sum(axis=-1).transpose(0, 2, 1)
    return moments


def _ending(file: File, account: Account) -> Ending:
    """Complete where the eigenvalues are there: VASP writes them after the last ionic step."""
    left_out, warnings = tuple(account.left_out), tuple(account.warnings)
    if file.has("results/electron_eigenvalues"):
        return Ending("complete", "", left_out, warnings)
    reason = "expected results/electron_eigenvalues, found none. The run was killed or is still going."
    return Ending("truncated", reason, left_out, warnings)


READER = Reader("vasp/h5", 1, ("*vaspout*.h5",), magic, read, run_of, HDF5)
