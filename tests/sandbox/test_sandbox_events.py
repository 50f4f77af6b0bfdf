"""getEvents: order, filters, wildcards, cursors and windows."""

from __future__ import annotations

from typing import Any

import pytest
from stellar_sdk import Asset, scval
from stellar_sdk import xdr as sdk

TRANSFER = scval.to_symbol("transfer").to_xdr()
FEE = scval.to_symbol("fee").to_xdr()
MINT = scval.to_symbol("mint").to_xdr()


@pytest.fixture
def played(stage: Any) -> Any:
    """Three ledgers: a transfer, nothing, a transfer beside a payment."""
    stage.start = stage.sandbox.sequence
    stage.succeed(stage.ready_transfer(1))
    stage.sandbox.close_ledger()
    builder = stage.builder(stage.seller)
    builder.append_payment_op(stage.payer.public_key, Asset.native(), "3")
    envelope = builder.build()
    envelope.sign(stage.seller)
    stage.send(envelope)
    stage.succeed(stage.ready_transfer(2))
    return stage


def events(stage: Any, **params: Any) -> list[dict[str, Any]]:
    params.setdefault("startLedger", stage.start)
    return stage.rpc("getEvents", **params)["events"]


def names(found: list[dict[str, Any]]) -> list[str]:
    return [scval.to_native(event["topic"][0]) for event in found]


def test_fees_first_then_operations_then_refunds(played: Any) -> None:
    found = events(played)
    assert names(found) == [
        *("fee", "transfer", "fee"),
        *("fee", "fee", "transfer", "transfer", "fee"),
    ]
    assert [event["id"] for event in found] == sorted(event["id"] for event in found)
    places = [(event["transactionIndex"], event["operationIndex"]) for event in found]
    last = 0xFFFFF
    assert places == [(0, 0), (1, 0), (last, 0), (0, 0), (0, 0), (1, 0), (2, 0), (last, 0)]


def test_shape(played: Any) -> None:
    event = events(played)[1]
    assert event == {
        "type": "contract",
        "ledger": played.start + 1,
        "ledgerClosedAt": "2027-01-15T08:00:00Z",
        "contractId": played.usdc,
        "id": f"{(played.start + 1) << 32 | 1 << 12:019d}-0000000000",
        "operationIndex": 0,
        "transactionIndex": 1,
        "txHash": event["txHash"],
        "inSuccessfulContractCall": True,
        "topic": event["topic"],
        "value": scval.to_int128(1).to_xdr(),
    }
    answer = played.rpc("getEvents", startLedger=played.start)
    assert set(answer) == {
        "events", "cursor", "latestLedger", "oldestLedger", "latestLedgerCloseTime",
        "oldestLedgerCloseTime",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("topics", "count"),
    [
        ([[TRANSFER, "*", "*", "*"]], 3),
        ([[TRANSFER, "**"]], 3),
        ([["**"]], 8),
        ([[TRANSFER]], 0),
        ([[TRANSFER, "*", "*"]], 0),
        ([["*", "*"]], 5),
        ([[FEE, "*"]], 5),
        ([[FEE, "**"], [TRANSFER, "**"]], 8),
        ([[MINT, "**"]], 0),
        ([["*", "*", "*", "*", "**"]], 3),
    ],
)
def test_topic_filters(played: Any, topics: list[list[str]], count: int) -> None:
    assert len(events(played, filters=[{"topics": topics}])) == count


def test_filters_by_contract_and_value_of_a_topic(played: Any) -> None:
    usdc = {"type": "contract", "contractIds": [played.usdc]}
    assert len(events(played, filters=[usdc])) == 2
    both = {"contractIds": [played.usdc, played.sandbox.xlm]}
    assert len(events(played, filters=[both])) == 8
    assert events(played, filters=[{"type": "system"}]) == []
    payer = scval.to_address(played.payer.public_key).to_xdr()
    from_payer = {"topics": [["*", payer, "*", "*"]]}
    to_payer = {"topics": [["*", "*", payer, "*"]]}
    assert len(events(played, filters=[from_payer])) == 2
    assert len(events(played, filters=[to_payer])) == 1
    assert len(events(played, filters=[from_payer, to_payer])) == 3


def test_pages(played: Any) -> None:
    whole = [event["id"] for event in events(played)]
    page = played.rpc("getEvents", startLedger=played.start, pagination={"limit": 3})
    seen = [event["id"] for event in page["events"]]
    assert page["cursor"] == seen[-1]
    while page["events"]:
        page = played.rpc("getEvents", pagination={"cursor": page["cursor"], "limit": 3})
        seen += [event["id"] for event in page["events"]]
    assert seen == whole
    # The end of what was looked through: nothing new until another ledger closes.
    assert page["cursor"] == f"{(played.sandbox.sequence << 32) | 0xFFFFFFFF:019d}-4294967295"
    played.succeed(played.ready_transfer(4))
    page = played.rpc("getEvents", pagination={"cursor": page["cursor"]})
    assert names(page["events"]) == ["fee", "transfer", "fee"]


def test_the_end_of_the_range_is_exclusive(played: Any) -> None:
    assert len(events(played, endLedger=played.start + 3)) == 3
    assert len(events(played, endLedger=played.start + 4)) == 8


def test_windows(played: Any) -> None:
    latest = played.sandbox.sequence
    for start in (1, 999, latest + 1):
        error = played.rpc_error("getEvents", startLedger=start)
        assert error["code"] == -32600
        expected = f"startLedger must be within the ledger range: 1000 - {latest}"
        assert error["message"] == expected


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"startLedger": 0},
        {"startLedger": -1},
        {"startLedger": "1"},
        {"startLedger": 1.5},
        {"startLedger": 2**32},
        {"startLedger": 1000, "pagination": {"limit": 10_001}},
        {"startLedger": 1000, "pagination": {"cursor": "1-1"}},
        {"pagination": {"cursor": "nonsense"}},
        {"pagination": {"cursor": "1"}},
        {"pagination": []},
        {"startLedger": 1000, "filters": [{}] * 6},
        {"startLedger": 1000, "filters": "x"},
        {"startLedger": 1000, "filters": ["x"]},
        {"startLedger": 1000, "filters": [{"type": "diagnostic"}]},
        {"startLedger": 1000, "filters": [{"contractIds": ["C"]}]},
        {"startLedger": 1000, "filters": [{"contractIds": [5]}]},
        {"startLedger": 1000, "filters": [{"topics": [[]]}]},
        {"startLedger": 1000, "filters": [{"topics": [["**", "*"]]}]},
        {"startLedger": 1000, "filters": [{"topics": [["*"] * 5]}]},
        {"startLedger": 1000, "filters": [{"topics": [["!!"]]}]},
        {"startLedger": 1000, "filters": [{"topics": ["*"]}]},
        {"startLedger": 1000, "filters": [{"topics": [["*"]] * 6}]},
    ],
)
def test_bad_questions(stage: Any, params: dict[str, Any]) -> None:
    assert stage.rpc_error("getEvents", **params)["code"] == -32602


def test_failed_transactions_emit_nothing_but_their_fee(stage: Any) -> None:
    start = stage.sandbox.sequence
    envelope = stage.ready_transfer(5)
    stage.succeed(stage.ready_transfer(100_0000000 - 2, source=stage.payer))
    stage.sandbox.close_ledger(10)
    assert stage.apply(envelope)["status"] == "FAILED"
    found = stage.rpc("getEvents", startLedger=start + 2)["events"]
    assert names(found) == ["fee", "fee"]
    result = sdk.TransactionResult.from_xdr(stage.outcome(envelope)["resultXdr"])
    paid = sum(scval.from_int128(sdk.SCVal.from_xdr(event["value"])) for event in found)
    assert paid == result.fee_charged.int64
