"""The potential: E(3)-equivariant message passing on e3nn's irreps, couplings and spherical harmonics.

A feature is an array (n_atoms, components, channels): the components of every irrep one after the other, the same
number of channels in each. Two such arrays are coupled by one dense matrix product an edge, which on a CPU is about
twice as fast as one operation an irrep (benchmarks/train_step.py).

References:
    S. Batzner et al., Nature Communications 13, 2453 (2022), doi 10.1038/s41467-022-29939-5 (NequIP).
    J. Gasteiger et al., ICLR 2020, arXiv 2003.03123 (Bessel basis and envelope).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from e3nn import o3
from torch import Tensor, nn

from mlpdata.errors import UsageError
from mlpdata.schema.params import ModelParams

if TYPE_CHECKING:
    from mlpdata.loader.batch import Batch

SILU_GAIN = 1.6765324703310907
"""1 / sqrt(E[silu(x)^2]) for normal x: keeps the variance of features through a layer."""
ENVELOPE_POWER = 6
"""Value, slope and curvature of the envelope vanish at the cutoff: forces are smooth there."""
SCALAR = o3.Irrep("0e")

Irreps = list[o3.Irrep]


class Prediction(NamedTuple):
    """What the potential says of a batch."""

    energy: Tensor
    """[eV], float64, shape (n_configurations,)."""
    forces: Tensor
    """Minus the gradient of `energy` [eV/angstrom], shape (n_atoms, 3)."""
    stress: Tensor
    """Positive in tension [eV/angstrom^3], shape (n_configurations, 3, 3); NaN without a cell."""
    atomic_energies: Tensor
    """[eV], float64, shape (n_atoms,); their sums are `energy`."""


class Statistics(NamedTuple):
    """Scales of the training part, which make the network's numbers of order one."""

    force_rms: float = 1.0
    """Root mean square force component [eV/angstrom]."""
    mean_neighbours: float = 1.0
    """Edges an atom."""
    mean_energy: float = 0.0
    """Energy less reference energies [eV/atom]."""


def silu(x: Tensor) -> Tensor:
    """SiLU, scaled to keep the variance of a normal variable."""
    return nn.functional.silu(x) * SILU_GAIN


class Mix(nn.Module):
    """A linear map of channels without bias, its weights of unit variance: one learning rate suits all widths."""

    def __init__(self, n_in: int, n_out: int, elements: int | None = None) -> None:
        super().__init__()
        shape = (n_in, n_out) if elements is None else (elements, n_in, n_out)
        self.weight = nn.Parameter(torch.randn(shape))
        self.scale = 1 / math.sqrt(n_in)

    def forward(self, x: Tensor, element: Tensor | None = None) -> Tensor:
        """`x` (n, ..., n_in) to (n, ..., n_out), by the weights of each atom's element where there are several."""
        weight = self.weight * self.scale
        return x @ weight if element is None else x @ weight[element]


class Radial(nn.Module):
    """Bessel functions of the distance under an envelope that ends smoothly at the cutoff."""

    order: Tensor

    def __init__(self, cutoff: float, count: int) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("order", torch.arange(1, count + 1) * torch.pi, persistent=False)

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (n_edges, 1) [angstrom] to values (n_edges, count) and the envelope (n_edges, 1)."""
        x, p = distance / self.cutoff, ENVELOPE_POWER
        inside = torch.clamp(x, max=1.0)
        envelope = 1 - inside**p * ((p + 1) * (p + 2) / 2 - inside * (p * (p + 2) - inside * (p * (p + 1) / 2)))
        return envelope * math.sqrt(2) * torch.sin(self.order * x) / x, envelope


class Path(NamedTuple):
    """One coupling: irrep of the neighbour x harmonic of the edge -> irrep of the message."""

    source: o3.Irrep
    harmonic: o3.Irrep
    target: o3.Irrep


class Convolution(nn.Module):
    """Messages: features of the neighbours coupled with harmonics, weighted by the distance, summed over neighbours."""

    coupling: Tensor
    path_of: Tensor

    def __init__(self, irreps: Irreps, harmonics: Irreps, targets: Irreps, params: ModelParams) -> None:
        super().__init__()
        self.channels = params.channels
        self.paths = [Path(a, b, t) for t in targets for a in irreps for b in harmonics if t in a * b]
        self.register_buffer("coupling", _couplings(irreps, harmonics, self.paths), persistent=False)
        sizes = torch.tensor([path.target.dim for path in self.paths])
        self.register_buffer("path_of", torch.repeat_interleave(sizes), persistent=False)
        self.hidden = Mix(params.radial_basis, params.radial_hidden)
        self.weights = Mix(params.radial_hidden, len(self.paths) * params.channels)

    def forward(self, x: Tensor, radial: Tensor, harmonics: Tensor, edges: Tensor) -> Tensor:
        """Features (n, components, channels) to messages (n, components of all paths, channels)."""
        weights = self.weights(silu(self.hidden(radial))).view(-1, len(self.paths), self.channels)
        coupling = (harmonics @ self.coupling.flatten(1)).view(-1, *self.coupling.shape[1:])
        neighbour = x.index_select(0, edges[1])
        if x.shape[1] == 1:  # scalars alone: nothing to contract
            message = coupling * (weights * neighbour).index_select(1, self.path_of)
        else:
            message = torch.bmm(coupling, neighbour) * weights.index_select(1, self.path_of)
        return x.new_zeros(x.shape[0], *message.shape[1:]).index_add(0, edges[0], message)


def _couplings(irreps: Irreps, harmonics: Irreps, paths: list[Path]) -> Tensor:
    """Wigner 3j symbols of all paths as one array (harmonics, targets, sources), each path of unit variance."""
    sources, spheres = (_consecutive(irrep.dim for irrep in group) for group in (irreps, harmonics))
    targets = _consecutive(path.target.dim for path in paths)
    out = torch.zeros(spheres[-1].stop, targets[-1].stop, sources[-1].stop)
    for path, rows in zip(paths, targets, strict=True):
        block = o3.wigner_3j(path.harmonic.l, path.target.l, path.source.l) * math.sqrt(path.target.dim)
        out[spheres[harmonics.index(path.harmonic)], rows, sources[irreps.index(path.source)]] = block
    return out


def _consecutive(sizes: Iterable[int]) -> list[slice]:
    """Slices of these sizes, one after the other."""
    return [slice(first, end) for first, end in itertools.pairwise(itertools.accumulate(sizes, initial=0))]


class Layer(nn.Module):
    """Convolution, mixing of channels, element-dependent self-connection and gate.

    The scalars also take in the squared length of every irrep, which are products of two neighbours: angles within
    one layer.
    """

    def __init__(self, irreps: Irreps, harmonics: Irreps, targets: Irreps, elements: int, params: ModelParams) -> None:
        super().__init__()
        channels = params.channels
        self.convolution = Convolution(irreps, harmonics, targets, params)
        self.channels, self.targets = channels, targets
        self.before = Mix(channels, channels)
        widths = [channels * len(targets) if target == SCALAR else channels for target in targets]
        paths = [sum(path.target == target for path in self.convolution.paths) for target in targets]
        self.after = nn.ModuleList(Mix(count * channels, width) for count, width in zip(paths, widths, strict=True))
        self.own = nn.ModuleDict(
            {
                str(target): Mix(channels, width, elements)
                for target, width in zip(targets, widths, strict=True)
                if target in irreps
            }
        )
        self.lengths = Mix(channels * len(targets), channels * len(targets))
        self.at_target = _consecutive(target.dim * count for target, count in zip(targets, paths, strict=True))
        self.at_own = dict(zip(irreps, _consecutive(irrep.dim for irrep in irreps), strict=True))

    def forward(self, x: Tensor, element: Tensor, radial: Tensor, harmonics: Tensor, edges: Tensor) -> Tensor:
        """Features (n, components of the irreps, channels) to features (n, components of the targets, channels)."""
        message = self.convolution(self.before(x), radial, harmonics, edges)
        scalars, *tensors = (
            self._with_own(target, after(self._by_component(message[:, rows], target)), x, element)
            for target, after, rows in zip(self.targets, self.after, self.at_target, strict=True)
        )
        squares = [block[..., : self.channels].square().mean(1, keepdim=True) for block in (scalars, *tensors)]
        gated = silu(scalars + self.lengths(torch.cat(squares, 2)))
        values, *gates = torch.split(gated, self.channels, dim=2)
        return torch.cat([values, *(tensor * gate for tensor, gate in zip(tensors, gates, strict=True))], dim=1)

    def _by_component(self, message: Tensor, target: o3.Irrep) -> Tensor:
        """All paths to `target` side by side, (n, target.dim, paths * channels)."""
        return message.view(len(message), -1, target.dim, self.channels).transpose(1, 2).flatten(2)

    def _with_own(self, target: o3.Irrep, message: Tensor, x: Tensor, element: Tensor) -> Tensor:
        """The message with the atom's own feature of that irrep, where it has one."""
        if target not in self.at_own:
            return message
        own: Tensor = self.own[str(target)](x[:, self.at_own[target]], element)
        return (message + own) * math.sqrt(0.5)


class Potential(nn.Module):
    """Energy, forces and stress of configurations.

    The energy of an atom is the reference energy of its element plus what the network adds for its surroundings,
    less what it adds for no surroundings: an isolated atom has its reference energy exactly.

    Args:
        params: size of the network.
        references: energy of each element [eV]; these are the elements that the potential knows.
        statistics: scales of the training part.
        seed: of the initial weights.
    """

    def __init__(
        self, params: ModelParams, references: Mapping[int, float], statistics: Statistics, seed: int = 0
    ) -> None:
        super().__init__()
        self.params, self.references, self.statistics = params, dict(sorted(references.items())), statistics
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build(params, len(self.references))
        index = torch.full((256,), -1)
        index[list(self.references)] = torch.arange(len(self.references))
        self.register_buffer("index_of_element", index, persistent=False)

    index_of_element: Tensor

    def _build(self, params: ModelParams, elements: int) -> None:
        harmonics = [o3.Irrep(degree, (-1) ** degree) for degree in range(params.l_max + 1)]
        self.radial = Radial(params.cutoff, params.radial_basis)
        self.harmonics = o3.SphericalHarmonics(
            list(range(params.l_max + 1)), normalize=False, normalization="component"
        )
        self.embedding = nn.Parameter(torch.randn(elements, params.channels))
        irreps, layers = [SCALAR], []
        for number in range(params.layers):
            last = number == params.layers - 1
            targets = [SCALAR] if last else harmonics
            layers.append(Layer(irreps, harmonics, targets, elements, params))
            irreps = targets
        self.layers = nn.ModuleList(layers)
        self.readout = nn.ModuleList([Mix(params.channels, params.channels), Mix(params.channels, 1)])

    def forward(self, batch: Batch) -> Prediction:
        """Energy, and by its gradient along the edges forces and stress, in the dtype of the weights.

        In training mode they can be differentiated by the weights; in evaluation mode they are detached.

        Raises:
            UsageError: an element that the potential was not trained on.
        """
        dtype, centre, neighbour = self.embedding.dtype, *batch.edge_index
        element = self._element(batch)
        positions, cell, shift = batch.positions.to(dtype), batch.cell.to(dtype), batch.edge_shift.to(dtype)
        configuration = batch.configuration[centre]
        with torch.enable_grad():
            vectors = positions[neighbour] - positions[centre] + (shift[:, None] @ cell[configuration])[:, 0]
            vectors = vectors.detach().requires_grad_()
            interaction = self._interaction(element, batch.edge_index, vectors)
            (gradient,) = torch.autograd.grad(interaction.sum(), vectors, create_graph=self.training)
        if not self.training:
            interaction = interaction.detach()
        forces = torch.zeros_like(positions).index_add(0, centre, gradient).index_add(0, neighbour, -gradient)
        virial = vectors.detach()[:, :, None] * gradient[:, None]
        atomic = self.reference[element] + interaction.double()
        return Prediction(
            energy=atomic.new_zeros(batch.n_configurations).index_add(0, batch.configuration, atomic),
            forces=forces,
            stress=_stress(torch.zeros_like(cell).index_add(0, configuration, virial), cell),
            atomic_energies=atomic,
        )

    def reference_energy(self, batch: Batch) -> Tensor:
        """Sum of the reference energies of each configuration [eV], float64, shape (n_configurations,).

        Raises:
            UsageError: an element that the potential was not trained on.
        """
        energies = self.reference[self._element(batch)]
        return energies.new_zeros(batch.n_configurations).index_add(0, batch.configuration, energies)

    @property
    def reference(self) -> Tensor:
        """Reference energy of each known element [eV], float64 whatever the dtype of the weights."""
        return torch.tensor(list(self.references.values()), dtype=torch.float64, device=self.embedding.device)

    def _element(self, batch: Batch) -> Tensor:
        """Number of each atom's element among the known ones."""
        element: Tensor = self.index_of_element[batch.atomic_numbers]
        if bool((element < 0).any()):
            found = sorted(set(batch.atomic_numbers[element < 0].tolist()))
            raise UsageError(
                f"expected elements of the training part (atomic numbers {list(self.references)}), found {found}. "
                "Train on configurations that hold them."
            )
        return element

    def _interaction(self, element: Tensor, edges: Tensor, vectors: Tensor) -> Tensor:
        """What the surroundings add to the energy of each atom [eV], shape (n_atoms,)."""
        distance = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        radial, envelope = self.radial(distance)
        harmonics = self.harmonics(vectors / distance) / math.sqrt(self.statistics.mean_neighbours)
        # one isolated atom of each element goes along, so that its energy can be taken off
        elements = torch.cat([element, torch.arange(len(self.references), device=element.device)])
        x = self.embedding[elements][:, None]
        for layer in self.layers:
            x = layer(x, elements, radial, harmonics, edges)
        x = self.readout[1](silu(self.readout[0](x[:, 0])))[:, 0]
        surroundings = x[: len(element)] - x[len(element) :][element]
        coordination = torch.zeros_like(surroundings).index_add(0, edges[0], envelope[:, 0])
        scales = self.statistics
        added: Tensor = surroundings * scales.force_rms + torch.tanh(coordination) * scales.mean_energy
        return added


def _stress(strain_gradient: Tensor, cell: Tensor) -> Tensor:
    """Gradient of the energy by a symmetric strain, over the volume; NaN where there is no cell.

    The energy depends on edges alone, so that sum_e r_e (x) dE/dr_e is its gradient by a strain of positions and cell.
    """
    volume = torch.linalg.det(cell).abs()[:, None, None]
    symmetric = 0.5 * (strain_gradient + strain_gradient.mT)
    return torch.where(volume > 0, symmetric / torch.where(volume > 0, volume, 1.0), torch.nan)
