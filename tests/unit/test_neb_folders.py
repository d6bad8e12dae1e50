"""Folders of the images of a nudged elastic band: one reaction path, kept together, each image with its number."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import outcar as o
import pytest
import vasprun as v

from mlpdata.api import Store
from mlpdata.intake import ingest
from mlpdata.reaction_paths import Image, Images
from mlpdata.schema.calculation import Calculation

ESPRESSO = Path(__file__).parents[1] / "data" / "espresso"
CHAIN = "\n CHAIN: Running the NEB\n"


def image(folder: Path, head: str = "") -> None:
    """The OUTCAR of the image that the folder is named after, with an energy and a geometry of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    shifted = [(x + 0.02 * int(folder.name), y, z) for x, y, z in o.POSITIONS]
    text = o.outcar(o.step(table=o.forces(shifted)), head=head or o.header(extra=CHAIN, IBRION="3"))
    (folder / "OUTCAR").write_text(text.replace("12.345678", f"12.3456{folder.name}"))


@pytest.fixture
def band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images between the relaxations of the end points."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw" / "band"
    for number in range(5):
        head = o.header(IBRION="2") if number in (0, 4) else ""
        image(path / f"{number:02d}", head)
    return path


def calculations() -> dict[str, Calculation]:
    return {one.path: one for one in Store("store").snapshot().calculations()}


def stored_images() -> dict[str, list[int]]:
    rows = (
        Store("store")
        .snapshot()
        .sql(
            "SELECT s.path, c.image FROM configurations c JOIN sources s USING (calculation_record, source_index)"
            " ORDER BY s.path"
        )
    )
    found: dict[str, list[int]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["path"], []).append(row["image"])
    return found


def test_images_and_end_points_are_one_reaction_path(band: Path) -> None:
    ingest("raw")

    found = calculations()
    assert {one.kind for one in found.values()} == {"reaction_path"}
    assert {one.group for one in found.values()} == {"raw/band"}
    assert [one.run_kind for one in found.values()] == ["relax", "neb", "neb", "neb", "relax"]


def test_each_configuration_has_the_number_of_its_image(band: Path) -> None:
    ingest("raw")

    assert stored_images() == {f"raw/band/{number:02d}/OUTCAR": [number] for number in range(5)}


def test_what_a_sidecar_says_of_kind_and_group_holds(band: Path) -> None:
    (band / "mlpdata.yaml").write_text("kind: strained\ngroup: mine\n")

    ingest("raw")

    assert {(one.kind, one.group) for one in calculations().values()} == {("strained", "mine")}


def test_numbered_folders_of_other_runs_are_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        image(tmp_path / "raw" / f"{number:02d}", o.header(IBRION="2"))

    ingest("raw")

    assert "reaction_path" not in {one.kind for one in calculations().values()}
    assert len({one.group for one in calculations().values()}) == 3


def test_a_band_whose_first_folder_is_missing_is_none_without_a_word_on_the_number_of_images(band: Path) -> None:
    shutil.rmtree(band / "00")

    assert Images().of(band / "01" / "OUTCAR") is None


@pytest.mark.parametrize(("incar", "is_path"), [("IMAGES = 3\n", True), ("! IMAGES\n", False), ("IMAGES = 2", False)])
def test_the_incar_above_the_folders_tells_how_many_images_there_are(band: Path, incar: str, is_path: bool) -> None:
    for number in range(5):
        image(band / f"{number:02d}", o.header(IBRION="2"))
    shutil.rmtree(band / "00")
    (band / "INCAR").write_text(incar)

    assert Images().of(band / "04" / "OUTCAR") == (Image(4, band) if is_path else None)


def test_the_file_above_the_folders_is_refused_and_the_images_are_read(band: Path) -> None:
    """All images write to one vasprun.xml in old versions (pitfall V14)."""
    mixed = v.header(incar={"IMAGES": "     3"}) + v.calculation() + "<calculation>" + v.calculation() + v.FOOTER
    (band / "vasprun.xml").write_text(mixed)

    report = ingest("raw")

    assert [one.path for one in report.refused] == ["raw/band/vasprun.xml"]
    assert len(report.entered) == 5


def test_images_of_neb_x_are_told_by_the_file_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        folder = tmp_path / "raw" / "run" / f"h2_{number}"
        folder.mkdir(parents=True)
        text = (ESPRESSO / "scf.xml").read_text()
        (folder / "h2.xml").write_text(text.replace("</qes:espresso>", f"<!-- {number} --></qes:espresso>"))
    assert Images().of(folder / "h2.xml") is None
    (tmp_path / "raw" / "run" / "h2.path").write_text("RESTART INFORMATION\n")

    ingest("raw")

    assert stored_images() == {"raw/run/h2_1/h2.xml": [0], "raw/run/h2_2/h2.xml": [1]}
    assert {(one.kind, one.group) for one in calculations().values()} == {("reaction_path", "raw/run")}


def test_the_restart_file_of_an_image_is_that_image(tmp_path: Path) -> None:
    (tmp_path / "h2.path").touch()

    assert Images().of(tmp_path / "h2_3" / "h2.save" / "data-file-schema.xml") == Image(2, tmp_path)


def test_a_path_in_an_archive_is_one_too(band: Path) -> None:
    ingest("raw", "store1")
    with tarfile.open("band.tar.gz", "w:gz") as archive:
        archive.add(band, "band")

    ingest("band.tar.gz")

    found = calculations()
    assert {one.kind for one in found.values()} == {"reaction_path"}
    assert {one.group for one in found.values()} == {"band.tar.gz!band"}
    assert sorted(number for some in stored_images().values() for number in some) == [0, 1, 2, 3, 4]
