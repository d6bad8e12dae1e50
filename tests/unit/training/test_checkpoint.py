"""Checkpoints: no pickle, named by content, and every damage is noticed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from morse import REFERENCE, SMALL, loader_of, toy

from mlpdata.errors import CorruptError, NewerSchema, NotFound
from mlpdata.training import checkpoint
from mlpdata.training.checkpoint import CheckpointRecord
from mlpdata.training.model import Potential, Statistics

Saved = tuple[Potential, Path, str]

SCALES = Statistics(force_rms=0.7, mean_neighbours=15.5, mean_energy=-3.25)


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """A potential with random weights, its file and its id."""
    potential = Potential(SMALL.model, {14: REFERENCE}, SCALES, seed=5)
    record = CheckpointRecord(
        params=SMALL,
        references={"14": REFERENCE},
        statistics=SCALES._asdict(),
        epoch=3,
        valid_loss=0.5,
        provenance={"content": "ab" * 32, "view": "cd" * 32},
        environment=checkpoint.environment("cpu"),
    )
    path = tmp_path / "best.safetensors"
    return potential.eval(), path, checkpoint.save(path, record, potential.state_dict())


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_record(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file with its record changed and everything else as it was."""
    head, body = header(path)
    stated = json.loads(head["__metadata__"]["mlpdata"])
    change(stated)
    head["__metadata__"]["mlpdata"] = json.dumps(stated)
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_a_loaded_potential_predicts_the_same_bits(saved: Saved) -> None:
    potential, path, _ = saved
    (batch,) = loader_of(toy(3), batch_size=3)
    before, after = potential(batch), checkpoint.load(path)(batch)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_a_potential_is_loaded_in_the_precision_that_is_asked_for(saved: Saved) -> None:
    _, path, _ = saved
    (batch,) = loader_of(toy(1), batch_size=1)
    assert checkpoint.load(path, dtype=torch.float64)(batch).forces.dtype == torch.float64


def test_the_record_says_where_the_potential_came_from(saved: Saved) -> None:
    _, path, name = saved
    found, record, _ = checkpoint.read(path)
    assert found == name
    assert record.provenance == {"content": "ab" * 32, "view": "cd" * 32}
    assert record.elements == {14: REFERENCE}
    assert record.environment["torch"] == torch.__version__
    assert record.params == SMALL


def test_the_same_potential_has_the_same_id_and_another_weight_another(saved: Saved, tmp_path: Path) -> None:
    potential, path, name = saved
    _, record, tensors = checkpoint.read(path)
    assert checkpoint.save(tmp_path / "again", record, dict(reversed(tensors.items()))) == name
    tensors["embedding"][0, 0] += 1e-6
    assert checkpoint.save(tmp_path / "other", record, tensors) != name
    assert checkpoint.save(tmp_path / "later", record.replace(epoch=4), potential.state_dict()) != name


def test_a_flipped_bit_anywhere_is_an_error(saved: Saved) -> None:
    _, path, _ = saved
    raw = path.read_bytes()
    for place in np.random.default_rng(0).choice(len(raw), 60, replace=False):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(place % 8)
        path.write_bytes(damaged)
        with pytest.raises((CorruptError, NewerSchema)):
            checkpoint.read(path)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_file_that_is_cut_is_an_error(saved: Saved, length: int) -> None:
    _, path, _ = saved
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CorruptError, match=r"best\.safetensors"):
        checkpoint.read(path)


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Canary()))
    with pytest.raises(CorruptError):
        checkpoint.load(path)
    torch.save({"weight": Canary()}, path)
    with pytest.raises(CorruptError):
        checkpoint.load(path)


def test_another_program_s_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CorruptError, match="expected a checkpoint"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_a_changed_record_is_an_error(saved: Saved) -> None:
    _, path, _ = saved
    with_record(path, lambda stated: stated["record"]["references"].update({"14": -99.0}))
    with pytest.raises(CorruptError, match="id"):
        checkpoint.read(path)


def test_a_checkpoint_of_a_later_version_is_refused_by_name(saved: Saved) -> None:
    _, path, _ = saved
    with_record(path, lambda stated: stated["record"].update(schema_version=99, novelty=True))
    with pytest.raises(NewerSchema, match="99"):
        checkpoint.read(path)


def test_a_missing_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Train one"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_the_environment_names_no_user_machine_or_folder() -> None:
    import getpass
    import platform

    text = json.dumps(checkpoint.environment("cpu"))
    assert platform.node() not in text
    assert "/" not in text
    assert set(checkpoint.environment("cpu")) == {
        "python", "mlpdata", "torch", "e3nn", "numpy", "safetensors", "vesin", "machine", "system", "threads",
    }  # fmt: skip
    assert getpass.getuser() not in json.loads(text).values()
