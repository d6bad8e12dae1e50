"""The trainer: AdamW on a cosine schedule, an average of the weights that is validated and kept, exact resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlpdata import durable
from mlpdata.digest import finite_or_none
from mlpdata.errors import CheckFailed, UsageError
from mlpdata.loader.loader import Loader
from mlpdata.loader.threads import torch_threads
from mlpdata.schema.params import TrainParams
from mlpdata.training import checkpoint
from mlpdata.training.checkpoint import STATE, CheckpointRecord
from mlpdata.training.loss import loss
from mlpdata.training.model import Potential, Statistics

BEST, LAST, HISTORY = "best.safetensors", "last.safetensors", "history.jsonl"
"""Files of a training run: the potential, the state to resume from, one JSON object an epoch."""
SAVE_INTERVAL = 10.0
"""Seconds between two writes of the state: each costs several syncs, an epoch may take less than one."""

WARM_UP_STEPS = 20
"""Steps in which the learning rate rises: the moments of AdamW begin from nothing."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of each weight."""

Record = dict[str, float | None]
Progress = Callable[[Record], None]


@dataclass(frozen=True)
class TrainResult:
    """What a training run left."""

    checkpoint: Path
    """The potential with the lowest validation loss."""
    id: str
    """Of that checkpoint."""
    best_epoch: int
    """Epoch of its weights, from 1."""
    valid_loss: float
    """Its validation loss."""
    history: list[Record]
    """One record an epoch: see `_Run.epoch`."""
    seconds: float
    """Wall time of all epochs, those before a resume included."""


def train(
    train_loader: Loader,
    valid_loader: Loader,
    params: TrainParams,
    references: Mapping[int, float],
    out: Path,
    provenance: Mapping[str, Any],
    progress: Progress | None = None,
    resume: bool = False,
) -> TrainResult:
    """Train a potential; the folder `out` gets `best.safetensors`, `last.safetensors` and `history.jsonl`.

    On the CPU and without `params.max_minutes` the result is a function of the arguments alone, and a resumed run ends
    in the same bits as one that was never interrupted.

    Args:
        train_loader: batches to learn from.
        valid_loader: batches that choose the weights to keep.
        params: the model and its optimisation.
        references: energy of each element [eV].
        out: folder of the results, made if need be.
        provenance: what the checkpoint is to remember: ids of content, view and split.
        progress: called with the record of each epoch.
        resume: go on from `last.safetensors` in `out` if it is there.

    Raises:
        UsageError: nothing to learn from, a device that is not there, or a state of other params.
        KeyboardInterrupt: passed on after `best` and `last` were written.
    """
    if params.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("expected a CUDA device, found none. Set device to cpu.")
    if not len(train_loader) or not len(valid_loader):
        raise UsageError("expected configurations to train on and to validate on, found none. Check the split.")
    durable.make_folder(out)
    with torch_threads(params.threads):
        run = _Run(train_loader, valid_loader, params, references, out, dict(provenance))
        if resume and (out / LAST).exists():
            run.restore()
        try:
            while not run.finished:
                record = run.epoch()
                if progress is not None:
                    progress(record)
        finally:
            run.save()
    return run.result()


def statistics(loader: Loader, references: Mapping[int, float]) -> Statistics:
    """Scales of one epoch: root mean square force, neighbours an atom, energy an atom less the references.

    Configurations without a single neighbour, isolated atoms, are left out: they have their reference energy.
    """
    table = torch.zeros(256, dtype=torch.float64)
    table[list(references)] = torch.tensor(list(references.values()), dtype=torch.float64)
    sums = torch.zeros(6, dtype=torch.float64)
    for batch in loader:
        here = batch.to("cpu")
        bonded = torch.bincount(here.configuration[here.edge_index[0]], minlength=here.n_configurations) > 0
        reference = torch.zeros_like(here.energy).index_add(0, here.configuration, table[here.atomic_numbers])
        known = bonded & torch.isfinite(here.energy)
        forces = here.forces[bonded[here.configuration]].double()
        forces = forces[torch.isfinite(forces)]
        sums += torch.tensor(
            [
                forces.square().sum(),
                forces.numel(),
                here.edge_index.shape[1],
                here.n_atoms[bonded].sum(),
                (here.energy - reference)[known].sum(),
                here.n_atoms[known].sum(),
            ],
            dtype=torch.float64,
        )
    squares, components, edges, atoms, energy, labelled = sums.tolist()
    return Statistics(
        force_rms=math.sqrt(squares / components) if squares else 1.0,
        mean_neighbours=edges / atoms if edges else 1.0,
        mean_energy=energy / labelled if labelled else 0.0,
    )


class _Run:
    """The state of a training run: weights, their average, the optimiser's moments, history and best weights."""

    def __init__(
        self,
        train_loader: Loader,
        valid_loader: Loader,
        params: TrainParams,
        references: Mapping[int, float],
        out: Path,
        provenance: dict[str, Any],
    ) -> None:
        self.train_loader, self.valid_loader, self.params, self.out = train_loader, valid_loader, params, out
        self.references, self.provenance = dict(references), provenance
        self.environment = checkpoint.environment(params.device)
        self.history: list[Record] = []
        self.best_epoch, self.best_loss = 0, math.inf
        self.best: dict[str, Tensor] = {}
        self.steps, self.before, self.started, self.saved = 0, 0.0, time.perf_counter(), -math.inf
        train_loader.set_epoch(0)
        self._build(statistics(train_loader, references))
        self.state = self._state()

    def _build(self, scales: Statistics) -> None:
        self.statistics = scales
        potential = Potential(self.params.model, self.references, scales, self.params.seed)
        self.potential = potential.to(self.params.device)
        self.average = copy.deepcopy(self.potential).eval()
        self.optimizer = torch.optim.AdamW(
            self.potential.parameters(),
            lr=self.params.learning_rate,
            weight_decay=self.params.weight_decay,
            fused=True,
        )

    @property
    def seconds(self) -> float:
        """Wall time of training so far."""
        return self.before + time.perf_counter() - self.started

    @property
    def fraction(self) -> float:
        """Part of the schedule that lies behind: of the steps or of the time, whichever is further."""
        done = self.steps / (self.params.epochs * len(self.train_loader))
        limit = self.params.max_minutes
        return done if limit is None else max(done, self.seconds / (60 * limit))

    @property
    def finished(self) -> bool:
        """Whether the schedule is at its end."""
        return self.fraction >= 1 - 1e-12

    def epoch(self) -> Record:
        """One pass over the training part and one over the validation part.

        Returns:
            epoch, losses, validation errors [eV/atom, eV/angstrom], learning_rate, seconds and, of those, wait: the
            time that the optimiser waited for batches.
        """
        number, begun, waited = len(self.history) + 1, self.seconds, self.train_loader.waited
        train_loss = self._train(number)
        record: Record = {"epoch": number, **train_loss, **self._validate()}
        record["learning_rate"] = self._learning_rate()
        record["wait"] = self.train_loader.waited - waited
        record["seconds"] = self.seconds - begun
        self._keep_best(number, record["valid_loss"])
        self.history.append(record)
        self.state = self._state()
        if self.seconds - self.saved > SAVE_INTERVAL:
            self.save()
        return record

    def _train(self, number: int) -> Record:
        self.potential.train()
        self.train_loader.set_epoch(number - 1)
        total, count = torch.zeros(4, device=self.params.device), 0
        for batch in self.train_loader:
            on_device = batch.to(self.params.device)
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            terms = loss(self.potential(on_device), on_device, self.params)
            self.optimizer.zero_grad()
            torch.autograd.backward(terms.total)
            torch.nn.utils.clip_grad_norm_(self.potential.parameters(), self.params.gradient_clip)
            self.optimizer.step()
            self.steps += 1
            self._move_average()
            total += torch.stack(terms).detach() * batch.n_configurations
            count += batch.n_configurations
            if self.params.max_minutes is not None and self.finished:
                break
        names = ("train_loss", "train_energy", "train_forces", "train_stress")
        return dict(zip(names, (total / count).tolist(), strict=True))

    def _learning_rate(self) -> float:
        """Cosine from the full rate to zero, after a short rise."""
        rise = min(1.0, (self.steps + 1) / WARM_UP_STEPS)
        return rise * self.params.learning_rate * 0.5 * (1 + math.cos(math.pi * min(self.fraction, 1.0)))

    def _move_average(self) -> None:
        """Exponential average; at first over fewer steps, so that it forgets the initial weights."""
        decay = min(self.params.ema_decay, self.steps / (self.steps + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.potential.parameters()), 1 - decay)

    def _validate(self) -> Record:
        total, errors, counts = 0.0, torch.zeros(2, dtype=torch.float64), torch.zeros(2)
        n_configurations = 0
        for batch in self.valid_loader:
            on_device = batch.to(self.params.device)
            prediction = self.average(on_device)
            total += float(loss(prediction, on_device, self.params).total) * batch.n_configurations
            n_configurations += batch.n_configurations
            per_atom = (prediction.energy - on_device.energy) / on_device.n_atoms
            for index, error in enumerate((per_atom, prediction.forces - on_device.forces)):
                labelled = error[torch.isfinite(error)]
                errors[index] += float(labelled.abs().sum())
                counts[index] += labelled.numel()
        energy, forces = (errors / counts).tolist()
        return {
            "valid_loss": total / n_configurations,
            "valid_energy_mae": finite_or_none(energy),
            "valid_force_mae": finite_or_none(forces),
        }

    def _keep_best(self, number: int, valid_loss: float | None) -> None:
        if valid_loss is None or not math.isfinite(valid_loss):
            raise CheckFailed(f"expected a finite loss, found {valid_loss} in epoch {number}. Lower the learning rate.")
        if valid_loss < self.best_loss:
            self.best_epoch, self.best_loss = number, valid_loss
            self.best = _copy(self.average.state_dict())

    def _state(self) -> tuple[CheckpointRecord, dict[str, Tensor]]:
        """What `restore` needs, as it is at the end of an epoch."""
        tensors = dict(self.potential.state_dict())
        tensors |= {f"{STATE}average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"{STATE}best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.potential.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"{STATE}{moment}.{name}": moments[moment] for moment in MOMENTS if moment in moments}
        progress = {
            "history": list(self.history),
            "best_epoch": self.best_epoch,
            "best_loss": finite_or_none(self.best_loss),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        return self._record(len(self.history), None, progress), _copy(tensors)

    def _record(self, epoch: int, valid_loss: float | None, progress: dict[str, Any] | None) -> CheckpointRecord:
        return CheckpointRecord(
            params=self.params,
            references={str(number): energy for number, energy in sorted(self.references.items())},
            statistics=self.statistics._asdict(),
            epoch=epoch,
            valid_loss=valid_loss,
            provenance=self.provenance,
            environment=self.environment,
            progress=progress,
        )

    def save(self) -> str:
        """Write the best potential, the state at the end of the last whole epoch, and the history."""
        weights = self.best or _copy(self.average.state_dict())
        best = self._record(self.best_epoch, finite_or_none(self.best_loss), None)
        name = checkpoint.save(self.out / BEST, best, weights)
        checkpoint.save(self.out / LAST, *self.state)
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.history)
        durable.replace(self.out / HISTORY, lines.encode())
        self.saved = self.seconds
        return name

    def restore(self) -> None:
        """Go on from the state that `save` wrote.

        Raises:
            UsageError: it belongs to other params or references.
        """
        _, record, tensors = checkpoint.read(self.out / LAST)
        if (record.params, record.elements) != (self.params, self.references):
            raise UsageError(
                "expected the params and references that the run began with, found others. Train into a new folder.",
                path=self.out / LAST,
            )
        assert record.progress is not None
        self._build(Statistics(**record.statistics))
        self.potential.load_state_dict(_part(tensors, ""))
        self.average.load_state_dict(_part(tensors, f"{STATE}average."))
        self.best = _part(tensors, f"{STATE}best.")
        self.steps, self.history = record.progress["steps"], record.progress["history"]
        self.best_epoch, best_loss = record.progress["best_epoch"], record.progress["best_loss"]
        self.best_loss = math.inf if best_loss is None else best_loss
        self.before, self.started = record.progress["seconds"], time.perf_counter()
        for name, parameter in self.potential.named_parameters():
            if self.steps:
                moments = {moment: tensors[f"{STATE}{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
                step = torch.tensor(float(self.steps), device=parameter.device)
                self.optimizer.state[parameter] = {"step": step, **moments}
        self.state = self._state()

    def result(self) -> TrainResult:
        """What the run left."""
        name, record, _ = checkpoint.read(self.out / BEST)
        return TrainResult(self.out / BEST, name, record.epoch, self.best_loss, self.history, self.seconds)


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors below `prefix`, without it; an empty prefix is that of the potential itself."""
    own = {name: tensor for name, tensor in tensors.items() if prefix or not name.startswith(STATE)}
    return {name.removeprefix(prefix): tensor for name, tensor in own.items() if name.startswith(prefix)}
