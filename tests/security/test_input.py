"""Hostile files: bombs, entities, links, devices, tags, escape sequences, markup. Each costs itself only."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import vasprun as v
import zstandard
from tiny import MD, N_CONFIGURATIONS, Verb, refused, tree

from mlpdata.errors import InputError, LimitExceeded, MlpdataError
from mlpdata.intake import ingest
from mlpdata.readers.archive import Limits, open_head, open_input

pytestmark = pytest.mark.usefixtures("raw")
SECRET = "a secret outside of the tree"


class Zeros(io.RawIOBase):
    """A stream of a prefix, then of newlines without end."""

    def __init__(self, prefix: bytes, size: int) -> None:
        self.pieces = iter([prefix, *[b"\n" * (1 << 20)] * (size >> 20)])

    def read(self, _: int = -1) -> bytes:
        return next(self.pieces, b"")


def bomb(compressor: str, size: int, prefix: bytes = b"") -> bytes:
    """`size` bytes of nothing, compressed."""
    text = Zeros(prefix, size)
    if compressor == "gz":
        whole = io.BytesIO()
        with gzip.GzipFile(fileobj=whole, mode="wb") as file:
            while piece := text.read():
                file.write(piece)
        return whole.getvalue()
    tool = {"bz2": bz2.BZ2Compressor, "xz": lzma.LZMACompressor, "zst": zstandard.ZstdCompressor().compressobj}[
        compressor
    ]()
    parts = []
    while piece := text.read():
        parts.append(tool.compress(piece))
    return b"".join([*parts, tool.flush()])


@pytest.mark.parametrize("compressor", ["gz", "bz2", "xz", "zst"])
def test_a_bomb_stops_at_the_limit_and_costs_itself_only(compressor: str) -> None:
    Path("raw/md", f"vasprun.xml.{compressor}").write_bytes(bomb(compressor, 100 << 20, MD[:2000].encode()))
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    report = ingest("raw")

    (refusal,) = report.refused
    assert refusal.code == "limit"
    assert "decompression bomb" in refusal.reason
    assert report.n_entered == N_CONFIGURATIONS
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 400 << 10  # [KiB]


def test_a_bomb_in_a_bomb_is_not_opened_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(gzip.compress(MD.encode())))
    with open_input(path) as source:
        assert source.data[:2] == b"\x1f\x8b"


def test_recognition_reads_no_more_than_the_head_of_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "x.xz"
    path.write_bytes(bomb("xz", 200 << 20, b"x"))
    started = time.process_time()
    with open_head(path) as source:
        assert len(source.data) == 1 << 16
    assert time.process_time() - started < 0.5


def test_limits_hold_for_stored_and_expanded_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(os.urandom(1 << 16)))
    for limits in (Limits(stored_bytes=100), Limits(expanded_bytes=100, ratio=0)):
        with pytest.raises(LimitExceeded), open_input(path, limits):
            pass


ENTITIES = {
    "a file": f'<!DOCTYPE modeling [<!ENTITY x SYSTEM "file://{Path.cwd()}/secret">]>',
    "a network address": '<!DOCTYPE modeling [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>',
    "a parameter": '<!DOCTYPE modeling [<!ENTITY % p SYSTEM "secret"> %p; <!ENTITY x "y">]>',
    "laughter": "<!DOCTYPE modeling [<!ENTITY a '" + "ha" * 50 + "'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 50}'>" for n in range(8)) + "<!ENTITY x '&i;'>]>",
    "growth": f"<!DOCTYPE modeling [<!ENTITY x '{'a' * 100_000}'>]>",
    "a definition elsewhere": '<!DOCTYPE modeling SYSTEM "secret">',
}  # fmt: skip


@pytest.mark.parametrize("what", ENTITIES)
@pytest.mark.parametrize("kind", ["vasp", "espresso"])
def test_entities_of_xml_are_never_resolved(what: str, kind: str) -> None:
    Path("secret").write_text(SECRET)
    source = Path("raw/random/rattle00.xml.xz")
    text = MD if kind == "vasp" else lzma.decompress(source.read_bytes()).decode()
    end = text.index("?>") + 2
    body = text[end:].replace("PBE", "&x;" * 1000).replace("6.3.0", "&x;" * 1000)
    Path("hostile.xml").write_text(text[:end] + ENTITIES[what] + body)
    started = time.process_time()

    try:
        report = ingest("hostile.xml")
    except MlpdataError as error:
        said = str(error)
    else:
        said = str(report.as_json())
    assert SECRET not in said
    assert time.process_time() - started < 3
    assert not any(SECRET.encode() in content for content in tree(Path("store")).values())


def test_xml_of_many_levels_is_refused_or_read_but_ends() -> None:
    deep = v.header() + "<a>" * 200_000
    Path("deep.xml").write_text(deep)
    started = time.process_time()
    assert ingest("deep.xml").exit_code == 3
    assert time.process_time() - started < 5


def test_links_in_a_circle_and_out_of_the_tree_end(tmp_path: Path) -> None:
    Path("raw/loop").symlink_to(".")
    Path("raw/up").symlink_to("..")
    Path("raw/self").symlink_to("self")
    Path("raw/root").symlink_to("/")
    report = ingest("raw")
    assert report.n_entered == N_CONFIGURATIONS
    assert [one.path for one in report.refused] == ["raw/self"]


def test_devices_pipes_and_sockets_are_not_opened(verb: Verb) -> None:
    import socket

    os.mkfifo("raw/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("raw/socket")
        report = ingest(["raw", "/dev/zero", "/dev/null", "/dev/stdin"])
    reasons = {one.path: one.reason for one in report.refused}
    assert {"raw/pipe", "raw/socket", "dev/zero", "dev/null"} <= reasons.keys()
    assert all("device, pipe or socket" in reasons[name] for name in ("raw/pipe", "raw/socket", "dev/zero"))
    assert report.n_entered == N_CONFIGURATIONS


@pytest.mark.parametrize("name", ["params.yaml", "raw/mlpdata.yaml"])
@pytest.mark.parametrize(
    "payload",
    ["!!python/object/apply:os.mkdir [pwned]", "!!python/object/new:os.mkdir [pwned]", "!!python/module:antigravity",
     "license: !!python/name:os.system", "a: !!binary x"],
)  # fmt: skip
def test_tags_of_yaml_make_no_object(verb: Verb, name: str, payload: str) -> None:
    Path(name).write_text(payload)
    refused(verb("ingest", "raw"), 2, name)
    assert not Path("pwned").exists()


def test_a_pickle_is_no_input() -> None:
    import pickle

    class Canary:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, ("pwned",)

    Path("raw/md/vasprun.xml").write_bytes(pickle.dumps(Canary()))
    assert ingest("raw/md").exit_code == 3
    assert not Path("pwned").exists()


ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def test_what_an_output_says_cannot_steer_the_terminal(verb: Verb) -> None:
    text = MD.replace("6.3.0", f"6.3.0{ESCAPE}").replace("PAW_PBE Si", f"PAW_PBE {ESCAPE}Si")
    Path("raw/md/vasprun.xml").write_text(text, encoding="latin-1")
    Path("raw/mlpdata.yaml").write_text('citation: "\\e[2Jowned"\nlicense: MIT\ntags: {"\\e[2J": "\\a"}\n')
    for arguments in (["inspect", "raw/md/vasprun.xml"], ["ingest", "raw"], ["show"], ["record"], ["check"], ["log"],
                      ["sql", "SELECT * FROM calculations"], ["sql", "SELECT * FROM methods", "--json"]):  # fmt: skip
        answer = verb(*arguments)
        assert not set("\x1b\x07\x9b") & set(answer.out + answer.err), arguments


def test_numbers_that_are_none_are_no_labels() -> None:
    for bad in ("NaN", "Infinity", "-inf", "1E400", "0x10", "1_0", "١"):
        Path("bad.xml").write_text(v.vasprun(v.calculation()).replace("1.50000000 ", f"{bad} ", 1))
        try:
            report = ingest("bad.xml", "bad store", dry_run=True)
        except InputError:
            continue
        assert report.n_entered == 0, bad


def test_the_report_escapes_every_name_it_is_given() -> None:
    """The template is rendered with escaping on, and turns it off for nothing but charts of our own."""
    import ast
    from importlib.resources import files

    page = (files("mlpdata.report") / "page.html").read_text()
    source = ast.parse((files("mlpdata.report") / "build.py").read_text())
    calls = [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "jinja2.Environment"
    ]
    assert calls
    assert all({word.arg: ast.unparse(word.value) for word in call.keywords}["autoescape"] == "True" for call in calls)
    assert "autoescape false" not in page
    assert page.count("safe }}") == page.count("{{ svg | safe }}") == 1


def test_a_sidecar_of_aliases_that_multiply_ends_at_once() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    Path("raw/mlpdata.yaml").write_text("\n".join([*levels, "tags: *a11"]))
    started = time.process_time()
    with pytest.raises(MlpdataError, match=r"mlpdata\.yaml"):
        ingest("raw")
    assert time.process_time() - started < 2


def test_paths_that_leave_the_store_are_refused(verb: Verb) -> None:
    verb("ingest", "raw")
    Path("outside.json").write_text("{}")
    for at in ("../../outside", "../HEAD", "..", ".", "a/b", "\0"):
        refused(verb("show", "--at", at), 4, "expected a tag")
    Path("store/HEAD").write_text("../../outside\n")
    refused(verb("show"), 5, "store/HEAD")
