"""One training step on silicon-like cells: time by size of the model, and what part of it is waiting for batches.

The peer is e3nn's own tensor product with the same paths, channels and radial weights, in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from e3nn import o3

from mlpdata.frames import Frames, concatenate
from mlpdata.loader.batch import FramesSource
from mlpdata.loader.loader import Loader
from mlpdata.schema.params import ModelParams, TrainParams
from mlpdata.training.loss import loss
from mlpdata.training.model import Convolution, Potential, Statistics

LATTICE = 5.47
BASIS = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4


def cells(count: int) -> Frames:
    """Rattled eight-atom cells with labels of the right size."""
    rng = np.random.default_rng(0)
    return concatenate(
        [
            Frames(
                [8],
                {
                    "atomic_numbers": [14] * 8,
                    "positions": BASIS * LATTICE + rng.normal(scale=0.1, size=(8, 3)),
                    "pbc": np.ones((1, 3)),
                    "cell": [np.eye(3) * LATTICE],
                    "energy": rng.normal(-856, 0.5, size=1),
                    "forces": rng.normal(size=(8, 3)),
                    "stress": rng.normal(scale=0.01, size=(1, 3, 3)),
                },
            )
            for _ in range(count)
        ]
    )


def median_cpu(call: Callable[[], object], repeats: int) -> float:
    """Median CPU time of `call` [ms], after two calls that do not count."""
    times = []
    for number in range(repeats + 2):
        before = time.process_time()
        call()
        if number > 1:
            times.append(1000 * (time.process_time() - before))
    return statistics.median(times)


def step_of(params: TrainParams, loader: Loader) -> Callable[[], object]:
    """A training step on one batch of `loader`."""
    batch = next(iter(loader))
    potential = Potential(params.model, {14: -107.0}, Statistics(1.0, batch.edge_index.shape[1] / 64, 0.0))
    optimizer = torch.optim.AdamW(potential.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss(potential(batch), batch, params).total.backward()
        optimizer.step()

    return step


def waiting(params: TrainParams, loader: Loader) -> float:
    """Part of the wall time of an epoch that the optimiser waits for batches."""
    potential = Potential(params.model, {14: -107.0}, Statistics(1.0, 26.0, 0.0))
    before, loader.waited = time.perf_counter(), 0.0
    for batch in loader:
        loss(potential(batch), batch, params).total.backward()
    return loader.waited / (time.perf_counter() - before)


def convolutions(l_max: int, channels: int, edges: int = 2000, atoms: int = 80) -> tuple[Callable[[], object], ...]:
    """Forward and backward of our convolution and of e3nn's uvu tensor product, with equal paths."""
    irreps = [o3.Irrep(degree, (-1) ** degree) for degree in range(l_max + 1)]
    ours = Convolution(irreps, irreps, irreps, ModelParams(l_max=l_max, channels=channels))
    features = o3.Irreps([(channels, irrep) for irrep in irreps])
    out = o3.Irreps([(channels, path.target) for path in ours.paths])
    instructions = [
        (irreps.index(path.source), irreps.index(path.harmonic), number, "uvu", True)
        for number, path in enumerate(ours.paths)
    ]
    peer = o3.TensorProduct(
        features,
        o3.Irreps([(1, irrep) for irrep in irreps]),
        out,
        instructions,
        shared_weights=False,
        internal_weights=False,
    )
    centre, neighbour = torch.sort(torch.randint(atoms, (edges,))).values, torch.randint(atoms, (edges,))
    radial, harmonics = torch.rand(edges, 8), torch.randn(edges, (l_max + 1) ** 2, requires_grad=True)
    x = torch.randn(atoms, (l_max + 1) ** 2, channels)

    def our_call() -> None:
        ours(x, radial, harmonics, torch.stack([centre, neighbour])).sum().backward()

    def peer_call() -> None:
        weights = ours.weights(torch.nn.functional.silu(ours.hidden(radial)))
        message = peer(x.flatten(1)[neighbour], harmonics, weights)
        torch.zeros(atoms, message.shape[1]).index_add(0, centre, message).sum().backward()

    return our_call, peer_call


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = FramesSource(cells(64))
    for l_max, layers, channels in ((0, 2, 16), (1, 2, 16), (2, 2, 16), (2, 3, 16), (2, 2, 32)):
        params = TrainParams(model=ModelParams(l_max=l_max, layers=layers, channels=channels))
        loader = Loader(source, np.arange(64), 8, params.model.cutoff)
        time_of_step = median_cpu(step_of(params, loader), options.repeats)
        print(
            f"step of 8 cells of 8 atoms, l_max {l_max}, {layers} layers, {channels} channels: {time_of_step:.1f} ms CPU, "
            f"waiting for batches {100 * waiting(params, loader):.1f} %"
        )
    for l_max in (1, 2):
        ours, peer = (median_cpu(call, options.repeats) for call in convolutions(l_max, 16))
        print(
            f"convolution l_max {l_max}: ours {ours:.1f} ms, e3nn's tensor product {peer:.1f} ms, ratio {peer / ours:.1f}"
        )


if __name__ == "__main__":
    main()
