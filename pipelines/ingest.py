"""raw outputs -> store/, dataset.json."""

import sys
from pathlib import Path

from mlpdata.cli.app import reported
from mlpdata.cli.outcome import concluded
from mlpdata.project import load_params, write_json
from mlpdata.workflow import make_dataset


def main() -> int:
    """Bring the store to exactly what the folder of raw outputs holds; a damaged file costs itself only."""
    dataset, report = make_dataset(load_params(Path("params.yaml")), Path("store"))
    write_json(Path("dataset.json"), dataset)
    return concluded(report)


if __name__ == "__main__":
    sys.exit(reported(main))
