"""dpdata: its parsers of single formats, asked directly.

Its front door turns cells into lower triangles (pitfall X1) and wraps atoms; the parsers below it do neither. They open
files by fixed names, so that each file is laid into a folder of its own, with nothing in it that leads elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.foreign_frames import Reading, Snapshot, finite
from mlpdata.readers.foreign_table import Code
from mlpdata.schema.calculation import LeftOut
