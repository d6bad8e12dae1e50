"""What a VASP run says before its first ionic step: atoms, level of theory, kind of run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS, MASSES, SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.registry import Header
from mlpdata.readers.text import whole
from mlpdata.readers.vasp import method as vasp_method
from mlpdata.readers.vasp.method import Tags
from mlpdata.readers.xml import Element, text
from mlpdata.schema.calculation import ForcesAre, RunKind
from mlpdata.schema.method import Kpoints, Pseudopotential
from mlpdata.schema.properties import NO, UNKNOWN, YES

DECISIVE = ("PSTRESS", "IMAGES", "IBRION", "ICHARG", "ICHAIN", "MDALGO", "EFIELD")
"""Tags that say what the labels are."""
HDF5, XML, TEXT = 0, 1, 2
"""Precedence of vaspout.h5, vasprun.xml, OUTCAR: full precision, 8 decimals, 5 to 9 (pitfall V17)."""
_NAME = re.compile(r"(?i)(vasprun|vaspout|OUTCAR)")
RELAXATIONS = {1, 2, 3}
"""IBRION: quasi-Newton, conjugate gradients, damped dynamics."""


@dataclass(frozen=True)
class Run:
    """All that the frames of one run share."""

    header: Header
    atomic_numbers: NDArray[np.uint8]
    """Shape (n_atoms,)."""
    charge: float
    """From NELECT and the valences of the potentials [e]; NaN where one is unknown."""
    max_electronic_steps: int | None
    """NELM."""
    energy_tolerance: float
    """EDIFF [eV]."""
    external_pressure: float
    """PSTRESS [kB]."""
    is_response: bool
    """Whether iterations of linear response stand among those of the SCF (pitfall V4)."""
    learns: bool
    """Whether a machine-learned force field may have made some of the steps (pitfall V11)."""
    is_self_consistent: bool
    """False where the density is read and kept (ICHARG >= 10)."""
    is_elastic_band: bool
    """Whether images of a nudged elastic band may share the file (pitfall V14)."""
    warnings: tuple[str, ...]
    """What was repaired."""
    fixed: NDArray[np.int8] | None = None
    """1 where an atom is held along x, y, z, shape (n_atoms, 3); None where nothing is said."""


@dataclass(frozen=True)
class Species:
    """One kind of atom, as POTCAR lists them."""

    n_atoms: int
    atomic_number: int
    potential: Pseudopotential
    repaired: str = ""
    """How the element was recovered, where its file does not name it (pitfall V19)."""


def run_of(name: str, _head: bytes) -> str | None:
    """What the names of one run's files share in a folder: `relax1` of vasprun.xml.relax1 and relax1.OUTCAR."""
    if not _NAME.search(name):
        return None
    rest = _NAME.sub("", re.sub(r"(?i)\.(xml|h5|out)(?![a-z])", "", name), count=1)
    return ".".join(filter(None, re.split(r"[._-]+", rest)))


def run(root: Element) -> Run:
    """The shared part of a run from the root of the header of vasprun.xml.

    Raises:
        ParseError: no atoms, or an element that nothing names.
    """
    species = [_one_species(row) for row in _rows(root, "atomtypes")]
    names = ("version", "subversion", "date", "time")
    printed = [text(root.find(f"generator/i[@name='{name}']")) for name in names]
    incar = vasp_method.tags(root)
    of_all = shared(
        incar,
        species,
        _atomic_numbers(root, species),
        printed,
        vasp_method.kpoints(root),
        enthalpies(incar),
    )
    return replace(of_all, fixed=_fixed(root, len(of_all.atomic_numbers)))


def enthalpies(incar: Tags) -> tuple[str, ...]:
    """What to say of a run whose printed energies hold PV (pitfall V3)."""
    pressure = incar.number("PSTRESS")
    told = f"PSTRESS = {pressure} kB: the printed energies are enthalpies, E = H - PV is stored (V3)."
    return (told,) if pressure else ()


def _fixed(root: Element, n_atoms: int) -> NDArray[np.int8] | None:
    """Which atoms selective dynamics holds; None where the flags are absent or damaged."""
    flags = [text(row).split() for row in root.iterfind("structure[@name='initialpos']/varray[@name='selective']/v")]
    basis = [
        text(row).split() for row in root.iterfind("structure[@name='initialpos']/crystal/varray[@name='basis']/v")
    ]
    if len(flags) != n_atoms or any(len(row) != 3 or not {"T", "F"} >= set(row) for row in flags):
        return None
    along_axes = all(
        vasp_method.real(word) == 0.0 for i, row in enumerate(basis) for j, word in enumerate(row) if i != j
    )
    return held(np.array(flags) == "T", along_axes=along_axes)


def held(movable: NDArray[np.bool_], *, along_axes: bool) -> NDArray[np.int8]:
    """1 where an atom is held along x, y, z, by flags along the lattice vectors, (n_atoms, 3).

    Unless these lie along the axes nothing can be said of an atom that is held along some of them only.
    """
    fixed = np.where(movable, NO, YES).astype(np.int8)
    if not along_axes:
        fixed[movable.any(axis=1) & ~movable.all(axis=1)] = UNKNOWN
    return fixed


def shared(
    incar: Tags,
    species: list[Species],
    atomic_numbers: NDArray[np.uint8],
    printed: list[str],
    kpoints: Kpoints | None,
    warnings: tuple[str, ...] = (),
) -> Run:
    """All that the frames of one run share, whichever of VASP's files says it.

    Args:
        incar: the tags of the run.
        species: in the order of POSCAR.
        atomic_numbers: of each atom, shape (n_atoms,).
        printed: the version, then what else tells this run from others.
        kpoints: sampling of the Brillouin zone.
        warnings: what its file alone has to say.
    """
    if unreadable := incar.unreadable(DECISIVE):
        raise ParseError(
            f"expected numbers, found {', '.join(f'{name} = {incar.word(name)}' for name in unreadable)}. "
            "What the energies and forces are hangs on them."
        )
    self_consistent = incar.whole("ICHARG", 0) < 10
    told = [one.repaired for one in species if one.repaired] + list(warnings)
    if not self_consistent:
        told.append("ICHARG >= 10: the density was kept, so the labels are not self-consistent.")
    told += [f"{name} = {incar.word(name)} is no number." for name in incar.unreadable(("NELM", "EDIFF"))]
    charge = _charge(incar, species)
    if np.isnan(charge) and incar.word("NELECT"):
        told.append(f"the charge is unknown: NELECT = {incar.word('NELECT')}, or a potential's valence or atoms.")
    steps = incar.number("NELM")
    return Run(
        header=_header(incar, species, printed, kpoints),
        atomic_numbers=atomic_numbers,
        charge=charge,
        max_electronic_steps=None if steps is None else int(steps),
        # EDIFF printed as 0.00000000 is below 5e-9, and so is a change of energy printed as zero
        energy_tolerance=incar.energy_tolerance or 5e-9,
        external_pressure=incar.number("PSTRESS") or 0.0,
        is_response=incar.is_response,
        learns=incar.flag("ML_LMLFF"),
        is_self_consistent=self_consistent,
        is_elastic_band=incar.n_images > 0,
        warnings=tuple(told),
    )


def _header(incar: Tags, species: list[Species], printed: list[str], kpoints: Kpoints | None) -> Header:
    kind = _run_kind(incar)
    cell_moves = (
        incar.whole("ISIF", 2) >= 3 and incar.whole("IBRION", -1) in {0, *RELAXATIONS} and kind != "single_point"
    )
    potentials = tuple(one.potential for one in species)
    symbols = [SYMBOLS[one.atomic_number] for one in species]
    return Header(
        method=vasp_method.method(incar, printed[0] or None, kpoints, potentials, symbols),
        identity=" ".join(("vasp", *(word for word in printed if word))),
        run_kind=kind,
        energy_kind="unknown" if incar.is_scaled else "free",
        forces_are=_forces_are(incar),
        temperature_target=_set_point(incar) if kind == "md" else None,
        basis_fixed_at="first cell" if cell_moves else None,
    )


def _run_kind(incar: Tags) -> RunKind:
    """What the run was for, by IBRION, NSW, ISIF and the switches that overrule them."""
    motion, steps = incar.whole("IBRION", -1), incar.whole("NSW", 0)
    if incar.unreadable(("NSW", "ISIF")):
        return "unknown"
    rules: tuple[tuple[bool, RunKind], ...] = (
        (incar.n_images > 0, "neb"),
        (incar.is_response or incar.flag("LCHIMAG"), "response"),
        (motion in {5, 6}, "phonon"),
        (incar.whole("ICHARG", 0) >= 10, "bands"),
        (steps <= 0 or motion == -1, "single_point"),
        (motion == 0, "md"),
        (motion in RELAXATIONS and incar.whole("ISIF", 2) >= 3, "vc-relax"),
        (motion in RELAXATIONS, "relax"),
    )
    return next((kind for holds, kind in rules if holds), "unknown")


def _forces_are(incar: Tags) -> ForcesAre:
    """What was done to the forces; selective dynamics is taken to print the true force of fixed atoms too."""
    if incar.n_images > 0 or incar.whole("IBRION", -1) == 44 or incar.whole("ICHAIN", 0) > 0:
        return "projected"
    if incar.whole("MDALGO", 0) in {11, 21} or incar.flag("LBLUEOUT") or incar.is_scaled:
        return "biased"
    return "with_external" if incar.has_field else "physical"


def _set_point(incar: Tags) -> float | None:
    """Temperature of the thermostat [K]; None for NVE (SMASS = -3 without MDALGO) and for a ramp."""
    start, end = incar.number("TEBEG"), incar.number("TEEND")
    if incar.number("SMASS") == -3.0 and incar.whole("MDALGO", 0) == 0:
        return None
    return start if end is None or end in {start, -1.0} else None


def _rows(root: Element, name: str) -> list[dict[str, str]]:
    """Rows of a table of `<atominfo>`, by field name."""
    table = root.find(f"atominfo/array[@name='{name}']")
    if table is None:
        raise ParseError(
            f"expected <atominfo> with the table {name}, found none. The run ended before its first ionic step."
        )
    fields = [text(field) for field in table.findall("field")]
    return [dict(zip(fields, map(text, row.findall("c")), strict=False)) for row in table.iterfind("set/rc")]


def _one_species(row: dict[str, str]) -> Species:
    """One row of `<array name="atomtypes">`."""
    title = row.get("pseudopotential", "")
    number, repaired = element(row.get("element", ""), title, row.get("mass", ""))
    return Species(
        n_atoms=whole(row.get("atomspertype", "")) or 0,
        atomic_number=number,
        potential=vasp_method.pseudopotential(SYMBOLS[number], title, positive(row.get("valence", ""))),
        repaired=repaired,
    )


def element(printed: str, title: str, mass: str) -> tuple[int, str]:
    """Atomic number of a species, and how it was recovered where `printed` does not name it (pitfall V19).

    Raises:
        ParseError: neither the potential's title nor its mass nor `printed` names an element.
    """
    by_title = _element_of_title(title)
    weight = positive(mass)
    number = by_title or _element_of_mass(weight) or ATOMIC_NUMBERS.get(printed)
    if not number:
        raise ParseError(f"expected a chemical element, found {printed!r} with the potential {title.strip()!r}.")
    symbol = SYMBOLS[number]
    if printed == symbol:
        return number, ""
    source = "potential's title" if by_title else "mass"
    return number, f"element {printed!r} is {symbol}, by the {source} ({title.strip()!r}, {weight} u)."


def _element_of_title(title: str) -> int | None:
    """Atomic number that `PAW_PBE Zr_sv 07Sep2000` or `PAW_PBE H1.25 ...` names."""
    for word in title.split()[:2]:
        letters = word.split("_")[0].rstrip("0123456789.*")
        if ATOMIC_NUMBERS.get(letters):
            return ATOMIC_NUMBERS[letters]
    return None


def _element_of_mass(mass: float | None) -> int | None:
    """Atomic number whose standard mass is within 0.02 u of POMASS; None where none or several are."""
    near = [] if mass is None else [z for z in range(1, len(MASSES)) if abs(MASSES[z] - mass) <= 0.02]
    return near[0] if len(near) == 1 else None


def positive(word: str) -> float | None:
    """A positive number; None for anything else."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _atomic_numbers(root: Element, species: list[Species]) -> NDArray[np.uint8]:
    """Z of each atom, by its type."""
    types = [whole(row.get("atomtype", "")) or 0 for row in _rows(root, "atoms")]
    if not types or not all(0 < kind <= len(species) for kind in types):
        raise ParseError(f"expected atoms of types 1 to {len(species)}, found others or none. <atominfo> is damaged.")
    announced = whole(text(root.find("atominfo/atoms")))
    if announced is not None and announced != len(types):
        raise ParseError(f"expected {announced} atoms, found {len(types)}. <atominfo> is damaged.")
    return np.array([species[kind - 1].atomic_number for kind in types], np.uint8)


def _charge(incar: Tags, species: list[Species]) -> float:
    """Valence electrons of the neutral cell less NELECT [e]."""
    electrons = incar.number("NELECT")
    valences = [one.potential.valence for one in species]
    if not electrons or None in valences or not all(one.n_atoms for one in species):
        return float("nan")
    neutral = sum(one.n_atoms * (one.potential.valence or 0.0) for one in species)
    return round(neutral - electrons, 6) + 0.0
