"""Checkpoints: tensors in safetensors, everything else as canonical JSON in its header, named by content.

Nothing is ever unpickled. `best` holds a potential; `last` also holds what training needs to go on.
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mlpdata import durable
from mlpdata.digest import canonical_json, sha256, sha256_json
from mlpdata.errors import CorruptError, NewerSchema, NotFound
from mlpdata.schema.noun import SCHEMA_VERSION, Noun, from_stored
from mlpdata.schema.params import TrainParams
from mlpdata.training.model import Potential, Statistics

PACKAGES = ("mlpdata", "torch", "e3nn", "numpy", "safetensors", "vesin")
"""Whose versions are recorded."""
HEADER = "mlpdata"
"""Key of the record in the header of the file."""


class CheckpointRecord(Noun):
    """Everything about a potential that is not a tensor."""

    schema_version: int = SCHEMA_VERSION
    """Of this record."""
    params: TrainParams
    """The model and its optimisation."""
    references: dict[str, float]
    """Energy of each element [eV], by atomic number."""
    statistics: dict[str, float]
    """Scales of the training part, see `Statistics`."""
    epoch: int
    """Passes over the training part that led to the weights."""
    valid_loss: float | None = None
    """Loss of the validation part."""
    provenance: dict[str, Any]
    """Ids of content, view and split, and what else the caller knows."""
    environment: dict[str, str]
    """Versions and hardware; no name of a user, a machine or a folder."""
    progress: dict[str, Any] | None = None
    """What training needs to go on; None in a finished potential."""

    @property
    def elements(self) -> dict[int, float]:
        """`references` with atomic numbers as keys."""
        return {int(number): energy for number, energy in self.references.items()}


def environment(device: str) -> dict[str, str]:
    """Versions of Python and packages, and the processor."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    hardware = {"machine": platform.machine(), "system": platform.system(), "threads": str(torch.get_num_threads())}
    if device == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
    return {"python": platform.python_version(), **versions, **hardware}


def checkpoint_id(record: CheckpointRecord, tensors: dict[str, Tensor]) -> str:
    """Digest of the record and of the name, dtype, shape and bytes of every tensor."""
    described = {
        name: [str(tensor.dtype), list(tensor.shape), sha256(tensor.numpy().tobytes())]
        for name, tensor in tensors.items()
    }
    return sha256_json({"record": record.as_json(), "tensors": described})


def save(path: Path, record: CheckpointRecord, tensors: dict[str, Tensor]) -> str:
    """Write a checkpoint atomically and durably.

    Returns:
        Its id.
    """
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    name = checkpoint_id(record, own)
    header = {HEADER: canonical_json({"id": name, "record": record.as_json()}).decode()}
    durable.replace(path, safetensors.torch.save(own, header))
    return name


def read(path: Path) -> tuple[str, CheckpointRecord, dict[str, Tensor]]:
    """The id, the record and the tensors (on the CPU) of a checkpoint.

    Raises:
        NotFound: no such file.
        CorruptError: not a checkpoint, or its bytes are not those that were written.
        NewerSchema: a later version of mlpdata wrote it.
    """
    if not path.is_file():
        raise NotFound("expected a checkpoint, found nothing. Train one, or name another.", path=path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            stated = json.loads((file.metadata() or {})[HEADER])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
            name, written = stated["id"], stated["record"]
            version = int(written["schema_version"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CorruptError(f"expected a checkpoint, found a file that is none ({error}).", path=path) from error
    if version > SCHEMA_VERSION:
        raise NewerSchema(f"expected schema version {SCHEMA_VERSION} at most, found {version}.", path=path)
    record = from_stored(CheckpointRecord, json.dumps(written), str(path))
    if checkpoint_id(record, tensors) != name:
        raise CorruptError("expected the bytes that the checkpoint's id names, found others. Restore it.", path=path)
    return name, record, tensors


def load(path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Potential:
    """The potential of a checkpoint, ready to predict.

    Raises:
        NotFound, CorruptError, NewerSchema: see `read`.
    """
    _, record, tensors = read(path)
    potential = build(record)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(STATE)}
    try:
        potential.load_state_dict(weights)
    except RuntimeError as error:
        raise CorruptError(
            "expected weights that fit this version of the model, found others. Train it again.", path=path
        ) from error
    return potential.to(device=device, dtype=dtype).eval()


STATE = "state:"
"""Prefix of tensors that belong to the optimiser, not to the potential."""


def build(record: CheckpointRecord) -> Potential:
    """A potential of the recorded size with its initial weights."""
    return Potential(record.params.model, record.elements, Statistics(**record.statistics), record.params.seed)
