"""Device lists: neighbour lists of a whole batch where its tensors are, by nvalchemi-toolkit-ops."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from mlpdata.errors import InputError, UsageError
from mlpdata.loader.batch import Batch

AUTO, CPU, DEVICE = "auto", "cpu", "device"
PLACES = (AUTO, CPU, DEVICE)
"""Where lists are built: by vesin on the CPU, by nvalchemi-toolkit-ops on the device, or `auto`: the latter where the
device is a GPU and the library is installed."""
PACKAGE = "nvalchemiops"


def on_device(where: str, device: torch.device | str) -> bool:
    """Whether lists are to be built on the device.

    Raises:
        UsageError: no such place, or a library that is not installed.
    """
    if where not in PLACES:
        raise UsageError(f"expected neighbour lists on {', '.join(PLACES)}, found {where!r}.")
    installed = find_spec(PACKAGE) is not None
    if where == DEVICE and not installed:
        raise UsageError(
            "expected the package nvalchemi-toolkit-ops for lists on the device, found none. "
            "Install it by: pip install 'mlpdata[gpu]'"
        )
    return where == DEVICE or (where == AUTO and installed and torch.device(device).type == "cuda")


def with_edges(batch: Batch, cutoff: float) -> Batch:
    """The batch with the edges up to `cutoff` [angstrom], sorted by centre; positions in the precision they have.

    Raises:
        InputError: a periodic configuration without a cell.
    """
    if (batch.pbc & (batch.cell == 0).all(dim=2)).any():
        raise InputError("expected lattice vectors along periodic axes, found a configuration without. Check its cell.")
    counts = torch.zeros(batch.n_configurations + 1, dtype=torch.int32, device=batch.device)
    counts[1:] = batch.n_atoms.cumsum(0)
    arguments: dict[str, Any] = {
        "cell": _boxes(batch.cell, batch.pbc),
        "pbc": batch.pbc,
        "batch_ptr": counts,
        "batch_idx": batch.configuration.int(),
        "return_neighbor_list": True,
    }
    index, _, shift = _search(batch.positions, cutoff, arguments)
    return replace(batch, edge_index=index.long(), edge_shift=shift.to(batch.positions.dtype))


def _boxes(cell: Tensor, pbc: Tensor) -> Tensor:
    """Cells in which each open axis has a unit vector across the periodic ones: the library wants a volume."""
    if pbc.all():
        return cell
    periodic = (cell * pbc[:, :, None]).double()
    along = torch.linalg.pinv(periodic) @ periodic  # projects on the span of the periodic vectors
    across = torch.linalg.eigh(torch.eye(3, device=cell.device) - along).eigenvectors.transpose(1, 2)
    n_open = (~pbc).sum(dim=1, keepdim=True)
    place = (3 - n_open + (~pbc).cumsum(dim=1) - 1).clamp(0, 2)  # the last ones span what no periodic vector does
    filling = across.gather(1, place[:, :, None].expand(-1, 3, 3))
    return torch.where(pbc[:, :, None], periodic, filling).to(cell.dtype)


def _search(positions: Tensor, cutoff: float, arguments: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """One search, and a second where atoms have more neighbours than the library made room for."""
    from nvalchemiops.torch.neighbors import NeighborOverflowError, neighbor_list  # noqa: PLC0415  loads Warp

    try:
        found: tuple[Tensor, Tensor, Tensor] = neighbor_list(positions, cutoff, **arguments)
    except NeighborOverflowError as error:
        found = neighbor_list(positions, cutoff, max_neighbors=int(error.num_neighbors), **arguments)
    return found
