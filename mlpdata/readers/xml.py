"""Safe XML: no entities, no DTD, no network, bounded size and depth. Every reader's trees come from here."""

from __future__ import annotations

from lxml import etree

from mlpdata.errors import LimitExceeded, ParseError

Element = etree._Element

MAX_BYTES = 256 << 20
"""Largest document that is made into a tree; a tree takes some five to ten times its text."""


def parse(data: bytes, *, recover: bool = False, line: int = 1, max_bytes: int = MAX_BYTES) -> Element:
    """The root element of an XML document or of one element cut out of it.

    libxml2's own bounds stay on (depth 256, 10 MB of text in a node, entity amplification), comments and processing
    instructions are dropped.

    Args:
        data: the document.
        recover: keep what can be kept of a damaged document, as libxml2 guesses it: a cut one is closed where it ends.
        line: line of the file on which `data` begins, for errors.
        max_bytes: largest document accepted.

    Raises:
        ParseError: no XML, or a document type declaration, which no code writes.
        LimitExceeded: larger than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise LimitExceeded(f"expected at most {max_bytes} bytes of XML, found {len(data)}.", line=line)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=recover,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        found = line + (getattr(error, "lineno", None) or 1) - 1
        raise ParseError(f"expected XML, found: {error}. The file is damaged or cut.", line=found) from None
    if root is None:
        raise ParseError("expected XML, found nothing that could be recovered. The file is damaged.", line=line)
    if root.getroottree().docinfo.internalDTD is not None:
        raise ParseError("expected XML without a document type declaration, found one. No code writes it.", line=line)
    return root


def text(element: Element | None) -> str:
    """The text of an element without white space around it; "" where there is none."""
    return "" if element is None or element.text is None else element.text.strip()
