"""Noise: how far sound labels of each code stray from the laws that gates test.

The figures are at least three times the largest that sound outputs of the code show, over several hundred files of
other projects' test suites and the published sets rMD17, mlearn, MoNbTaW, acac and PBE0 water; the comment beside each
row says what was seen.
"""

from __future__ import annotations

from typing import NamedTuple


class Noise(NamedTuple):
    """What grids, incomplete sums and thresholds leave behind."""

    force: float
    """Net force, or torque over size, an atom [eV/angstrom]."""
    energy: float
    """Scatter of the energy from one step to the next, of one atom [eV]; of n atoms the square root of n times more."""


NOISE = {
    "vasp": Noise(force=0.01, energy=2e-4),  # 2.2e-3 in a box of water with soft augmentation; drift is taken out
    "quantum-espresso": Noise(force=0.01, energy=2e-4),  # sums are set to zero; 1.2e-5 eV of SCF noise
    "gaussian": Noise(force=0.003, energy=1e-4),  # torque 2.7e-4; 1e-5 eV of the grid
    "cp2k": Noise(force=0.06, energy=1e-3),  # 0.022 in 12 atoms at 400 Ry: the grid stays where it is while atoms move
    "gpaw": Noise(force=0.06, energy=1e-3),  # as CP2K's, for the same reason
    "siesta": Noise(force=0.06, energy=1e-3),
    "orca": Noise(force=0.005, energy=1e-4),  # torque 8e-4 on grids of ORCA 5, 3e-4 on those of 3
}
"""By the code's name in `Method`."""
UNKNOWN = Noise(force=0.02, energy=1e-3)
"""Of any other code."""
IN_SOLVENT = 10.0
"""So many times more where a solvent model acts: the cavity is left out of gradients, 0.1 eV/angstrom with SMD."""


def noise(code: str, acted_on: bool = False) -> Noise:
    """The noise of `code`; `acted_on` where a solvent or something else outside acts."""
    row = NOISE.get(code, UNKNOWN)
    return Noise(*(IN_SOLVENT * value for value in row)) if acted_on else row
