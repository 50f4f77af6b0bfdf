"""Real processes that start at one time on one storage, and what is left of a file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def results(started: list[subprocess.Popen]) -> list[Any]:
    """What each of them says at its end, as JSON."""
    said = [json.loads(process.communicate()[0]) for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return said


@contextlib.contextmanager
def processes(module: str, *commands: tuple[str, ...]) -> Iterator[list[subprocess.Popen]]:
    """Processes that start at one time, once all of them have said "ready"."""
    with contextlib.ExitStack() as stack:
        started = []
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", f"tests.stores.{module}", *command],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
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
