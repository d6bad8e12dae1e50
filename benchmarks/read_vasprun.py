"""CPU time of reading vasprun.xml: every energy, cell, positions, forces, stress and SCF convergence.

Builds its own molecular dynamics of 64 atoms in VASP's layout (numbers from a seeded generator), reads it with this
package, and a shorter one with ASE and with lxml as the floor of any reader that makes a tree. CPU time of this
process, so that a busy machine does not count; MB/s make the sizes comparable.

    python benchmarks/read_vasprun.py [--megabytes 200] [--peer-megabytes 20]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from reading import ours, speed

N_ATOMS = 64
N_ITERATIONS = 12

HEADER = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.3.0  </i>
  <i name="date" type="string">2024 01 01 </i>
  <i name="time" type="string">00:00:00 </i>
 </generator>
 <incar>
  <i name="EDIFF">      0.00000100</i>
  <i type="int" name="IBRION">     0</i>
 </incar>
{structure}
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
  </generation>
  <varray name="kpointlist" >
   <v>       0.00000000       0.00000000       0.00000000 </v>
  </varray>
  <varray name="weights" >
   <v>       1.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
   <i name="ENMAX">    400.00000000</i>
   <i name="NELECT">    256.00000000</i>
   <i type="int" name="NELM">    60</i>
   <i type="int" name="NSW"> 10000</i>
   <i type="int" name="IBRION">     0</i>
  </separator>
 </parameters>
 <atominfo>
  <atoms>      64 </atoms>
  <types>       1 </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{atoms}
   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
    <rc><c>  64</c><c>Si</c><c>     28.08500000</c><c>      4.00000000</c><c>  PAW_PBE Si 05Jan2001 </c></rc>
   </set>
  </array>
 </atominfo>
{initial}
"""


def table(name: str, rows: np.ndarray, indent: int) -> str:
    space = " " * indent
    lines = "\n".join(f"{space} <v>{x:17.8f}{y:17.8f}{z:17.8f} </v>" for x, y, z in rows)
    return f'{space}<varray name="{name}" >\n{lines}\n{space}</varray>'


def structure(cell: np.ndarray, positions: np.ndarray, name: str = "") -> str:
    space = " " if name else "  "
    return "\n".join((
        f'{space}<structure name="{name}" >' if name else f"{space}<structure>",
        f"{space} <crystal>",
        table("basis", cell, len(space) + 2),
        f'{space}  <i name="volume">{abs(np.linalg.det(cell)):16.8f} </i>',
        table("rec_basis", np.linalg.inv(cell).T, len(space) + 2),
        f"{space} </crystal>",
        table("positions", positions, len(space) + 1),
        f"{space}</structure>",
    ))  # fmt: skip


def energies(free: float, indent: int) -> str:
    space = " " * indent
    tags = zip(("e_fr_energy", "e_wo_entrp", "e_0_energy"), (free, free + 0.002, free + 0.001), strict=True)
    return "\n".join(
        (f"{space}<energy>", *(f'{space} <i name="{k}">{v:16.8f} </i>' for k, v in tags), f"{space}</energy>")
    )


def step(random: np.random.Generator, cell: np.ndarray, positions: np.ndarray) -> str:
    free = -340.0 + random.normal()
    iterations = "\n".join(
        "\n".join((
            "  <scstep>",
            '   <time name="dav">    0.08    0.08</time>',
            '   <time name="total">    3.35    3.35</time>',
            energies(free + 10.0**-i, 3),
            "  </scstep>",
        ))
        for i in range(N_ITERATIONS)
    )  # fmt: skip
    return "\n".join((
        " <calculation>", iterations, structure(cell, positions), table("forces", random.normal(size=(N_ATOMS, 3)), 2),
        table("stress", random.normal(size=(3, 3)) * 10, 2), energies(free, 2),
        '  <time name="totalsc">   49.26   49.30</time>', " </calculation>",
    ))  # fmt: skip


def write(path: Path, megabytes: float) -> None:
    """A run of some `megabytes`: 200 different steps, repeated."""
    random = np.random.default_rng(0)
    cell = np.diag([10.86, 10.86, 10.86])
    start = random.random((N_ATOMS, 3))
    atoms = "\n".join(["    <rc><c>Si</c><c>   1</c></rc>"] * N_ATOMS)
    steps = "\n".join(step(random, cell, start + 0.01 * random.normal(size=start.shape)) for _ in range(200)) + "\n"
    with path.open("w") as file:
        file.write(HEADER.format(structure=structure(cell, start, "primitive_cell"), atoms=atoms,
                                 initial=structure(cell, start, "initialpos")))  # fmt: skip
        for _ in range(max(1, round(megabytes * 1e6 / len(steps)))):
            file.write(steps)
        file.write(structure(cell, start, "finalpos") + "\n</modeling>\n")


def with_ase(path: Path) -> int:
    from ase.io import read

    return len(read(path, index=":", format="vasp-xml"))


def with_lxml(path: Path) -> int:
    from lxml import etree

    count = 0
    for _, element in etree.iterparse(path, tag="calculation"):
        count += 1
        element.clear()
    return count


def peak_memory(path: Path) -> float:
    """Peak memory of a process that reads `path` [MB]; pages of the mapped file are part of it."""
    command = [sys.executable, __file__, "--only-read", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def anonymous_peak(path: Path) -> float:
    """Read `path`, then say the peak of memory that is not the mapped file [MB]."""
    import threading

    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            status = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], float(status.split("RssAnon:")[1].split()[0]) / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    ours(path)
    done.set()
    thread.join()
    return peak[0] or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=20)
    parser.add_argument("--only-read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_read:
        print(anonymous_peak(options.only_read))
        return
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "vasprun.xml"), Path(folder, "vasprun_small.xml")
        write(large, options.megabytes)
        write(small, options.peer_megabytes)
        size, peer = options.megabytes, options.peer_megabytes
        print(f"vasprun.xml of {N_ATOMS} atoms, {size:.0f} MB (peers: {peer:.0f} MB)")
        mine, count = speed(ours, large)
        print(f"mlpdata           {mine:7.1f} MB/s   {count} frames, file digest included")
        for name, read in (("ASE", with_ase), ("lxml iterparse", with_lxml)):
            rate, _ = speed(read, small)
            print(f"{name:17s} {rate:7.1f} MB/s   mlpdata is {mine / rate:.1f} x")
        low, high = peak_memory(small), peak_memory(large)
        print(f"peak memory       {low:7.1f} MB at {peer:.0f} MB, {high:.1f} MB at {size:.0f} MB (mapped file apart)")


if __name__ == "__main__":
    main()
