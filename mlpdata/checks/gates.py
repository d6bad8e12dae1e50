"""Gates: what every configuration is measured by before it enters a store.

A gate is a row of `GATES`: a measure of each configuration, NaN where the gate does not apply, and the bound past
which it rejects the configuration or marks it (pitfall X5). Numbers that are not finite and shapes that disagree never
come this far: readers leave such configurations out, and `Frames` cannot hold them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from mlpdata.checks import energy_work, measures
from mlpdata.checks.energy_work import Steps
from mlpdata.checks.measures import MIN_CELL, Block, Circumstances, Mask
from mlpdata.errors import UsageError
from mlpdata.frames import I64, Frames
from mlpdata.schema.params import CheckParams
from mlpdata.units import EV_PER_ANGSTROM3, F64

Severity = Literal["reject", "mark"]

MAX_ASYMMETRY = 1.0 / EV_PER_ANGSTROM3
"""Largest difference between a stress and its transpose, 1 kbar [eV/angstrom^3]: what rounding and grids explain."""

TURNED = 4.0
"""A torque is rejected past so many times the bound at which it is marked."""
FREE = "physical forces, no atom held, no ghost atom, no solvent, field or point charge"
"""Where forces ought to sum to zero."""


class Gate(NamedTuple):
    """One row of the table."""

    name: str
    severity: Severity
    """reject: the configuration stays out; mark: it enters, and the report counts it."""
    applies: str
    """What the gate judges."""
    measure: Callable[[Block], F64]
    """One number a configuration, shape (n_configurations,); NaN where the gate does not apply."""
    bound: Callable[[Block], float]
    """A configuration is caught when its measure is above the bound."""
    reason: str
    """What was expected and what a caught configuration shows; `{bound}` stands for the bound."""
    below: bool = False
    """Whether it is caught below the bound instead."""


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
    steps: Steps | None = None
    """What the energy-work gate compared; None in a joined report."""

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
    frames: Frames,
    params: CheckParams,
    circumstances: Circumstances,
    before: Frames | None = None,
    calculation: I64 | None = None,
) -> GateReport:
    """Measure every configuration of a block by every gate.

    Args:
        frames: a block.
        params: bounds.
        circumstances: what the run says of all its configurations.
        before: the last configuration of the block before, of the same run.
        calculation: a number for each configuration, the same within one calculation; None: all are of one.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a printed 1E+200 is caught by its gate, not by a warning
        working = circumstances.work_changes_energy
        steps = energy_work.steps(frames, before, calculation) if working else energy_work.NO_STEPS
        return GateReport(len(frames), _findings(Block(frames, params, circumstances, steps)), steps)


def _findings(block: Block) -> tuple[Finding, ...]:
    """What each gate finds; all are judged together, since a block may be a single configuration."""
    values = np.array([gate.measure(block) for gate in GATES])
    bounds = [gate.bound(block) for gate in GATES]
    sides = np.where([gate.below for gate in GATES], -1.0, 1.0)
    outward = values * sides[:, None]
    caught = outward > (sides * bounds)[:, None]  # NaN never is
    applied = (~np.isnan(values)).sum(axis=1)
    worst = np.where(np.isfinite(values), outward, -np.inf).max(axis=1, initial=-np.inf)
    return tuple(
        Finding(
            gate.name,
            gate.severity,
            gate.reason.format(bound=bound),
            applied=n,
            worst=farthest if math.isfinite(farthest) else None,
            indices=np.flatnonzero(mask),
        )
        for gate, bound, n, farthest, mask in zip(
            GATES, bounds, applied.tolist(), (worst * sides).tolist(), caught, strict=True
        )
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
        max(parts, key=lambda part: part.n_caught),  # its reason names the bound that was passed
        applied=sum(part.applied for part in parts),
        worst=(min if gate.below else max)(worst, default=None),
        indices=np.concatenate([part.indices + start for part, start in zip(parts, starts, strict=False)]),
    )


def _flag(_: Block) -> float:
    """Bound of a measure that is 0 or 1."""
    return 0.5


GATES: tuple[Gate, ...] = (
    Gate(
        "scf",
        "reject",
        "where the output says whether the loop converged",
        measures.not_converged,
        _flag,
        "expected a converged self-consistency loop, found one that gave up.",
    ),
    Gate(
        "projected-forces",
        "reject",
        "where there are forces",
        measures.projected_forces,
        _flag,
        "expected minus the gradient of the energy, found forces of which a part was projected out.",
    ),
    Gate(
        "learned-labels",
        "reject",
        "where there are labels",
        measures.learned_labels,
        _flag,
        "expected labels of an electronic-structure method, found those of a machine-learned potential.",
    ),
    Gate(
        "frame-of-reference",
        "reject",
        f"molecules without a cell whose forces sum to a tenth of the torque at most, {FREE}",
        measures.turned_torque,
        lambda block: TURNED * block.most_net_force,
        "expected forces in the frame of the positions, found a torque above {bound:g} eV/angstrom an atom: "
        "other axes.",
    ),
    Gate(
        "cell",
        "reject",
        "periodic configurations",
        lambda block: block.cell_volume,
        lambda _: MIN_CELL,
        "expected a cell with a volume, found a flat one.",
        below=True,
    ),
    Gate(
        "closest-pair",
        "mark",
        "every configuration",
        measures.closest_pair,
        lambda block: block.params.min_distance,
        "expected atoms at least {bound:g} of their covalent radii apart, found a closer pair.",
        below=True,
    ),
    Gate(
        "largest-force",
        "mark",
        "where there are forces",
        measures.largest_force,
        lambda block: block.params.max_force,
        "expected forces up to {bound:g} eV/angstrom, found a larger one.",
    ),
    Gate(
        "net-force",
        "mark",
        FREE,
        lambda block: block.net_force,
        lambda block: block.most_net_force,
        "expected forces that sum to zero, found more than {bound:g} eV/angstrom an atom.",
    ),
    Gate(
        "torque",
        "mark",
        f"molecules, {FREE}",
        lambda block: block.torque,
        lambda block: block.most_net_force,
        "expected forces without torque, found more than {bound:g} eV/angstrom an atom: another orientation.",
    ),
    Gate(
        "energy-work",
        "mark",
        "adjacent steps of one calculation, physical forces and the energy that they derive from, no atom farther "
        "than 0.3 angstrom, no strain above 0.1",
        measures.work_error,
        lambda block: block.params.work_error,
        "expected the energy to change by the work since the step before, found more than {bound:g} times what "
        "the trapezoid and noise explain.",
    ),
    Gate(
        "stress-symmetry",
        "mark",
        "where there is a stress",
        measures.asymmetry,
        lambda _: MAX_ASYMMETRY,
        "expected a symmetric stress, found one that differs from its transpose by more than 1 kbar.",
    ),
    Gate(
        "spin-parity",
        "mark",
        "molecules whose charge is whole and whose multiplicity is known",
        measures.spin_parity,
        _flag,
        "expected a multiplicity that the number of electrons allows, found the other parity.",
    ),
    Gate(
        "energy-kind",
        "mark",
        "where there is an energy",
        measures.inconsistent_energy,
        _flag,
        "expected the energy that forces derive from, found an enthalpy or an unknown kind.",
    ),
    Gate(
        "no-forces",
        "mark",
        "where there is an energy",
        measures.missing_forces,
        _flag,
        "expected forces beside the energy, found none.",
    ),
    Gate(
        "no-energy",
        "mark",
        "where there are forces",
        measures.missing_energy,
        _flag,
        "expected an energy beside the forces, found none.",
    ),
)
"""The table of gates."""
