"""Gates: what every configuration is measured by before it enters a store.

A gate is a row of `GATES`: a measure of each configuration, NaN where the gate does not apply, and the bound past
which it rejects the configuration or marks it (pitfall X5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.checks import measures
from mlpdata.checks.measures import MIN_CELL, Facts, Mask
from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.schema.calculation import EnergyKind, ForcesAre
from mlpdata.schema.params import CheckParams
from mlpdata.units import EV_PER_ANGSTROM3, F64

I64 = NDArray[np.int64]
Severity = Literal["reject", "mark"]

MAX_ASYMMETRY = 1.0 / EV_PER_ANGSTROM3
"""Largest difference between a stress and its transpose, 1 kbar [eV/angstrom^3]: what rounding and grids explain."""


class Gate(NamedTuple):
    """One row of the table."""

    name: str
    severity: Severity
    """reject: the configuration stays out; mark: it enters, and the report counts it."""
    measure: Callable[[Frames, Facts], F64]
    """One number a configuration, shape (n_configurations,); NaN where the gate does not apply."""
    bound: Callable[[CheckParams], float]
    """A configuration is caught when its measure is above the bound."""
    reason: str
    """What was expected and what a caught configuration shows; `{bound}` stands for the bound."""
    below: bool = False
    """Whether it is caught below the bound instead."""

    def caught(self, value: F64, params: CheckParams) -> Mask:
        """Which measures are past the bound; NaN never is."""
        bound = self.bound(params)
        return value < bound if self.below else value > bound


@dataclass(frozen=True)
class Finding:
    """What one gate found in some configurations."""

    gate: str
    severity: Severity
    reason: str
    """What was expected and what was found."""
    applied: int
    """How many configurations it could judge."""
    worst: float | None
    """The measure farthest towards the wrong side; None where the gate never applied, or found no pair to measure."""
    indices: I64
    """The configurations caught."""

    @property
    def n_caught(self) -> int:
        """How many configurations were caught."""
        return len(self.indices)


@dataclass(frozen=True)
class GateReport:
    """What all gates found."""

    n_configurations: int
    findings: tuple[Finding, ...]
    """One a gate, in the order of `GATES`."""

    def __getitem__(self, gate: str) -> Finding:
        """What one gate found."""
        return next(finding for finding in self.findings if finding.gate == gate)

    def mask(self, severity: Severity) -> Mask:
        """Configurations caught by any gate of this severity, shape (n_configurations,)."""
        mask = np.zeros(self.n_configurations, bool)
        for finding in self.findings:
            if finding.severity == severity:
                mask[finding.indices] = True
        return mask

    @property
    def rejected(self) -> Mask:
        """Configurations that must stay out, shape (n_configurations,)."""
        return self.mask("reject")

    def counts(self) -> dict[str, int]:
        """How many configurations each gate caught, those that caught any."""
        return {finding.gate: finding.n_caught for finding in self.findings if finding.n_caught}


def run_gates(
    frames: Frames, params: CheckParams, forces_are: ForcesAre, energy_kind: EnergyKind = "total"
) -> GateReport:
    """Measure every configuration of a block by every gate.

    Args:
        frames: a block; shapes and finiteness hold already, `Frames` sees to that.
        params: bounds.
        forces_are: what the run says its forces are; gates on forces judge physical ones only.
        energy_kind: what the run says its energies are.
    """
    facts = Facts(params, forces_are, energy_kind)
    return GateReport(len(frames), tuple(_apply(gate, frames, facts) for gate in GATES))


def _apply(gate: Gate, frames: Frames, facts: Facts) -> Finding:
    value = gate.measure(frames, facts)
    judged = value[np.isfinite(value)]
    worst = (judged.min() if gate.below else judged.max()) if len(judged) else None
    return Finding(
        gate.name,
        gate.severity,
        gate.reason.format(bound=gate.bound(facts.params)),
        applied=int((~np.isnan(value)).sum()),
        worst=None if worst is None else float(worst),
        indices=np.flatnonzero(gate.caught(value, facts.params)),
    )


def joined(reports: Sequence[GateReport]) -> GateReport:
    """One report of several blocks, indices counted through them.

    Raises:
        UsageError: no report.
    """
    if not reports:
        raise UsageError("expected at least one report of gates, found none.")
    sizes = [report.n_configurations for report in reports]
    starts = np.cumsum([0, *sizes])
    findings = [
        _joined(gate, parts, starts)
        for gate, *parts in zip(GATES, *(report.findings for report in reports), strict=True)
    ]
    return GateReport(sum(sizes), tuple(findings))


def _joined(gate: Gate, parts: Sequence[Finding], starts: I64) -> Finding:
    worst = [part.worst for part in parts if part.worst is not None]
    return replace(
        parts[0],
        applied=sum(part.applied for part in parts),
        worst=(min if gate.below else max)(worst, default=None),
        indices=np.concatenate([part.indices + start for part, start in zip(parts, starts, strict=False)]),
    )


def _flag(_: CheckParams) -> float:
    """Bound of a measure that is 0 or 1."""
    return 0.5


GATES: tuple[Gate, ...] = (
    Gate(
        "scf",
        "reject",
        measures.not_converged,
        _flag,
        "expected a converged self-consistency loop, found one that gave up.",
    ),
    Gate(
        "cell",
        "reject",
        measures.cell_volume,
        lambda _: MIN_CELL,
        "expected a cell with a volume, found a flat one.",
        below=True,
    ),
    Gate(
        "closest-pair",
        "mark",
        measures.closest_pair,
        lambda params: params.min_distance,
        "expected atoms at least {bound:g} of their covalent radii apart, found a closer pair.",
        below=True,
    ),
    Gate(
        "largest-force",
        "mark",
        measures.largest_force,
        lambda params: params.max_force,
        "expected forces up to {bound:g} eV/angstrom, found a larger one.",
    ),
    Gate(
        "net-force",
        "mark",
        measures.net_force,
        lambda params: params.net_force,
        "expected forces that sum to zero, found more than {bound:g} eV/angstrom an atom.",
    ),
    Gate(
        "torque",
        "mark",
        measures.torque,
        lambda params: params.net_force,
        "expected forces without torque, found more than {bound:g} eV/angstrom an atom: another orientation.",
    ),
    Gate(
        "stress-symmetry",
        "mark",
        measures.asymmetry,
        lambda _: MAX_ASYMMETRY,
        "expected a symmetric stress, found one that differs from its transpose by more than 1 kbar.",
    ),
    Gate(
        "spin-parity",
        "mark",
        measures.spin_parity,
        _flag,
        "expected a multiplicity that the number of electrons allows, found the other parity.",
    ),
    Gate(
        "energy-kind",
        "mark",
        measures.inconsistent_energy,
        _flag,
        "expected the energy that forces derive from, found an enthalpy or an unknown kind.",
    ),
    Gate("no-forces", "mark", measures.missing_forces, _flag, "expected forces beside the energy, found none."),
    Gate("no-energy", "mark", measures.missing_energy, _flag, "expected an energy beside the forces, found none."),
)
"""The table of gates."""
