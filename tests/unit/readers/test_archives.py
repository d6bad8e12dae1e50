"""Tar and zip archives read in place: what is in them reads as it does from a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import random
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from archives import COMPRESSIONS, METHODS, Item, bytes_of, contents, fetched, link, nothing, tar, written, zipped

from mlpdata.errors import InputError, NotRecognised
from mlpdata.frames import Frames, concatenate
from mlpdata.readers import archive as inputs
from mlpdata.readers import bundles, members
from mlpdata.readers.archive import open_head, open_input
from mlpdata.readers.bundles import fetch
from mlpdata.readers.members import index, is_archive
from mlpdata.readers.place import Belonging, Member, Place, Region, beside
from mlpdata.readers.registry import Ending, Header, Undeclared, open_run, recognise_file

DATA = Path(__file__).parents[2] / "data"
OUTCAR = (DATA / "vasp" / "OUTCAR_md").read_bytes()
FILES = {"a/OUTCAR": OUTCAR, "a/INCAR": b"IBRION = 0\n", "b/empty": b"", "b/long" * 30: b"x" * 3000, "top": b"1\n"}
RUNS = {
    "cp2k": (DATA / "cp2k" / "md", "water.out"),
    "cp.x": (DATA / "espresso" / "cp_steps", "md.out"),
    "abacus": (DATA / "foreign" / "abacus", "OUT.h2/running_scf.log"),
    "dftb": (DATA / "foreign" / "dftb", "detailed.out"),
    "neb": (DATA / "vasp" / "neb", "01/OUTCAR"),
    "gpw": (DATA / "gpaw", "lih.gpw"),
    "database": (DATA / "ase", "mixed.db"),
    "hdf5": (DATA / "vasp", "vaspout.h5"),
}


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def reader_of(member: Member) -> str:
    try:
        return recognise_file(member).reader.name
    except InputError as error:
        return error.code


def belonging(member: Member) -> Belonging:
    try:
        return recognise_file(member).belonging
    except NotRecognised:
        return Belonging()


def run_at(archive: Path, path: str) -> Member:
    """An output of an archive with its companions."""
    found = index(archive, belonging)
    seen = found.entries[path].seen
    assert seen is not None
    return fetched(archive, found, path, *found.companions(path, seen))[0]


def reading(place: Place) -> tuple[list[str], list[str], list[object], list[tuple[str, str]]]:
    """Frames by their digests, images, what is said of the run, and the files that it was read from."""
    frames: list[Frames] = []
    said: list[object] = []
    with open_run(place) as opened:
        for item in opened.items():
            frames += [item] if isinstance(item, Frames) else []
            frames += [Frames(item.n_atoms, item.arrays)] if isinstance(item, Undeclared) else []
            said += [item] if isinstance(item, Header | Ending) else []
        sources = [(one.path.name, one.sha256) for one in (opened.input, *opened.input.companions)]
    whole = concatenate(frames)
    images = [str(number) for number in whole.get("image")] if "image" in whole else []
    return [row.tobytes().hex() for row in whole.ids()], images, said, sources


def archive_of(folder: Path, ending: str, files: dict[str, bytes]) -> Path:
    path = folder / f"runs{ending}"
    if ending.removeprefix(".") in METHODS:
        return written(folder / "runs.zip", zipped(files, ending.removeprefix(".")))
    return written(path, COMPRESSIONS[ending](tar(files)))


ENDINGS = [*COMPRESSIONS, *(f".{method}" for method in METHODS)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_archive_holds_the_files_that_went_into_it(tmp_path: Path, ending: str) -> None:
    archive = archive_of(tmp_path, ending, FILES)

    found = index(archive, nothing)

    assert {path: (one.size, one.sha256) for path, one in found.entries.items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()
    }
    assert (found.fault, found.passed_over) == ("", ())
    assert contents(archive) == FILES
    assert list(tmp_path.iterdir()) == [archive]


def test_times_are_those_of_the_archive(tmp_path: Path) -> None:
    of_tar = index(archive_of(tmp_path, ".tar", {"a": b"1"}), nothing)
    of_zip = index(archive_of(tmp_path, ".stored", {"a": b"1"}), nothing)

    assert of_tar.entries["a"].mtime == 1_700_000_000
    assert of_zip.entries["a"].mtime == 1_715_949_000  # date -u -d '2024-05-17 12:30' +%s


@pytest.mark.parametrize("ending", [".tar.gz", ".deflate"])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_reads_as_it_does_from_its_folder(tmp_path: Path, name: str, ending: str) -> None:
    folder, path = RUNS[name]
    archive = archive_of(tmp_path, ending, {f"deep/{one}": text for one, text in files_below(folder).items()})

    member = run_at(archive, f"deep/{path}")

    assert str(member) == f"{archive}!deep/{path}"
    assert reading(member) == reading(folder / path)


def test_a_run_at_the_top_of_an_archive_has_its_companions_and_its_name(tmp_path: Path) -> None:
    folder, path = RUNS["cp2k"]
    member = run_at(archive_of(tmp_path, ".tar", files_below(folder)), path)

    assert member.name == "water.out"
    assert len(reading(member)[3]) == 3


@pytest.mark.parametrize("ending", [".tar.xz", ".stored"])
def test_a_compressed_member_reads_as_on_a_disk(tmp_path: Path, ending: str) -> None:
    stored = gzip.compress(OUTCAR, mtime=0)
    on_disk = written(tmp_path / "OUTCAR.gz", stored)

    member = run_at(archive_of(tmp_path, ending, {"a/OUTCAR.gz": stored}), "a/OUTCAR.gz")

    assert reading(member) == reading(on_disk)
    with open_input(member) as source:
        assert (source.compression, source.sha256) == ("gz", hashlib.sha256(stored).hexdigest())


def test_a_member_takes_its_companions_along_to_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "IN_MEMORY", 4000)
    folder, path = RUNS["cp.x"]
    member = run_at(archive_of(tmp_path, ".tar.gz", files_below(folder)), path)

    there = pickle.loads(pickle.dumps(member))

    assert isinstance(member.content, Region)
    assert isinstance(there.content, bytes)
    assert reading(there) == reading(member) == reading(folder / path)


def test_files_of_a_folder_may_lie_apart(tmp_path: Path) -> None:
    folder, path = RUNS["cp2k"]
    files = {f"run/{name}": text for name, text in files_below(folder).items()}
    names = sorted(files, reverse=True)
    apart = [one for name in names for one in ((name, files[name]), (f"other{name}", b"1" * 2000))]

    member = run_at(written(tmp_path / "apart.tar.gz", gzip.compress(tar(apart))), f"run/{path}")

    assert reading(member) == reading(folder / path)


def test_what_is_seen_of_a_member_comes_from_its_first_bytes(tmp_path: Path) -> None:
    compressed = gzip.compress(OUTCAR)
    archive = archive_of(tmp_path, ".tar", {"a/x": OUTCAR, "a/y.gz": compressed, "a/z": b"", "a/w": b"nothing\n"})

    found = index(archive, reader_of)

    assert [entry.seen for entry in found.entries.values()] == ["vasp/outcar", "vasp/outcar", "input", "not-recognised"]


def test_the_head_of_a_member_that_bzip2_packed_is_found_though_its_block_is_long(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(300_000)
    packed = COMPRESSIONS[".tar.bz2"](b"text\n" + noise)

    found = index(archive_of(tmp_path, ".tar", {"a.bz2": packed}), lambda member: _head(member)[:5])

    assert found.entries["a.bz2"].seen == b"text\n"


def _head(member: Member) -> bytes:
    with open_head(member) as source:
        return source.head


def test_a_bundle_comes_as_soon_as_it_is_whole_and_each_comes_once(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, ".tar.gz", {name: name.encode() for name in "abcdef"})
    entries = index(archive, nothing).entries
    wanted = {"late": [entries["f"], entries["a"]], "early": [entries["b"], entries["a"]], "empty": []}

    given = [(key, [(one.path, one.content) for one in found]) for key, found in fetch(archive, wanted)]

    assert given == [("empty", []), ("early", [("b", b"b"), ("a", b"a")]), ("late", [("f", b"f"), ("a", b"a")])]


def test_a_member_that_two_bundles_share_is_around_both(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, ".tar", {"a/x": b"1", "a/INCAR": b"2", "a/y": b"3", "INCAR": b"4"})
    entries = index(archive, nothing).entries
    wanted = {name: [entries[name], entries["a/INCAR"], entries["INCAR"]] for name in ("a/x", "a/y")}

    for key, found in fetch(archive, wanted):
        near = beside(found[0], Belonging(("INCAR", "../INCAR", "x", "y")))
        assert [one.path for one in near] == ["INCAR", "a/INCAR"], key


def test_links_to_files_in_the_archive_are_followed_once(tmp_path: Path) -> None:
    files: list[Item] = [
        ("a/POTCAR", b"potential"),
        link("b/POTCAR", "a/POTCAR", tarfile.LNKTYPE),
        link("c/POTCAR", "../a/POTCAR"),
        link("d/POTCAR", "../c/POTCAR"),
        link("e/folder", "../a"),
    ]
    archive = written(tmp_path / "links.tar", tar(files))

    found = index(archive, nothing)

    assert {path: entry.symlink for path, entry in found.entries.items()} == {
        "a/POTCAR": False,
        "b/POTCAR": False,
        "c/POTCAR": True,
    }
    assert [one.name for one in found.passed_over] == ["d/POTCAR", "e/folder"]
    assert {one.path: one.content for one in fetched(archive, found)} == dict.fromkeys(found.entries, b"potential")


def test_a_hard_link_with_another_name_is_looked_at_by_that_name(tmp_path: Path) -> None:
    text = b"nothing that a reader knows by its content\n"
    files: list[Item] = [
        ("a/notes", text),
        link("b/OUTCAR", "a/notes", tarfile.LNKTYPE),
        link("b/x", "a/notes", tarfile.LNKTYPE),
    ]

    found = index(written(tmp_path / "links.tar.gz", gzip.compress(tar(files))), reader_of)

    assert [entry.seen for entry in found.entries.values()] == ["not-recognised", "vasp/outcar", "not-recognised"]


def test_of_two_members_of_one_name_the_later_counts_and_the_other_is_named(tmp_path: Path) -> None:
    archive = written(tmp_path / "appended.tar", tar([("a", b"old"), ("b", b"1"), ("a", b"newer")]))

    found = index(archive, nothing)

    assert contents(archive) == {"b": b"1", "a": b"newer"}
    assert [one.name for one in found.passed_over] == ["a"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_each_form_of_tar(tmp_path: Path, form: int) -> None:
    name = "/".join(["folder of some length"] * 8) + "/OUTCAR"

    assert contents(written(tmp_path / "long.tar", tar({name: b"1"}, form))) == {name: b"1"}


def test_names_are_those_of_a_folder_however_the_archive_writes_them(tmp_path: Path) -> None:
    assert set(contents(archive_of(tmp_path, ".tar", {"./a//b/./c": b"1"}))) == {"a/b/c"}
    assert set(contents(archive_of(tmp_path, ".stored", {"a\\b\\c": b"1"}))) == {"a/b/c"}


def test_a_sparse_file_reads_with_its_holes(tmp_path: Path) -> None:
    """A file of the GNU format: 3 bytes at 512, the rest of 1024 a hole."""
    info = tarfile.TarInfo("sparse")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[124:136] = b"%011o\0" % 3
    header[386:410] = b"%011o\0%011o\0" % (512, 3)
    header[483:495] = b"%011o\0" % 1024
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    archive = written(tmp_path / "sparse.tar", bytes(header) + b"end".ljust(512, b"\0") + bytes(1024))

    assert contents(archive) == {"sparse": bytes(512) + b"end" + bytes(509)}


def test_past_its_room_a_member_waits_in_a_nameless_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "IN_MEMORY", 10_000)
    monkeypatch.setattr(bundles, "PER_FILE", 20_000)
    files = {str(i): gzip.compress(random.Random(i).randbytes(4000)) for i in range(12)}
    archive = archive_of(tmp_path, ".tar", files)

    found = fetched(archive, index(archive, nothing))

    assert [isinstance(one.content, Region) for one in found] == [False] * 2 + [True] * 10
    assert {one.path: bytes_of(one) for one in found} == files
    assert len({one.content.file for one in found if isinstance(one.content, Region)}) == 2
    for one in found:
        with open_input(one) as source:
            assert source.data[:] == gzip.decompress(files[one.path])
    assert list(tmp_path.iterdir()) == [archive]


def test_memory_does_not_grow_with_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 MB in folders of 40 kB, less than 5 MB are held at any time, of the index and of the bundles."""
    monkeypatch.setattr(bundles, "IN_MEMORY", 1 << 20)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=1) as archive:
        for number in range(400):
            info = tarfile.TarInfo(f"{number}/OUTCAR")
            info.size = 40_000
            archive.addfile(info, io.BytesIO((b"%08d\n" % number * 4445)[:40_000]))
    path = written(tmp_path / "many.tar.gz", whole.getvalue())
    del whole
    tracemalloc.start()
    try:
        found = index(path, nothing)
        sizes = [
            len(one[0].content) for _, one in fetch(path, {entry.path: [entry] for entry in found.entries.values()})
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sizes == [40_000] * 400
    assert peak < 5 << 20


def test_an_archive_is_passed_through_once_for_its_index_and_once_for_all_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(tmp_path, ".tar.gz", FILES)
    passages: list[Path] = []

    def counted(path: Place, *limits: object) -> object:
        passages.append(archive)
        return inputs.open_stored(path, *limits)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "open_stored", counted)
    found = index(archive, reader_of)
    assert len(list(fetch(archive, {entry.path: [entry] for entry in found.entries.values()}))) == len(FILES)

    assert len(passages) == 2


def test_an_archive_that_changed_since_its_index_is_said_to_have(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, ".tar", {"a": b"one", "b": b"two"})
    found = index(archive, nothing)
    written(archive, tar({"a": b"other"}))

    a, b = fetched(archive, found)

    for member, words in ((a, "has changed"), (b, "found it gone")):
        with pytest.raises(InputError, match=words), open_input(member):
            pass


def test_archives_are_known_by_their_names() -> None:
    assert all(is_archive(f"runs{ending}") for ending in (*COMPRESSIONS, ".zip", ".TAR.GZ"))
    assert not any(is_archive(name) for name in ("OUTCAR.gz", "tar", "zip", "runs.tar.out", "lih.gpw"))
