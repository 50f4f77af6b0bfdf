"""Servers as processes of their own, which end when they are no longer needed."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class ProcessError(Exception):
    """A server did not start; the message has its last words."""


class Server:
    """A Python module run as a process::

    with Server("uvicorn", "example_app.main:app", "--port", "0") as server:
        url = server.wait_for(r"running on (http://\\S+)")[1]
    """

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        """
        Args:
            arguments: what follows ``python -m``.
            environment: the whole of it.
        """
        self.name = arguments[0]
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        """Take what it says as it says it: a full pipe would stop it."""
        for line in output:
            with self._more:
                self._lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def output(self) -> list[str]:
        """The lines it has written so far."""
        with self._more:
            return list(self._lines)

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """The first line that matches.

        Raises:
            ProcessError: the process ended, or took too long.
        """
        deadline = time.monotonic() + seconds
        seen = 0
        with self._more:
            while True:
                for line in self._lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self._lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    break
                self._more.wait(left)
        last_words = "\n".join(self.output[-15:])
        raise ProcessError(f"{self.name} did not start:\n{last_words}")

    def stop(self) -> int:
        """Ask it to end, make it end if it does not, and return its exit status."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._buried()

    def kill(self) -> int:
        """End it at once, as a crash would."""
        self.process.kill()
        return self._buried()

    def _buried(self) -> int:
        status = self.process.wait()
        self._reader.join(STOP_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
