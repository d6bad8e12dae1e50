"""What every reader must prove, for those of ORCA on their own files: cuts, spoiled numbers, flipped bits."""

from __future__ import annotations

from pathlib import Path

from mlpdata.readers.orca import engrad as orca_engrad
from mlpdata.readers.orca import hess as orca_hess
from mlpdata.readers.orca import output as orca
from mlpdata.readers.orca import property as orca_property
from mlpdata.testing.contracts import ReaderContract

FILES = Path(__file__).parents[2] / "data" / "orca"


class TestOut(ReaderContract):
    reader = orca.READER
    fixtures = [FILES / "opt.out", FILES / "md.out"]
    end_mark = b"ORCA TERMINATED NORMALLY"


class TestEngrad(ReaderContract):
    reader = orca_engrad.READER
    fixtures = [FILES / "opt.engrad"]


class TestProperty(ReaderContract):
    reader = orca_property.READER
    fixtures = [FILES / "opt.property.json"]


class TestHess(ReaderContract):
    reader = orca_hess.READER
    fixtures = [FILES / "opt.hess"]
    end_mark = b"$end"
