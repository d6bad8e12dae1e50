"""Whatever fuzzing found is read again: nothing but our own errors come out, each at once.

`make fuzz` writes the files: the few that reach the branches which fixtures leave out, and what readers once did not stand.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from targets import FOLDER, TARGETS, Target, refused

pytestmark = pytest.mark.no_cover  # thousands of readings: traced they would take minutes

CORPUS = FOLDER / "fuzz"
SECONDS = 1.0 if sys.gettrace() is None else 5.0
"""CPU time that one file may take."""


def files(target: Target) -> list[Path]:
    return sorted(path for path in (CORPUS / target.folder).glob("*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_found_is_read_or_refused_at_once(name: str) -> None:
    slow = []
    for path in files(TARGETS[name]):
        content, started = path.read_bytes(), time.process_time()
        try:
            refused(TARGETS[name], content)
        except Exception as error:
            error.add_note(f"{path.parent.name}/{path.name}")
            raise
        if (seconds := time.process_time() - started) > SECONDS:
            slow.append(f"{path.parent.name}/{path.name}: {seconds:.1f} s")
    assert not slow


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_has_a_corpus(name: str) -> None:
    """A target whose corpus is not where it is looked for would pass in silence."""
    assert files(TARGETS[name])


def test_the_corpus_belongs_to_the_targets_and_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {target.folder for target in TARGETS.values()}
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1_500_000


def test_a_foreign_exception_is_no_refusal() -> None:
    def breaks(_: bytes) -> None:
        raise KeyError("energy")

    with pytest.raises(KeyError):
        refused(Target("toy", breaks), b"")
