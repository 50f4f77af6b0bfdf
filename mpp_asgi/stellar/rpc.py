"""What is asked of Stellar RPC, and what an answer means.

XDR stays base64 text in every result: decoding it is slow, so whoever needs it decodes it, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mpp_asgi.stellar.rpc_call import Fields, RpcCall

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    after_silence: bool = False
    """Another node was sent it before, and gave no answer: a duplicate may be that one's."""


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


def _latest_ledger(answer: Fields) -> LatestLedger:
    return LatestLedger(
        sequence=answer.ledger("sequence"),
        close_time=answer.integer_or_none("closeTime"),
        protocol_version=answer.integer("protocolVersion"),
    )


def _health(answer: Fields) -> Health:
    return Health(
        latest_ledger=answer.ledger("latestLedger"),
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
        latest_ledger=answer.ledger("latestLedger"),
        error=error,
        transaction_data=answer.base64("transactionData") if error is None else None,
        min_resource_fee=answer.natural("minResourceFee") if error is None else None,
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
                latest_ledger=answer.ledger("latestLedger"),
                latest_ledger_close_time=answer.time("latestLedgerCloseTime"),
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
        latest_ledger=answer.ledger("latestLedger"),
        latest_ledger_close_time=answer.time("latestLedgerCloseTime"),
        oldest_ledger=answer.ledger("oldestLedger"),
        oldest_ledger_close_time=answer.time("oldestLedgerCloseTime"),
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
                ledger=entry.ledger("ledger"),
                created_at=entry.time("createdAt"),
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
        latest_ledger=answer.ledger("latestLedger"),
        entries=tuple(
            LedgerEntry(
                key=entry.text("key"),
                xdr=entry.text("xdr"),
                last_modified_ledger=entry.ledger("lastModifiedLedgerSeq"),
                live_until_ledger=entry.integer_or_none("liveUntilLedgerSeq"),
            )
            for entry in answer.objects("entries")
        ),
    )


def _fee_stats(answer: Fields) -> FeeStats:
    fees = answer.object("sorobanInclusionFee")
    return FeeStats(
        latest_ledger=answer.ledger("latestLedger"),
        p50=fees.integer("p50"),
        p90=fees.integer("p90"),
        p99=fees.integer("p99"),
        max=fees.integer("max"),
    )
