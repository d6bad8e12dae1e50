"""Words: the names that templates and maps have for fields of a sidecar, and the values that their texts mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_args

from mlpdata.checks.licenses import normalise
from mlpdata.errors import UsageError
from mlpdata.schema.calculation import EnergyKind, Kind

KINDS: tuple[str, ...] = get_args(Kind)
"""Kinds of configuration."""


def _kelvin(text: str) -> float:
    """`300`, `300K` or `300 K`."""
    try:
        value = float(text.removesuffix("K"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"expected a temperature above zero such as 300, found {text!r}.")
    return value


def _one_of(*words: str) -> Callable[[str], str]:
    def one(text: str) -> str:
        if text not in words:
            raise UsageError(f"expected one of {', '.join(words)}, found {text!r}.")
        return text

    return one


MEANINGS: dict[str, Callable[[str], Any]] = {
    "system": str,
    "temperature": _kelvin,
    "kind": _one_of(*KINDS),
    "group": str,
    "license": normalise,
    "citation": str,
    "energy_kind": _one_of(*get_args(EnergyKind)),
    "stress_sign": _one_of("tension", "compression"),
}
"""Plain fields, and what their text means."""
PREFIXES = {"tag": "tags", "units": "units", "names": "names"}
"""Fields of names and values, by the word before the dot."""
KNOWN = f"{', '.join(MEANINGS)}, {', '.join(f'{prefix}.NAME' for prefix in PREFIXES)}"
"""All that a column of a map may be called, for messages."""


def field_named(word: str) -> str | None:
    """The field of a sidecar that a word names: `tag.project` is `tags.project`; None for an unknown word."""
    if word in MEANINGS:
        return word
    prefix, _, name = word.partition(".")
    return f"{PREFIXES[prefix]}.{name}" if prefix in PREFIXES and re.fullmatch(r"[\w-]+", name) else None


@lru_cache(1 << 14)
def meaning(field: str, text: str) -> Any:
    """The value of a field that a text means.

    Raises:
        UsageError: none; the field is named, and what was expected.
    """
    try:
        text.encode()
        return MEANINGS.get(field, str)(text)
    except UnicodeEncodeError as error:
        raise UsageError(f"{field}: expected text in UTF-8, found other bytes.") from error
    except UsageError as error:
        raise type(error)(f"{field}: {error.message}") from error
