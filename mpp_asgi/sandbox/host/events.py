"""Events an invocation leaves: what contracts emit, and diagnostics for whoever debugs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.host.errors import describe
from mpp_asgi.sandbox.wire.stream import ONE, ZERO, array, boolean, u32
from mpp_asgi.sandbox.wire.values import VOID, Address, Kind, Val, string_val, vec_val

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mpp_asgi.sandbox.wire.values import Instance

MAX_EVENTS = 1_000
"""More diagnostics than this are dropped, so that no contract can fill the memory."""


class EventKind(IntEnum):
    """``ContractEventType``."""

    SYSTEM = 0
    CONTRACT = 1
    DIAGNOSTIC = 2


@dataclass(frozen=True, slots=True)
class Event:
    kind: EventKind
    contract: Address | None
    topics: tuple[Val, ...]
    data: Val
    xdr: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        contract = ZERO if self.contract is None else ONE + self.contract.key
        body = ZERO + array(topic.xdr for topic in self.topics) + self.data.xdr
        object.__setattr__(self, "xdr", ZERO + contract + u32(self.kind) + body)

    def diagnostic_xdr(self, *, succeeded: bool) -> bytes:
        """The event as a ``DiagnosticEvent``."""
        return boolean(succeeded) + self.xdr


class EventLog:
    """Events in the order they happened; those of calls that failed stay, marked as failed."""

    __slots__ = ("_events", "_failed", "muted")

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._failed: list[bool] = []
        self.muted = False

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[tuple[Event, bool]]:
        """Each event and whether the call it came from failed."""
        return zip(self._events, self._failed, strict=True)

    def emit(self, contract: Address, topics: Sequence[Val], data: Val) -> None:
        self._append(Event(EventKind.CONTRACT, contract, tuple(topics), data))

    def diagnose(
        self, contract: Address | None, topics: Sequence[Val], data: Sequence[Val]
    ) -> None:
        if self.muted or len(self._events) >= MAX_EVENTS:
            return
        self._append(Event(EventKind.DIAGNOSTIC, contract, tuple(topics), joined(data)))

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self._failed.append(False)

    def clear(self) -> None:
        self._events.clear()
        self._failed.clear()

    def fail_from(self, position: int) -> None:
        """Mark everything since ``position`` as belonging to a failed call."""
        for index in range(position, len(self._failed)):
            self._failed[index] = True

    def emitted(self) -> list[Event]:
        """The contract events that count: those of calls that did not fail."""
        return [
            event for event, failed in self if not failed and event.kind is not EventKind.DIAGNOSTIC
        ]

    def describe(self) -> str:
        """The log as the network's simulation errors print it, newest first."""
        if not self._events:
            return ""
        lines = [
            f"   {index}: {describe_event(event, failed=failed)}"
            for index, (event, failed) in enumerate(reversed(list(self)))
        ]
        return "\n".join(["", "Event log (newest first):", *lines, ""])


def joined(data: Sequence[Val]) -> Val:
    """Diagnostic arguments: one stands for itself, several form a vector."""
    if not data:
        return VOID
    return data[0] if len(data) == 1 else vec_val(data)


def message(text: str, args: Sequence[Val] = ()) -> list[Val]:
    return [string_val(text.encode()), *args]


_KIND_NAMES = {
    EventKind.SYSTEM: "System",
    EventKind.CONTRACT: "Contract",
    EventKind.DIAGNOSTIC: "Diagnostic",
}


def describe_event(event: Event, *, failed: bool) -> str:
    kind = _KIND_NAMES[event.kind]
    prefix = f"[Failed {kind} Event (not emitted)] " if failed else f"[{kind} Event] "
    contract = "" if event.contract is None else f"contract:{event.contract}, "
    topics = [describe_value(topic) for topic in event.topics]
    is_call = bool(event.topics) and event.topics[0].value == "fn_call"
    if is_call and len(topics) > 1 and event.topics[1].kind is Kind.BYTES:
        topics[1] = str(Address.contract(event.topics[1].value))
    return f"{prefix}{contract}topics:[{', '.join(topics)}], data:{describe_value(event.data)}"


def describe_value(value: Val) -> str:
    """A value as the network prints it in diagnostics."""
    describe_kind = _DESCRIPTIONS.get(value.kind)
    return str(value.value) if describe_kind is None else describe_kind(value.value)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _describe_vec(items: tuple[Val, ...] | None) -> str:
    return f"[{', '.join(describe_value(item) for item in items or ())}]"


def _describe_map(pairs: tuple[tuple[Val, Val], ...] | None) -> str:
    parts = (f"{describe_value(key)}: {describe_value(item)}" for key, item in pairs or ())
    return f"{{{', '.join(parts)}}}"


def _describe_instance(instance: Instance) -> str:
    wasm_hash = instance.executable.wasm_hash
    inner = "StellarAsset" if wasm_hash is None else f"Wasm({wasm_hash.hex()})"
    return f"ContractInstance({inner})"


_DESCRIPTIONS: dict[Kind, Callable[[Any], str]] = {
    Kind.BOOL: lambda flag: "true" if flag else "false",
    Kind.VOID: lambda _: "Void",
    Kind.ERROR: lambda error: describe(*error),
    Kind.TIMEPOINT: "TimePoint({})".format,
    Kind.DURATION: "Duration({})".format,
    Kind.BYTES: lambda raw: f"Bytes({raw.hex()})",
    Kind.STRING: lambda raw: f'"{_text(raw)}"',
    Kind.EXECUTABLE_TAG: lambda raw: f'ExecutableTag("{_text(raw)}")',
    Kind.VEC: _describe_vec,
    Kind.MAP: _describe_map,
    Kind.INSTANCE: _describe_instance,
    Kind.LEDGER_KEY_INSTANCE: lambda _: "LedgerKeyContractInstance",
    Kind.LEDGER_KEY_NONCE: "LedgerKeyNonce({})".format,
}
