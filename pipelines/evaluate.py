"""models/main/, views/main/ -> results/metrics.json, results/predictions.json."""

import sys
from pathlib import Path

from mlpdata.cli.app import reported
from mlpdata.project import load_params, write_json
from mlpdata.workflow import evaluate_checkpoint


def main() -> int:
    """Measure the errors on the test part; targets that are missed are named, and the pipeline goes on."""
    gate = load_params(Path("params.yaml")).evaluate
    metrics, predictions = evaluate_checkpoint(Path("models/main"), Path("views/main"), gate)
    write_json(Path("results/metrics.json"), metrics)
    write_json(Path("results/predictions.json"), predictions)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
