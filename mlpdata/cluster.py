"""Cluster: outputs are read by the workers of a dask.distributed scheduler, with a bound on every wait.

Workers come and go while work is under way: what one had in hand when it died, another does again. They must have the
same mlpdata and see the files under the same paths.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import mlpdata
from mlpdata.discover import Output
from mlpdata.errors import UsageError

T = TypeVar("T")
Read = Callable[[list[Output]], T]

VERSION = mlpdata.__version__
"""What the workers must have, too."""
PATIENCE = 30.0
"""Seconds that a scheduler has to answer, and that work may wait where no worker is left."""
LOOK = 1.0
"""Seconds between two looks at whether there are workers."""
LARGEST_MESSAGE = 1 << 30
"""Bytes past which distributed may warn of what is sent: members of archives travel with their bytes."""
AGAIN = "Nothing was committed; what was read in whole portions is kept for the next attempt."

_ALONE = threading.Lock()
"""One thread of a worker reads at a time: some files are rehearsed in a fork, which must not inherit a held lock."""


class Cluster:
    """Workers that live as long as their context.

    Args:
        client: of dask.distributed.
        address: of the scheduler.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client, self.address = client, address
        self._deserted_since: float | None = None

    @property
    def number(self) -> int:
        """How many workers there are now; 0 where the scheduler does not say."""
        try:
            return len(self._client.nthreads(callback_timeout=PATIENCE))
        except OSError:
            return 0

    def submit(self, read: Read[T], batch: list[Output]) -> Sent[T]:
        """Send a batch to be read."""
        # pure=False: what came of the same batch before is not asked for, its files may have grown
        return Sent(self, self._client.submit(_on_worker, read, batch, VERSION, pure=False), batch)

    def arrived(self) -> None:
        """Note that something came: workers are there."""
        self._deserted_since = None

    def look(self) -> None:
        """See whether anybody is there to do the work.

        Raises:
            UsageError: nobody was for too long.
        """
        if self.number:
            self._deserted_since = None
            return
        since = self._deserted_since = self._deserted_since or time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise UsageError(
                f"expected workers at {self.address}, found none left for {PATIENCE:g} s. {AGAIN} "
                f"`dask worker {self.address} --nthreads 1` starts one."
            )


class Sent(Generic[T]):
    """A batch that is being read somewhere; what came of it stays there until it is asked for."""

    def __init__(self, cluster: Cluster, future: Any, batch: list[Output]) -> None:
        self._cluster, self._future, self._batch = cluster, future, batch

    def result(self) -> T:
        """What reading gave, as soon as it is there.

        Raises:
            UsageError: scheduler or workers are gone, die of the work, or are not of this version.
        """
        distributed = import_module("distributed")
        while True:
            try:
                self._future.exception(timeout=LOOK)  # waits, and fetches nothing
                found: T = self._future.result(timeout=PATIENCE)
            except TimeoutError:
                self._cluster.look()
            except distributed.KilledWorker:
                raise self._killed() from None
            except (CancelledError, OSError):
                if self._future.status == "error":  # of the work itself
                    raise
                raise UsageError(
                    f"expected the scheduler at {self._cluster.address} to stay, found it gone. {AGAIN}"
                ) from None
            else:
                self._cluster.arrived()
                return found

    def _killed(self) -> UsageError:
        others = f" or one of {len(self._batch) - 1} files after it" if len(self._batch) > 1 else ""
        return UsageError(
            f"expected workers to live, found several killed one after the other while they read "
            f"{self._batch[0].name}{others}, most often for want of memory; their logs say more. {AGAIN}"
        )


@contextmanager
def cluster(address: str, outputs: Sequence[Output]) -> Iterator[Cluster]:
    """The workers of the scheduler at `address`.

    Args:
        address: such as tcp://node1:8786.
        outputs: what they are to read.

    Raises:
        UsageError: the package is missing, no scheduler answers, or its workers cannot read what is read here.
    """
    try:
        distributed, config = import_module("distributed"), import_module("dask.config")  # an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            f"expected the package {error.name} for --scheduler, found none. Install it by: pip install 'mlpdata[dask]'"
        ) from None
    _knock(address, distributed)
    with (
        config.set({"distributed.admin.large-graph-warning-threshold": LARGEST_MESSAGE}),
        distributed.Client(address, timeout=PATIENCE, set_as_default=False) as client,
    ):
        _check_workers(client, address, outputs)
        yield Cluster(client, address)


def _knock(address: str, distributed: Any) -> None:
    """Ask who is there; a Client that is not answered properly hangs for a minute when it is closed.

    Raises:
        UsageError: no scheduler.
    """

    async def ask() -> str:
        async with distributed.rpc(address, timeout=PATIENCE) as there:
            identity = await asyncio.wait_for(there.identity(), PATIENCE)
            return str(identity.get("type"))

    try:
        with ThreadPoolExecutor(1) as thread:  # in this one a loop may run already, as in a notebook
            found = thread.submit(lambda: asyncio.run(ask())).result()
    except MemoryError:  # the first bytes of another protocol, taken for the length of a message
        found = "another protocol"
    except Exception as error:  # noqa: BLE001  there may be anything at an address
        found = " ".join(str(error).split()).rstrip(".")[:200] or "nobody who answers"
    if found != "Scheduler":
        raise UsageError(
            f"expected a dask.distributed scheduler at {address}, found: {found}. "
            "`dask scheduler` starts one and prints its address."
        )


def _check_workers(client: Any, address: str, outputs: Sequence[Output]) -> None:
    """Ask the workers that are there; those that come later are asked with the work.

    Raises:
        UsageError: there are none, one has another mlpdata, or one does not see the files.
    """
    folder = next((str(output.path.absolute().parent) for output in outputs if isinstance(output.path, Path)), "/")
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        answers = client.run(_answer, folder, on_error="return", callback_timeout=PATIENCE)
    except TimeoutError:
        raise UsageError(
            f"expected workers at {address}, found none that answers. `dask worker {address} --nthreads 1` starts one."
        ) from None
    for worker, answer in answers.items():
        if isinstance(answer, OSError):  # it died; others will do its work
            continue
        if isinstance(answer, Exception):
            raise _another_version(f"none that works on {worker} ({answer})", VERSION)
        version, sees = answer
        if version != VERSION:
            raise _another_version(f"{version} on {worker}", VERSION)
        if not sees:
            raise UsageError(
                f"expected workers to see the files under the same paths, found that {worker} does not. "
                "Start workers where the folder is mounted.",
                path=folder,
            )


def _answer(folder: str) -> tuple[str, bool]:
    """On a worker: its version, and whether it sees a folder."""
    return VERSION, Path(folder).is_dir()


def _on_worker(read: Read[T], batch: list[Output], version: str) -> T:
    """On a worker: read a batch.

    Raises:
        UsageError: the batch comes from another version.
    """
    if version != VERSION:
        raise _another_version(VERSION, version)
    with _ALONE:
        return read(batch)


def _another_version(found: str, wanted: str) -> UsageError:
    return UsageError(
        f"expected mlpdata {wanted} on the workers, found {found}. Start them in the same environment as this program."
    )
