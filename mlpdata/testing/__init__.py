"""What tests of this project and of its plugins share: the contract of readers, faults to order, samples."""

from mlpdata.testing.contracts import ReaderContract

__all__ = ["ReaderContract"]
