"""The whole proof of a reader: mlpdata's contract on its own files."""

from pathlib import Path

from mlpdata_toy import READER

from mlpdata.testing import ReaderContract


class TestToy(ReaderContract):
    """TOY stands every damage."""

    reader = READER
    fixtures = [Path(__file__).with_name("argon.toy")]
