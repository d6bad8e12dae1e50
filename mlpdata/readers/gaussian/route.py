"""The route section of a Gaussian job: what was asked for, and the links that the program makes of it.

The route is printed in lines of 70 characters that break words (pitfall G11), and below it the links:
`9/16=-3/6;` runs link 906, which computes MP2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_SECTION = re.compile(
    rb"(?:^|\n) -{2,}[ \r]*\n( *#[^\n]{0,400}\n(?:(?! -{2,}[ \r]*\n)[^\n]{0,400}\n){0,60}?) -{2,}[ \r]*\n"
    rb"((?: *\d{1,4}/[^\n]{0,400};[^\n]{0,20}\n){0,400})"
)
_LINKS = re.compile(rb" *(\d{1,4})/[^/\n]{0,300}/([\d,]{1,40})")
_REFERENCE = r"(?:r|u|ro|rr)?"
_DOUBLE_HYBRID = r"b2plyp(?:d3?)?|mpw2plyp(?:d)?|dsdpbep86|pbe0dh|pbeqidh"


_WAVEFUNCTION = re.compile(_REFERENCE + "(mp[2-5]|ccd|ccsd|qcisd|bd|cid|cisd|cis|eomccsd|tda?|zindo)")
_PARTS = {"mp4": ("sdtq", "sdq", "dq"), "ccsd": ("t",), "qcisd": ("t",), "bd": ("t",)}


class Links(NamedTuple):
    """What the links of a job compute beyond Hartree-Fock, DFT and their response."""

    correlated: bool
    """Second-order or higher correlation, or excited states: links 804, 9xx but 902."""
    multiconfigurational: bool
    """CASSCF: link 510."""
    gradient: bool
    """Forces: link 716."""


@dataclass(frozen=True)
class Route:
    """What a job was asked for."""

    printed: str
    """The section as one line."""
    keywords: tuple[tuple[str, tuple[str, ...]], ...]
    """Name and options of each keyword, in lower case; `6-31g(d)` has the option `d`."""
    links: Links | None
    """None where the program prints none."""

    def has(self, *names: str) -> bool:
        """Whether one of these keywords was given."""
        return any(name in names for name, _ in self.keywords)

    def options(self, *names: str) -> tuple[str, ...]:
        """Options of keywords of these names."""
        return tuple(option for name, options in self.keywords if name in names for option in options)

    @property
    def prints_forces(self) -> bool:
        """Whether forces are computed and printed: `#T` asks for terse output, without them."""
        return self.links is not None and self.links.gradient and not self.printed.lower().startswith("#t")

    @property
    def methods(self) -> tuple[str, ...]:
        """Wavefunction methods named, without prefix of the reference and options of the core: `mp2`, `ccsd(t)`."""
        return tuple(filter(None, (_method(name, options) for name, options in self.keywords)))

    @property
    def double_hybrid(self) -> bool:
        """Whether a functional with a perturbative part is named."""
        return any(re.fullmatch(_REFERENCE + f"(?:{_DOUBLE_HYBRID})", name) for name, _ in self.keywords)


def _method(name: str, options: tuple[str, ...]) -> str | None:
    """A wavefunction method with what belongs to its name: `uccsd` and (`t`, `full`) are `ccsd(t)`."""
    match = _WAVEFUNCTION.fullmatch(name)
    if match is None:
        return None
    part = next((option for option in options if option in _PARTS.get(match[1], ())), None)
    return f"{match[1]}({part})" if part else match[1]


def route(text: bytes) -> Route:
    """The route section in the text before a job's first geometry; an empty one where there is none."""
    match = _SECTION.search(text)
    if match is None:
        return Route("", (), None)
    printed = "".join(line[1:] for line in match[1].decode("latin-1").replace("\r", "").split("\n")).strip()
    return parse(printed, _links(match[2]))


def parse(printed: str, links: Links | None = None) -> Route:
    """The route of one line of text."""
    return Route(printed, tuple(_keywords(printed.lower())), links)


def _keywords(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Keywords with their options: `opt=(ts,calcfc)`, `scf(tight)`, `b3lyp/6-31g(d)`, `UHF / 6-31G`."""
    text = re.sub(r"#[npt]?(?![^\s])|#[npt](?=\s)", " ", text).replace("#", " ")
    text = re.sub(r"\s*([=,(])\s*", r"\1", text)
    return [_keyword(word) for word in _split(text, " /,\t") if word]


def _keyword(word: str) -> tuple[str, tuple[str, ...]]:
    cut = min((place for place in (word.find("="), word.find("(")) if place >= 0), default=len(word))
    options = word[cut:].lstrip("=")
    if options.startswith("(") and options.endswith(")"):
        options = options[1:-1]
    return word[:cut], tuple(_split(options, ","))


def _split(text: str, separators: str) -> list[str]:
    """Split outside parentheses and quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter in "'\""
        depth += (letter == "(") - (letter == ")")
        if letter in separators and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def _links(text: bytes) -> Links | None:
    ran = {(int(overlay), int(link)) for overlay, links in _LINKS.findall(text) for link in links.split(b",") if link}
    if not ran:
        return None
    correlated = (8, 4) in ran or any(overlay == 9 and link != 2 for overlay, link in ran)
    return Links(correlated, (5, 10) in ran, (7, 16) in ran)
