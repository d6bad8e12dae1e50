"""store/ -> results/methods.yaml, results/environment.json."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.durable import make_folder, replace
from mlpdata.methods import make_record
from mlpdata.project import write_json


def main() -> int:
    """Write down the DFT parameters of every method, and the software that computes from here on."""
    methods, environment = make_record(Store("store").snapshot())
    make_folder(Path("results"))
    replace(Path("results/methods.yaml"), methods.encode())
    write_json(Path("results/environment.json"), environment)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
