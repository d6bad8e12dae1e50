"""The base of every noun: frozen, nothing unknown, no NaN, input hidden in errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlpdata.errors import CorruptError, UsageError

SCHEMA_VERSION = 1
"""Version of views, splits and checkpoints; a higher one is refused."""
STORE_VERSION = 2
"""Version of what a store holds; a higher one is refused, lower ones are read.

1: as first published. 2: a segment has an index of its calculations, and may stand for others that it replaces.
"""

MOST_YAML = 1 << 20
"""Bytes of a YAML file that a person wrote; a larger one is a mistake, or meant to fill the memory."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""Hexadecimal sha256."""
Anything = TypeVar("Anything", bound="Noun")


class Noun(BaseModel):
    """One immutable type for each noun of the field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    def as_json(self) -> dict[str, Any]:
        """The noun as JSON values."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return type(self).model_validate({**dict(self), **changes})

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        others = other.__dict__
        return all(
            mine is others[name]
            or (np.array_equal(mine, others[name]) if isinstance(mine, np.ndarray) else mine == others[name])
            for name, mine in self.__dict__.items()
        )

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def from_stored(kind: type[Anything], text: bytes | str, place: str) -> Anything:
    """A noun read back from a store.

    Raises:
        CorruptError: the text is not such a noun.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise CorruptError(f"expected a {kind.__name__}, found: {first_fault(error)}.", path=place) from error


def from_user(kind: type[Anything], value: Any, place: str) -> Anything:
    """A noun from what a user wrote (YAML already parsed).

    Raises:
        UsageError: names the field, what was expected and what was found.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{first_fault(error, kind)}.", path=place) from error


def from_yaml(kind: type[Anything], path: Path) -> Anything:
    """A noun from a YAML file that a user wrote; an empty file gives the defaults.

    Raises:
        UsageError: unreadable, no YAML, an unknown field or a value out of its range; file and place are named.
    """
    try:
        if path.stat().st_size > MOST_YAML:
            raise UsageError(f"expected at most {MOST_YAML >> 20} MiB of YAML, found more.", path=path)
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        found = getattr(error, "problem", None) or "something else"
        raise UsageError(
            f"expected YAML, found: {found}.", path=path, line=None if place is None else place.line + 1
        ) from error
    except RecursionError as error:
        raise UsageError("expected YAML of few levels, found too many.", path=path) from error
    except UnicodeError as error:
        raise UsageError("expected YAML in UTF-8, found other bytes.", path=path) from error
    except OSError as error:
        raise UsageError(f"expected a readable file, found: {error.strerror}.", path=path) from error
    return from_user(kind, {} if written is None else written, str(path))


def first_fault(error: ValidationError, kind: type[Noun] | None = None) -> str:
    """The first fault that pydantic found, as `field: reason`; with `kind`, an unknown field is told the known ones."""
    fault = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the document"
    if fault["type"] != "extra_forbidden" or kind is None:
        return f"{where}: {fault['msg']}"
    section: type[Noun] = kind
    for part in fault["loc"][:-1]:
        if part in section.model_fields:  # what is no field is a place in a list of nouns
            section = _noun_in(section.model_fields[str(part)].annotation)
    return f"{where}: expected one of {', '.join(section.model_fields)}, found another name"


def _noun_in(annotation: Any) -> type[Noun]:
    """The noun of a field that holds one, perhaps one or none, or several by name or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Noun):
        return annotation
    return next(_noun_in(one) for one in get_args(annotation) if one not in (str, type(None), ...))
