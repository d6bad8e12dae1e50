"""XML is parsed without entities, network or unbounded growth."""

from __future__ import annotations

import pytest

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.xml import parse, text


def test_a_document_is_parsed_whatever_its_encoding() -> None:
    root = parse('<?xml version="1.0" encoding="ISO-8859-1"?><a><b> \xe9 </b></a>'.encode("latin-1"))

    assert text(root.find("b")) == "\xe9"
    assert text(root.find("c")) == ""


BOMBS = [
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    b'<!DOCTYPE a SYSTEM "http://localhost:1/a.dtd"><a/>',
    b"<!DOCTYPE a ["
    + b"".join(b'<!ENTITY x%d "%s">' % (i + 1, b"&x%d;" % i * 10) for i in range(12))
    + b']><a b="&x12;"/>',
]


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("document", BOMBS)
def test_a_document_type_declaration_is_refused(document: bytes, recover: bool) -> None:
    with pytest.raises(ParseError):
        parse(document, recover=recover)


def test_depth_and_size_are_bounded() -> None:
    with pytest.raises(ParseError, match="depth"):
        parse(b"<a>" * 300 + b"</a>" * 300)
    with pytest.raises(LimitExceeded):
        parse(b"<a>" + b" " * 100 + b"</a>", max_bytes=50)


def test_an_error_names_the_line_of_the_file() -> None:
    with pytest.raises(ParseError) as caught:
        parse(b"<a>\n<b>\n</c>\n</a>", line=100)

    assert caught.value.line == 102


def test_a_cut_document_is_refused_unless_recovery_is_asked_for() -> None:
    with pytest.raises(ParseError):
        parse(b"<a><b>1</b>")
    assert text(parse(b"<a><b>1</b>", recover=True).find("b")) == "1"


@pytest.mark.parametrize("document", [b"", b"\x00\x01", b"plain text"])
def test_what_is_no_xml_is_refused_even_with_recovery(document: bytes) -> None:
    with pytest.raises(ParseError):
        parse(document, recover=True)
