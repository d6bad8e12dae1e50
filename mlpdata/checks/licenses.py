"""Licenses: SPDX expressions, the names people write for them, and what each allows.

A verdict is no legal advice: it is the plain reading of the license's own summary, with `review` wherever a person
should look. An unknown license blocks publishing.

References:
    SPDX 2.3, annex D (license expressions); https://spdx.org/licenses for the identifiers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from mlpdata.errors import LicenseError

Purpose = Literal["train", "redistribute", "commercial"]
Allowed = Literal["yes", "no", "review"]

CREDIT = "name the authors and the license"
ALIKE = "pass it on under the same license"
COPY = "keep the license text with it"
NONE = ""


class License(NamedTuple):
    """One row of the table."""

    identifier: str
    """SPDX identifier."""
    commercial: Allowed
    """Whether commercial use is allowed."""
    redistribute: Allowed
    """Whether converted and selected data may be passed on."""
    obligation: str
    """What whoever passes it on must do."""
    names: tuple[str, ...] = ()
    """Further names, compared without case, spaces, punctuation and the word license."""


LICENSES: dict[str, License] = {
    row.identifier: row
    for row in (
        License(
            "CC0-1.0",
            "yes",
            "yes",
            NONE,
            ("CC0", "CC Zero", "Creative Commons Zero", "https://creativecommons.org/publicdomain/zero/1.0"),
        ),
        License("CC-BY-4.0", "yes", "yes", CREDIT, ("Creative Commons Attribution 4.0 International",)),
        License("CC-BY-3.0", "yes", "yes", CREDIT, ("Creative Commons Attribution 3.0",)),
        License("CC-BY-SA-4.0", "yes", "yes", f"{CREDIT}; {ALIKE}", ("Creative Commons Attribution-ShareAlike 4.0",)),
        License("CC-BY-NC-4.0", "no", "yes", CREDIT, ("Creative Commons Attribution-NonCommercial 4.0",)),
        License("CC-BY-NC-SA-4.0", "no", "yes", f"{CREDIT}; {ALIKE}", ("CC Attribution-NonCommercial-ShareAlike 4.0",)),
        License("CC-BY-ND-4.0", "yes", "review", f"{CREDIT}; no adaptation may be shared"),
        License("CC-BY-NC-ND-4.0", "no", "review", f"{CREDIT}; no adaptation may be shared"),
        License("ODbL-1.0", "yes", "yes", f"{CREDIT}; {ALIKE}", ("ODbL", "Open Database License")),
        License("ODC-By-1.0", "yes", "yes", CREDIT, ("Open Data Commons Attribution License 1.0",)),
        License("PDDL-1.0", "yes", "yes", NONE, ("Open Data Commons Public Domain Dedication 1.0",)),
        License("CDLA-Permissive-2.0", "yes", "yes", COPY),
        License("CDLA-Permissive-1.0", "yes", "yes", COPY),
        License("CDLA-Sharing-1.0", "yes", "yes", f"{COPY}; {ALIKE}"),
        License("MIT", "yes", "yes", COPY, ("Expat",)),
        License("ISC", "yes", "yes", COPY),
        License("BSD-2-Clause", "yes", "yes", COPY, ("Simplified BSD",)),
        License("BSD-3-Clause", "yes", "yes", COPY, ("New BSD", "Modified BSD", "3-clause BSD")),
        License("Apache-2.0", "yes", "yes", f"{COPY}; state changes", ("Apache Software License 2.0",)),
        License("MPL-2.0", "yes", "yes", f"{COPY}; {ALIKE}", ("Mozilla Public License 2.0",)),
        License("LGPL-2.1-only", "yes", "yes", f"{COPY}; {ALIKE}", ("LGPL-2.1",)),
        License("LGPL-2.1-or-later", "yes", "yes", f"{COPY}; {ALIKE}", ("LGPL-2.1+",)),
        License("LGPL-3.0-only", "yes", "yes", f"{COPY}; {ALIKE}", ("LGPL-3.0",)),
        License("LGPL-3.0-or-later", "yes", "yes", f"{COPY}; {ALIKE}", ("LGPL-3.0+",)),
        License("GPL-2.0-only", "yes", "yes", f"{COPY}; {ALIKE}", ("GPL-2.0", "GNU GPL 2")),
        License("GPL-2.0-or-later", "yes", "yes", f"{COPY}; {ALIKE}", ("GPL-2.0+",)),
        License("GPL-3.0-only", "yes", "yes", f"{COPY}; {ALIKE}", ("GPL-3.0", "GNU GPL 3", "GNU General Public 3")),
        License("GPL-3.0-or-later", "yes", "yes", f"{COPY}; {ALIKE}", ("GPL-3.0+",)),
        License("AGPL-3.0-only", "yes", "yes", f"{COPY}; {ALIKE}", ("AGPL-3.0",)),
        License("AGPL-3.0-or-later", "yes", "yes", f"{COPY}; {ALIKE}", ("AGPL-3.0+",)),
        License("Unlicense", "yes", "yes", NONE),
        License("NIST-PD", "yes", "yes", NONE),
        License("etalab-2.0", "yes", "yes", CREDIT),
    )
}
"""Licenses met with data sets and outputs of this field. Others are written as LicenseRef-NAME and reviewed."""

EXCEPTIONS = ("GCC-exception-3.1", "Classpath-exception-2.0", "LLVM-exception", "Linux-syscall-note")
"""What may follow WITH; an exception only allows more."""

_REFERENCE = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_OPERATOR = re.compile(r"\s+(AND|OR|WITH|and|or|with)\s+|([()])")
_MAX_LENGTH = 1000
_ORDER: tuple[Allowed, ...] = ("no", "review", "yes")


class Verdict(NamedTuple):
    """Whether a license allows a purpose."""

    allowed: Allowed
    """review: a person must look."""
    reason: str
    """Why, and what is to be done."""


class _Leaf(NamedTuple):
    identifier: str
    exception: str | None = None

    def __str__(self) -> str:
        return self.identifier if self.exception is None else f"{self.identifier} WITH {self.exception}"


class _Branch(NamedTuple):
    operator: str
    parts: tuple[_Node, ...]

    def __str__(self) -> str:
        nested = (f"({part})" if isinstance(part, _Branch) else str(part) for part in self.parts)
        return f" {self.operator} ".join(nested)


_Node = _Leaf | _Branch
_Grammar = Callable[[list[str]], tuple[_Node, list[str]]]


def normalise(text: str) -> str:
    """The SPDX expression that `text` means.

    >>> normalise("CC BY 4.0")
    'CC-BY-4.0'
    >>> normalise("mit or (Apache 2.0 and cc0)")
    'MIT OR (Apache-2.0 AND CC0-1.0)'

    Raises:
        LicenseError: not an expression, or a license that the table does not know; names near matches.
    """
    return str(_parse(text))


def verdict(expression: str | None, purpose: Purpose) -> Verdict:
    """Whether data under `expression` may be used for `purpose`.

    Args:
        expression: SPDX expression; None where nobody stated a license.
        purpose: train: use it inside; redistribute: pass data or what is made of it on; commercial: either, for money.

    Raises:
        LicenseError: `expression` is not one.
    """
    if expression is None:
        if purpose == "train":
            return Verdict("review", "The license is unknown; ask the authors, then state it with --license.")
        return Verdict("no", "The license is unknown, which blocks publishing; state it with --license.")
    return _judge(_parse(expression), purpose)


def _judge(node: _Node, purpose: Purpose) -> Verdict:
    """AND is as strict as its strictest part, OR as free as its freest."""
    if isinstance(node, _Leaf):
        return _judge_one(node, purpose)
    verdicts = [_judge(part, purpose) for part in node.parts]
    choose = min if node.operator == "AND" else max
    allowed = choose((one.allowed for one in verdicts), key=_ORDER.index)
    deciding = [one for one in verdicts if node.operator == "AND" or one.allowed == allowed]
    return Verdict(allowed, " ".join(dict.fromkeys(one.reason for one in deciding)))


def _judge_one(leaf: _Leaf, purpose: Purpose) -> Verdict:
    row = LICENSES.get(leaf.identifier)
    if row is None:
        return Verdict("review", f"{leaf.identifier} is not a standard license; read its text.")
    if purpose == "commercial" and row.commercial != "yes":
        return Verdict(row.commercial, f"{row.identifier} forbids commercial use.")
    if purpose == "redistribute" and row.redistribute != "yes":
        return Verdict(row.redistribute, f"{row.identifier}: {row.obligation}.")
    duty = f" Whoever passes it on must {row.obligation}." if row.obligation and purpose != "train" else ""
    limits = " It forbids commercial use." if row.commercial == "no" else ""
    return Verdict("yes", f"{row.identifier} allows it.{duty}{limits}")


def _parse(text: str) -> _Node:
    """Expression tree of `text`: the whole may be one license's name, else OR of AND of WITH."""
    if len(text) > _MAX_LENGTH or not text.strip():
        raise LicenseError("expected an SPDX expression such as CC-BY-4.0, found nothing or too long a text.")
    if known := _by_name(text):
        return _Leaf(known)
    tokens = list(_tokens(text))
    tree, rest = _alternatives(tokens)
    if rest:
        raise LicenseError(f"expected the end of the license expression, found {rest[0]!r} in {text!r}.")
    return tree


def _tokens(text: str) -> Iterator[str]:
    """Operators, parentheses and what lies between."""
    start = 0
    for match in _OPERATOR.finditer(text):
        if piece := text[start : match.start()].strip():
            yield piece
        yield (match[1] or match[2]).upper()
        start = match.end()
    if piece := text[start:].strip():
        yield piece


def _alternatives(tokens: list[str]) -> tuple[_Node, list[str]]:
    return _chain(tokens, "OR", _conjunction)


def _conjunction(tokens: list[str]) -> tuple[_Node, list[str]]:
    return _chain(tokens, "AND", _operand)


def _chain(tokens: list[str], operator: str, lower: _Grammar) -> tuple[_Node, list[str]]:
    first, rest = lower(tokens)
    parts = [first]
    while rest and rest[0] == operator:
        part, rest = lower(rest[1:])
        parts.append(part)
    return (first if len(parts) == 1 else _Branch(operator, tuple(parts))), rest


def _operand(tokens: list[str]) -> tuple[_Node, list[str]]:
    if not tokens or tokens[0] in {"AND", "OR", "WITH", ")"}:
        raise LicenseError(f"expected a license, found {tokens[0] if tokens else 'the end'!r}. Write CC-BY-4.0 or MIT.")
    if tokens[0] == "(":
        inside, rest = _alternatives(tokens[1:])
        if not rest or rest[0] != ")":
            raise LicenseError("expected a closing parenthesis in the license expression, found none.")
        return inside, rest[1:]
    leaf, rest = _Leaf(_identifier(tokens[0])), tokens[1:]
    if rest and rest[0] == "WITH":
        if len(rest) < 2 or rest[1] not in EXCEPTIONS:
            raise LicenseError(f"expected one of {', '.join(EXCEPTIONS)} after WITH, found {rest[1:2]}.")
        return _Leaf(leaf.identifier, rest[1]), rest[2:]
    return leaf, rest


def _identifier(text: str) -> str:
    """SPDX identifier of one license.

    Raises:
        LicenseError: unknown; names the nearest ones.
    """
    if known := _by_name(text):
        return known
    if _REFERENCE.fullmatch(text):
        return text
    near = difflib.get_close_matches(_key(text), _NAMES, n=4, cutoff=0.5)
    suggestion = ", ".join(dict.fromkeys(_NAMES[key] for key in near)) or "CC-BY-4.0, CC0-1.0, MIT"
    raise LicenseError(
        f"expected an SPDX license, found {text[:80]!r}. Near: {suggestion}; write LicenseRef-NAME for one of your own."
    )


def _by_name(text: str) -> str | None:
    """Identifier of the license that `text` names as a whole."""
    return _NAMES.get(_key(text))


def _key(text: str) -> str:
    """What is left of a name: no case, spaces, punctuation, address, nor the words that vary."""
    text = re.sub(r"https?://(www\.)?creativecommons\.org/(licenses/)?", "cc ", text.lower().strip())
    text = re.sub(r"/(deed|legalcode)?(\.\w+)?$", "", text)
    text = re.sub(r"creative\s*commons", "cc", text)
    for long, short in (("attribution", "by"), ("noncommercial", "nc"), ("non-commercial", "nc"), ("sharealike", "sa")):
        text = text.replace(long, short)
    text = re.sub(r"\b(the|licen[cs]ed?|version|international|unported|universal|gnu|software)\b", " ", text)
    text = re.sub(r"\bv\.?(?=\d)|(?<=[a-z])v(?=\d)", "", text)
    text = re.sub(r"[^a-z0-9.+()]", "", text)
    return re.sub(r"\.0(?!\d)", "", text)


_NAMES = {_key(name): row.identifier for row in LICENSES.values() for name in (row.identifier, *row.names)}
