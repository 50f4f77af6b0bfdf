"""Asks the network's own host, where it was built."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tests.oracle.scenario import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.oracle.replay import Answer
    from tests.oracle.scenario import Scenario

HERE = Path(__file__).parent
NETWORK = HERE / "network.json"
LOCK = HERE / "host" / "Cargo.lock"


@dataclass(frozen=True, slots=True)
class Host:
    """The program in ``host/``, built, and the codes it is given by name."""

    program: Path
    codes: Mapping[str, Path]

    def hashes(self) -> dict[str, bytes]:
        return {name: sha256(path.read_bytes()).digest() for name, path in self.codes.items()}

    def play(self, scenarios: Sequence[Scenario]) -> list[list[Answer]]:
        """The answers to each scenario; raises ``CalledProcessError`` where it cannot be played."""
        codes = [f"{name}={path}" for name, path in self.codes.items()]
        told = "".join(json.dumps(to_json(scenario)) + "\n" for scenario in scenarios)
        done = subprocess.run(
            [str(self.program), str(NETWORK), *codes],
            input=told,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [json.loads(line)["steps"] for line in done.stdout.splitlines()]


def crate_version(name: str) -> str:
    """The version of a crate the program is locked to."""
    found = re.search(rf'name = "{name}"\nversion = "([^"]+)"', LOCK.read_text())
    if found is None:
        raise LookupError(f"{LOCK} locks no {name}")
    return found[1]
