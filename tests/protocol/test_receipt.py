"""Receipts: of payments that succeeded, and of nothing else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, Receipt

RECEIPT = Receipt("stellar", "ab12", "2026-11-22T08:00:00Z")
BODY = {
    "method": "stellar",
    "reference": "ab12",
    "status": "success",
    "timestamp": "2026-11-22T08:00:00Z",
}

WRONG: list[Any] = [None, 1, "", [], {}, True]


def header(body: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


def written(receipt: Receipt) -> dict[str, Any]:
    text = receipt.to_header()
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return value


@given(st.from_type(Receipt))
def test_what_is_written_is_read(receipt: Receipt) -> None:
    assert Receipt.from_header(receipt.to_header()) == receipt


def test_absent_members_are_left_out() -> None:
    assert written(RECEIPT) == BODY
    assert written(replace(RECEIPT, extra={"units": None, "spent": "5"})) == {**BODY, "spent": "5"}


def test_members_are_read() -> None:
    body = {**BODY, "externalId": "order-7", "challengeId": "i1", "spent": "5"}
    assert Receipt.from_header(f" {header(body)} ") == replace(
        RECEIPT, external_id="order-7", extra={"challengeId": "i1", "spent": "5"}
    )
    assert written(Receipt.from_header(header(body))) == body


@pytest.mark.parametrize("name", ["externalId", "spent"])
def test_a_member_that_is_null_counts_as_absent(name: str) -> None:
    assert Receipt.from_header(header({**BODY, name: None})) == RECEIPT


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "failed"},
        {"status": ""},
        {"method": ""},
        {"reference": ""},
        {"timestamp": "yesterday"},
        {"timestamp": ""},
        {"extra": {"status": "success"}},
        {"extra": {"externalId": "order-7"}},
        {"extra": {"amount": float("inf")}},
        {"extra": {"amount": b"1"}},
        {"reference": "\ud800"},
    ],
)
def test_what_no_payer_should_see_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        replace(RECEIPT, **changes).to_header()
    assert caught.value.part == "receipt"


@pytest.mark.parametrize(
    "changes",
    [
        *({name: wrong} for name in BODY for wrong in WRONG),
        {"status": "pending"},
        {"timestamp": "1763800200"},
        {"externalId": 7},
        {"externalId": []},
    ],
)
def test_wrong_members_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        Receipt.from_header(header({**BODY, **changes}))
    assert caught.value.part == "receipt"


@pytest.mark.parametrize("name", list(BODY))
def test_missing_members_are_named(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"'{name}'"):
        Receipt.from_header(header({key: BODY[key] for key in BODY if key != name}))


@pytest.mark.parametrize("text", ["", "e30=", "W10", "bm8", "!", "Payment e30"])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Receipt.from_header(text)
    assert caught.value.part == "receipt"
