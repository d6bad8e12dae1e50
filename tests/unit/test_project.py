"""A project's folder and its parameters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpdata.errors import LicenseError, StoreError, UsageError
from mlpdata.project import TEMPLATE, begin, load_params, write_json
from mlpdata.schema.params import Params
from mlpdata.testing.faults import failing_at


def params(folder: Path, text: str | bytes) -> Params:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_params(path)


def test_what_is_not_written_is_the_default(tmp_path: Path) -> None:
    assert load_params(tmp_path / "params.yaml") == params(tmp_path, "") == params(tmp_path, "{}") == Params()
    assert params(tmp_path, "check: {max_force: 7}").check.max_force == 7.0


def test_a_license_is_written_as_spdx_writes_it(tmp_path: Path) -> None:
    assert params(tmp_path, "ingest: {license: cc-by-4.0 or mit}").ingest.license == "CC-BY-4.0 OR MIT"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chek: {}", "chek: expected one of name, ingest, check, split, train, evaluate, md, found another name"),
        ("check: {max_forc: 1}", "check.max_forc: expected one of max_force, min_distance"),
        ("train: {model: {depth: 3}}", "train.model.depth: expected one of cutoff, l_max"),
        ("check: {max_force: -1}", "check.max_force: Input should be greater than 0"),
        ("check: {max_force: .nan}", "check.max_force: "),
        ("check: {max_force: .inf}", "check.max_force: "),
        ("check: {max_force: big}", "check.max_force: Input should be a valid number"),
        ("check: {max_force: null}", "check.max_force: "),
        ("check: 3", "check: "),
        ("train: {device: tpu}", "train.device: Input should be 'cpu' or 'cuda'"),
        ("train: {model: {l_max: 9}}", "train.model.l_max: Input should be less than or equal to 3"),
        ("[1, 2]", "the document: "),
        ("text", "the document: "),
        ("check:\n  max_force: [1", ":2: expected YAML, found: "),
        ("check:\n\t- x", ":2: expected YAML, found: "),
        ("a: *nothing", ":1: expected YAML, found: found undefined alias"),
        ("!!python/object/apply:os.mkdir [pwned]", ":1: expected YAML, found: could not determine a constructor"),
        ("!!python/name:os.system", ":1: expected YAML, found: could not determine a constructor"),
        ("{" * 50_000, "expected YAML of few levels"),
        (b"name: \xff\xfe", "expected YAML in UTF-8"),
        ("#" * (2 << 20), "expected at most 1 MiB of YAML"),
    ],
)
def test_a_mistake_names_file_place_and_what_was_expected(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        params(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "params.yaml"))
    assert said in str(caught.value)


def test_a_license_that_is_none_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(LicenseError, match=r"params\.yaml: ingest\.license: expected an SPDX license, found 'free'"):
        params(tmp_path, "ingest: {license: free}")


def test_parameters_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a readable file, found: Is a directory"):
        load_params(tmp_path)


def test_a_project_begins_with_parameters_a_pipeline_and_a_place_for_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "new/project"
    assert begin(folder) == list(TEMPLATE.values())
    assert (folder / "raw").is_dir()
    assert load_params(folder / "params.yaml").ingest.raw == "raw"


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("name: mine\n")
    assert "params.yaml" not in begin(tmp_path)
    assert begin(tmp_path) == []
    assert (tmp_path / "params.yaml").read_text() == "name: mine\n"


def test_a_project_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="expected a folder, found a file"):
        begin(tmp_path / "file")


def test_json_has_no_nan_and_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new/x.json"
    write_json(path, {"a": float("nan"), 2: [float("inf"), (1.5, None)], "å": "text"})
    assert json.loads(path.read_bytes()) == {"a": None, "2": [None, [1.5, None]], "å": "text"}
    before = path.read_bytes()
    for nth in (1, 2, 3, 4):
        with failing_at(nth), pytest.raises(StoreError):
            write_json(path, {"a": 1})
        assert path.read_bytes() == before
