"""Theory: which calculations may be one training target, and why others may not.

`Method.theory` is a shortcut for "the same". Here two methods are compared field by field, with what no hash can
know: potentials and +U terms count where both methods have the element, smearing counts where it moves the energy,
spin treatment never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from mlpdata.schema.method import Method

MAX_ENTROPY = 1e-3
"""Smearing is a setting where it lowers the energy by less than this [eV/atom]."""

PLAIN_FIELDS = {
    "functional": "another functional is another surface",
    "exact_exchange": "another fraction of exact exchange is another surface",
    "correlation": "another correlation method is another surface",
    "dispersion": "another dispersion correction is another surface",
    "relativity": "another treatment of relativity is another surface",
    "solvent": "another solvent is another surface",
    "external": "another external field is another surface",
    "state": "another electronic state is another surface",
    "excited": "ground and excited states are two surfaces",
    "auxiliary_basis": "another auxiliary basis shifts the energies",
}
"""Fields of `Method` that must be equal, and why."""
SILENT = {"dispersion", "relativity", "solvent"}
"""Fields of which codes say nothing where there is none: "none" and no statement are the same."""
NO_ENTROPY = {"fixed", "tetrahedron"}
"""Occupations without an entropy term."""


class Difference(NamedTuple):
    """One reason why two methods are not one theory."""

    field: str
    """Name of the field of `Method`."""
    values: tuple[str, str]
    """What the two say."""
    reason: str
    """Why that counts."""

    def __str__(self) -> str:
        return f"{self.field}: {self.values[0]} against {self.values[1]}; {self.reason}."


class Finding(NamedTuple):
    """One sentence on the theories of a store."""

    level: Literal["error", "note"]
    code: str
    """theories-mixed, spin-unchecked, smearing-differs, functional-unknown."""
    message: str


def differences(
    first: Method, second: Method, entropy: tuple[float | None, float | None] = (None, None)
) -> list[Difference]:
    """Why two methods are not one theory, field by field; empty where they are.

    Args:
        first: a method.
        second: another.
        entropy: largest |F - E0| of the configurations of each [eV/atom]; None where it is not known.
    """
    if first.theory == second.theory and first.smearing == second.smearing:
        return []
    found = [
        Difference(name, (_said(a), _said(b)), reason)
        for name, reason in PLAIN_FIELDS.items()
        if (a := _plain(first, name)) != (b := _plain(second, name))
    ]
    return [
        *found,
        *_basis(first, second),
        *_potentials(first, second),
        *_hubbard(first, second),
        *_smearing(first, second, entropy),
    ]


def _plain(method: Method, name: str) -> Any:
    value = getattr(method, name)
    return None if name in SILENT and value == "none" else value


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "not stated" if value is None else str(value)


def _basis(first: Method, second: Method) -> list[Difference]:
    """Another basis set is another surface; the cutoff of plane waves is a setting."""
    a, b = ("plane waves" if method.cutoff_energy is not None else method.basis for method in (first, second))
    return [] if a == b else [Difference("basis", (_said(a), _said(b)), "energies of two basis sets do not mix")]


def _potentials(first: Method, second: Method) -> list[Difference]:
    """Potentials must agree on the elements that both have: a bulk and its isolated atom share only one."""
    ours, theirs = (_titles(method) for method in (first, second))
    return [
        Difference("pseudopotentials", (ours[element], theirs[element]), f"another potential for {element}")
        for element in sorted(ours.keys() & theirs.keys())
        if ours[element] != theirs[element]
    ]


def _titles(method: Method) -> dict[str, str]:
    elements = sorted({potential.element for potential in method.pseudopotentials})
    return {
        element: ", ".join(sorted({p.title for p in method.pseudopotentials if p.element == element}))
        for element in elements
    }


def _hubbard(first: Method, second: Method) -> list[Difference]:
    """+U terms must agree on the elements that both have; where a method does not list its elements, on all."""
    ours, theirs = (_terms(method) for method in (first, second))
    listed = [set(_titles(method)) for method in (first, second)]
    shared = listed[0] & listed[1] if all(listed) else ours.keys() | theirs.keys()
    return [
        Difference("hubbard", (ours.get(element, "none"), theirs.get(element, "none")), f"another U on {element}")
        for element in sorted(shared)
        if ours.get(element) != theirs.get(element)
    ]


def _terms(method: Method) -> dict[str, str]:
    """The +U terms of each element as text; zero terms and the numbers of kinds (Fe1, Fe2) left out."""
    terms: dict[str, set[str]] = {}
    for term in method.hubbard:
        if term.u or term.j:
            element = term.species.rstrip("0123456789_")
            text = f"U({term.orbital or '?'}) = {term.u:g} eV, J = {term.j:g} eV, {term.scheme or 'unknown scheme'}"
            terms.setdefault(element, set()).add(text)
    return {element: "; ".join(sorted(found)) for element, found in terms.items()}


def _smearing(first: Method, second: Method, entropy: tuple[float | None, float | None]) -> list[Difference]:
    """Smearing is a setting if it agrees or moves no energy; an electronic temperature is always theory."""
    if first.smearing == second.smearing:
        return []
    values = (_broadening(first), _broadening(second))
    methods = {method.smearing.method for method in (first, second) if method.smearing}
    if "fermi-dirac" in methods:
        return [Difference("smearing", values, "an electronic temperature is part of the surface")]
    lowered = [_entropy(method, known) for method, known in zip((first, second), entropy, strict=True)]
    if all(value is not None and value < MAX_ENTROPY for value in lowered):
        return []
    largest = max((value for value in lowered if value is not None), default=None)
    size = f"{largest * 1000:.2f} meV/atom" if largest is not None else "by an unknown amount"
    return [Difference("smearing", values, f"it lowers the energy, {size}, which is not below 1 meV/atom")]


def _broadening(method: Method) -> str:
    if method.smearing is None:
        return "not stated"
    width = method.smearing.width
    return method.smearing.method + ("" if width is None else f" {width:g} eV")


def _entropy(method: Method, known: float | None) -> float | None:
    """Largest lowering of the energy by smearing [eV/atom]; zero where there is none."""
    if method.smearing is None or method.smearing.method in NO_ENTROPY:
        return 0.0
    return known


class _Alike(NamedTuple):
    """Methods with one theory hash and one smearing: no need to compare them with each other."""

    members: list[int]
    method: Method
    n_configurations: int
    entropy: float | None


def _alike(methods: Sequence[Method], counts: Sequence[int], entropy: Sequence[float | None]) -> list[_Alike]:
    """Methods gathered by theory hash and smearing, the most configurations first, then by name."""
    gathered: dict[str, list[int]] = {}
    for index, method in enumerate(methods):
        gathered.setdefault(f"{method.theory} {_broadening(method)}", []).append(index)
    alike = []
    for _, members in sorted(gathered.items()):
        members.sort(key=lambda i: (-counts[i], methods[i].id))
        lowered = [entropy[i] for i in members]
        worst = None if None in lowered else max(value for value in lowered if value is not None)
        alike.append(_Alike(members, methods[members[0]], sum(counts[i] for i in members), worst))
    return sorted(alike, key=lambda one: -one.n_configurations)


def _against(theory: Sequence[_Alike], stranger: _Alike) -> list[Difference]:
    """Reasons of the first of `theory` that has any against `stranger`."""
    pairs = (differences(one.method, stranger.method, (one.entropy, stranger.entropy)) for one in theory)
    return next(filter(None, pairs), [])


def _grouped(alike: Sequence[_Alike]) -> list[list[_Alike]]:
    """Each joins the first theory in which nothing speaks against it."""
    theories: list[list[_Alike]] = []
    for one in alike:
        home = next((theory for theory in theories if not _against(theory, one)), None)
        if home is None:
            theories.append([one])
        else:
            home.append(one)
    return sorted(theories, key=lambda theory: -sum(one.n_configurations for one in theory))


def divide(
    methods: Sequence[Method],
    n_configurations: Sequence[int] | None = None,
    entropy: Sequence[float | None] | None = None,
) -> list[list[int]]:
    """Indices of the methods of each theory, the theory with most configurations first.

    Agreement on shared elements is not transitive, so methods are taken by their number of configurations, then by
    name: the order of the input does not matter.

    Args:
        methods: methods of a store.
        n_configurations: how many configurations each has; one where left out.
        entropy: largest |F - E0| of each [eV/atom], None where unknown.
    """
    alike = _alike(methods, n_configurations or [1] * len(methods), entropy or [None] * len(methods))
    return [[index for one in theory for index in one.members] for theory in _grouped(alike)]


def one_theory(
    methods: Sequence[Method],
    n_configurations: Sequence[int],
    entropy: Sequence[float | None] | None = None,
) -> list[Finding]:
    """What stands against training on all these methods as one target: errors, then notes.

    Args:
        methods: methods of a store.
        n_configurations: how many configurations each has.
        entropy: largest |F - E0| of each [eV/atom], None where unknown.
    """
    theories = _grouped(_alike(methods, n_configurations, entropy or [None] * len(methods)))
    errors = []
    for other in theories[1:]:
        count = sum(one.n_configurations for one in other)
        reasons = " ".join(map(str, _against(theories[0], other[0])))
        message = f"{count} configurations are of another theory than the main one. {reasons}"
        errors.append(Finding("error", "theories-mixed", message))
    groups = [[methods[index] for one in theory for index in one.members] for theory in theories]
    return errors + [remark for group in groups for remark in _remarks(group)]


def _remarks(members: Sequence[Method]) -> list[Finding]:
    """What a user should know of methods that count as one theory."""
    remarks = []
    spins = sorted({method.spin for method in members if method.spin})
    if len(spins) > 1:
        message = f"{' and '.join(spins)} are one surface only where the moment vanishes; nobody compared them."
        remarks.append(Finding("note", "spin-unchecked", message))
    widths = sorted({_broadening(method) for method in members})
    if len(widths) > 1:
        message = f"{', '.join(widths)}: settings, since they lower no energy by 1 meV/atom."
        remarks.append(Finding("note", "smearing-differs", message))
    if any(method.functional is None for method in members):
        remarks.append(Finding("note", "functional-unknown", "the outputs do not name the functional."))
    return remarks
