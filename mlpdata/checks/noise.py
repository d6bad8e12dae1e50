"""Noise: how far sound labels of each code stray from the laws that gates test.

The figures are some three times the largest that sound outputs of the code show, over several hundred files of other
projects' test suites and the published sets rMD17, mlearn, MoNbTaW, acac and PBE0 water; the comment beside each row
says what was seen.
"""

from __future__ import annotations

from typing import NamedTuple


class Noise(NamedTuple):
    """What grids, incomplete sums and thresholds leave behind."""

    force: float
    """Net force, or torque over size, an atom [eV/angstrom]."""
    energy: float
    """Scatter of the energy from one step to the next, an atom [eV]."""


NOISE = {
    "vasp": Noise(force=0.01, energy=2e-4),  # 2.2e-3 in a box of water with soft augmentation; drift is taken out
    "quantum-espresso": Noise(force=0.01, energy=2e-4),  # sums are set to zero; 1.2e-5 eV of SCF noise
    "orca": Noise(force=0.005, energy=1e-4),  # torque 8e-4 on grids of ORCA 5, 3e-4 on those of 3
}
"""By the code's name in `Method`."""
UNKNOWN = Noise(force=0.05, energy=1e-3)
"""Of any other code."""


def noise(code: str) -> Noise:
    """The noise of `code`."""
    return NOISE.get(code, UNKNOWN)
