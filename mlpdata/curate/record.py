"""The DFT record of a store as YAML, and the software at hand."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import yaml

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.dft_record import Code, DftParameters, DftRecord, FormulaCount, System
from mlpdata.schema.functionals import LIBXC
from mlpdata.schema.method import Method

Row = Mapping[str, Any]
"""formula, configurations; charge and multiplicity where known."""

_SYMBOL = re.compile(r"[A-Z][a-z]?")


def dft_record(method: Method, systems: Iterable[Row], spacings: Iterable[float] = ()) -> DftRecord:
    """The record of one method.

    Args:
        method: level of theory.
        systems: rows with `formula` and `configurations`, and `charge` and `multiplicity` where they are known.
        spacings: distances of neighbouring k points in its calculations [1/angstrom].
    """
    rows, met = list(systems), sorted(spacings)
    return DftRecord(
        method=method.id,
        theory=method.theory,
        system=_system(rows),
        dft_parameters=_parameters(method, rows, tuple(dict.fromkeys((met[0], met[-1]))) if met else ()),
    )


def _system(rows: Sequence[Row]) -> System:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["formula"]] = counts.get(row["formula"], 0) + int(row["configurations"])
    symbols = {symbol for formula in counts for symbol in _SYMBOL.findall(formula)}
    return System(
        name="-".join(sorted(symbols, key=lambda symbol: ATOMIC_NUMBERS.get(symbol, 0))),
        composition=tuple(FormulaCount(formula=formula, configurations=n) for formula, n in sorted(counts.items())),
    )


def _parameters(method: Method, rows: Sequence[Row], spacings: tuple[float, ...]) -> DftParameters:
    return DftParameters(
        code=Code(name=method.code, version=method.code_version),
        functional=method.functional,
        libxc=LIBXC.get(method.functional or "", ()),
        exact_exchange=method.exact_exchange,
        correlation=method.correlation,
        dispersion=method.dispersion,
        hubbard=method.hubbard,
        relativity=method.relativity,
        solvent=method.solvent,
        external=method.external,
        basis=method.basis or ("plane waves" if method.cutoff_energy is not None else None),
        encut=method.cutoff_energy,
        encut_density=method.cutoff_density,
        kpoints=method.kpoints,
        kpoint_spacing=spacings,
        smearing=method.smearing,
        convergence=method.convergence,
        spin=method.spin,
        charge=_met(rows, "charge"),
        multiplicity=_met(rows, "multiplicity"),
        pseudopotentials=method.pseudopotentials,
        further=method.settings_as_printed,
    )


def _met(rows: Sequence[Row], name: str) -> tuple[Any, ...]:
    return tuple(sorted({row[name] for row in rows if row.get(name) is not None}))


def dft_records(calculations: Iterable[Calculation], rows: Iterable[Row]) -> list[DftRecord]:
    """The records of all methods, sorted by the method's id.

    Args:
        calculations: of a snapshot.
        rows: `method_id` and what `dft_record` takes.
    """
    methods: dict[str, Method] = {}
    spacings: dict[str, list[float]] = {}
    for one in calculations:
        methods[one.method.id] = one.method
        if one.kpoint_spacing is not None:
            spacings.setdefault(one.method.id, []).append(round(one.kpoint_spacing, 6))
    systems: dict[str, list[Row]] = {}
    for row in rows:
        systems.setdefault(row["method_id"], []).append(row)
    return [
        dft_record(method, systems.get(name, []), spacings.get(name, [])) for name, method in sorted(methods.items())
    ]


def records(calculations: Iterable[Calculation], rows: Iterable[Row]) -> str:
    """The records of all methods as YAML. See `dft_records`."""
    documents = [one.as_json() for one in dft_records(calculations, rows)]
    text: str = yaml.safe_dump(documents, sort_keys=False, allow_unicode=True, width=120)
    return text


def environment() -> dict[str, Any]:
    """Versions of Python, mlpdata and the packages it names, and the platform; nothing that tells who or where."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "mlpdata": metadata.version("mlpdata"),
        "packages": _packages(),
    }


def _packages() -> dict[str, str]:
    """Installed versions of the packages that mlpdata depends on, extras included."""
    wanted = {re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0].lower() for line in metadata.requires("mlpdata") or []}
    found = {}
    for name in sorted(wanted - {"mlpdata"}):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
