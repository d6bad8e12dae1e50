"""The command line: one verb a function, heavy modules loaded in the verb that needs them."""

from mlpdata.cli.app import main

__all__ = ["main"]
