"""Sidecar: what `mlpdata.yaml` beside the outputs says of them; subfolders inherit it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mlpdata.digest import canonical_json
from mlpdata.schema.calculation import EnergyKind, Kind
from mlpdata.schema.method import Method
from mlpdata.schema.noun import Noun

SIDECAR = "mlpdata.yaml"
MAPPINGS = ("units", "names", "tags")
"""Fields of names and values, joined with those inherited; among what is declared `tags.name`."""


def _or_nothing(text: Any) -> Any:
    return None if isinstance(text, str) and not text.strip() else text


Text = Annotated[str | None, BeforeValidator(_or_nothing)]
"""Text of which an empty one says nothing, as where a script sets a variable to nothing: no group is named so."""


class Declared(Noun):
    """What the user says of numbers whose file states neither units nor meaning: extxyz, ASE databases."""

    units: dict[str, str] = {}
    """By dimension: {"energy": "eV", "length": "angstrom", "stress": "kbar"}. Force is energy/length unless said."""
    names: dict[str, str] = {}
    """By property of the registry, or `virial`: the name that the file uses, {"energy": "REF_energy"}."""
    energy_kind: EnergyKind | None = None
    """What the energies are; unknown where nothing is said."""
    stress_sign: Literal["tension", "compression"] = "tension"
    """What a positive stress means."""
    method: Method | None = None
    """Level of theory, for files that state none."""


class Sidecar(Noun):
    """What the files themselves do not say. A field that is not set is inherited from the folder above."""

    license: str | None = None
    """SPDX expression."""
    citation: Text = None
    """How to cite the data."""
    kind: Kind | None = None
    """What the configurations are there for."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Set point of the thermostat [K]."""
    group: Text = None
    """`file` (each run by itself), `folder` (all runs of one folder belong together), or a name."""
    system: Text = None
    """Name of what was calculated."""
    tags: dict[str, str] = {}
    """Free marks, joined with those inherited."""
    units: dict[str, str] = {}
    """Units of numbers whose file states none, by dimension."""
    names: dict[str, str] = {}
    """Names that such files use, by property."""
    energy_kind: EnergyKind | None = None
    """What the energies of such files are."""
    stress_sign: Literal["tension", "compression"] | None = None
    """What a positive stress means in such files; tension where nothing is said."""
    method: Method | None = None
    """Level of theory of files that state none."""

    def over(self, inherited: Sidecar) -> Sidecar:
        """This sidecar on top of what it inherits."""
        mine = {name: value for name, value in dict(self).items() if value is not None}
        joined = {name: {**getattr(inherited, name), **getattr(self, name)} for name in MAPPINGS}
        return Sidecar(**{**dict(inherited), **mine, **joined})

    @property
    def of_numbers(self) -> Declared | None:
        """What is said of numbers without units; None where no unit is named."""
        if not self.units:
            return None
        said = {name: value for name in Declared.model_fields if (value := getattr(self, name)) is not None}
        return Declared(**said)

    def fields(self) -> dict[str, Any]:
        """What is set, by field; those of names and values taken apart as `tags.name`."""
        plain = {name: value for name, value in dict(self).items() if value is not None and name not in MAPPINGS}
        joined = {f"{name}.{key}": value for name in MAPPINGS for key, value in sorted(getattr(self, name).items())}
        return {**plain, **joined}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Sidecar:
        """The sidecar whose `fields` these are, values validated anew; they may also be text."""
        nested: dict[str, Any] = {name: {} for name in MAPPINGS}
        for name, value in fields.items():
            field, _, key = name.partition(".")
            if key:
                nested[field][key] = value
            else:
                nested[field] = value
        return cls.model_validate(nested)

    @classmethod
    def from_declared(cls, declared: Mapping[str, str]) -> Sidecar:
        """The sidecar whose `declared` this is."""
        method = {"method": json.loads(declared["method"])} if "method" in declared else {}
        return cls.from_fields({**declared, **method})

    def declared(self) -> dict[str, str]:
        """What is set, as text, for the calculation's record."""
        return {
            name: canonical_json(value.as_json()).decode() if isinstance(value, Method) else str(value)
            for name, value in self.fields().items()
        }


class SidecarFile(Sidecar):
    """A whole `mlpdata.yaml`: what it says of its folder and those below, and rules that say more of single runs."""

    from_path: str | tuple[str, ...] = ()
    """Templates such as `{system}/{temperature}K`, relative to the folder of the file; the first that matches counts."""
    map: str | tuple[str, ...] = ()
    """CSV files in the folder of the file or below, whose column `path` is relative to it."""
    runs: dict[str, Sidecar] = {}
    """More of the runs whose path, relative to the folder, matches a pattern such as `md_*` or `**/slab`."""

    @property
    def said(self) -> Sidecar:
        """What it says of all runs."""
        return Sidecar(**{name: getattr(self, name) for name in Sidecar.model_fields})
