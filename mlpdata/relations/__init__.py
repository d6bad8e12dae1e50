"""Relations: which runs belong together, and what they are, as pure functions of all runs of a snapshot.

`relations` works out what no file says alone: the run that another one continues, the group that a split must not
divide, what a series of single points varies, and what each of these rests on. What users declared is never changed.
"""

from __future__ import annotations

from mlpdata.relations.relate import alone, relations
from mlpdata.relations.runs import Relation, Run

__all__ = ["Relation", "Run", "alone", "relations"]
