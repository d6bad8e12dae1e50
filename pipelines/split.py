"""store/ -> splits/main.json."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.project import load_params, write_json
from mlpdata.workflow import make_split


def main() -> int:
    """Divide what the parameters select, by whole groups."""
    divided = make_split(Store("store").snapshot(), load_params(Path("params.yaml")).split)
    write_json(Path("splits/main.json"), divided.as_json())
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
