"""The whole corpus, as a user inspects it, against what independent readers make of the same files.

Where our reading differs from all of theirs, `verdicts.json` says by line and text of the file why it is theirs that
is wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpdata.inspection import inspect_file

ROOT = Path(__file__).parents[2]
CORPUS = (ROOT / os.environ.get("MLPDATA_CORPUS", "../shared/corpus")).resolve()
VERDICTS = Path(__file__).with_name("verdicts.json")
AT_MOST = 60
"""Differences that may be explained away."""
EXPECTED = json.loads((CORPUS / "EXPECTED.json").read_text()) if CORPUS.is_dir() else {}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of output files at MLPDATA_CORPUS"),
]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A line for each file, as `mlpdata inspect --json` prints it."""
    path = tmp_path_factory.mktemp("score") / "read.jsonl"
    path.write_text("".join(json.dumps({**inspect_file(CORPUS / name), "path": name}) + "\n" for name in EXPECTED))
    return path


def scored(read: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CORPUS / "score.py"), str(read), "--verdicts", str(VERDICTS), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_file_is_read_wrongly_and_none_with_a_label_is_refused(read: Path) -> None:
    score = scored(read)

    assert score.returncode == 0, score.stdout
    assert " 0 bad" in score.stdout
    assert not any(f" {n} bad" in score.stdout for n in range(1, 10))


@pytest.mark.parametrize("form", sorted({one["format"] for one in EXPECTED.values()}))
def test_every_format_is_read(read: Path, form: str) -> None:
    assert scored(read, "--format", form).returncode == 0


def test_every_verdict_is_needed_and_quotes_the_file() -> None:
    verdicts = json.loads(VERDICTS.read_text())

    assert sum(len(fields) for fields in verdicts.values()) <= AT_MOST
    for name, fields in verdicts.items():
        assert name in EXPECTED
        for field, text in fields.items():
            assert text.startswith(("line", "the ")), (name, field)
            assert any(character.isdigit() for character in text), (name, field)


def test_no_file_costs_a_traceback(read: Path) -> None:
    """Codes of errors are ours; the message of a foreign exception names its class."""
    for line in read.read_text().splitlines():
        error = json.loads(line)["error"]
        assert error is None or "found something else (" not in error["message"], error
