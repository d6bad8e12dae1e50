"""A reader for the outputs of TOY: steps of `symbol x y z fx fy fz` [angstrom, eV/angstrom], each with its energy."""

import re
from collections.abc import Iterator

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import numbers
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.method import Method
from mlpdata.units import Quantity

BLOCK = re.compile(rb"(?ms)^STEP.*?(?=^STEP|^TOY DONE|\Z)")
STEP = re.compile(rb"STEP +\d{1,9}\n((?: [A-Z][a-z]?(?: +\S+){6}\n)+)ENERGY +(\S+) eV\n")


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The header, each step as a block of its own, the ending."""
    done, left_out = source.data.find(b"\nTOY DONE") >= 0, []
    yield Header(Method(code="toy", functional="Lennard-Jones"), "toy", "md", "total", "physical")
    for block in BLOCK.finditer(source.data):
        line, step = source.line(block.start()), STEP.fullmatch(block[0])
        rows = [row.split(maxsplit=1) for row in step[1].splitlines()] if step else []
        labels = {"atomic_numbers": [ATOMIC_NUMBERS.get(symbol.decode()) for symbol, _ in rows], "source_line": [line]}
        try:
            if step is None or None in labels["atomic_numbers"]:
                raise ParseError("expected a whole step of known elements, found something else.")
            table = numbers(b" ".join(six for _, six in rows), 6 * len(rows)).reshape(-1, 6)
            labels |= {"positions": Quantity(table[:, :3], "angstrom"), "energy": Quantity(numbers(step[2], 1), "eV")}
            yield Printed([len(rows)], {**labels, "forces": Quantity(table[:, 3:], "eV/angstrom"), "pbc": [[0, 0, 0]]})
        except ParseError as error:
            left_out.append(LeftOut(line=line, reason=error.message))
    yield Ending("complete" if done else "truncated", "" if done else "no TOY DONE", tuple(left_out))


READER = Reader("toy/out", 1, ("*.toy",), lambda head: head.startswith(b"TOY "), read)
