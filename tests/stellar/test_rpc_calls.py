"""What calls ask for and how answers are read, without a network."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.stellar.rpc import (
    FeeStats,
    LatestLedger,
    LedgerEntries,
    LedgerEntry,
    NetworkInfo,
    Simulation,
    Submission,
    TransactionStatus,
    get_fee_stats,
    get_latest_ledger,
    get_ledger_entries,
    get_network,
    get_transaction,
    send_transaction,
    simulate_transaction,
)
from mpp_asgi.stellar.rpc_call import RpcCall, RpcRefusedError, RpcUnavailableError

HASH = "ab" * 32

NOT_FOUND = {
    "status": "NOT_FOUND",
    "latestLedger": 20,
    "latestLedgerCloseTime": "1700000100",
    "oldestLedger": 2,
    "oldestLedgerCloseTime": "1700000000",
    "ledger": 0,
    "createdAt": "0",
    "applicationOrder": 0,
    "feeBump": False,
    "events": {},
}
SUCCESS = NOT_FOUND | {
    "status": "SUCCESS",
    "ledger": 19,
    "createdAt": "1700000095",
    "envelopeXdr": "ENV=",
    "resultXdr": "RES=",
    "resultMetaXdr": "META",
    "events": {"transactionEventsXdr": ["FEE="], "contractEventsXdr": [["EV1="], ["EV2=", "EV3="]]},
}
SIMULATED = {
    "latestLedger": 20,
    "transactionData": "DATA",
    "minResourceFee": "23456",
    "events": ["EV1=", "EV2="],
    "results": [{"auth": ["AUTH"], "xdr": "AAAAAQ=="}],
}
SUBMITTED = {
    "status": "PENDING",
    "hash": HASH,
    "latestLedger": 20,
    "latestLedgerCloseTime": "1700000100",
}
LATEST = {"id": "cd" * 32, "sequence": 20, "protocolVersion": 28}
FEES = {"max": "900", "p50": "100", "p90": "300", "p99": "500"}
ENTRY = {"key": "KEY=", "xdr": "XDR=", "lastModifiedLedgerSeq": 7, "extXdr": "AAAAAA=="}

ANSWERS: list[tuple[RpcCall[Any], dict[str, Any]]] = [
    (get_latest_ledger(), LATEST),
    (get_network(), {"passphrase": "P", "protocolVersion": 28}),
    (simulate_transaction("ENV="), SIMULATED),
    (send_transaction("ENV="), SUBMITTED),
    (get_transaction(HASH), SUCCESS),
    (get_transaction(HASH), NOT_FOUND),
    (get_ledger_entries(["KEY="]), {"latestLedger": 20, "entries": [ENTRY]}),
    (get_fee_stats(), {"latestLedger": 20, "sorobanInclusionFee": FEES}),
]


def answered(call: RpcCall[Any], result: object) -> Any:
    return call.result({"jsonrpc": "2.0", "id": 3, "result": result}, 3)


def test_requests_are_json_rpc() -> None:
    assert get_transaction(HASH).request(7) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "getTransaction",
        "params": {"hash": HASH},
    }
    assert get_ledger_entries(("A", "B")).request(1)["params"] == {"keys": ["A", "B"]}
    assert send_transaction("ENV=").request(1)["params"] == {"transaction": "ENV="}


def test_simulation_never_asks_for_upgraded_authorization() -> None:
    assert simulate_transaction("ENV=").params == {"transaction": "ENV=", "useUpgradedAuth": False}
    assert simulate_transaction("ENV=", auth_mode="enforce").params == {
        "transaction": "ENV=",
        "authMode": "enforce",
        "useUpgradedAuth": False,
    }


def test_latest_ledger() -> None:
    assert answered(get_latest_ledger(), LATEST | {"closeTime": "1700000100"}) == LatestLedger(
        sequence=20, close_time=1700000100, protocol_version=28
    )
    assert answered(get_latest_ledger(), LATEST).close_time is None


def test_network() -> None:
    answer = {"passphrase": "P", "protocolVersion": 28, "friendbotUrl": None}
    assert answered(get_network(), answer) == NetworkInfo(passphrase="P", protocol_version=28)


def test_simulation_that_succeeds() -> None:
    assert answered(simulate_transaction("ENV="), SIMULATED) == Simulation(
        latest_ledger=20,
        error=None,
        transaction_data="DATA",
        min_resource_fee=23456,
        events=("EV1=", "EV2="),
        auth=("AUTH",),
        restore=False,
    )
    archived = SIMULATED | {"restorePreamble": {"transactionData": "D", "minResourceFee": "1"}}
    assert answered(simulate_transaction("ENV="), archived).restore


def test_simulation_that_fails() -> None:
    answer = {"latestLedger": 20, "error": "HostError: Error(Contract, #10)", "events": ["EV1="]}
    assert answered(simulate_transaction("ENV="), answer) == Simulation(
        latest_ledger=20,
        error="HostError: Error(Contract, #10)",
        transaction_data=None,
        min_resource_fee=None,
        events=("EV1=",),
        auth=(),
        restore=False,
    )


@pytest.mark.parametrize("status", ["PENDING", "DUPLICATE", "TRY_AGAIN_LATER", "ERROR"])
def test_submission(status: str) -> None:
    answer = SUBMITTED | {"status": status, "errorResultXdr": "RES="}
    assert answered(send_transaction("ENV="), answer) == Submission(
        status=status,
        hash=HASH,
        error_result_xdr="RES=",
        latest_ledger=20,
        latest_ledger_close_time=1700000100,
    )


def test_transaction_in_the_ledger() -> None:
    assert answered(get_transaction(HASH), SUCCESS) == TransactionStatus(
        status="SUCCESS",
        latest_ledger=20,
        latest_ledger_close_time=1700000100,
        oldest_ledger=2,
        oldest_ledger_close_time=1700000000,
        ledger=19,
        created_at=1700000095,
        envelope_xdr="ENV=",
        result_xdr="RES=",
        result_meta_xdr="META",
        contract_events=("EV1=", "EV2=", "EV3="),
    )
    failed = {name: value for name, value in SUCCESS.items() if name != "events"}
    status = answered(get_transaction(HASH), failed | {"status": "FAILED"})
    assert (status.status, status.contract_events) == ("FAILED", ())


@pytest.mark.parametrize("events", [[["EV1="], [1]], [["EV1="], "EV2="], "EV1=", {"0": []}])
def test_events_of_another_shape(events: object) -> None:
    answer = SUCCESS | {"events": {"contractEventsXdr": events}}
    with pytest.raises(RpcUnavailableError, match="contractEventsXdr"):
        answered(get_transaction(HASH), answer)


def test_transaction_not_in_the_ledger() -> None:
    status = answered(get_transaction(HASH), NOT_FOUND)
    assert status.status == "NOT_FOUND"
    assert status.latest_ledger_close_time == 1700000100
    assert status.ledger is status.created_at is status.envelope_xdr is None
    assert status.contract_events == ()


def test_ledger_entries() -> None:
    mortal = ENTRY | {"liveUntilLedgerSeq": 99}
    answer = {"latestLedger": 20, "entries": [ENTRY, mortal]}
    first = LedgerEntry(key="KEY=", xdr="XDR=", last_modified_ledger=7, live_until_ledger=None)
    second = LedgerEntry(key="KEY=", xdr="XDR=", last_modified_ledger=7, live_until_ledger=99)
    call = get_ledger_entries(["KEY="])
    assert answered(call, answer) == LedgerEntries(latest_ledger=20, entries=(first, second))
    assert answered(call, {"latestLedger": 20, "entries": None}).entries == ()


def test_fee_stats() -> None:
    answer = {"latestLedger": 20, "sorobanInclusionFee": FEES, "inclusionFee": {}}
    assert answered(get_fee_stats(), answer) == FeeStats(
        latest_ledger=20, p50=100, p90=300, p99=500, max=900
    )


@pytest.mark.parametrize("code", [-32700, -32600, -32601, -32602])
def test_a_refusal_says_why(code: int) -> None:
    response = {"jsonrpc": "2.0", "id": 3, "error": {"code": code, "message": "invalid_xdr"}}
    with pytest.raises(RpcRefusedError, match="invalid_xdr") as caught:
        send_transaction("x").result(response, 3)
    assert (caught.value.code, caught.value.message) == (code, "invalid_xdr")


def test_a_refusal_does_not_flood_the_message() -> None:
    response = {"jsonrpc": "2.0", "id": 3, "error": {"code": -32602, "message": "x" * 9999}}
    with pytest.raises(RpcRefusedError) as caught:
        send_transaction("x").result(response, 3)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "text",
        {},
        {"jsonrpc": "2.0", "id": 3},
        {"jsonrpc": "2.0", "id": 3, "result": None},
        {"jsonrpc": "2.0", "id": 3, "result": [LATEST]},
        {"jsonrpc": "2.0", "id": 4, "result": LATEST},
        {"jsonrpc": "2.0", "result": LATEST},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": -32603, "message": "internal"}},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": -32000, "message": "busy"}},
        {"jsonrpc": "2.0", "id": 3, "error": {"message": "no code"}},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": [], "message": "no code"}},
        {"jsonrpc": "2.0", "id": 3, "error": "text"},
    ],
    ids=str,
)
def test_whatever_is_no_answer_leaves_everything_unknown(response: object) -> None:
    with pytest.raises(RpcUnavailableError):
        get_latest_ledger().result(response, 3)


@pytest.mark.parametrize(("call", "answer"), ANSWERS, ids=lambda each: getattr(each, "method", ""))
def test_an_answer_without_one_of_its_fields_is_read_or_refused(
    call: RpcCall[Any], answer: dict[str, Any]
) -> None:
    for name in answer:
        for value in (None, True, -1, 1.5, "text", [1], {"a": 1}, [[1]], [{"a": 1}]):
            with contextlib.suppress(RpcUnavailableError):
                answered(call, answer | {name: value})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "hash", "events", "latestLedger", "results", "auth", "id"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(call=st.sampled_from([call for call, _ in ANSWERS]), response=_json, result=_json)
def test_garbage_is_never_more_than_an_error(
    call: RpcCall[Any], response: object, result: object
) -> None:
    for answer in (response, {"jsonrpc": "2.0", "id": 3, "result": result}):
        with contextlib.suppress(RpcUnavailableError, RpcRefusedError):
            call.result(answer, 3)
