"""Several files of one run: one calculation, no configuration twice, whatever comes first; on a real run of cp.x.

The restart file has the last step with all digits, standard output two steps with eight decimals less.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlpdata.api import Store
from mlpdata.intake import ingest, sync
from mlpdata.outcome import IngestReport
from mlpdata.schema.calculation import Calculation

FILES = Path(__file__).parents[1] / "data" / "espresso"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `raw/run` with both files; the working folder is the project's."""
    folder = tmp_path / "raw" / "run"
    folder.mkdir(parents=True)
    for name in ("cp_md.out", "cp_md.xml"):
        shutil.copy(FILES / name, folder)
    monkeypatch.chdir(tmp_path)
    return Path("raw/run")


def calculations() -> list[Calculation]:
    return Store("store").snapshot().calculations()


def entered(report: IngestReport) -> list[tuple[str, int]]:
    return [(one.path, one.n_configurations) for one in report.entered]


def test_they_become_one_calculation_that_names_them_all(run: Path) -> None:
    report = ingest(run)

    (calculation,) = calculations()
    assert entered(report) == [("raw/run/cp_md.xml", 2)]
    assert [source.path for source in calculation.sources] == ["raw/run/cp_md.xml", "raw/run/cp_md.out"]


def test_each_configuration_names_the_file_that_it_came_from(run: Path) -> None:
    ingest(run)

    rows = (
        Store("store")
        .snapshot()
        .sql(
            "SELECT s.path, c.source_line FROM configurations c JOIN sources s USING (calculation_record, source_index) "
            "ORDER BY c.energy"
        )
    )

    places = [(Path(row["path"]).name, row["source_line"]) for row in rows.to_pylist()]
    assert [name for name, _ in places] == ["cp_md.xml", "cp_md.out"]
    for name, line in places:
        text = (FILES / name).read_text().splitlines()[line - 1]
        assert "<total_energy>" in text or "Physical Quantities at step:   100" in text


def test_a_second_ingest_changes_nothing(run: Path) -> None:
    first = ingest(run)
    second = ingest(run)

    assert (second.content, second.entered) == (first.content, [])


@pytest.mark.parametrize("first", ["cp_md.out", "cp_md.xml"])
def test_files_that_come_one_after_the_other_end_as_one_calculation(run: Path, first: str) -> None:
    whole = ingest(run).content
    shutil.rmtree("store")

    ingest(run / first)
    content = ingest(run).content

    assert content == whole
    assert len(calculations()) == 1


def test_the_less_precise_file_alone_adds_nothing_to_a_run_that_is_stored(run: Path) -> None:
    before = ingest(run / "cp_md.xml").content
    report = ingest(run / "cp_md.out")

    assert report.content == before or report.content is None
    assert report.unchanged == ["raw/run/cp_md.out"]


def test_an_exact_sync_forgets_what_a_vanished_file_added(run: Path) -> None:
    sync("raw", exact=True)
    (run / "cp_md.out").unlink()

    sync("raw", exact=True)

    (calculation,) = calculations()
    assert [source.path for source in calculation.sources] == ["run/cp_md.xml"]
    assert len(Store("store").snapshot()) == 1


def test_a_file_of_another_run_stays_a_calculation_of_its_own(run: Path) -> None:
    text = (run / "cp_md.out").read_text()
    (run / "cp_md.out").write_text(
        text.replace("-16.45484174234", "-16.95484174234").replace("-16.45212741619", "-17.0")
    )

    ingest(run)

    assert [len(one.sources) for one in calculations()] == [1, 1]
    assert len(Store("store").snapshot()) == 3


def test_where_the_most_precise_file_is_broken_the_next_takes_its_place(run: Path) -> None:
    (run / "cp_md.xml").write_text((run / "cp_md.xml").read_text()[:5000])

    report = ingest(run)

    assert entered(report) == [("raw/run/cp_md.out", 2)]
    assert any("cp_md.xml" in one.path for one in report.refused) or any(
        "cp_md.xml" in warning for one in calculations() for warning in one.warnings
    )
