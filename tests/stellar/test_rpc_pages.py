"""How pages of transactions are asked for and read."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.stellar.rpc import Span
from mpp_asgi.stellar.rpc_call import RpcUnavailableError
from mpp_asgi.stellar.rpc_pages import TransactionPage, get_transactions

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32

ENTRY = {
    "status": "SUCCESS",
    "txHash": A,
    "applicationOrder": 1,
    "feeBump": False,
    "envelopeXdr": "ENV=",
    "resultXdr": "RES=",
    "resultMetaXdr": "META",
    "events": {"contractEventsXdr": [["EV1="], ["EV2="]]},
    "ledger": 19,
    "createdAt": 1700000095,
}
PAGE: dict[str, Any] = {
    "transactions": [ENTRY],
    "latestLedger": 20,
    "latestLedgerCloseTimestamp": 1700000100,
    "oldestLedger": 2,
    "oldestLedgerCloseTimestamp": 1700000000,
    "cursor": "81604382721",
}


def result_of_fee_bump(inner: str, code: int = 1) -> str:
    head = struct.pack(">qi32s", 300, code, bytes.fromhex(inner))
    return base64.b64encode(head + bytes(28)).decode()


FEE_BUMP = ENTRY | {"txHash": B, "feeBump": True, "resultXdr": result_of_fee_bump(C)}


def read(answer: dict[str, Any], *wanted: str) -> TransactionPage:
    call = get_transactions(start=19, limit=200, wanted=wanted)
    return call.result({"id": 3, "result": answer}, 3)


def test_a_page_begins_with_a_ledger_or_goes_on_after_a_cursor() -> None:
    assert get_transactions(start=19, limit=200, wanted=()).params == {
        "startLedger": 19,
        "pagination": {"limit": 200},
    }
    assert get_transactions(start="81604382721", limit=10, wanted=()).params == {
        "pagination": {"cursor": "81604382721", "limit": 10}
    }


def test_only_what_is_wanted_is_read() -> None:
    page = read(PAGE | {"transactions": [ENTRY, FEE_BUMP]}, A)
    assert list(page.found) == [A]
    assert (page.count, page.last_ledger, page.cursor) == (2, 19, "81604382721")
    assert page.span == Span(
        latest_ledger=20,
        latest_ledger_close_time=1700000100,
        oldest_ledger=2,
        oldest_ledger_close_time=1700000000,
    )
    status = page.found[A]
    assert (status.status, status.ledger, status.created_at) == ("SUCCESS", 19, 1700000095)
    assert (status.latest_ledger, status.latest_ledger_close_time) == (20, 1700000100)
    assert status.contract_events == ("EV1=", "EV2=")


@pytest.mark.parametrize("code", [1, -13])
def test_a_fee_bump_goes_by_its_own_hash_and_that_of_what_it_wraps(code: int) -> None:
    entry = FEE_BUMP | {"resultXdr": result_of_fee_bump(C, code)}
    assert set(read(PAGE | {"transactions": [entry]}, A, B, C).found) == {B, C}


def test_what_looks_like_an_inner_hash_is_none_without_a_fee_bump() -> None:
    plain = FEE_BUMP | {"feeBump": False}
    unwrapped = FEE_BUMP | {"resultXdr": result_of_fee_bump(C, 0)}
    for entry in (plain, unwrapped):
        assert set(read(PAGE | {"transactions": [entry]}, B, C).found) == {B}


@pytest.mark.parametrize("result", ["", "RES=", "?", "AAAA" * 10])
def test_a_result_that_makes_no_sense_names_nothing(result: str) -> None:
    entry = FEE_BUMP | {"resultXdr": result}
    assert set(read(PAGE | {"transactions": [entry]}, B, C).found) == {B}


def test_an_empty_page() -> None:
    page = read(PAGE | {"transactions": []}, A)
    assert (page.count, page.last_ledger, page.found) == (0, None, {})
    assert read({**PAGE, "transactions": None}, A).count == 0


@pytest.mark.parametrize(
    "senseless",
    [
        {"latestLedger": None},
        {"latestLedgerCloseTimestamp": "soon"},
        {"oldestLedger": -1.5},
        {"oldestLedgerCloseTimestamp": None},
        {"cursor": 7},
        {"transactions": {}},
        {"transactions": [7]},
        {"transactions": [ENTRY | {"txHash": None}]},
        {"transactions": [ENTRY | {"status": "NOT_FOUND"}]},
        {"transactions": [ENTRY | {"status": "WELL"}]},
        {"transactions": [ENTRY | {"ledger": None}]},
        {"transactions": [ENTRY | {"events": []}]},
        {"transactions": [ENTRY | {"feeBump": True, "resultXdr": 7}]},
    ],
    ids=str,
)
def test_answers_that_make_no_sense_say_nothing(senseless: dict[str, Any]) -> None:
    with pytest.raises(RpcUnavailableError):
        read(PAGE | senseless, A)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(field=st.sampled_from(sorted(ENTRY)), value=JSON)
def test_no_entry_does_more_than_make_no_sense(field: str, value: Any) -> None:
    try:
        page = read(PAGE | {"transactions": [ENTRY | {field: value}]}, A)
    except RpcUnavailableError:
        return
    assert page.count == 1
