"""A bound on the time of a library: some go round in circles on a file that is cut.

The libraries are Python throughout, so that an exception set in their thread ends them wherever they are.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLong(Exception):  # noqa: N818  reads as the verdict it is
    """Raised in the thread of a library whose time is up."""


def within(seconds: float, action: Callable[[], T]) -> T:
    """What `action` returns.

    Raises:
        TooLong: it took longer than `seconds`.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock, over = threading.Lock(), threading.Event()

    def stop() -> None:
        with lock:
            if not over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TooLong))

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        return action()
    finally:
        timer.cancel()
        with lock:
            over.set()
        _let_arrive()


def _let_arrive() -> None:
    """Give an exception that was set in the last moment the time to arrive here, not in what follows.

    To take it back by setting none leaves Python 3.11 turning in a circle wherever a tracer watches.
    """
    for _ in range(100):
        pass
