"""mlpdata: outputs of quantum-chemistry codes as versioned, unit-safe, licensed datasets.

The public names are few and stable; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlpdata.api import Snapshot, Store
    from mlpdata.errors import MlpdataError
    from mlpdata.frames import Frames
    from mlpdata.intake import ingest, sync
    from mlpdata.outcome import IngestReport
    from mlpdata.units import convert

__version__ = "0.1.0"

__all__ = ["Frames", "IngestReport", "MlpdataError", "Snapshot", "Store", "convert", "ingest", "sync"]

_HOME = {
    "Frames": "frames",
    "IngestReport": "outcome",
    "MlpdataError": "errors",
    "Snapshot": "api",
    "Store": "api",
    "convert": "units",
    "ingest": "intake",
    "sync": "intake",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'mlpdata' has no attribute {name!r}")
    value = getattr(import_module(f"mlpdata.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
