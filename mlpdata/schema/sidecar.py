"""Sidecar: what `mlpdata.yaml` beside the outputs says of them; subfolders inherit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from mlpdata.schema.calculation import Kind
from mlpdata.schema.noun import Noun

SIDECAR = "mlpdata.yaml"
TAGS = "tags."
"""Begins the name of a tag among what is declared."""


class Sidecar(Noun):
    """What the files themselves do not say. A field that is not set is inherited from the folder above."""

    license: str | None = None
    """SPDX expression."""
    citation: str | None = None
    """How to cite the data."""
    kind: Kind | None = None
    """What the configurations are there for."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Set point of the thermostat [K]."""
    group: str | None = None
    """`file` (each run by itself), `folder` (all runs of one folder belong together), or a name."""
    tags: dict[str, str] = {}
    """Free marks, joined with those inherited."""

    def over(self, inherited: Sidecar) -> Sidecar:
        """This sidecar on top of what it inherits."""
        mine = {name: value for name, value in dict(self).items() if value is not None}
        return Sidecar(**{**dict(inherited), **mine, "tags": {**inherited.tags, **self.tags}})

    @classmethod
    def from_declared(cls, declared: Mapping[str, str]) -> Sidecar:
        """The sidecar whose `declared` this is."""
        plain = {name: value for name, value in declared.items() if not name.startswith(TAGS)}
        tags = {name.removeprefix(TAGS): value for name, value in declared.items() if name.startswith(TAGS)}
        return cls.model_validate({**plain, "tags": tags})

    def declared(self) -> dict[str, str]:
        """What is set, as text, for the calculation's record."""
        plain = {name: str(value) for name, value in dict(self).items() if value is not None and name != "tags"}
        return {**plain, **{f"{TAGS}{key}": value for key, value in sorted(self.tags.items())}}
