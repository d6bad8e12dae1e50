"""store/ -> results/check.json."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.project import load_params, write_json
from mlpdata.workflow import check_snapshot, raise_on_errors


def main() -> int:
    """Gates, one theory, licenses; errors end the pipeline here."""
    found = check_snapshot(Store("store").snapshot(), load_params(Path("params.yaml")).check)
    write_json(Path("results/check.json"), found)
    raise_on_errors(found)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
