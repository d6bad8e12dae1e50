"""views/main/ -> models/main/, results/train.json."""

import sys
from pathlib import Path

from mlpdata.cli.app import reported
from mlpdata.cli.output import training_progress
from mlpdata.project import load_params, write_json
from mlpdata.workflow import train_view


def main() -> int:
    """Fit the model to the training part, choose its weights by the validation part."""
    params = load_params(Path("params.yaml")).train
    with training_progress(params) as progress:
        summary = train_view(Path("views/main"), params, Path("models/main"), progress)
    write_json(Path("results/train.json"), summary)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
