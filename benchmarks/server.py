"""The server under test: uvicorn as people run it, one worker, on the first core."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import cores

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60


class ServerError(Exception):
    """The server did not start. Its own words are on stderr."""


@dataclass(frozen=True, slots=True)
class Server:
    """A uvicorn process that accepts connections."""

    port: int
    pid: int


@contextmanager
def serving(app: str) -> Iterator[Server]:
    """Serve ``app`` (``"module:name"``) with uvloop and httptools for as long as the block lasts.

    Raises:
        ServerError: it did not accept a connection within a minute.
    """
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--workers", "1"]
    quiet = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with subprocess.Popen([*command, *quiet]) as process:
        try:
            cores.pin(0, pid=process.pid)
            _wait(process, port)
            yield Server(port, process.pid)
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise ServerError(f"uvicorn did not start (exit status {process.poll()})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
