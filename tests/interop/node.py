"""Functions of another implementation, called in a node process of their own."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Node:
    """A script that answers each line of JSON on stdin with one on stdout."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, operation: str, **given: Any) -> Any:
        """What the operation gives; fails the test with what it says if it cannot be done."""
        answer = self.attempt(operation, **given)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def attempt(self, operation: str, **given: Any) -> dict[str, Any]:
        """``{"result": ...}`` or ``{"error": ...}``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **given}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def running(script: Path, *directories: Path, **environment: str) -> Iterator[Node]:
    """The script, given where the packages are that it loads."""
    with subprocess.Popen(
        ["node", str(script), *map(str, directories)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield Node(process)
        finally:
            process.kill()
