"""Problem documents: the catalogue, and both directions of the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import Problem, ProtocolError, problems

CATALOGUE = {
    "payment-required": (402, "Payment Required"),
    "payment-insufficient": (402, "Payment Insufficient"),
    "payment-expired": (402, "Payment Expired"),
    "verification-failed": (402, "Verification Failed"),
    "malformed-credential": (402, "Malformed Credential"),
    "invalid-challenge": (402, "Invalid Challenge"),
    "settlement-failed": (402, "Settlement Failed"),
    "invalid-payload": (402, "Invalid Payload"),
    "method-unsupported": (400, "Method Unsupported"),
    "bad-request": (400, "Bad Request"),
    "sponsorship-exhausted": (402, "Sponsorship Exhausted"),
    "session/invalid-signature": (402, "Invalid Signature"),
    "session/signer-mismatch": (402, "Signer Mismatch"),
    "session/amount-exceeds-deposit": (402, "Amount Exceeds Deposit"),
    "session/delta-too-small": (402, "Delta Too Small"),
    "session/insufficient-balance": (402, "Insufficient Balance"),
    "session/challenge-not-found": (402, "Challenge Not Found"),
    "session/channel-not-found": (410, "Channel Not Found"),
    "session/channel-finalized": (410, "Channel Finalized"),
    "session/transaction-reverted": (409, "Transaction Reverted"),
}


def test_the_catalogue_is_complete() -> None:
    assert {kind.slug: (kind.status, kind.title) for kind in problems.CATALOGUE} == CATALOGUE
    constants = {
        value for value in vars(problems).values() if isinstance(value, problems.ProblemType)
    }
    assert constants == set(problems.CATALOGUE)


def test_a_problem_on_the_wire() -> None:
    problem = problems.SESSION_INSUFFICIENT_BALANCE.because(
        "Sign a voucher for 5 more — “soon”.", challenge_id="i1", extra={"requiredTopUp": "5"}
    )
    body = problem.to_json()
    assert "— “soon”" in body.decode("utf-8")
    assert json.loads(body) == {
        "type": "https://paymentauth.org/problems/session/insufficient-balance",
        "title": "Insufficient Balance",
        "status": 402,
        "detail": "Sign a voucher for 5 more — “soon”.",
        "challengeId": "i1",
        "requiredTopUp": "5",
    }
    assert problems.SESSION_INSUFFICIENT_BALANCE.uri == problem.type


def test_no_challenge_id_no_member() -> None:
    assert "challengeId" not in json.loads(problems.PAYMENT_REQUIRED.because("Pay.").to_json())


def test_our_own_fault_asks_nobody_to_pay() -> None:
    problem = problems.unavailable("The ledger cannot be reached; the payment is not lost.")
    assert (problem.status, problem.type) == (503, "about:blank")
    assert problem.title == "Service Unavailable"
    assert Problem.from_json(problem.to_json()) == problem


names = st.text(max_size=8).filter(
    lambda name: name not in {"type", "title", "status", "detail", "challengeId"}
)
surrogate_free = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.sampled_from(problems.CATALOGUE),
    surrogate_free,
    st.none() | surrogate_free,
    st.dictionaries(
        surrogate_free.filter(
            lambda name: name not in {"type", "title", "status", "detail", "challengeId"}
        ),
        surrogate_free | st.integers(0, 9),
    ),
)
def test_what_is_written_is_read(
    kind: problems.ProblemType, detail: str, challenge_id: str | None, extra: dict[str, Any]
) -> None:
    problem = kind.because(detail, challenge_id=challenge_id, extra=extra)
    assert Problem.from_json(problem.to_json()) == problem


def test_what_other_servers_leave_out() -> None:
    assert Problem.from_json(b"{}", status=410) == Problem("about:blank", "", 410, "")
    strange = b'{"type":7,"title":[],"status":"402","detail":null,"challengeId":{},"x":1}'
    assert Problem.from_json(strange) == Problem("about:blank", "", 402, "", extra={"x": 1})
    assert Problem.from_json(b'{"status":true}').status == 402
    foreign = Problem.from_json(b'{"type":"urn:shop:sold-out","title":"Sold Out","status":409}')
    assert (foreign.slug, foreign.type, foreign.status) == ("urn:shop:sold-out",) * 2 + (409,)


@pytest.mark.parametrize("body", [b"", b"[]", b"oops", b"\xff", b'{"a":1,"a":2}', b" " * 70_000])
def test_what_is_no_problem_document_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Problem.from_json(body)
    assert caught.value.part == "problem"


@pytest.mark.parametrize("extra", [{"detail": "x"}, {"type": "x"}, {"a": b""}, {"a": float("nan")}])
def test_members_that_cannot_be_added_are_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        problems.PAYMENT_REQUIRED.because("Pay.", extra=extra).to_json()
    assert caught.value.part == "problem"
