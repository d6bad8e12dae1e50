"""models/main/, store/ -> results/md/, results/md.json."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.cli.output import progress
from mlpdata.project import load_params, write_json
from mlpdata.workflow import run_dynamics


def main() -> int:
    """Run molecular dynamics from each temperature and measure drift and stability."""
    params = load_params(Path("params.yaml")).md
    with progress("dynamics") as advance:
        summary = run_dynamics(Path("models/main"), Store("store").snapshot(), params, Path("results/md"), advance)
    write_json(Path("results/md.json"), summary)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
