"""Loader: from rows of a store or a view to batches of torch tensors."""

from mlpdata.loader.loader import Loader

__all__ = ["Loader"]
