"""The application: how verbs are registered, how errors reach the user."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from mlpdata.cli.output import printable
from mlpdata.errors import MlpdataError

app = typer.Typer(
    name="mlpdata",
    help="Outputs of quantum-chemistry codes as versioned, unit-safe, licensed datasets.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


COMMAND_LINE: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What a wrong command line raises; typer has carried a click of its own since 0.26 and does not name this class."""


@app.callback()
def options(
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more; twice for details.")] = 0,
) -> None:
    """Outputs of quantum-chemistry codes as versioned, unit-safe, licensed datasets."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("mlpdata").setLevel(level)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb; a user's mistake ends in one line on stderr and the exit code of its kind."""
    for module in (
        "project",
        "sources",
        "tree",
        "failed",
        "annotate",
        "dataset",
        "versions",
        "upkeep",
        "integrity",
        "export",
        "learn",
    ):  # in the order in which help names the verbs
        import_module(f"mlpdata.cli.{module}")

    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(reported(lambda: app(args=given, standalone_mode=False)))


def reported(run: Callable[[], Any]) -> int:
    """Exit code of `run`; a user's mistake is one line on stderr, never a traceback."""
    try:
        code = run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `mlpdata sql ... | head` is no error
        return 0
    except (MlpdataError, COMMAND_LINE, typer.Abort, KeyboardInterrupt, ImportError, OSError, MemoryError) as error:
        found = _explained(error)
        if found is None:
            raise
        print(printable(f"mlpdata: {' '.join(found[0].split())}"), file=sys.stderr)  # noqa: T201  one line
        return found[1]
    return code if isinstance(code, int) else 0


def _explained(error: BaseException) -> tuple[str, int] | None:
    """What to say of an error, and the exit code; None where it is a mistake of ours."""
    if isinstance(error, MlpdataError):
        return str(error), error.exit_code
    if isinstance(error, COMMAND_LINE):
        return f"{error.format_message().rstrip('.')}. See mlpdata --help.", 2
    if isinstance(error, ImportError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        cure = f"expected the package {error.name}, found none. Install it by: pip install 'mlpdata[{extra}]'"
        return None if extra is None else (cure, 2)
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}expected the system to allow it, found: {error.strerror or error}.", 4
    if isinstance(error, MemoryError):
        return "expected enough memory, found none left. Narrow the query, or read fewer files at a time.", 4
    return "interrupted; nothing half done was kept.", 130


EXTRAS = {"torch": "train", "e3nn": "train", "ase": "train", "safetensors": "train", "dvc": "pipeline", "altair": "report",
          "vl_convert": "report", "jinja2": "report", "cclib": "adapters", "dpdata": "adapters", "obstore": "s3"}  # fmt: skip
"""Which extra brings a package."""
