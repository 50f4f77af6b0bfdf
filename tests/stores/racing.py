"""Real processes that start at one time on one storage, and what is left of a file.

They are forked from a process that has imported what they need: to import it takes longer than all
that they do.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, Self

from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url
from tests.stores.racer import take_part

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

_ready_made = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
if sys.platform != "win32":
    _ready_made.set_forkserver_preload(["tests.stores.racer", "mpp_asgi.stores.postgres.store"])


class Racer:
    """A process that takes part, to be dealt with like a `subprocess.Popen` with pipes of text."""

    def __init__(self, module: str, *command: str) -> None:
        orders, self._orders = _ready_made.Pipe(duplex=False)
        self._said, said = _ready_made.Pipe(duplex=False)
        self._process = _ready_made.Process(
            target=take_part, args=(module, command, orders, said), daemon=True
        )
        self._process.start()
        orders.close()
        said.close()
        self.stdin = open(self._orders.fileno(), "w", closefd=False)  # noqa: SIM115 # closed at the end
        self.stdout = open(self._said.fileno(), closefd=False)  # noqa: SIM115

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()

    def communicate(self) -> tuple[str, None]:
        """All that it still says, once it has ended."""
        said = self.stdout.read()
        self.wait()
        return said, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.stdout.close()
        self._orders.close()
        self._said.close()
        self.wait()
        self._process.close()


def results(started: list[Racer]) -> list[Any]:
    """What each of them says at its end, as JSON."""
    said = [json.loads(process.communicate()[0]) for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return said


@contextlib.contextmanager
def processes(module: str, *commands: tuple[str, ...]) -> Iterator[list[Racer]]:
    """Processes that start at one time, once all of them have said "ready"."""
    with contextlib.ExitStack() as stack:
        started = []
        for command in commands:
            process = stack.enter_context(Racer(module, *command))
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        yield started


def intact(url: str) -> bool:
    """Whether the file is, if the storage is one; a server looks after its own."""
    store = store_from_url(url)
    if not isinstance(store, SqliteStore):
        return True
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    return (found, dangling) == ([("ok",)], [])
