"""Stellar RPC as typed calls: what to ask, and what an answer means.

Sans-I/O: an `RpcCall` makes the JSON-RPC request and reads the response; `rpc_drivers` carries
calls over HTTP or to a function in the same process.

XDR stays base64 text in every result: decoding it is slow, so whoever needs it decodes it, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_REFUSALS: Final = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC codes that blame the request. Every other one blames the node: nothing is known."""

_SHOWN: Final = 200
"""Characters of a node's own words that may enter an error message."""


class RpcError(Exception):
    """An RPC call had no result."""


class RpcUnavailableError(RpcError):
    """The call could not be made, or its answer makes no sense: **nothing is known**.

    A transaction that was being sent may or may not have reached the network.
    """


class RpcAnswerTooLargeError(RpcUnavailableError):
    """The answer was larger than is read. Asking for less may help."""


class RpcRefusedError(RpcError):
    """The node understood the request and refused it: it had no effect."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The RPC refused the request: {message[:_SHOWN]} ({code}).")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RpcCall(Generic[T_co]):
    """One JSON-RPC request and how to read its result."""

    method: str
    params: Mapping[str, Any]
    parse: Callable[[Fields], T_co]

    def request(self, request_id: int) -> dict[str, Any]:
        """The JSON-RPC 2.0 request object."""
        return {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": self.method,
            "params": dict(self.params),
        }

    def result(self, response: object, request_id: int) -> T_co:
        """What the response says.

        Raises:
            RpcRefusedError: the node refused the request.
            RpcUnavailableError: the node failed, or the response is not one to this request.
        """
        if not isinstance(response, dict) or response.get("id") != request_id:
            raise RpcUnavailableError(f"The RPC's answer to {self.method} is not one to it.")
        if (error := response.get("error")) is not None:
            raise self._failure(error)
        result = response.get("result")
        if not isinstance(result, dict):
            raise RpcUnavailableError(f"The RPC's answer to {self.method} has no result.")
        return self.parse(Fields(self.method, result))

    def _failure(self, error: object) -> RpcError:
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(error, dict) and isinstance(code, int) and code in _REFUSALS:
            return RpcRefusedError(code, str(error.get("message", "no reason given")))
        return RpcUnavailableError(f"The RPC failed at {self.method} (code {code!r}).")


class Rpc(Protocol):
    """Something that carries calls to a node."""

    async def do(self, call: RpcCall[T]) -> T:
        """The call's result.

        Raises:
            RpcUnavailableError: nothing is known.
            RpcRefusedError: the node refused the request.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection. Idempotent."""
        ...


class BlockingRpc(Protocol):
    """`Rpc` for code without an event loop."""

    def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `Rpc.do` does."""
        ...

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        ...


# --- results --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestLedger:
    """The newest ledger that the node has."""

    sequence: int
    close_time: int | None
    """Unix seconds; ``None`` from nodes that do not say."""
    protocol_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the node says of itself, if it is well."""

    latest_ledger: int
    latest_ledger_close_time: int | None
    """Unix seconds; ``None`` from nodes that do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """Which network the node follows."""

    passphrase: str
    protocol_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a transaction would do. Either ``error`` is set or ``transaction_data`` and
    ``min_resource_fee`` are."""

    latest_ledger: int
    error: str | None
    transaction_data: str | None
    """SorobanTransactionData (base64 XDR): footprint and resources."""
    min_resource_fee: int | None
    """Stroops."""
    events: tuple[str, ...]
    """DiagnosticEvents (base64 XDR)."""
    auth: tuple[str, ...]
    """SorobanAuthorizationEntries (base64 XDR) that the call needs."""
    restore: bool
    """Archived entries would have to be restored first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the node made of a transaction that was sent to it."""

    status: Literal["PENDING", "DUPLICATE", "TRY_AGAIN_LATER", "ERROR"]
    hash: str
    error_result_xdr: str | None
    """TransactionResult (base64 XDR), with ``ERROR``."""
    latest_ledger: int
    latest_ledger_close_time: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The ledgers that a node has, and when they closed, in Unix seconds."""

    latest_ledger: int
    latest_ledger_close_time: int
    oldest_ledger: int
    oldest_ledger_close_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStatus:
    """What the ledger says of a transaction. With ``NOT_FOUND`` everything from ``ledger`` on is
    ``None`` or empty."""

    status: Literal["SUCCESS", "FAILED", "NOT_FOUND"]
    latest_ledger: int
    latest_ledger_close_time: int
    """Unix seconds. A transaction not found by a ledger that closed after its ``maxTime`` can no
    longer be included."""
    oldest_ledger: int
    """Older ledgers are not known to the node: a transaction there is ``NOT_FOUND``, too."""
    oldest_ledger_close_time: int
    ledger: int | None
    created_at: int | None
    """Unix seconds; when ``ledger`` closed."""
    envelope_xdr: str | None
    result_xdr: str | None
    result_meta_xdr: str | None
    contract_events: tuple[str, ...]
    """ContractEvents (base64 XDR) of all operations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """An entry of the ledger."""

    key: str
    """LedgerKey (base64 XDR)."""
    xdr: str
    """LedgerEntryData (base64 XDR)."""
    last_modified_ledger: int
    live_until_ledger: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntries:
    """The entries found; those that do not exist are left out."""

    latest_ledger: int
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeStats:
    """Inclusion fees that Soroban transactions bid lately, in stroops."""

    latest_ledger: int
    p50: int
    p90: int
    p99: int
    max: int


# --- calls ----------------------------------------------------------------------------------------


def get_latest_ledger() -> RpcCall[LatestLedger]:
    """The newest ledger."""
    return RpcCall("getLatestLedger", {}, _latest_ledger)


def get_health() -> RpcCall[Health]:
    """How the node is: a node that knows itself to be behind fails to answer."""
    return RpcCall("getHealth", {}, _health)


def get_network() -> RpcCall[NetworkInfo]:
    """The network that the node follows."""
    return RpcCall("getNetwork", {}, _network_info)


def simulate_transaction(
    envelope: str,
    *,
    auth_mode: Literal["enforce", "record", "record_allow_nonroot"] | None = None,
) -> RpcCall[Simulation]:
    """What the transaction (TransactionEnvelope, base64 XDR) would do.

    ``auth_mode=None`` leaves it to the node: ``enforce`` if the operation has authorization
    entries, else ``record``. Recorded entries are of the kind ``sorobanCredentialsAddress``, the
    one that draft-stellar-charge names.
    """
    params: dict[str, Any] = {"transaction": envelope, "useUpgradedAuth": False}
    if auth_mode is not None:
        params["authMode"] = auth_mode
    return RpcCall("simulateTransaction", params, _simulation)


def send_transaction(envelope: str) -> RpcCall[Submission]:
    """Submit the transaction (TransactionEnvelope, base64 XDR)."""
    return RpcCall("sendTransaction", {"transaction": envelope}, _submission)


def get_transaction(transaction_hash: str) -> RpcCall[TransactionStatus]:
    """What became of the transaction with this hash (64 hex digits)."""
    return RpcCall("getTransaction", {"hash": transaction_hash}, _transaction_status)


def get_ledger_entries(keys: Sequence[str]) -> RpcCall[LedgerEntries]:
    """The entries under these LedgerKeys (base64 XDR, at most 200)."""
    return RpcCall("getLedgerEntries", {"keys": list(keys)}, _ledger_entries)


def get_fee_stats() -> RpcCall[FeeStats]:
    """What others pay to be included."""
    return RpcCall("getFeeStats", {}, _fee_stats)


# --- reading answers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an answer, read strictly. Anything unexpected is an `RpcUnavailableError`."""

    method: str
    values: Mapping[str, Any]

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.senseless(name)
        return value

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def integer(self, name: str) -> int:
        """A number, or a decimal number as text: nodes write either."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
            return int(value)
        raise self.senseless(name)

    def integer_or_none(self, name: str) -> int | None:
        return self.integer(name) if self.has(name) else None

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._items(name, str))

    def objects(self, name: str) -> tuple[Fields, ...]:
        return tuple(Fields(self.method, each) for each in self._items(name, dict))

    def lists_of_texts(self, name: str) -> tuple[str, ...]:
        """The texts of a list of lists, in one tuple."""
        lists = self._items(name, list)
        if not all(isinstance(text, str) for texts in lists for text in texts):
            raise self.senseless(name)
        return tuple(text for texts in lists for text in texts)

    def _items(self, name: str, kind: type[T]) -> list[T]:
        """A list, empty if absent, whose items are all of one kind."""
        values = self.values.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or not all(isinstance(each, kind) for each in values):
            raise self.senseless(name)
        return values

    def object(self, name: str) -> Fields:
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.senseless(name)
        return Fields(self.method, value)

    def senseless(self, name: str) -> RpcUnavailableError:
        return RpcUnavailableError(
            f"The RPC's answer to {self.method} makes no sense: {name!r} is missing or malformed."
        )


def _latest_ledger(answer: Fields) -> LatestLedger:
    return LatestLedger(
        sequence=answer.integer("sequence"),
        close_time=answer.integer_or_none("closeTime"),
        protocol_version=answer.integer("protocolVersion"),
    )


def _health(answer: Fields) -> Health:
    return Health(
        latest_ledger=answer.integer("latestLedger"),
        latest_ledger_close_time=answer.integer_or_none("latestLedgerCloseTime"),
    )


def _network_info(answer: Fields) -> NetworkInfo:
    return NetworkInfo(
        passphrase=answer.text("passphrase"), protocol_version=answer.integer("protocolVersion")
    )


def _simulation(answer: Fields) -> Simulation:
    error = answer.text_or_none("error")
    results = answer.objects("results")
    return Simulation(
        latest_ledger=answer.integer("latestLedger"),
        error=error,
        transaction_data=answer.text("transactionData") if error is None else None,
        min_resource_fee=answer.integer("minResourceFee") if error is None else None,
        events=answer.texts("events"),
        auth=results[0].texts("auth") if results else (),
        restore=answer.has("restorePreamble"),
    )


def _submission(answer: Fields) -> Submission:
    match answer.text("status"):
        case "PENDING" | "DUPLICATE" | "TRY_AGAIN_LATER" | "ERROR" as status:
            return Submission(
                status=status,
                hash=answer.text("hash"),
                error_result_xdr=answer.text_or_none("errorResultXdr"),
                latest_ledger=answer.integer("latestLedger"),
                latest_ledger_close_time=answer.integer("latestLedgerCloseTime"),
            )
        case _:
            raise answer.senseless("status")


def _transaction_status(answer: Fields) -> TransactionStatus:
    match answer.text("status"):
        case "SUCCESS" | "FAILED":
            found = True
        case "NOT_FOUND":
            found = False
        case _:
            raise answer.senseless("status")
    span = Span(
        latest_ledger=answer.integer("latestLedger"),
        latest_ledger_close_time=answer.integer("latestLedgerCloseTime"),
        oldest_ledger=answer.integer("oldestLedger"),
        oldest_ledger_close_time=answer.integer("oldestLedgerCloseTime"),
    )
    return applied_transaction(answer, span) if found else _not_found(span)


def applied_transaction(entry: Fields, span: Span) -> TransactionStatus:
    """A transaction that a ledger has, as nodes describe it, alone or in a list."""
    # One list for each operation. The events of fees are not among them.
    events = entry.object("events") if entry.has("events") else Fields(entry.method, {})
    match entry.text("status"):
        case "SUCCESS" | "FAILED" as status:
            return TransactionStatus(
                status=status,
                latest_ledger=span.latest_ledger,
                latest_ledger_close_time=span.latest_ledger_close_time,
                oldest_ledger=span.oldest_ledger,
                oldest_ledger_close_time=span.oldest_ledger_close_time,
                ledger=entry.integer("ledger"),
                created_at=entry.integer("createdAt"),
                envelope_xdr=entry.text("envelopeXdr"),
                result_xdr=entry.text("resultXdr"),
                result_meta_xdr=entry.text("resultMetaXdr"),
                contract_events=events.lists_of_texts("contractEventsXdr"),
            )
        case _:
            raise entry.senseless("status")


def _not_found(span: Span) -> TransactionStatus:
    return TransactionStatus(
        status="NOT_FOUND",
        latest_ledger=span.latest_ledger,
        latest_ledger_close_time=span.latest_ledger_close_time,
        oldest_ledger=span.oldest_ledger,
        oldest_ledger_close_time=span.oldest_ledger_close_time,
        ledger=None,
        created_at=None,
        envelope_xdr=None,
        result_xdr=None,
        result_meta_xdr=None,
        contract_events=(),
    )


def _ledger_entries(answer: Fields) -> LedgerEntries:
    return LedgerEntries(
        latest_ledger=answer.integer("latestLedger"),
        entries=tuple(
            LedgerEntry(
                key=entry.text("key"),
                xdr=entry.text("xdr"),
                last_modified_ledger=entry.integer("lastModifiedLedgerSeq"),
                live_until_ledger=entry.integer_or_none("liveUntilLedgerSeq"),
            )
            for entry in answer.objects("entries")
        ),
    )


def _fee_stats(answer: Fields) -> FeeStats:
    fees = answer.object("sorobanInclusionFee")
    return FeeStats(
        latest_ledger=answer.integer("latestLedger"),
        p50=fees.integer("p50"),
        p90=fees.integer("p90"),
        p99=fees.integer("p99"),
        max=fees.integer("max"),
    )
