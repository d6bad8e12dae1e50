"""A trained potential as an ASE calculator."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

from mlpdata.loader.batch import Batch
from mlpdata.neighbors import neighbor_list
from mlpdata.training import checkpoint
from mlpdata.training.model import Potential

_VOIGT = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)


class MlpCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy [eV], forces [eV/angstrom] and stress [eV/angstrom^3, Voigt order, positive in tension] of a potential.

    `free_energy` is `energy`: the energy that forces derive from. Molecules have no stress.
    Neighbour lists are exact and made anew at each step: that costs a few per cent of one; a skin would save little.

    Args:
        potential: the potential, or the path of a checkpoint.
        device: where it runs.
        dtype: float64 conserves the energy of a long run; float32 is faster on some devices.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(
        self, potential: Potential | Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        loaded = potential if isinstance(potential, Potential) else checkpoint.load(Path(potential))
        self._potential = copy.deepcopy(loaded).to(device=device, dtype=dtype).eval()
        self._device, self._dtype = device, dtype

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] | tuple[str, ...] = tuple(all_changes),
    ) -> None:
        """Evaluate the potential; ASE calls this when `atoms` have changed.

        Raises:
            UsageError: an element that the potential was not trained on.
            InputError: a periodic axis without a lattice vector.
        """
        super().calculate(atoms, properties, system_changes)
        said = self._potential(self._batch(self.atoms))
        self.results = {
            "energy": said.energy.item(),
            "free_energy": said.energy.item(),
            "energies": said.atomic_energies.numpy(force=True),
            "forces": said.forces.double().numpy(force=True),
        }
        stress = said.stress[0].double().numpy(force=True)
        if not np.isnan(stress).any():
            self.results["stress"] = stress[_VOIGT]

    def _batch(self, atoms: Any) -> Batch:
        """One configuration without labels, made here because collating Frames would cost a tenth of a step."""
        n_atoms, dtype = len(atoms), self._dtype
        cell = atoms.cell.array
        centre, neighbour, shift = neighbor_list(atoms.positions, cell, atoms.pbc, self._potential.params.cutoff)
        batch = Batch(
            atomic_numbers=torch.as_tensor(atoms.numbers, dtype=torch.int64),
            positions=torch.tensor(atoms.positions, dtype=dtype),
            cell=torch.tensor(cell, dtype=dtype)[None],
            pbc=torch.as_tensor(atoms.pbc)[None],
            n_atoms=torch.tensor([n_atoms]),
            configuration=torch.zeros(n_atoms, dtype=torch.int64),
            energy=torch.full((1,), torch.nan, dtype=torch.float64),
            forces=torch.full((n_atoms, 3), torch.nan, dtype=dtype),
            stress=torch.full((1, 3, 3), torch.nan, dtype=dtype),
            edge_index=torch.from_numpy(np.stack((centre, neighbour))),
            edge_shift=torch.as_tensor(shift, dtype=dtype),
            rows=torch.zeros(1, dtype=torch.int64),
        )
        return batch.to(self._device)
