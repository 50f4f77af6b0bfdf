"""What the figures were measured on."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cores
from benchmarks.results import Row, fact

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows() -> Iterator[Row]:
    """Processor, cores, interpreter and the libraries that matter to speed."""
    yield fact("processor", f"{_processor()}, {len(cores.available()) or '?'} cores")
    yield fact("interpreter", f"{platform.python_implementation()} {platform.python_version()}")
    names = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "stellar-sdk")
    yield fact("libraries", ", ".join(f"{name} {version(name)}" for name in names))


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
