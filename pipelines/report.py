"""everything before -> results/report.html."""

import sys
from pathlib import Path

from mlpdata.api import Store
from mlpdata.cli.app import reported
from mlpdata.durable import replace
from mlpdata.project import load_params
from mlpdata.report.build import build_report


def main() -> int:
    """Put all results on one page."""
    page = build_report(Store("store").snapshot(), load_params(Path("params.yaml")), Path())
    replace(Path("results/report.html"), page.encode())
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
