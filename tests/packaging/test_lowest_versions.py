"""`make test-lowest` tests what pyproject.toml promises."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9-]+)(\[[a-z]+\])?>=(?P<lowest>[0-9.]+)")


def test_the_versions_pinned_are_the_lowest_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = (extras[name] for name in extras if name not in {"dev", "fuzz"})
    declared = [*project["dependencies"], *chain.from_iterable(optional)]
    parsed = [REQUIREMENT.match(requirement) for requirement in declared]
    lowest = {(m["name"], _padded(m["lowest"])) for m in parsed if m is not None}

    lines = (ROOT / "requirements" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[::2] for line in lines if not line.startswith("#")}

    assert len(lowest) == len(declared)
    assert {(name, _padded(version)) for name, version in pinned} == lowest


def _padded(version: str) -> str:
    return ".".join([*version.split("."), "0", "0"][:3])
