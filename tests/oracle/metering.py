"""How far the sandbox's metering is from the network's: exact, but for instructions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from stellar_sdk import xdr

from benchmarks import results

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oracle.replay import Answer
    from tests.oracle.scenario import Call

NAME = "sandbox-metering"
_EXACT = {
    "disk_read_bytes": "bytes read from disk",
    "write_bytes": "bytes written",
    "rent": "rent",
}
_FEWEST = 20
"""Functions called less often than this are not worth a line."""


@dataclass(slots=True)
class Metering:
    """Gathers what calls cost in simulations that succeed."""

    _ratios: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Instructions counted by the sandbox to those of the network, by function."""
    _wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_EXACT, 0))

    def add(self, call: Call, network: Answer, sandbox: Answer) -> None:
        theirs, ours = network.get("simulate", {}), sandbox.get("simulate", {})
        if "value" not in theirs or "value" not in ours:
            return
        ratio = ours["instructions"] / theirs["instructions"]
        self._ratios[_function(call)].append(ratio)
        for name in _EXACT:
            self._wrong[name] += theirs[name] != ours[name]

    def write(self, folder: Path = results.FOLDER) -> None:
        results.write(NAME, self.rows(), folder=folder)

    def rows(self) -> list[results.Row]:
        calls = sum(len(ratios) for ratios in self._ratios.values())
        rows = [results.fact("calls compared, simulated with success", calls)]
        for name, title in _EXACT.items():
            rows.append(results.at_most(0, f"{title}: calls that differ", self._wrong[name], ""))
        every = sorted(ratio for ratios in self._ratios.values() for ratio in ratios)
        rows.append(_line("any function", every))
        for function, ratios in sorted(self._ratios.items()):
            if len(ratios) >= _FEWEST:
                rows.append(_line(function, sorted(ratios)))
        return rows


def _line(name: str, ratios: list[float]) -> results.Row:
    """The middle, and what nine of ten calls are between."""
    low = ratios[len(ratios) // 20]
    high = ratios[-1 - len(ratios) // 20]
    text = f"{median(ratios):.2f} ({low:.2f} to {high:.2f}, {len(ratios)} calls)"
    return results.fact(f"instructions, {name}", text, "of the network's")


def _function(call: Call) -> str:
    function = xdr.HostFunction.from_xdr(call.function)
    if function.invoke_contract is None:
        return "creating a contract"
    return function.invoke_contract.function_name.sc_symbol.decode("latin-1")
