"""Records of the store and of what is derived from it: Snapshot, Amendment, Split, View."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator, with_config
from typing_extensions import TypedDict  # pydantic cannot read the one of typing before Python 3.12

from mlpdata.digest import sha256_json
from mlpdata.schema.calculation import Kind
from mlpdata.schema.noun import SCHEMA_VERSION, STORE_VERSION, Noun, Sha256


class Retraction(Noun):
    """A calculation of a segment that later snapshots hide."""

    segment: Sha256
    """Where it is stored."""
    calculation: Sha256
    """Digest of its record."""
    reason: str
    """Why."""


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, use_attribute_docstrings=True))
class Attributes(TypedDict, total=False):
    """Those attributes of a calculation that changed after it was stored, as its record spells them."""

    kind: Kind
    """What the configurations are there for."""
    temperature_target: float | None
    """Set point of the thermostat [K]."""
    group: str
    """Configurations of one group never straddle a split."""
    system: str
    """What was calculated."""
    continues: str
    """Path of the calculation whose trajectory this one continues."""
    rests_on: dict[str, str]
    """By field: who declared it, or what it was worked out from."""
    license: str | None
    """SPDX expression."""
    citation: str | None
    """How to cite the data."""
    tags: dict[str, str]
    """Free marks."""
    declared: dict[str, str]
    """What was said of the run, at ingest or since."""


class Revision(Noun):
    """What an amendment makes of one calculation."""

    segment: Sha256
    """Where it is stored."""
    calculation: Sha256
    """Digest of its record as stored."""
    fields: Attributes = {}
    """All attributes that differ from the stored record: the last revision of a calculation is its present state."""
    skip: Annotated[int, Field(ge=0)] = 0
    """How many of its first configurations are hidden: the run that it continues has them."""
    content: Sha256
    """What the calculation adds to content from here on."""


class Amendment(Noun):
    """Calculations that are shown with other attributes than those they were stored with."""

    schema_version: int = STORE_VERSION
    """Of the store's layout."""
    by: str = ""
    """Who amended; empty where nobody is named."""
    time: str
    """UTC, ISO 8601."""
    why: str = ""
    """Reason."""
    changes: tuple[Revision, ...]
    """One a calculation."""

    @property
    def id(self) -> Sha256:
        """Digest of the record."""
        return sha256_json(self.as_json())


class Step(Noun):
    """An amendment among those that were put together."""

    id: Sha256
    """Of the amendment as it was first written."""
    amendment: Amendment
    """The same for calculations where they are now."""


class AmendmentHistory(Noun):
    """Amendments put together into one record, as compaction does: the calculations that they name have moved."""

    schema_version: int = STORE_VERSION
    """Of the store's layout."""
    steps: tuple[Step, ...]
    """In their order."""

    @property
    def id(self) -> Sha256:
        """Digest of the record."""
        return sha256_json(self.as_json())


class Snapshot(Noun):
    """A commit."""

    schema_version: int = STORE_VERSION
    """Of the store's layout."""
    parents: tuple[Sha256, ...] = ()
    """Snapshots that this one follows."""
    segments: tuple[Sha256, ...] = ()
    """In the order of their commits."""
    retracted: tuple[Retraction, ...] = ()
    """What it hides."""
    amendments: tuple[Sha256, ...] = ()
    """What changed attributes, in this order; the last one that names a calculation counts."""
    content: Sha256
    """What it shows, whatever its segmentation, order and history."""
    n_configurations: int
    """How many configurations it shows."""
    n_calculations: int
    """How many calculations it shows."""
    time: str
    """UTC, ISO 8601."""
    message: str = ""
    """What the committer says."""

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values; without amendments it is what it was before there were any, and so is its id."""
        return {name: value for name, value in super().as_json().items() if name != "amendments" or value}

    @property
    def id(self) -> Sha256:
        """Digest of the record."""
        return sha256_json(self.as_json())


class Split(Noun):
    """Named disjoint id lists."""

    content: Sha256
    """What the snapshot showed that was divided."""
    recipe: dict[str, Any]
    """Parameters that gave it."""
    parent: Sha256 | None = None
    """The split that this one extends."""
    parts: dict[str, tuple[str, ...]]
    """Sorted ids of each part, 32 hexadecimal digits each."""
    quarantined: tuple[str, ...] = ()
    """Ids that link groups on two sides; in no part."""
    notes: tuple[str, ...] = ()
    """Targets that were missed, and by how much."""

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        ids = [one for part in (*self.parts.values(), self.quarantined) for one in part]
        if len(set(ids)) != len(ids):
            raise ValueError("parts: expected disjoint lists, found an id twice")
        return self

    @property
    def id(self) -> Sha256:
        """Digest of the parts; the recipe that led to them is recorded, not hashed."""
        return sha256_json({"parts": self.parts, "quarantined": self.quarantined})


class View(Noun):
    """A frozen selection, packed for reading."""

    schema_version: int = SCHEMA_VERSION
    """Of the layout."""
    content: Sha256
    """What the snapshot showed that was frozen."""
    split: Sha256 | None
    """The split that named the parts."""
    query: str
    """How the selection was made; recorded, not hashed."""
    ids: Sha256
    """Digest of the ordered ids and their label digests."""
    parts: dict[str, tuple[int, int]]
    """First row and end of each part."""
    arrays: dict[str, dict[str, Any]]
    """Unit, shape and dtype of each array."""
    n_configurations: int
    """Rows."""

    @property
    def id(self) -> Sha256:
        """Digest of what a reader gets: ordered ids, parts, dtypes and layout."""
        return sha256_json(
            {"ids": self.ids, "parts": self.parts, "arrays": self.arrays, "schema_version": self.schema_version}
        )
