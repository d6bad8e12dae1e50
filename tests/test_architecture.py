"""The floors: a module imports only from below, never in a circle; heavy libraries have one home each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mlpdata"

FLOORS = (
    {"errors", "units", "digest", "durable"},
    {"schema", "frames", "neighbors", "elements"},
    {"readers", "checks", "store"},
    {
        "discover",
        "said",
        "search",
        "standing",
        "tree",
        "scan",
        "taking",
        "portions",
        "relating",
        "ignored",
        "layouts",
        "reaction_paths",
        "relations",
        "joining",
        "native",
        "runs",
        "ends",
        "ahead",
        "cluster",
        "known",
        "outcome",
        "intake",
        "rebuilding",
        "query",
        "views",
        "emit",
        "annotate",
        "attribute_changes",
        "differences",
        "retract",
        "purging",
        "merging",
        "inspection",
        "causes",
        "run_folder",
        "diagnosis",
        "failures",
    },
    {"curate"},
    {"loader"},
    {"training"},
    {"dynamics", "evaluate", "derived", "interop", "provenance"},
    {"api", "project", "methods", "workflow", "summary", "report", "cli", "testing", "__init__"},
)
"""From the ground up. Names are those of modules or packages directly below mlpdata/."""

APART = {"readers", "checks", "store"}
"""These three never see each other: they meet in `runs` and `intake`."""

HOMES = {
    "pint": {"units"},
    "vesin": {"neighbors"},
    "lxml": {"readers"},
    "h5py": {"readers", "interop"},
    "zarr": {"store"},
    "duckdb": {"query"},
    "obstore": {"store"},
    "e3nn": {"training"},
    "nvalchemiops": {"loader"},
    "torch": {"loader", "training", "dynamics", "evaluate", "workflow", "cli"},
}
"""The only places that may import these libraries."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The module or package directly below mlpdata/ that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def imports(path: Path) -> list[tuple[str, int, bool]]:
    """Absolute module names imported anywhere in a file, with line, and whether for type checking only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, node.lineno, id(node) in typing_only) for name in names]
    return found


def test_every_module_has_a_floor() -> None:
    assert {place(path) for path in MODULES} == set().union(*FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_floor_or_below(path: Path) -> None:
    here = place(path)
    for name, line, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "mlpdata" or len(parts) == 1:
            continue
        there = parts[1] if (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file() else "__init__"
        if there == here or (here == "__init__" and there != "pipelines"):
            continue
        where = f"{path}:{line} imports {name}"
        assert floor(there) <= floor(here), f"{where}, which is a floor above"
        assert not {here, there} <= APART, f"{where}: readers, checks and store never see each other"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_heavy_library_is_imported_in_its_home_only(path: Path) -> None:
    for name, line, for_typing in imports(path):
        library = name.split(".")[0]
        if library in HOMES and not for_typing:
            assert place(path) in HOMES[library], f"{path}:{line} imports {library}, whose home is {HOMES[library]}"


def test_there_is_no_circle_of_imports() -> None:
    graph = {module_name(path): edges(path) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for there in sorted(graph[name]):
                visit(there, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def edges(path: Path) -> set[str]:
    """Modules that are loaded when `path` is: imports at its top level, not those inside functions."""
    known = {module_name(other) for other in MODULES}
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in found if name in known} - {module_name(path)}


def test_what_is_durable_is_written_in_one_place() -> None:
    """No module but durable.py syncs, renames or replaces files."""
    for path in MODULES:
        if path.name == "durable.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in {"os.fsync", "os.rename", "os.replace", "shutil.move"}, (
                    f"{path}:{node.lineno} {called}"
                )


@pytest.mark.parametrize(
    "path", [*MODULES, *sorted((ROOT / "pipelines").rglob("*.py"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_nothing_runs_or_unpacks_foreign_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "yaml.load", "pickle.load", "pickle.loads", "os.system"}, (
                f"{path}:{node.lineno}"
            )
            assert not any(word.arg == "shell" for word in node.keywords), f"{path}:{node.lineno} uses a shell"
            assert not any(
                word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords
            ), f"{path}:{node.lineno} unpickles"
            if called == "torch.load":
                assert any(
                    word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords
                ), path


def test_a_stage_fits_on_a_page() -> None:
    for path in (ROOT / "pipelines").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_the_installed_packages_are_all_there_are() -> None:
    """pyproject.toml lists packages by name, since pipelines/ stands at the top: none may be forgotten."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {module_name(path) for path in PACKAGE.rglob("__init__.py")} | {"mlpdata.pipelines"}
    assert listed == folders
