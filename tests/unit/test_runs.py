"""One file becomes runs: frames checked, what is rejected left out with its line, the record of the run."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import vasprun as v
from tiny import MD, SILICON

from mlpdata import runs
from mlpdata.discover import Output
from mlpdata.errors import InputError
from mlpdata.frames import Frames, concatenate
from mlpdata.runs import read_output
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.testing.samples import frames


def read(path: Path, **said: object) -> tuple[list[Frames], list[Calculation]]:
    events = list(read_output(Output(path, f"runs/{path.name}", Sidecar(**said))))
    return (
        [event for event in events if isinstance(event, Frames)],
        [event for event in events if isinstance(event, Calculation)],
    )


def written(folder: Path, text: str, name: str = "vasprun.xml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_run_gives_its_frames_and_is_closed_by_its_record(tmp_path: Path) -> None:
    frames, (calculation,) = read(written(tmp_path, MD), license="MIT", tags={"a": "b"})

    assert sum(map(len, frames)) == 3
    assert frames[0].energy[0] == v.FREE
    assert frames[0].forces[:2].tolist() == [list(force) for force in v.FORCES]
    assert (calculation.status, calculation.kind, calculation.energy_kind) == ("complete", "aimd", "free")
    assert (calculation.license, calculation.tags) == ("MIT", {"a": "b"})
    assert calculation.declared == {"license": "MIT", "tags.a": "b"}
    assert calculation.sources[0].bytes == len(MD)


@pytest.mark.parametrize("name", ["vasp/outcar", "of no reader"])
def test_a_file_is_read_by_what_it_holds_now_whatever_it_was_known_for(tmp_path: Path, name: str) -> None:
    Path(tmp_path, "vasprun.xml").write_text(MD)
    *_, record = read_output(Output(tmp_path / "vasprun.xml", "vasprun.xml", Sidecar(), reader=name))

    assert isinstance(record, Calculation)
    assert record.sources[0].reader == "vasp/xml"


def test_what_a_sidecar_says_is_above_what_the_run_shows(tmp_path: Path) -> None:
    _, (calculation,) = read(written(tmp_path, MD), kind="liquid_amorphous", temperature=1234.0)

    assert calculation.kind == "liquid_amorphous"
    assert calculation.temperature_target == 1234.0


@pytest.mark.parametrize(
    ("rule", "group"),
    [("file", "runs/vasprun.xml "), ("folder", "runs"), ("slab", "slab"), (None, "runs/vasprun.xml ")],
)
def test_a_group_is_the_run_its_folder_or_a_name(tmp_path: Path, rule: str | None, group: str) -> None:
    _, (calculation,) = read(written(tmp_path, MD), group=rule)
    assert calculation.group.startswith(group)
    assert (calculation.group == group) == (rule in ("folder", "slab"))


def test_a_single_atom_is_known_as_one() -> None:
    _, (calculation,) = read(SILICON / "isolated_atom/atom.out.xz")
    assert calculation.kind == "isolated_atom"


def test_a_single_point_is_of_unknown_kind() -> None:
    _, (calculation,) = read(SILICON / "random/rattle00.xml.xz")
    assert (calculation.kind, calculation.run_kind) == ("unknown", "single_point")


def test_a_run_that_was_cut_gives_its_whole_frames(tmp_path: Path) -> None:
    whole = MD[: MD.index("</modeling>")]
    frames, (calculation,) = read(written(tmp_path, whole[: whole.rindex('<varray name="forces"')]))

    assert sum(map(len, frames)) == 2
    assert calculation.status == "truncated"


def test_a_frame_that_is_rejected_is_left_out_with_its_line_and_reason(tmp_path: Path) -> None:
    wild = v.calculation(iterations=[v.three(free=v.FREE + n) for n in reversed(range(60))])  # all of NELM, 1 eV apart
    text = v.vasprun(v.calculation(), wild, v.calculation(shift=0.02))
    frames, (calculation,) = read(written(tmp_path, text))

    (lost,) = calculation.left_out
    line = text[: text.index(wild)].count("\n")
    assert line < lost.line <= line + wild.count("\n") + 1
    assert "converge" in lost.reason
    assert np.concatenate([block.get("step") for block in frames]).tolist() == [0, 2]


@pytest.mark.parametrize(("length", "told"), [(4.1, False), (4.3, True)])
def test_a_volume_that_left_the_basis_of_the_first_cell_is_told(tmp_path: Path, length: float, told: bool) -> None:
    wider = v.calculation(shift=0.02).replace(f"{4.0:17.8f}", f"{length:17.8f}")  # of 4.0 angstrom: 2.5 % and 7.5 %
    text = v.vasprun(v.calculation(), wider, parameters={"ISIF": "     3"})
    _, (calculation,) = read(written(tmp_path, text))

    assert calculation.basis_fixed_at == "first cell"
    assert any("volume changed by 7.5%" in warning for warning in calculation.warnings) == told


def test_a_second_run_in_a_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    both = [lzma.decompress((SILICON / f"equilibrium/strain0{n}.out.xz").read_bytes()).decode() for n in (0, 1)]
    _, calculations = read(written(tmp_path, "".join(both), "both.out"))

    assert [one.path for one in calculations] == ["runs/both.out", "runs/both.out#2"]
    assert len({one.id for one in calculations}) == 2


def test_a_file_of_nothing_but_a_beginning_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, MD[:200])
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.path == str(path)


def test_small_blocks_that_follow_each_other_are_gated_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FEW_ATOMS", 10)
    blocks = [frames(1, seed) for seed in range(6)]
    whole = concatenate(blocks)

    begun, *joined, ended = runs._in_larger_blocks(["begun", *blocks, "ended"])

    assert (begun, ended) == ("begun", "ended")
    assert len(joined) < len(blocks)
    assert all(len(block) == 1 or len(block.atomic_numbers) <= 10 for block in joined)
    assert (concatenate(joined).ids() == whole.ids()).all()
