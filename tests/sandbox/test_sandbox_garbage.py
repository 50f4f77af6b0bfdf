"""Whatever is asked, the sandbox answers, and goes on."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

METHODS = [
    *("getEvents", "getFeeStats", "getHealth", "getLatestLedger", "getLedgerEntries"),
    *("getNetwork", "getTransaction", "getTransactions", "getVersionInfo"),
    *("sendTransaction", "simulateTransaction"),
]
NAMES = [
    *("transaction", "hash", "keys", "xdrFormat", "startLedger", "endLedger", "pagination"),
    *("limit", "cursor", "filters", "type", "contractIds", "topics", "authMode"),
    *("resourceConfig", "instructionLeeway", "useUpgradedAuth"),
]
WORDS = ["", "*", "**", "json", "base64", "contract", "enforce", "record", "0" * 64, "AAAA", "-1"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 1000, 2**31, 2**32, 2**63, 2**64]),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=10),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=10,
)
params = st.dictionaries(st.sampled_from(NAMES), anything, max_size=6)


@pytest.fixture(scope="module")
def shared(new_stage: Callable[..., Stage]) -> Stage:
    """A stage where something has happened already."""
    stage = new_stage()
    stage.succeed(stage.ready_transfer())
    return stage


@pytest.fixture(scope="module")
def envelopes(shared: Stage) -> list[bytes]:
    """A transfer that is good, one not prepared yet, and a classic operation."""
    ready = shared.ready_transfer()
    bare = shared.transfer()
    classic = shared.builder(shared.payer).append_bump_sequence_op(1).build()
    classic.sign(shared.payer)
    return [b64decode(envelope.to_xdr()) for envelope in (ready, bare, classic)]


def check(answer: dict[str, Any]) -> None:
    """The answer is JSON-RPC, and JSON at all."""
    json.dumps(answer, allow_nan=False)
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert answer["error"]["code"] in {-32600, -32601, -32602}
        assert answer["error"]["message"]


@given(anything)
def test_any_request(shared: Stage, request_: Any) -> None:
    check(shared.sandbox.rpc(request_))


@given(st.sampled_from(METHODS), params)
def test_any_parameters(shared: Stage, method: str, given_params: dict[str, Any]) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": given_params}
    check(shared.sandbox.rpc(request))


@given(
    st.sampled_from(["sendTransaction", "simulateTransaction"]),
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_transactions(
    shared: Stage, envelopes: list[bytes], method: str, which: int, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(envelopes[which])
    for where, value in damage:
        data[where % len(data)] = value
    text = b64encode(data).decode()
    if method == "simulateTransaction":
        result = shared.rpc(method, transaction=text)
        if "error" in result:
            assert isinstance(result["error"], str)
    else:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"transaction": text}}
        check(shared.sandbox.rpc(call))
    shared.sandbox.close_ledger()


WHERE = st.integers(0, 10_000)


@given(st.lists(st.tuples(WHERE, st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_damage_that_is_signed(
    shared: Stage, damage: list[tuple[int, int]], only_auth: bool
) -> None:
    """The sponsor signs whatever it is: no part of it may do more than fail."""
    envelope = shared.ready_transfer()
    operation = envelope.transaction.operations[0]
    if only_auth:
        data = bytearray(operation.auth[0].to_xdr_bytes())
        kind: Any = sdk.SorobanAuthorizationEntry
    else:
        data = bytearray(envelope.transaction.soroban_data.to_xdr_bytes())
        kind = sdk.SorobanTransactionData
    for where, value in damage:
        data[where % len(data)] = value
    try:
        changed = kind.from_xdr_bytes(bytes(data))
    except Exception:  # noqa: BLE001 - the SDK's decoder raises bare Exceptions of its own
        return
    if only_auth:
        operation.auth = [changed]
    else:
        envelope.transaction.soroban_data = changed
        envelope.transaction.fee = min(2**32 - 1, max(100, changed.resource_fee.int64 + 100))
    envelope.signatures.clear()
    envelope.sign(shared.sponsor)
    owner, receiver = shared.usdc_of(shared.payer), shared.usdc_of(shared.seller)
    answer = shared.send(envelope)
    shared.sandbox.close_ledger()
    moved = shared.usdc_of(shared.seller) - receiver
    assert shared.usdc_of(shared.payer) == owner - moved
    if answer["status"] == "PENDING":
        outcome = shared.outcome(envelope)
        assert outcome["status"] in {"SUCCESS", "FAILED"}
        assert moved == (10 if outcome["status"] == "SUCCESS" else 0)
        assert sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v == 4
    else:
        assert answer["status"] == "ERROR"
        assert moved == 0
