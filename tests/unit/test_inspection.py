"""What a file holds, without a store."""

from __future__ import annotations

import json
import lzma
import os
from pathlib import Path

import pytest
import vasprun as v
from tiny import MD

from mlpdata.errors import UsageError
from mlpdata.inspection import inspect_file, outputs_below

pytestmark = pytest.mark.usefixtures("raw")
VASPRUN = Path("raw/md/vasprun.xml")


def test_a_run_shows_its_first_and_last_frame_as_printed() -> None:
    found = inspect_file(VASPRUN)

    assert (found["n_frames"], found["n_with_forces"], found["n_runs"]) == (3, 3, 1)
    assert (found["status"], found["run_kind"], found["energy_kind"]) == ("complete", "md", "free")
    assert (found["formula"], found["reader"], found["error"]) == ("GeSi", "vasp/xml", None)
    assert found["first"]["energies"] == {"free": v.FREE, "sigma0": v.SIGMA0, "no_entropy": v.NO_ENTROPY}
    assert found["first"]["forces"] == [list(force) for force in v.FORCES]
    assert found["first"]["positions"] == [pytest.approx(one, abs=1e-12) for one in v.CARTESIAN]
    assert found["last"]["positions"][1][0] == pytest.approx(v.CARTESIAN[1][0] + 0.02 * 4.0)


def test_it_is_json_without_nan_for_every_kind_of_output() -> None:
    for path in outputs_below([Path("raw")]):
        text = json.dumps(inspect_file(path), allow_nan=False)
        assert json.loads(text)["error"] is None


def test_what_is_absent_is_null() -> None:
    start = MD.index('  <varray name="forces"')
    VASPRUN.write_text(v.vasprun(v.calculation(stress=[])))
    assert start > 0
    found = inspect_file(VASPRUN)["first"]
    assert found["stress"] is None
    assert found["temperature_kinetic"] is None


def test_a_file_of_several_runs_counts_them() -> None:
    both = [lzma.decompress(Path(f"raw/equilibrium/strain0{n}.out.xz").read_bytes()) for n in (0, 1)]
    Path("both.out").write_bytes(b"".join(both))
    found = inspect_file(Path("both.out"))
    assert (found["n_runs"], found["n_frames"], found["status"]) == (2, 2, "complete")


@pytest.mark.parametrize("content", [b"", b"no output", b"\x7fELF" + bytes(range(256)), MD.encode()[:300]])
def test_a_file_that_cannot_be_read_gives_its_error_with_its_place(content: bytes) -> None:
    path = Path("bad")
    path.write_bytes(content)
    found = inspect_file(path)

    assert found["path"] == "bad"
    assert found["error"]["path"] == "bad"
    assert found["error"]["message"].startswith("expected ")
    json.dumps(found, allow_nan=False)


def test_a_folder_gives_its_outputs_and_a_name_itself() -> None:
    os.mkfifo("raw/pipe")
    Path("raw/empty.xml").touch()
    paths = [str(path) for path in outputs_below([Path("raw"), Path("raw/notes.txt")])]

    assert "raw/md/vasprun.xml" in paths
    assert paths.count("raw/notes.txt") == 1
    assert {"raw/empty.xml", "raw/pipe"} <= set(paths)  # they cannot be read, which is said when they are inspected
    assert "pipe" in inspect_file(Path("raw/pipe"))["error"]["message"]
    with pytest.raises(UsageError, match="nowhere"):
        list(outputs_below([Path("nowhere")]))
