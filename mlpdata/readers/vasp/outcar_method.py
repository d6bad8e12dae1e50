"""What an OUTCAR says before its first ionic step: tags, potentials, atoms, k-points, and the inputs beside it.

VASP lists the tags that it used, most with few digits; VASP 6 also repeats INCAR. INCAR and KPOINTS beside the OUTCAR
fill what is not printed. Of POTCAR nothing is kept but title, exchange type and checksum: its text is licensed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mlpdata.digest import sha256
from mlpdata.elements import SYMBOLS
from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.archive import Input, Limits
from mlpdata.readers.vasp import method as vasp_method
from mlpdata.readers.vasp.header import Run, Species, element, positive, shared
from mlpdata.readers.vasp.method import CENTRING, Tags
from mlpdata.schema.method import Kpoints, Pseudopotential

_VERSION = re.compile(rb"\s{0,20}vasp\.([^\s]{1,60})")
_DATE = re.compile(rb"\n executed on {1,40}\S{1,80} {1,8}date {1,8}([\d.]{1,12}) {1,8}([\d:]{1,12})")
_TAG = re.compile(rb"\b([A-Z][A-Z0-9_]{1,15}) {0,20}= {0,20}([^\s;,=]{1,40})")
_VECTOR = re.compile(rb"\b(LDAU[LUJ]|EFIELD_PEAD) {0,20}=([ \d.+-]{1,400})")
_COMMENTS = re.compile(rb"(?m)^ {0,4}(?:SYSTEM|POSCAR|KPOINTS|k-points in)\b.*$")
"""Lines that repeat free text of the user, in which tags may seem to be set."""
_POTENTIAL = re.compile(rb"\n POTCAR:")
MOST_POTENTIALS = 1000
_FIELDS = {
    "title": re.compile(rb"\n {1,8}TITEL {0,4}=([^\n]{1,200})"),
    "element": re.compile(rb"\n {1,8}VRHFIN {0,4}= {0,4}([A-Za-z]{1,2})\b"),
    "exchange": re.compile(rb"\n {1,8}LEXCH {0,4}= {0,4}(\w{1,4})"),
    "mass": re.compile(rb"\n {1,8}POMASS {0,4}= {0,20}([^\s;]{1,20})"),
    "valence": re.compile(rb"; {0,4}ZVAL {0,4}= {0,20}([^\s;]{1,20})"),
    "digest": re.compile(rb"\n {1,8}SHA256 {0,4}= {0,20}([0-9a-f]{64})"),
}
_NAMED = re.compile(rb"\n POTCAR: {1,8}([^\n]{1,80})")
_MASSES = re.compile(rb"Mass of Ions in am\n {1,8}POMASS =([ \d.]{1,4000})\n")
_VALENCES = re.compile(rb"Ionic Valenz\n {1,8}ZVAL {1,8}=([ \d.]{1,4000})\n")
_COUNTS = re.compile(rb"\n {1,8}ions per type = {0,40}([^\n]{1,4000}(?:\n {20,40}[\d ]{1,4000})*)")
_N_IONS = re.compile(rb"number of ions {1,20}NIONS = {0,20}(\d{1,9})\b")
_MESH = re.compile(rb"generate k-points for:([ \d]{1,40})\n")
_SHIFT = re.compile(rb"Shift w\.r\.t\. Gamma in fractional coordinates[^\n]{0,40}\n([ \d.+-]{1,80})\n")
_N_POINTS = re.compile(rb"NKPTS = {0,12}(\d{1,9})\b")
_POINTS = re.compile(rb"Following reciprocal coordinates:[^\n]{0,20}\n[^\n]{0,80}\n((?:[ \d.+E-]{10,120}\n){1,100000})")
_DISPERSION = re.compile(rb"\n {1,8}(IVDW|LVDW) {1,20}= {1,20}(\S{1,10})")

_MATTERS = (
    "NELM",
    "EDIFF",
    "IBRION",
    "NSW",
    "ISIF",
    "ISPIN",
    "ICHARG",
    "NELECT",
    "PSTRESS",
    "ISMEAR",
    "SIGMA",
    "ENCUT",
)
"""Tags that every OUTCAR prints and on which the meaning of labels hangs: one that is not readable is told."""
N = TypeVar("N", int, float)
_PRECISION = {"a": "accurate", "n": "normal", "s": "single", "l": "low", "m": "medium", "h": "high"}


def run_of_header(text: bytes, first_step: bytes, companions: Sequence[Input], limits: Limits) -> Run:
    """All that the frames of an OUTCAR share.

    Args:
        text: everything before the first ionic step.
        first_step: that step, where dispersion introduces itself.
        companions: INCAR, KPOINTS, POTCAR of the same run.
        limits: bounds of the input.

    Raises:
        ParseError: no atoms, or a species that nothing names.
        LimitExceeded: more atoms than the machine should hold.
    """
    beside = {_stem(one): one.data[: 64 << 20] for one in companions}
    tags = _tags(text, first_step, beside.get("INCAR", b""))
    species = _species(text, beside.get("POTCAR", b""))
    n_atoms = sum(one.n_atoms for one in species)
    if n_atoms > limits.atoms:
        raise LimitExceeded(f"expected at most {limits.atoms} atoms, found {n_atoms}.")
    date = _DATE.search(text)
    version = _VERSION.match(text)
    printed = [match.decode("latin-1") for match in (*(version.groups() if version else (b"",)),
                                                     *(date.groups() if date else ()))]  # fmt: skip
    numbers = np.repeat(np.array([one.atomic_number for one in species], np.uint8), [one.n_atoms for one in species])
    run = shared(tags, species, numbers, printed, _kpoints(text, beside.get("KPOINTS", b"")), _warnings(text, tags))
    unknown = "the charge is not known: NELECT or a ZVAL cannot be read."
    run = run if np.isfinite(run.charge) else replace(run, warnings=(*run.warnings, unknown))
    if not run.is_elastic_band:
        return run
    # the table is the force of DFT; the springs' part is printed apart, later (pitfall V14)
    return replace(run, header=run.header._replace(forces_are="physical"))


def _stem(source: Input) -> str:
    return next((name for name in ("INCAR", "KPOINTS", "POTCAR") if name in source.path.name), "")


def _warnings(text: bytes, tags: Tags) -> tuple[str, ...]:
    """What the header has to say beside its numbers."""
    told = [
        f"{name} = {tags.used[name]!r} cannot be read."
        for name in _MATTERS
        if name in tags.used and tags.number(name) is None
    ]
    if b"using selective dynamics as specified on POSCAR" in text:
        told.append("selective dynamics: an OUTCAR does not print which atoms were held; their forces are DFT's.")
    return tuple(told)


def _tags(text: bytes, first_step: bytes, incar: bytes) -> Tags:
    """The tags that were used, and those that the user wrote: as VASP 6 repeats them, else as INCAR says."""
    listing = text[text.rfind(b"TITEL") :] if b"TITEL" in text else text
    listing = _COMMENTS.sub(b"", listing)
    used: dict[str, str] = {}
    meta = ""
    for name, value in _decoded(_TAG.finditer(listing)):
        if name == "METAGGA" and value.strip(".-").upper() not in {"F", "T", "", "NONE"}:
            meta = value  # the first listing prints a flag, a later one the name
        used.setdefault(name, value)
    for name in ("ENMAX", "ENMIN"):
        used.pop(name, None)  # those of the last potential
    used |= {name: value.strip() for name, value in _decoded(_VECTOR.finditer(listing))}
    used |= dict(_decoded(_DISPERSION.finditer(first_step)))
    used["METAGGA"] = meta
    if "LDAUTYPE" in used:
        used["LDAU"] = "T"
    if "IMAGES" not in used and b"\n CHAIN: Running the NEB" in text:
        used["IMAGES"] = "1"
    used["PREC"] = _PRECISION.get(used.get("PREC", "")[:1].lower(), used.get("PREC", ""))
    user = _incar(_echo(text) or incar)
    if not user:  # what VASP lists stands in for what the user wrote
        user = {name: value for name, value in used.items() if value}
    return Tags(user, used)


def _decoded(matches: Iterator[re.Match[bytes]]) -> Iterator[tuple[str, str]]:
    return ((match[1].decode("latin-1"), match[2].decode("latin-1")) for match in matches)


def _echo(text: bytes) -> bytes:
    """INCAR as VASP 6 repeats it."""
    begin = text.find(b"\n INCAR:")
    end = text.find(b"\n POTCAR:", begin)
    return text[begin + len(b"\n INCAR:") : end] if 0 <= begin < end else b""


def _incar(text: bytes) -> dict[str, str]:
    """Tags of an INCAR: several on a line after `;`, comments after `#` or `!`; the first counts."""
    found: dict[str, str] = {}
    for line in re.split(r"[\n;]", text.decode("latin-1").replace("\\\n", " ")):
        name, equals, value = re.split("[#!]", line)[0].partition("=")
        if equals and name.strip().isidentifier():
            found.setdefault(name.strip().upper(), value.strip().strip('"'))
    return found


def _species(text: bytes, potcar: bytes) -> list[Species]:
    """The kinds of atom in the order of POSCAR, with how many of each there are."""
    rows = _described(text) or _named(text)
    if not rows:
        raise ParseError("expected potentials (TITEL), found none. The run ended before its first ionic step.")
    for row, (title, digest) in zip(rows, _datasets(potcar), strict=False):
        row["beside"] = digest if title == row["title"] else ""
    counts = _counts(text, len(rows))
    return [_one_species(row, count) for row, count in zip(rows, counts, strict=False)]


def _described(text: bytes) -> list[dict[str, str]]:
    """The potentials whose headers VASP repeats."""
    blocks = (b"\n" + block for block in _POTENTIAL.split(text, MOST_POTENTIALS))
    rows = [{name: _field(pattern, block) for name, pattern in _FIELDS.items()} for block in blocks]
    return [row for row in rows if row["title"]]


def _named(text: bytes) -> list[dict[str, str]]:
    """The potentials of a run that prints little (NWRITE = 0): each is named twice, masses and valences follow."""
    titles = [" ".join(line.decode("latin-1").split()) for line in _NAMED.findall(text[: 1 << 20])[:MOST_POTENTIALS]]
    half = len(titles) // 2
    if titles[:half] != titles[half:]:
        raise ParseError("expected each potential named twice, found others. The header is damaged.")
    columns = {"mass": _MASSES.search(text), "valence": _VALENCES.search(text)}
    rows = [{"title": title} for title in titles[:half]]
    for name, found in columns.items():
        fields = found[1].decode().split() if found else []
        for row, value in zip(rows, fields if len(fields) == half else [], strict=False):
            row[name] = value
    return rows


def _field(pattern: re.Pattern[bytes], block: bytes) -> str:
    match = pattern.search(block)
    return " ".join(match[1].decode("latin-1").split()) if match else ""


def _one_species(row: dict[str, str], n_atoms: int) -> Species:
    title, exchange, printed = row["title"], row.get("exchange", ""), row.get("element", "")
    number, repaired = element(printed, title, row.get("mass", ""))
    digest = f"sha256:{row['digest']}" if row.get("digest") else row.get("beside") or None
    valence = positive(row.get("valence", ""))
    potential = vasp_method.pseudopotential(SYMBOLS[number], title, valence, exchange, digest)
    return Species(n_atoms, number, potential, repaired if printed else "")


def _datasets(potcar: bytes) -> Iterator[tuple[str, str]]:
    """Title and checksum of each dataset of a POTCAR: the one printed in it, else that of its bytes."""
    for dataset in potcar.split(b"End of Dataset\n"):
        title = _field(_FIELDS["title"], dataset)
        if title:
            printed = _field(_FIELDS["digest"], dataset)
            yield title, f"sha256:{printed}" if printed else f"sha256-of-dataset:{sha256(dataset)}"


def potentials(potcar: bytes) -> list[Pseudopotential]:
    """Identities of the datasets of a POTCAR, which is not kept."""
    found = []
    for dataset, (title, digest) in zip(potcar.split(b"End of Dataset\n"), _datasets(potcar), strict=False):
        row = {name: _field(pattern, dataset) for name, pattern in _FIELDS.items()}
        number, _ = element(row["element"], title, row["mass"])
        valence = positive(row["valence"])
        found.append(vasp_method.pseudopotential(SYMBOLS[number], title, valence, row["exchange"], digest))
    return found


def _counts(text: bytes, n_species: int) -> list[int]:
    """Atoms of each kind, `ions per type =   64  128`; large counts touch and are split by column.

    Raises:
        ParseError: no such line, or counts that do not add up to NIONS.
    """
    line, announced = _COUNTS.search(text), _N_IONS.search(text)
    if line is None or announced is None:
        raise ParseError("expected NIONS and ions per type, found no such lines. The run ended before its first step.")
    total, printed = int(announced[1]), line[1].rstrip()
    widths = (0, 4, 5, 6, 7, 8)
    for fields in (_split(printed, width, n_species) for width in widths):
        if fields and len(fields) <= n_species and all(map(bytes.isdigit, fields)) and sum(map(int, fields)) == total:
            return [int(field) for field in fields]
    raise ParseError(
        f"expected ions per type that add up to NIONS = {total}, found {printed[:60].decode('latin-1')!r}."
    )


def _split(printed: bytes, width: int, n_species: int) -> list[bytes]:
    """The fields of a row: at white space, or `n_species` of one width counted from its end."""
    if width == 0:
        return printed.split()
    row = printed.rjust(width * n_species)[-width * n_species :]
    return [row[i : i + width].strip() for i in range(0, len(row), width)]


def _kpoints(text: bytes, beside: bytes) -> Kpoints:
    """The sampling as printed; some versions leave mesh and centring to KPOINTS beside it."""
    points, printed, moved = _N_POINTS.search(text), _MESH.search(text), _SHIFT.search(text)
    count = int(points[1]) if points else None
    if b"interpolating k-points between supplied coordinates" in text:
        return Kpoints(centring="line", count=count)
    if b"Automatic generation of k-mesh" not in text:
        return Kpoints(centring="list", count=count)
    mesh, centring = _written(beside)
    return Kpoints(
        mesh=_three(int, printed[1]) if printed else mesh,
        shift=_three(float, moved[1]) if moved else None,
        centring=centring or _centring(text),
        count=count,
    )


def _written(kpoints: bytes) -> tuple[tuple[int, int, int] | None, str | None]:
    """Mesh and centring of a KPOINTS file: comment, 0, Gamma or Monkhorst-Pack, divisions."""
    lines = [line.strip() for line in kpoints.splitlines()]
    if len(lines) < 4 or lines[1].split()[:1] != [b"0"]:
        return None, None
    centring = {b"g": "gamma", b"m": "monkhorst-pack"}.get(lines[2][:1].lower())
    return (_three(int, b" ".join(lines[3].split()[:3])) if centring else None), centring


def _three(kind: Callable[[bytes], N], words: bytes) -> tuple[N, N, N] | None:
    """Three numbers; None where they are not."""
    try:
        x, y, z = map(kind, words.split())
    except ValueError:
        return None
    return x, y, z


def _centring(text: bytes) -> str | None:
    """Whether Gamma is among the irreducible points."""
    points = _POINTS.search(text)
    if points is None:
        return None
    first = [vasp_method.real(word.decode("latin-1")) for word in points[1].split(b"\n", 1)[0].split()[:3]]
    return None if None in first else CENTRING["monkhorst-pack" if any(first) else "gamma"]
