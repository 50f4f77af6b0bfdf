"""Methods about the ledger as a whole: health, network, version, latest ledger, fees, entries."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.header import close_meta
from mpp_asgi.sandbox.rpc.errors import internal_error, invalid_params
from mpp_asgi.sandbox.rpc.params import Params, decode_base64, encode_base64
from mpp_asgi.sandbox.settings import PROTOCOL_VERSION
from mpp_asgi.sandbox.state import live_until
from mpp_asgi.sandbox.wire.keys import EntryKind, LedgerKey, has_ttl, is_temporary
from mpp_asgi.sandbox.wire.stream import ZERO, XdrError

if TYPE_CHECKING:
    from mpp_asgi.sandbox.history import AppliedTransaction
    from mpp_asgi.sandbox.rpc.node import Node

_MAX_KEYS = 200
_FEE_WINDOW = 50
"""Ledgers that fee statistics look back on."""
_HEALTHY_SECONDS = 30
"""How long ago the latest ledger may have closed; what Stellar RPC has unless told otherwise."""
VERSION = "sandbox"


def get_health(node: Node, _params: Params) -> dict[str, Any]:
    """How the node is; one whose ledgers stand still or that has fallen behind says so by an
    error."""
    silence = node.silence()
    if silence > _HEALTHY_SECONDS:
        raise internal_error(
            f"latency ({_duration(silence)}) since last known ledger closed is too high "
            f"(>{_duration(_HEALTHY_SECONDS)})"
        )
    history = node.ledger.history
    return {
        "status": "healthy",
        "latestLedger": node.ledger.sequence,
        "latestLedgerCloseTime": str(node.ledger.close_time),
        "oldestLedger": history.oldest,
        "oldestLedgerCloseTime": str(history.close_time(history.oldest)),
        "ledgerRetentionWindow": history.retention,
    }


def _duration(seconds: float) -> str:
    """Whole seconds as Go writes them: ``31s``, ``1m0s``, ``2h0m5s``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def get_network(node: Node, _params: Params) -> dict[str, Any]:
    return {"passphrase": node.passphrase, "protocolVersion": PROTOCOL_VERSION}


def get_version_info(_node: Node, _params: Params) -> dict[str, Any]:
    return {
        "version": VERSION,
        "commitHash": "",
        "buildTimestamp": "",
        "captiveCoreVersion": VERSION,
        "protocolVersion": PROTOCOL_VERSION,
    }


def get_latest_ledger(node: Node, _params: Params) -> dict[str, Any]:
    latest = node.ledger.history.latest
    return {
        "id": latest.hash.hex(),
        "protocolVersion": PROTOCOL_VERSION,
        "sequence": latest.sequence,
        "closeTime": str(latest.close_time),
        "headerXdr": encode_base64(latest.header),
        "metadataXdr": encode_base64(close_meta(latest)),
    }


def get_fee_stats(node: Node, _params: Params) -> dict[str, Any]:
    recent = node.ledger.history.recent(_FEE_WINDOW)
    applied = [transaction for ledger in recent for transaction in ledger.transactions]
    soroban = [transaction for transaction in applied if transaction.is_soroban]
    classic = [transaction for transaction in applied if not transaction.is_soroban]
    ledgers = min(_FEE_WINDOW, node.ledger.sequence - node.ledger.history.oldest + 1)
    return {
        "sorobanInclusionFee": _distribution(soroban, ledgers),
        "inclusionFee": _distribution(classic, ledgers),
        "latestLedger": node.ledger.sequence,
    }


_PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


def _distribution(transactions: list[AppliedTransaction], ledgers: int) -> dict[str, Any]:
    fees = sorted(transaction.inclusion_fee for transaction in transactions)
    if not fees:
        zeros = dict.fromkeys(("max", "min", "mode"), "0")
        percentiles = {f"p{p}": "0" for p in _PERCENTILES}
        return zeros | percentiles | {"transactionCount": "0", "ledgerCount": ledgers}
    mode = Counter(fees).most_common(1)[0][0]
    answer: dict[str, Any] = {
        "max": str(fees[-1]),
        "min": str(fees[0]),
        "mode": str(mode),
    }
    for p in _PERCENTILES:
        rank = -(-p * len(fees) // 100)
        answer[f"p{p}"] = str(fees[rank - 1])
    return answer | {"transactionCount": str(len(fees)), "ledgerCount": ledgers}


def get_ledger_entries(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    names = params.texts("keys")
    if len(names) > _MAX_KEYS:
        raise invalid_params(f"key count ({len(names)}) exceeds maximum supported ({_MAX_KEYS})")
    keys = [_ledger_key(name, index) for index, name in enumerate(names)]
    found = (_entry(node, key) for key in dict.fromkeys(keys))
    return {
        "entries": [entry for entry in found if entry is not None],
        "latestLedger": node.ledger.sequence,
    }


def _ledger_key(name: str, index: int) -> bytes:
    try:
        key = LedgerKey.parse(decode_base64(name))
    except (XdrError, ValueError):
        raise invalid_params(f"cannot unmarshal key value {name} at index {index}") from None
    if key.kind == EntryKind.TTL:
        raise invalid_params("ledger ttl entries cannot be queried directly")
    return key.xdr


def _entry(node: Node, key: bytes) -> dict[str, Any] | None:
    stored = node.ledger.state.stored(key)
    if stored is None:
        return None
    entry, modified = stored
    answer: dict[str, Any] = {
        "key": encode_base64(key),
        "xdr": encode_base64(entry.data),
        "lastModifiedLedgerSeq": modified,
        "extXdr": encode_base64(ZERO),
    }
    if has_ttl(key):
        until = live_until(node.ledger.state, key) or 0
        if is_temporary(key) and until < node.ledger.sequence:
            return None
        answer["liveUntilLedgerSeq"] = until
    return answer
