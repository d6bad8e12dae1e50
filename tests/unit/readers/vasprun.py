"""vasprun.xml written as VASP lays it out, with a place for each trap."""

from __future__ import annotations

from collections.abc import Mapping

FREE, SIGMA0, NO_ENTROPY = -10.5, -10.4, -10.3


def table(name: str, rows: list[tuple[float, float, float]], indent: int) -> str:
    space = " " * indent
    lines = "".join(f"{space} <v>{x:17.8f}{y:17.8f}{z:17.8f} </v>\n" for x, y, z in rows)
    return f'{space}<varray name="{name}" >\n{lines}{space}</varray>\n'


def energies(values: Mapping[str, float], indent: int) -> str:
    space = " " * indent
    lines = "".join(f'{space} <i name="{name}">{value:16.8f} </i>\n' for name, value in values.items())
    return f"{space}<energy>\n{lines}{space}</energy>\n"


def three(free: float = FREE, no_entropy: float = NO_ENTROPY, sigma0: float = SIGMA0) -> dict[str, float]:
    return {"e_fr_energy": free, "e_wo_entrp": no_entropy, "e_0_energy": sigma0}


def iteration(values: Mapping[str, float]) -> str:
    return '  <scstep>\n   <time name="total">    3.35    3.35</time>\n' + energies(values, 3) + "  </scstep>\n"


CELL = [(4.0, 0.0, 0.0), (0.0, 5.0, 0.0), (1.0, 0.0, 6.0)]
FRACTIONAL = [(0.0, 0.0, 0.0), (0.25, 0.5, -0.5)]
CARTESIAN = [[0.0, 0.0, 0.0], [0.5, 2.5, -3.0]]
FORCES = [(0.125, -0.25, 1.5), (-0.125, 0.25, -1.5)]
STRESS = [(16.02176634, 0.0, 1.0), (0.0, -32.04353268, 0.0), (1.0, 0.0, 0.5)]


def structure(fractional: list[tuple[float, float, float]] = FRACTIONAL, name: str = "") -> str:
    head = f' <structure name="{name}" >\n' if name else "  <structure>\n"
    indent = 1 if name else 2
    space = " " * indent
    return (
        head + f"{space} <crystal>\n" + table("basis", CELL, indent + 2)
        + f'{space}  <i name="volume">    120.00000000 </i>\n' + f"{space} </crystal>\n"
        + table("positions", fractional, indent + 1) + f"{space}</structure>\n"
    )  # fmt: skip


def calculation(
    printed: Mapping[str, float] | None = None,
    iterations: list[Mapping[str, float]] | None = None,
    *,
    shift: float = 0.0,
    stress: list[tuple[float, float, float]] | None = None,
    after: str = "",
) -> str:
    """One ionic step; `shift` moves the second atom along x [fractional]."""
    moved = [FRACTIONAL[0], (FRACTIONAL[1][0] + shift, *FRACTIONAL[1][1:])]
    loop = [three(free=FREE + 0.1), three()] if iterations is None else iterations
    return (
        " <calculation>\n" + "".join(map(iteration, loop)) + structure(moved) + table("forces", FORCES, 2)
        + (table("stress", STRESS if stress is None else stress, 2) if stress != [] else "")
        + after + energies(printed or three(), 2)
        + '  <time name="totalsc">   49.26   49.30</time>\n </calculation>\n'
    )  # fmt: skip


PARAMETERS = {
    "ENMAX": "    400.00000000", "NELECT": "      8.00000000", "NELM": "    60", "EDIFF": "      0.00000100",
    "ISMEAR": "     0", "SIGMA": "      0.05000000", "ISPIN": "     1", "GGA": "--", "NSW": "    10", "IBRION": "     0",
    "ISIF": "     2", "PSTRESS": "      0.00000000", "TEBEG": "    300.00000000", "TEEND": "    300.00000000",
}  # fmt: skip
TYPES = ((1, "Si", 28.085, 4.0, "PAW_PBE Si 05Jan2001"), (1, "Ge", 72.61, 4.0, "PAW_PBE Ge 05Jan2001"))


def tags(values: Mapping[str, str], indent: int) -> str:
    return "".join(f'{" " * indent}<i name="{name}">{value}</i>\n' for name, value in values.items())


def header(
    incar: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None, types: tuple = TYPES,
    version: str = "6.3.0",
) -> str:  # fmt: skip
    atoms = "".join(f"    <rc><c>{kind[1]:2s}</c><c>{i + 1:4d}</c></rc>\n" for i, kind in enumerate(types))
    kinds = "".join(
        f"    <rc><c>{n:4d}</c><c>{e:2s}</c><c>{m:16.8f}</c><c>{z:16.8f}</c><c> {title:40s}</c></rc>\n"
        for n, e, m, z, title in types
    )
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">{version}  </i>
  <i name="date" type="string">2024 01 02 </i>
  <i name="time" type="string">03:04:05 </i>
 </generator>
 <incar>
{tags(incar or {}, 2)} </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       4        5        6 </v>
   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>
  </generation>
  <varray name="kpointlist" >
   <v>       0.00000000       0.00000000       0.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
{tags({**PARAMETERS, **(parameters or {})}, 3)}  </separator>
 </parameters>
 <atominfo>
  <atoms>{len(types):8d} </atoms>
  <types>{len(types):8d} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{atoms}   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
{kinds}   </set>
  </array>
 </atominfo>
{structure(name="initialpos")}"""


FOOTER = structure(name="finalpos") + "</modeling>\n"


def vasprun(*steps: str, **shared: object) -> str:
    """A whole file of the given ionic steps."""
    return header(**shared) + "".join(steps) + FOOTER  # type: ignore[arg-type]
