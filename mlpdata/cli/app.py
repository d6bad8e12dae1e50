"""The application: how verbs are registered, how errors reach the user."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

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
    for module in ("project", "sources", "dataset", "learn"):  # in the order in which help names the verbs
        import_module(f"mlpdata.cli.{module}")

    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(reported(lambda: app(args=given, standalone_mode=False)))


def reported(run: Callable[[], Any]) -> int:
    """Exit code of `run`; a user's mistake is one line on stderr, never a traceback."""
    try:
        code = run()
    except MlpdataError as error:
        return _say(str(error), error.exit_code)
    except COMMAND_LINE as error:
        return _say(f"{error.format_message()} See mlpdata --help.", 2)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted; nothing half done was kept.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `mlpdata sql ... | head` is no error
        return 0
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _say(f"expected the package {error.name}, found none. Install it by: pip install 'mlpdata[{extra}]'", 2)
    return code if isinstance(code, int) else 0


EXTRAS = {"torch": "train", "e3nn": "train", "ase": "train", "safetensors": "train", "dvc": "pipeline", "altair": "report",
          "vl_convert": "report", "jinja2": "report"}  # fmt: skip
"""Which extra brings a package."""


def _say(message: str, code: int) -> int:
    print(f"mlpdata: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201  one line, whatever it quotes
    return code
