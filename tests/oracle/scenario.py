"""What a scenario is, and how it is written down. All XDR is in base64."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Jump:
    """The ledger moves on, five seconds each."""

    ledgers: int


@dataclass(frozen=True, slots=True)
class Record:
    """How authorization is recorded."""

    non_root: bool = False
    """Whether it may be needed below the call itself only."""
    upgraded: bool = False
    """Whether to record the upgraded credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A host function is called up to three times: simulated while authorization is recorded,
    simulated with the authorization given, and applied with the footprint of that simulation.
    """

    function: str
    """``HostFunction``."""
    source: str
    """``AccountID``."""
    record: Record | None = None
    auth: tuple[str, ...] | None = None
    """``SorobanAuthorizationEntry`` values; nothing is applied without."""
    without: tuple[str, ...] = ()
    """``LedgerKey`` values left out of the footprint when it is applied."""
    read_only: tuple[str, ...] = ()
    """``LedgerKey`` values that are read-only when it is applied."""
    unrestored: bool = False
    """Whether archived entries are not asked back when it is applied."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Simulated only: entries are to live longer, or to come back from the archive."""

    keys: tuple[str, ...]
    """``LedgerKey`` values."""
    extend_to: int | None = None
    """How many ledgers from now they are to live; ``None``: they are to come back."""


Step = Jump | Call | Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A ledger and what happens on it."""

    name: str
    sequence: int
    timestamp: int
    """Unix seconds."""
    entries: tuple[tuple[str, int | None], ...]
    """``LedgerEntryData``, and the last ledger each lives in, where it expires."""
    codes: tuple[tuple[str, int], ...] = ()
    """Names of codes that are uploaded, and the last ledger each lives in."""
    steps: tuple[Step, ...]

    @property
    def asked(self) -> list[Call | Keeping]:
        """The steps that are answered."""
        return [step for step in self.steps if not isinstance(step, Jump)]


def to_json(scenario: Scenario) -> dict[str, Any]:
    return _sparse(scenario) | {"steps": [_sparse(step) for step in scenario.steps]}


def _sparse(part: Scenario | Step) -> dict[str, Any]:
    """Fields that say something; defaults go without saying."""
    written = asdict(part)
    # That nothing is authorized, or kept, says something.
    return {
        name: value
        for name, value in written.items()
        if value or (name in {"auth", "keys", "extend_to"} and value is not None)
    }


def from_json(written: dict[str, Any]) -> Scenario:
    return Scenario(
        name=written["name"],
        sequence=written["sequence"],
        timestamp=written["timestamp"],
        entries=tuple((data, live_until) for data, live_until in written.get("entries", ())),
        codes=tuple((name, live_until) for name, live_until in written.get("codes", ())),
        steps=tuple(_step(step) for step in written["steps"]),
    )


def _step(written: dict[str, Any]) -> Step:
    if "ledgers" in written:
        return Jump(written["ledgers"])
    if "keys" in written:
        return Keeping(tuple(written["keys"]), written.get("extend_to"))
    record = written.get("record")
    auth = written.get("auth")
    return Call(
        function=written["function"],
        source=written["source"],
        record=None if record is None else Record(**record),
        auth=None if auth is None else tuple(auth),
        without=tuple(written.get("without", ())),
        read_only=tuple(written.get("read_only", ())),
        unrestored=written.get("unrestored", False),
    )
