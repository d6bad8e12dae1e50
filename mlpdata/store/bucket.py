"""A bucket of an S3-compatible object store: the few requests that a store needs, and what to say where they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mlpdata.errors import StoreError, UsageError

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ClientConfig, RetryConfig, S3Store

AT_ONCE = 16
"""Requests under way at a time."""
PIECE = 8 << 20
"""Bytes in memory of a file that is streamed."""
RETRIES, LONGEST = 4, timedelta(seconds=60)
"""How often, and for how long, a request that failed on its way is sent again."""

Range = tuple[str, int, int]
"""Object, first byte, number of bytes."""


class Unreachable(StoreError):  # noqa: N818  reads as the verdict it is
    """No answer, or none that says whether the request was done."""


class Bucket:
    """The objects below `s3://bucket/path`; endpoint, region and credentials as the usual AWS_* variables say.

    Args:
        url: address without a slash at the end.

    Raises:
        UsageError: the package obstore is not installed, or the address or a setting is none.
    """

    def __init__(self, url: str) -> None:
        try:
            from obstore.exceptions import BaseError  # noqa: PLC0415  an extra
            from obstore.store import S3Store  # noqa: PLC0415
        except ImportError as error:
            raise UsageError(
                f"expected the package obstore for {url}, found none. Install it by: pip install 'mlpdata[s3]'"
            ) from error
        self.url = url
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._process = os.getpid()
        self._tags: dict[tuple[str, bytes], str] = {}
        """Tag that the bucket gave to what a pointer said."""
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise UsageError(f"expected AWS_ENDPOINT_URL to begin with https:// or http://, found {self.endpoint!r}.")
        client: ClientConfig = {"allow_http": self.endpoint.startswith("http://")}
        retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": LONGEST}
        try:
            self._store: S3Store = S3Store(
                self._bucket,
                prefix=prefix or None,
                checksum_algorithm="SHA256",  # the server refuses what was damaged on its way
                client_options=client,
                retry_config=retry,
            )
        except BaseError as error:
            raise UsageError(f"expected settings of an object store for {url}, found: {_brief(error)}.") from error

    @property
    def endpoint(self) -> str:
        """Where the environment says that the object store is; empty for that of Amazon."""
        return (
            os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL")
            or os.environ.get("AWS_ENDPOINT", "")
        )

    def pieces(self, name: str) -> Iterator[memoryview] | None:
        """The bytes of an object, some MiB at a time; None where there is none.

        Raises:
            StoreError: the bucket refuses, or cannot be reached.
        """
        import obstore  # noqa: PLC0415

        with self._explained(name):
            try:
                found = obstore.get(self._store, name)
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                return None
        return self._streamed(name, found)

    def _streamed(self, name: str, found: GetResult) -> Iterator[memoryview]:
        with self._explained(name):
            for piece in found.stream(min_chunk_size=PIECE):
                yield memoryview(piece)

    def read(self, name: str) -> bytes | None:
        """A small object whole; None where there is none. Its state is remembered for `swap`."""
        import obstore  # noqa: PLC0415

        with self._explained(name):
            try:
                found = obstore.get(self._store, name)
                content = bytes(found.bytes())
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                return None
        self._tags[name, content] = found.meta["e_tag"] or ""
        return content

    def ranges(self, wanted: Sequence[Range]) -> list[memoryview]:
        """Parts of objects, many requests at once; empty where an object is missing or shorter.

        Raises:
            StoreError: the bucket refuses, or cannot be reached.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda one: self._range(*one), wanted))

    def _range(self, name: str, start: int, length: int) -> memoryview:
        import obstore  # noqa: PLC0415

        with self._explained(name):
            try:
                return memoryview(obstore.get_range(self._store, name, start=start, length=length))
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                return memoryview(b"")
            except self._failure() as error:
                if "416" in str(error):  # the object ends before the range begins
                    return memoryview(b"")
                raise

    def put(self, name: str, content: bytes | Path) -> None:
        """Store an object of which only one content is possible.

        Raises:
            StoreError: the bucket refuses, or cannot be reached.
        """
        import obstore  # noqa: PLC0415

        with self._explained(name):
            obstore.put(self._store, name, content)

    def put_all(self, files: Sequence[tuple[str, Path]]) -> None:
        """Store many files, several at once. See `put`."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: self.put(*one), files))

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Let an object say `new` if it says `old`, None where there is none; whether it did and does.

        Raises:
            Unreachable: it may have been done.
            StoreError: the bucket refuses; nothing changed.
        """
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        if old is not None and (name, old) not in self._tags and self.read(name) != old:
            return False
        with self._explained(name):
            try:
                obstore.put(self._store, name, new, mode="create" if old is None else {"e_tag": self._tags[name, old]})
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each object below `folder`, by its whole name."""
        import obstore  # noqa: PLC0415

        with self._explained(folder):
            return {one["path"]: one["size"] for part in obstore.list(self._store, folder) for one in part}

    def size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none."""
        import obstore  # noqa: PLC0415

        with self._explained(name):
            try:
                return obstore.head(self._store, name)["size"]
            except FileNotFoundError:
                return None

    def _failure(self) -> type[Exception]:
        from obstore.exceptions import BaseError  # noqa: PLC0415

        return BaseError

    def _refuse_missing_bucket(self, error: Exception) -> None:
        if "NoSuchBucket" in str(error):
            raise StoreError(
                f"expected the bucket {self._bucket}, found none. Check its name and AWS_ENDPOINT_URL.", path=self.url
            ) from error

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn an error of a request into one that says what to do."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415

        place = f"{self.url}/{name}"
        if os.getpid() != self._process:  # a request in a forked process would wait for ever
            raise StoreError(
                "expected the process that opened the store, found one forked from it. Start processes by spawn.",
                path=place,
            )
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreError(
                "expected access, found it refused. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what the key may do.",
                path=place,
            ) from error
        except (BaseError, OSError) as error:
            self._refuse_missing_bucket(error)
            raise Unreachable(
                f"expected an answer of the object store, found: {_brief(error)}. "
                "Check AWS_ENDPOINT_URL, AWS_REGION, the credentials and the network, and try again.",
                path=place,
            ) from error


def _brief(error: Exception) -> str:
    """What went wrong, without the body of the answer and the program's inner state."""
    if "169.254.169.254" in str(error):  # asked last for credentials: the machine itself, in a cloud
        return "no credentials"
    return str(error).split("\n")[0].split(": <?xml")[0].split("  - ")[-1].rstrip(". ")[:200]
