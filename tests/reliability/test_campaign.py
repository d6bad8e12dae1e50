"""Random campaigns: a store that followed a growing tree, killed on the way, shows what a fresh ingest of it shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from mlpdata.api import Store
from mlpdata.intake import ingest, sync
from mlpdata.outcome import IngestReport
from mlpdata.testing import campaign as simulated
from mlpdata.testing.campaign import Verdict, campaign, shortened
from mlpdata.testing.growing_tree import ACTIONS, GrowingTree
from mlpdata.testing.layouts import LAYOUTS, UNITS, files
from mlpdata.testing.springs import Run

pytestmark = pytest.mark.no_cover  # thousands of files are read: traced it would take minutes

PER_TEST = 10


class _Campaigns:
    """In classes, which may run beside each other."""

    def check(self, first: int, below: Path) -> None:
        found, n_configurations = [], 0
        for seed in range(first, first + PER_TEST):
            one = partial(campaign, seed, below=below)
            verdict = one()
            n_configurations += verdict.n_configurations
            if not verdict.ok:
                found.append(str(shortened(verdict, one)))
        assert not found, "\n\n".join(found)
        assert n_configurations > 10 * PER_TEST


class TestFirstHundred(_Campaigns):
    @pytest.mark.parametrize("first", range(0, 100, PER_TEST))
    def test_a_store_that_followed_a_tree_shows_what_a_fresh_ingest_shows(self, first: int, tmp_path: Path) -> None:
        self.check(first, tmp_path)


class TestSecondHundred(_Campaigns):
    @pytest.mark.parametrize("first", range(100, 200, PER_TEST))
    def test_a_store_that_followed_a_tree_shows_what_a_fresh_ingest_shows(self, first: int, tmp_path: Path) -> None:
        self.check(first, tmp_path)


class TestJudge:
    """What would go unnoticed by a judge that cannot find anything."""

    @pytest.fixture
    def forgetful(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sync that retracts nothing from a store that was there."""

        def without_retractions(root: Path, store: Path, *, exact: bool, **options: object) -> IngestReport:
            return sync(root, store, exact=exact and not store.exists(), **options)  # type: ignore[arg-type]

        monkeypatch.setattr(simulated, "sync", without_retractions)

    @pytest.mark.usefixtures("forgetful")
    def test_a_sync_that_retracts_nothing_is_found(self, tmp_path: Path) -> None:
        verdict = next(found for seed in range(40) if not (found := campaign(seed, 25, below=tmp_path)).ok)
        assert f"--seed {verdict.seed} --keep 0 1 2 3" in str(verdict)
        assert campaign(verdict.seed, verdict.kept, below=tmp_path).differences == verdict.differences

    def test_a_campaign_is_shortened_to_the_steps_without_which_there_is_no_difference(self) -> None:
        def differs(kept: Sequence[int]) -> Verdict:
            differences = ["another content"] if {3, 17} <= set(kept) else ["raised"] if 5 in kept else []
            return Verdict(1, tuple(kept), differences=differences)

        assert shortened(differs(range(50)), differs).kept == (3, 17)

    def test_what_no_user_should_see_is_a_difference(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def broken(*_: object, **__: object) -> IngestReport:
            raise KeyError("segment")

        monkeypatch.setattr(simulated, "sync", broken)
        (difference,) = campaign(1, below=tmp_path).differences
        assert "KeyError: 'segment'" in difference

    def test_a_seed_gives_the_same_campaign_again(self, tmp_path: Path) -> None:
        assert campaign(3, below=tmp_path) == campaign(3, below=tmp_path)

    def test_steps_that_are_left_out_leave_the_others_as_they_are(self, tmp_path: Path) -> None:
        whole, part = campaign(4, 12, below=tmp_path), campaign(4, range(6), below=tmp_path)
        assert part.actions == whole.actions[: len(part.actions)]


class TestTree:
    def test_every_action_finds_something_to_do(self, tmp_path: Path) -> None:
        tree = GrowingTree(tmp_path / "raw")
        for number in range(6):
            tree.act("appear", Random(number))
        done = {name for number in range(20) for name in ACTIONS if tree.act(name, Random(f"{name} {number}"))}
        assert done == set(ACTIONS)

    def test_files_that_are_written_one_after_the_other_differ_in_time(self, tmp_path: Path) -> None:
        tree = GrowingTree(tmp_path / "raw")
        times = []
        for content in (b"one", b"two"):
            tree.put("notes.txt", content)
            times.append((tmp_path / "raw/notes.txt").stat().st_mtime_ns)
        assert times[1] - times[0] == 10**9


@pytest.mark.parametrize("code", LAYOUTS)
class TestLayouts:
    def test_text_only_grows(self, code: str) -> None:
        run = Run(code, seed=11, n_steps=2)
        for name, content in files(run.grown(3)).items():
            assert content.startswith(files(run)[name])
            assert len(content) > len(files(run)[name])

    def test_all_steps_enter_without_a_mark_of_a_gate(self, code: str, tmp_path: Path) -> None:
        for seed in range(8):
            folder = tmp_path / "raw" / str(seed)
            folder.mkdir(parents=True)
            for name, content in files(Run(code, seed, n_steps=3, end="finished")).items():
                (folder / name).write_bytes(content)
        (tmp_path / "raw/mlpdata.yaml").write_text(UNITS + "energy_kind: total\n")

        report = ingest(tmp_path / "raw", tmp_path / "store")

        assert [(one.n_configurations, one.status) for one in report.entered] == [(3, "complete")] * 8
        assert (report.refused, report.left_out) == ([], [])
        warnings = Store(tmp_path / "store").snapshot().sql("SELECT warnings FROM calculations").to_pylist()
        assert [row["warnings"] for row in warnings] == [[]] * 8


def test_forces_of_springs_are_minus_the_gradient_of_their_energy() -> None:
    from mlpdata.testing.springs import labelled

    step = Run("vasp", seed=7).steps[0]
    moved = [labelled(step.positions + sign * 1e-5 * np.eye(3)[axis] * np.eye(len(step.positions))[[atom]].T).energy
             for atom in range(len(step.positions)) for axis in range(3) for sign in (1, -1)]  # fmt: skip
    gradient = np.reshape(moved, (-1, 3, 2)) @ [1, -1] / 2e-5
    np.testing.assert_allclose(step.forces, -gradient, atol=1e-8)
