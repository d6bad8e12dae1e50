"""store/, splits/main.json -> views/main/."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.workflow import make_view, read_split


def main() -> int:
    """Pack the parts of the split for reading."""
    make_view(Store("store").snapshot(), read_split(Path("splits/main.json")), Path("views/main"))
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
