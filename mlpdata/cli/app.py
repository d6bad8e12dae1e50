"""The application: how verbs are registered, how errors reach the user."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import click
import typer

from mlpdata.errors import MlpdataError

app = typer.Typer(
    name="mlpdata",
    help="Outputs of quantum-chemistry codes as versioned, unit-safe, licensed datasets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    from mlpdata.cli import dataset, learn, project, sources  # noqa: F401  the verbs register themselves

    try:
        code: Any = app(args=arguments, standalone_mode=False)
    except MlpdataError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing half done was kept.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `mlpdata sql ... | head` is no error
        sys.exit(0)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f"expected the package {error.name}, found none. Install it by: pip install 'mlpdata[{extra}]'", 2)
    sys.exit(code if isinstance(code, int) else 0)


EXTRAS = {"torch": "train", "e3nn": "train", "ase": "train", "safetensors": "train", "dvc": "pipeline", "altair": "report",
          "vl_convert": "report", "jinja2": "report"}  # fmt: skip
"""Which extra brings a package."""


def _fail(message: str, code: int) -> None:
    print(f"mlpdata: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201  one line, whatever it quotes
    sys.exit(code)
