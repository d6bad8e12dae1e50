"""Hostile archives: paths that lead out, links, devices, bombs, lies in headers, cuts and flipped bits."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from archives import COMPRESSIONS, METHODS, bytes_of, contents, fetched, link, nothing, tar, written, zipped

from mlpdata.errors import InputError, LimitExceeded
from mlpdata.frames import Frames, concatenate
from mlpdata.readers import passage
from mlpdata.readers.archive import Limits, open_input
from mlpdata.readers.members import Index, index
from mlpdata.readers.registry import Ending, open_run

OUTCAR = (Path(__file__).parents[1] / "data" / "vasp" / "OUTCAR_md").read_bytes()
GOOD = {"a/OUTCAR": OUTCAR, "b": b"1 2 3\n" * 400, "c/d": b"4 5 6\n" * 900}
OUT = ("/etc/passwd", "../up", "a/../../up", "//x", "..", "a/..", ".", "")


def passed_over(found: Index[None]) -> dict[str, str]:
    return {one.name: one.reason for one in found.passed_over}


# -- names, links, devices


@pytest.mark.parametrize("name", OUT)
def test_a_path_that_leads_out_is_refused_and_the_others_go_on(tmp_path: Path, name: str) -> None:
    for build in (tar, zipped):
        archive = written(tmp_path / "x", build({"before": b"1", name: b"evil", "after": b"2"}))

        found = index(archive, nothing)

        assert contents(archive) == {"before": b"1", "after": b"2"}
        assert "leads out" in passed_over(found)[name]


def test_a_path_with_the_separators_of_another_system_leads_no_further(tmp_path: Path) -> None:
    archive = written(tmp_path / "x", zipped({"..\\..\\up": b"evil", "a": b"1"}))

    assert contents(archive) == {"a": b"1"}


def test_a_name_that_is_no_text_is_refused_and_shown_in_ascii(tmp_path: Path) -> None:
    archive = written(tmp_path / "x", tar({"a\udcff": b"1", "b": b"2"}, tarfile.GNU_FORMAT))

    found = index(archive, nothing)

    assert "UTF-8" in passed_over(found)["a\\xff"]
    assert list(found.entries) == ["b"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "absent", "self", ""])
def test_a_link_that_leads_to_no_file_before_it_is_passed_over(tmp_path: Path, kind: bytes, target: str) -> None:
    archive = written(tmp_path / "x", tar([("a", b"1"), link("self", target, kind), ("b", b"2")]))

    found = index(archive, nothing)

    assert list(passed_over(found)) == ["self"]
    assert contents(archive) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"])
def test_devices_pipes_and_what_nobody_knows_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    archive = written(tmp_path / "x", tar([("a", b"1"), link("strange", "", kind), ("b", b"2")]))

    assert "device" in passed_over(index(archive, nothing))["strange"]
    assert contents(archive) == {"a": b"1", "b": b"2"}


def test_an_archive_in_an_archive_is_named_and_not_entered(tmp_path: Path) -> None:
    for build in (tar, zipped):
        archive = written(tmp_path / "x", build({"inner.tar.gz": gzip.compress(tar(GOOD)), "i.zip": b"", "a": b"1"}))

        assert {*passed_over(index(archive, nothing))} == {"inner.tar.gz", "i.zip"}
        assert contents(archive) == {"a": b"1"}


def test_links_in_a_zip_are_treated_as_those_of_a_tar(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a/POTCAR", b"1")
        for name, target in (("b/POTCAR", "../a/POTCAR"), ("c", "/etc/passwd")):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
    path = written(tmp_path / "x.zip", whole.getvalue())

    assert contents(path) == {"a/POTCAR": b"1", "b/POTCAR": b"1"}
    assert list(passed_over(index(path, nothing))) == ["c"]


# -- bombs


def zeros(name: str, size: int) -> bytes:
    """The head of a tar whose only member announces `size` bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_compressed_bomb_stops_at_the_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(passage, "IN_MEMORY", 1 << 20)
    size = 20 << 20
    bomb = written(tmp_path / f"bomb{ending}", COMPRESSIONS[ending](zeros("a", size) + bytes(size + 1024)))

    began = time.perf_counter()
    with pytest.raises(LimitExceeded, match="bomb") as caught:
        index(bomb, nothing)

    assert caught.value.path == str(bomb)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
def test_a_bomb_in_a_zip_stops_at_the_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(passage, "IN_MEMORY", 1 << 20)
    bomb = written(tmp_path / "bomb.zip", zipped({str(i): bytes(2 << 20) for i in range(9)}, method))

    with pytest.raises(LimitExceeded, match="bomb"):
        index(bomb, nothing)


def test_a_bomb_that_a_member_is_stops_when_it_is_opened(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(80 << 20))
    archive = written(tmp_path / "x.tar", tar({"a/OUTCAR.gz": bomb, "b": b"1"}))
    member, other = fetched(archive, index(archive, nothing))

    with pytest.raises(LimitExceeded, match="bomb"), open_input(member):
        pass
    assert bytes_of(other) == b"1"


def test_bytes_and_members_are_bounded_in_all_and_each(tmp_path: Path) -> None:
    files = {str(i): b"x" * 1000 for i in range(20)}
    for build in (tar, zipped):
        archive = written(tmp_path / "x", build(files))
        for limits, words in (
            (Limits(members=19), "at most 19 members"),
            (Limits(stored_bytes=10), "at most 10 bytes"),
        ):
            with pytest.raises(LimitExceeded, match=words):
                index(archive, nothing, limits)
        found = index(archive, nothing, Limits(members=20, expanded_bytes=999))
        assert {entry.fault[:40] for entry in found.entries.values()} == {"expected a member of at most 999 bytes, "}
    for archive in (
        written(tmp_path / "x.tgz", gzip.compress(tar(files))),
        written(tmp_path / "x.zip", zipped(files, "deflate")),
    ):
        with pytest.raises(LimitExceeded, match="at most 12000 bytes in the archive"):
            index(archive, nothing, Limits(archive_bytes=12_000))


def test_a_sparse_file_of_a_petabyte_is_not_read(tmp_path: Path) -> None:
    header = bytearray(zeros("huge", 0))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = tarfile.itn(1 << 50, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    archive = written(tmp_path / "x.tar", bytes(header) + tar({"a": b"1"}))

    found = index(archive, nothing)

    assert "found one of 1125899906842624" in found.entries["huge"].fault
    assert contents(archive) == {"a": b"1"}


# -- lies in headers


def extended(body: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header of any content."""
    info = tarfile.TarInfo("extended")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


LIES = {
    "digits without end": extended(b"1" * 60_000),
    "a header of a megabyte": extended(b"7 a=bc\n" * 150_000),
    "a name of a megabyte": extended(b"a" * (1 << 20), tarfile.GNUTYPE_LONGNAME),
    "a thousand headers in each other": extended(b"9 path=a\n") * 1000,
    "a length of nothing": extended(b"0 path=a\n"),
    "no length": extended(b"path=a\n"),
    "a size of minus one": extended(b"11 size=-1\n"),
    "a size that is none": extended(b"12 size=ten\n"),
    "a size beyond all": extended(b"32 size=99999999999999999999999\n"),
    "a map without end": extended(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n")
    + zeros("a", 80_000)
    + b"1\n" * 40_000,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_ends_the_archive_and_keeps_what_came_before(tmp_path: Path, lie: str) -> None:
    whole = tar(GOOD)
    before = whole[: whole.rindex(b"4 5 6\n") // 512 * 512 + 512]
    archive = written(tmp_path / "x.tar", before + LIES[lie] + tar({"z": b"after"}))

    began = time.perf_counter()
    found = index(archive, nothing)

    assert time.perf_counter() - began < 1
    assert {path: bytes_of(fetched(archive, found, path)[0]) for path in GOOD} == GOOD
    assert found.fault or found.entries.keys() - GOOD.keys()
    assert "z" not in found.entries or found.entries["z"].fault or contents(archive)["z"] == b"after"


def test_times_that_are_none_are_zero(tmp_path: Path) -> None:
    for time_stated in (b"nan", b"inf", b"1e400", b"x"):
        body = b"%d mtime=%s\n" % (len(time_stated) + 10, time_stated)
        archive = written(tmp_path / "x.tar", extended(body) + tar({"a": b"1"}))

        assert index(archive, nothing).entries["a"].mtime in {0.0, 1_700_000_000.0}


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    for content in (b"text\n" * 500, gzip.compress(b"text\n" * 500), b"PK\x03\x04" + b"x" * 3000, b"PK\x05\x06"):
        with pytest.raises(InputError, match=r"expected (a tar or zip|the table of contents)") as caught:
            index(written(tmp_path / "x.tar", content), nothing)
        assert caught.value.path == str(tmp_path / "x.tar")
    for path in (tmp_path / "absent.tar", tmp_path, written(tmp_path / "empty.tar", b"")):
        with pytest.raises(InputError):
            index(path, nothing)


# -- cuts


def test_an_archive_cut_anywhere_gives_the_members_before_the_cut_and_says_so(tmp_path: Path) -> None:
    whole = tar(GOOD)
    end = whole.rindex(b"4 5 6\n") // 512 * 512 + 1024
    for place in [*range(1, end, 997), *range(512, end, 1024)]:
        archive = written(tmp_path / "x.tar", whole[:place])
        try:
            found = index(archive, nothing)
        except InputError:
            assert place < 512
            continue
        assert "end" in found.fault or "ends" in found.fault, place
        given = {one.path: one for one in fetched(archive, found)}
        for (path, content), whole_one in zip(given.items(), GOOD, strict=False):
            assert path == whole_one
            is_whole = bytes_of(content) == GOOD[path]
            assert GOOD[path].startswith(bytes_of(content))
            assert is_whole != found.entries[path].cut == content.cut, (place, path)


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_compressed_archive_cut_anywhere_never_gives_a_shorter_file_for_a_whole_one(
    tmp_path: Path, ending: str
) -> None:
    noise = {
        name: random.Random(name).randbytes(50_000).hex().encode() * 2 for name in "abcdef"
    }  # several blocks of bzip2
    whole = COMPRESSIONS[ending](tar(noise))
    n_given = 0
    for place in range(len(whole) // 4, len(whole), len(whole) // 6):
        archive = written(tmp_path / "x", whole[:place])
        found = index(archive, nothing)
        assert found.fault, place
        for one in fetched(archive, found):
            assert noise[one.path].startswith(bytes_of(one))
            assert one.cut == (bytes_of(one) != noise[one.path])
            n_given += not one.cut
    assert n_given >= 4


def test_a_member_that_is_cut_gives_its_frames_and_is_truncated(tmp_path: Path) -> None:
    """Also where the cut takes only what stands after the program's own end mark."""
    for place, n_frames in ((OUTCAR.index(b"POSITION", 9000), None), (len(OUTCAR) - 20, 0)):
        archive = written(tmp_path / "x.tar", tar({"a/OUTCAR": OUTCAR})[: place + 512])
        (member,) = fetched(archive, index(archive, nothing))
        with open_run(member) as opened:
            items = list(opened.items())
        frames = concatenate([item for item in items if isinstance(item, Frames)])
        ending = items[-1]

        assert isinstance(ending, Ending)
        assert (ending.status, opened.input.cut) == ("truncated", True)
        assert n_frames is None or len(frames)


def test_a_zip_without_its_table_says_what_it_lacks(tmp_path: Path) -> None:
    whole = zipped(GOOD)
    for place in (len(whole) // 3, len(whole) - 1):
        with pytest.raises(InputError, match="the table of contents at the end of a zip"):
            index(written(tmp_path / "x.zip", whole[:place]), nothing)


# -- damage


def test_a_wrong_checksum_in_a_zip_costs_that_member(tmp_path: Path) -> None:
    whole = bytearray(zipped(GOOD, "stored"))
    whole[whole.index(b"1 2 3")] ^= 1
    archive = written(tmp_path / "x.zip", bytes(whole))

    found = index(archive, nothing)

    assert {path: bool(entry.fault) for path, entry in found.entries.items()} == {
        "a/OUTCAR": False,
        "b": True,
        "c/d": False,
    }
    assert found.entries["b"].seen is None
    member = fetched(archive, found, "b")[0]
    with pytest.raises(InputError, match="CRC") as caught, open_input(member):
        pass
    assert caught.value.path == f"{archive}!b"


def test_encrypted_members_are_refused_and_the_others_go_on(tmp_path: Path) -> None:
    whole = bytearray(zipped(GOOD, "stored"))
    row = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 1)
    whole[row + 8] |= 1
    archive = written(tmp_path / "x.zip", bytes(whole))

    found = index(archive, nothing)

    assert "encrypted" in found.entries["b"].fault
    assert contents(archive).keys() == {"a/OUTCAR", "c/d"}


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz", ".tar.bz2"])
def test_a_flipped_bit_of_a_compressed_tar_never_changes_a_member_unsaid(tmp_path: Path, ending: str) -> None:
    """The checksum of the whole stream is asked before anything of it is believed."""
    whole = COMPRESSIONS[ending](tar(GOOD))
    chance = random.Random(5)
    n_said = 0
    for _ in range(150):
        copy = bytearray(whole)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        archive = written(tmp_path / "x", bytes(copy))
        try:
            found = index(archive, nothing)
        except InputError:
            n_said += 1
            continue
        given = {one.path: bytes_of(one) for one in fetched(archive, found)} if found.entries else {}
        assert given == GOOD or (found.fault and all(GOOD[path] == content for path, content in given.items()))
        n_said += bool(found.fault)
    assert n_said > 100


@pytest.mark.parametrize("method", METHODS)
def test_a_flipped_bit_of_a_zip_never_changes_a_member_unsaid(tmp_path: Path, method: str) -> None:
    whole = zipped(GOOD, method)
    chance = random.Random(7)
    for _ in range(150):
        copy = bytearray(whole)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        archive = written(tmp_path / "x", bytes(copy))
        try:
            found = index(archive, nothing)
        except InputError:
            continue
        texts = set(GOOD.values())
        assert all(
            entry.fault or bytes_of(fetched(archive, found, path)[0]) in texts for path, entry in found.entries.items()
        )


def test_what_changes_between_index_and_reading_is_an_error_of_each_member(tmp_path: Path) -> None:
    archive = written(tmp_path / "x.tgz", gzip.compress(tar(GOOD)))
    found = index(archive, nothing)
    for content in (b"", b"text\n" * 100, gzip.compress(tar(GOOD))[:200]):
        written(archive, content)
        for member in fetched(archive, found):
            with pytest.raises(InputError), open_input(member):
                pass
