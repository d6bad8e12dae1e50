"""Which files are outputs, how they are named, and what sidecars say of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tiny import MD, write_outputs

from mlpdata.digest import sha256_file
from mlpdata.discover import Found, find_outputs
from mlpdata.errors import UsageError
from mlpdata.said.sayings import Sayings
from mlpdata.schema.sidecar import Sidecar

NAMES = ["raw/equilibrium/strain00.out.xz", "raw/equilibrium/strain01.out.xz", "raw/md/vasprun.xml",
         "raw/random/rattle00.xml.xz", "raw/random/rattle01.xml.xz"]  # fmt: skip
pytestmark = pytest.mark.usefixtures("raw")


def find(*paths: Path | str, root: Path | str = ".", **said: str) -> Found:
    sayings = Sayings(Sidecar(**said), Sidecar(license="MIT"))
    return find_outputs([Path(path) for path in paths], Path(root), sayings)


def test_outputs_are_found_in_order_of_name_and_the_rest_is_counted() -> None:
    found = find("raw")

    assert [output.name for output in found.outputs] == NAMES
    assert found.not_outputs == 1
    assert all(output.sha256 == sha256_file(output.path) for output in found.outputs)


def test_a_path_given_twice_or_within_another_is_one_file() -> None:
    assert [output.name for output in find("raw/md/vasprun.xml", "raw/md", "raw").outputs] == NAMES


def test_a_link_to_a_file_in_the_tree_is_that_file() -> None:
    Path("raw/again.xml").symlink_to("md/vasprun.xml")
    assert len(find("raw").outputs) == len(NAMES)


def test_links_to_folders_are_passed_over_with_the_reason() -> None:
    Path("raw/md/loop").symlink_to("..")

    found = find("raw")

    assert [output.name for output in found.outputs] == NAMES
    (link,) = found.passed_over
    assert link.name == "raw/md/loop"
    assert "a link to a folder" in link.reason


def test_a_folder_that_is_a_link_is_read_when_it_is_named() -> None:
    Path("linked").symlink_to("raw/md")
    assert [output.name for output in find("linked").outputs] == ["linked/vasprun.xml"]


def test_hidden_files_and_folders_are_passed_over() -> None:
    Path("raw/.cache").mkdir()
    for name in ("raw/.cache/vasprun.xml", "raw/.vasprun.xml"):
        Path(name).write_text(MD + name)
    assert [output.name for output in find("raw").outputs] == NAMES


def test_sidecars_inherit_field_by_field_and_the_nearest_speaks() -> None:
    by_name = {output.name: output.sidecar for output in find("raw").outputs}

    near, above = by_name["raw/random/rattle00.xml.xz"], by_name["raw/md/vasprun.xml"]
    assert (near.kind, near.license, near.tags) == ("random", "CC0-1.0", {"project": "tiny"})
    assert (above.kind, above.license) == (None, "CC0-1.0")


def test_a_sidecar_above_a_file_that_is_named_counts_in_whatever_order_files_come() -> None:
    for paths in (("raw/random/rattle00.xml.xz", "raw"), ("raw", "raw/random/rattle00.xml.xz")):
        assert {output.sidecar.license for output in find(*paths).outputs} == {"CC0-1.0"}


def test_an_option_is_above_sidecars_and_the_default_below_them() -> None:
    assert {output.sidecar.license for output in find("raw", license="CC-BY-4.0").outputs} == {"CC-BY-4.0"}
    Path("raw/mlpdata.yaml").unlink()
    assert {output.sidecar.license for output in find("raw").outputs} == {"MIT"}


def test_what_is_outside_the_project_is_named_with_its_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_outputs(tmp_path / folder)

    found = find(tmp_path / "one/md/vasprun.xml", tmp_path / "two")

    assert "md/vasprun.xml" in [output.name for output in found.outputs]
    assert "two/md/vasprun.xml" in [output.name for output in found.outputs]
    assert not any(str(tmp_path) in output.name for output in found.outputs)


def test_a_home_folder_keeps_its_name_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "alice"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "vasprun.xml").write_text(MD)

    assert [output.name for output in find(home / "vasprun.xml").outputs] == ["vasprun.xml"]
    assert [output.name for output in find(home).outputs] == ["vasprun.xml"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("license: [", r"mlpdata\.yaml:1: expected YAML"),
        ("lisense: MIT", r"mlpdata\.yaml(:1)?: lisense: expected one of license, citation, kind"),
        ("license: Nope", r"mlpdata\.yaml(:1)?: expected an SPDX license, found 'Nope'"),
        ("kind: gas", r"mlpdata\.yaml(:1)?: kind: "),
        ("temperature: -3", r"mlpdata\.yaml(:1)?: temperature: "),
        ("- 1", r"mlpdata\.yaml(:1)?: the document: "),
        (
            "method: {code: vasp, functionl: PBE}",
            r"mlpdata\.yaml(:1)?: method\.functionl: expected one of code, code_ver",
        ),
        (
            "method: {code: vasp, hubbard: [{species: Fe, u: 4, x: 1}]}",
            r"mlpdata\.yaml(:1)?: method\.hubbard\.0\.x: expected one of spec",
        ),
        ("!!python/object/apply:os.mkdir [pwned]", r"mlpdata\.yaml:1: expected YAML, found: could not determine"),
        ("[" * 100_000, r"mlpdata\.yaml: expected YAML of few levels"),
        ("#" * (2 << 20), r"mlpdata\.yaml: expected at most 1 MiB"),
    ],
)
def test_a_sidecar_that_cannot_be_understood_is_named(text: str, expected: str) -> None:
    Path("raw/random/mlpdata.yaml").write_text(text)
    with pytest.raises(UsageError, match=expected):
        find("raw")
    assert not Path("pwned").exists()


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere: expected a file or folder"):
        find("nowhere")


def test_a_file_that_cannot_be_read_costs_itself_only() -> None:
    Path("raw/empty.xml").touch()
    Path("raw/gone.xml").symlink_to("nowhere")
    os.mkfifo("raw/pipe")

    found = find("raw")

    errors = {output.name: str(output.error) for output in found.outputs if output.error}
    assert errors.keys() == {"raw/empty.xml", "raw/gone.xml", "raw/pipe"}
    assert "empty file" in errors["raw/empty.xml"]
    assert "No such file" in errors["raw/gone.xml"]
    assert "pipe" in errors["raw/pipe"]
    assert len(found.outputs) == len(NAMES) + 3


def test_what_is_named_must_be_an_output() -> None:
    (output,) = find("raw/notes.txt").outputs
    assert "expected an output of a known code" in str(output.error)
    (device,) = find("/dev/zero").outputs
    assert "found a device" in str(device.error)


def test_a_name_that_is_no_text_is_refused_and_shown_escaped() -> None:
    Path(os.fsdecode(b"raw/md/\xff.xml")).write_text(MD + "<!-- another -->")

    (output,) = [one for one in find("raw").outputs if one.error]

    assert output.name == r"raw/md/\xff.xml"
    assert "UTF-8" in str(output.error)


def test_a_folder_that_cannot_be_read_is_named_and_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir  # root may read everything, so the system's answer is made here

    def refusing(path: str) -> object:
        if str(path).endswith("equilibrium"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find("raw")

    errors = {output.name: str(output.error) for output in found.outputs if output.error}
    assert errors.keys() == {"raw/equilibrium"}
    assert "Permission denied" in errors["raw/equilibrium"]
    assert len(found.outputs) == 4
