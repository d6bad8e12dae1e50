"""Training: it learns, it repeats itself, it goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from morse import REFERENCE, SMALL, loader_of, morse, toy

from mlpdata.errors import CheckFailed, UsageError
from mlpdata.frames import Frames, concatenate
from mlpdata.loader.batch import Batch
from mlpdata.loader.loader import Loader
from mlpdata.schema.params import TrainParams
from mlpdata.training import checkpoint
from mlpdata.training.loss import loss
from mlpdata.training.trainer import BEST, HISTORY, LAST, Record, TrainResult, statistics, train

PROVENANCE = {"content": "ab" * 32}


def run(
    out: Path,
    params: TrainParams = SMALL,
    training: Any = None,
    references: dict[int, float] | None = None,
    **options: Any,
) -> TrainResult:
    return train(
        loader_of(toy(8)) if training is None else training,
        loader_of(toy(3, seed=9), shuffle=False),
        params,
        references or {14: REFERENCE},
        out,
        PROVENANCE,
        **options,
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(path)[2]


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_toy_s_forces_are_the_gradient_of_its_energy() -> None:
    frames = toy(1)
    positions, cell, step = frames.positions, frames.cell[0], 1e-5
    direction = np.random.default_rng(1).normal(size=positions.shape)
    ahead, behind = (morse(positions + sign * step * direction, cell)[0] for sign in (1, -1))
    assert -(frames.forces * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_four_configurations_are_learned_by_heart(tmp_path: Path) -> None:
    """Forces to 10 % of their size, energies to 2 meV/atom."""
    four = toy(4)
    result = train(
        loader_of(four),
        loader_of(four, shuffle=False),
        SMALL.replace(epochs=100, learning_rate=0.02),
        {14: REFERENCE},
        tmp_path,
        PROVENANCE,
    )
    force_error = result.history[-1]["valid_force_mae"]
    assert force_error < 0.1 * np.abs(four.forces).mean()
    assert result.history[-1]["valid_energy_mae"] < 0.002


def test_the_best_epoch_is_kept_and_the_history_is_written(tmp_path: Path) -> None:
    seen = []
    result = run(tmp_path, progress=seen.append)
    losses = [record["valid_loss"] for record in result.history]
    assert result.valid_loss == min(losses)
    assert result.best_epoch == 1 + losses.index(min(losses))
    assert [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()] == result.history == seen
    assert [record["epoch"] for record in seen] == [1, 2, 3, 4]
    assert all(0 <= record["wait"] <= record["seconds"] for record in seen)
    name, record, _ = checkpoint.read(result.checkpoint)
    assert (name, record.epoch, record.provenance) == (result.id, result.best_epoch, PROVENANCE)


def test_the_kept_weights_have_the_validation_loss_that_is_stated(tmp_path: Path) -> None:
    result = run(tmp_path)
    potential, total, count = checkpoint.load(result.checkpoint), 0.0, 0
    for batch in loader_of(toy(3, seed=9), shuffle=False):
        total += loss(potential(batch), batch, SMALL).total.item() * batch.n_configurations
        count += batch.n_configurations
    assert total / count == pytest.approx(result.valid_loss, rel=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one"), run(tmp_path / "two")
    other = run(tmp_path / "other", SMALL.replace(seed=1))
    assert one.id == two.id
    assert not same_bits(weights(one.checkpoint), weights(other.checkpoint))


def test_training_leaves_the_generator_and_the_threads_of_torch_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run(tmp_path, SMALL.replace(epochs=1, threads=1))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    straight = run(tmp_path / "straight")

    def stop(record: Record) -> None:
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halted", progress=stop)
    half = checkpoint.read(tmp_path / "halted" / LAST)[1]
    assert half.epoch == 2
    resumed = run(tmp_path / "halted", resume=True)
    for name in (BEST, LAST):
        assert same_bits(weights(tmp_path / "straight" / name), weights(tmp_path / "halted" / name))
    assert resumed.id == straight.id
    assert [record["train_loss"] for record in resumed.history] == [record["train_loss"] for record in straight.history]


def test_an_interrupt_in_the_midst_of_an_epoch_costs_that_epoch_only(tmp_path: Path) -> None:
    class Interrupted:
        """A loader whose user presses Ctrl-C during the third epoch."""

        def __init__(self, loader: Loader) -> None:
            self.loader, self.epoch, self.armed, self.waited = loader, 0, False, 0.0

        def __len__(self) -> int:
            return len(self.loader)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch
            self.loader.set_epoch(epoch)

        def __iter__(self) -> Iterator[Batch]:
            for number, batch in enumerate(self.loader):
                if self.epoch == 2 and number == 2:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, training=Interrupted(loader_of(toy(8))))
    assert checkpoint.read(tmp_path / LAST)[1].epoch == 2
    assert run(tmp_path, resume=True).id == run(tmp_path / "straight").id


def test_an_interrupt_before_the_first_epoch_ends_leaves_a_potential_that_predicts(tmp_path: Path) -> None:
    class AtOnce(list):
        waited = 0.0

        def set_epoch(self, epoch: int) -> None:
            pass

        def __iter__(self) -> Iterator[Batch]:
            if self.pop() == "interrupt":
                raise KeyboardInterrupt
            return iter(loader_of(toy(8)))

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, training=AtOnce(["more", "interrupt", "scales"]))
    (batch,) = loader_of(toy(1), batch_size=1)
    assert torch.isfinite(checkpoint.load(tmp_path / BEST)(batch).energy).all()


def test_a_finished_run_that_is_resumed_trains_no_further(tmp_path: Path) -> None:
    before = run(tmp_path)
    after = run(tmp_path, resume=True, progress=lambda _: pytest.fail("another epoch"))
    assert after.id == before.id


def test_resuming_with_other_params_is_refused(tmp_path: Path) -> None:
    run(tmp_path, SMALL.replace(epochs=1))
    with pytest.raises(UsageError, match="new folder"):
        run(tmp_path, SMALL.replace(epochs=1, learning_rate=0.5), resume=True)


def test_resume_without_a_state_begins_anew(tmp_path: Path) -> None:
    assert run(tmp_path / "one", SMALL.replace(epochs=1), resume=True).id == run(tmp_path, SMALL.replace(epochs=1)).id


def test_a_time_limit_ends_training_and_bends_the_schedule(tmp_path: Path) -> None:
    """A million epochs into three seconds: the rate falls to zero by then."""
    limit = 0.05
    result = run(tmp_path, SMALL.replace(epochs=1_000_000, max_minutes=limit))
    assert result.seconds < 60 * limit + 2
    rates = [record["learning_rate"] for record in result.history]
    assert rates[-1] < 0.01 * max(rates)
    assert len(rates) > 1


def test_labels_that_are_absent_do_not_spoil_training(tmp_path: Path) -> None:
    frames = toy(8)
    forces, stress, energy = frames.forces.copy(), frames.stress.copy(), frames.energy.copy()
    forces[:8] = stress[1] = energy[2] = np.nan
    result = run(tmp_path, training=loader_of(frames.with_arrays(forces=forces, stress=stress, energy=energy)))
    assert all(np.isfinite(value) for record in result.history for value in record.values())


def test_a_run_that_diverges_says_so_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="Lower the learning rate"):
        run(tmp_path, SMALL.replace(learning_rate=1e18, gradient_clip=1e30, ema_decay=0.0, epochs=30))
    assert (tmp_path / BEST).exists()


def test_an_element_without_a_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"found \[14\]"):
        run(tmp_path, references={13: REFERENCE})


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    empty = loader_of(toy(2), batch_size=2)
    empty = type(empty)(empty._source, [], 2, 4.0)
    with pytest.raises(UsageError, match="Check the split"):
        run(tmp_path, training=empty)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Set device to cpu"):
        run(tmp_path, SMALL.replace(device="cuda"))


def test_the_scales_are_those_of_the_training_part_without_isolated_atoms() -> None:
    frames = toy(4)
    atom = Frames(
        [1],
        {
            "atomic_numbers": [14],
            "positions": [[0.0, 0, 0]],
            "pbc": [[0, 0, 0]],
            "energy": [REFERENCE],
            "forces": [[0.0, 0, 0]],
        },
    )
    scales = statistics(loader_of(concatenate([frames, atom])), {14: REFERENCE})
    assert scales.force_rms == pytest.approx(np.sqrt(np.mean(frames.forces**2)), rel=1e-6)
    assert scales.mean_energy == pytest.approx((frames.energy - 8 * REFERENCE).mean() / 8, rel=1e-9)
    edges = sum(batch.edge_index.shape[1] for batch in loader_of(frames))
    assert scales.mean_neighbours == edges / 32


def test_the_energies_of_training_start_from_the_references_that_are_given(tmp_path: Path) -> None:
    """A wrong reference of 1 eV an atom is taken up by the mean; the isolated atom keeps it."""
    run(tmp_path, SMALL.replace(epochs=1), references={14: REFERENCE + 1})
    _, record, _ = checkpoint.read(tmp_path / BEST)
    frames = toy(8)
    assert record.statistics["mean_energy"] == pytest.approx((frames.energy / 8 - REFERENCE - 1).mean(), rel=1e-9)
    assert checkpoint.load(tmp_path / BEST).reference.tolist() == [REFERENCE + 1]
