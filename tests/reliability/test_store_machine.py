"""A store behaves like its model, whatever is done to it in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from store_machine import StoreMachine
from store_model import VERBS, Model, Order, World

from mlpdata.store.commit import Repository


@pytest.mark.timeout(900)
def test_200_histories_of_50_steps_show_what_the_model_shows() -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_verb_that_does_less_than_the_model_says_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine would notice a store that forgets."""

    def forgetful(repository: Repository, world: World, order: Order) -> None:
        """Brings the runs only where some are shown already."""
        if world.now.shown:
            VERBS["retract"].act(repository, world, order)

    monkeypatch.setitem(VERBS, "ingest", VERBS["ingest"]._replace(act=forgetful))
    with pytest.raises(AssertionError, match="not one of"):
        run_state_machine_as_test(
            StoreMachine, settings=settings(max_examples=20, database=None, deadline=None, phases=[Phase.generate])
        )


def test_the_model_of_nothing_has_the_content_of_nothing() -> None:
    assert Model().content == f"{0:064x}"
