"""An object store on loopback: moto's S3 server in a process of its own, behind a proxy that counts, cuts and drops."""

from __future__ import annotations

import itertools
import os
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import obstore
from obstore.store import S3Store

SERVER = """
import logging, sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
# one request at a time: whether a condition holds, and the write that depends on it, are one step then
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
print(server.server_port, flush=True)
server.serve_forever()
"""
SETTINGS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
CUT, DROP = "cut", "drop"
"""The request is not passed on; it is, but the answer does not come back."""


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    n_bytes: int = 0
    """Of the answer, its head included."""


Fault = Callable[[int, Request], str | None]
"""What to do to a request, by its number from 0 on: CUT, DROP or nothing."""


class Bucket:
    """The server, and the proxy that clients see.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self.requests: list[Request] = []
        """Those answered or cut since `begin`."""
        self._fault: Fault = lambda *_: None
        self._names = itertools.count()
        self._numbers = itertools.count()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._pass_on(self.request)

        class Proxy(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

        self._proxy = Proxy(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._proxy.server_address[1]}"
        threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()

    def fresh(self) -> str:
        """The address of a new, empty bucket."""
        name = f"bucket-{next(self._names)}"
        self.ask("PUT", f"/{name}")
        return f"s3://{name}/group/store"

    def ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """One request to the server, past the proxy."""
        url = f"http://{self._server[0]}:{self._server[1]}{path}"
        kind = {"Content-Type": "application/octet-stream"}
        with urllib.request.urlopen(urllib.request.Request(url, content, kind, method=method)) as answer:
            return bytes(answer.read())

    def object(self, store: str, name: str) -> bytes:
        return bytes(obstore.get(self._objects(store), name).bytes())

    def put(self, store: str, name: str, content: bytes) -> None:
        obstore.put(self._objects(store), name, content)

    def delete(self, store: str, name: str) -> None:
        obstore.delete(self._objects(store), name)

    def _objects(self, store: str) -> S3Store:
        """The server, past the proxy."""
        endpoint = f"http://{self._server[0]}:{self._server[1]}"
        return S3Store.from_url(
            store,
            endpoint=endpoint,
            access_key_id="key",
            secret_access_key="secret",
            client_options={"allow_http": True},
        )

    def begin(self, fault: Fault = lambda *_: None) -> None:
        """Count requests from 0 again, and do to them what `fault` says."""
        self.requests, self._numbers, self._fault = [], itertools.count(), fault

    def _pass_on(self, client: socket.socket) -> None:
        """One request and its answer; the server closes the connection after each."""
        question = _whole_request(client)
        if not question:
            return
        method, path = question.split(b" ", 2)[:2]
        request = Request(method.decode(), path.decode())
        fault = self._fault(next(self._numbers), request)
        answer = b"" if fault == CUT else self._answer(question)
        self.requests.append(request._replace(n_bytes=len(answer)))
        if fault is None:
            client.sendall(answer)

    def _answer(self, question: bytes) -> bytes:
        with socket.create_connection(self._server) as server:
            server.sendall(question)
            return b"".join(iter(lambda: server.recv(1 << 16), b""))


def _whole_request(client: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        if not (piece := client.recv(1 << 16)):
            return b""
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    sizes = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    pieces, missing = [found], int(sizes[0]) - len(body) if sizes else 0
    while missing > 0:
        piece = client.recv(min(missing, 1 << 20))
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


@contextmanager
def running(environment: Mapping[str, str] = os.environ) -> Iterator[Bucket]:
    """The server, for as long as it is needed."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        bucket = Bucket(int(server.stdout.readline()))
        try:
            yield bucket
        finally:
            bucket.close()
            server.kill()
