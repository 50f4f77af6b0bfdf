"""What the ledger's answers prove, to the second and to the ledger."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Keypair

from mpp_asgi.client.ledger_truth import (
    CLOCK_MARGIN,
    LONGEST_LEDGER_SECONDS,
    MIN_NONCE_LEDGERS,
    Verdict,
    verdict,
)
from mpp_asgi.client.payments import NonceTrace, TransactionTrace
from mpp_asgi.client.steps import LookAtClock, Run
from mpp_asgi.stellar.rpc_call import RpcUnavailableError

ADDRESS = Keypair.from_raw_ed25519_seed(b"p" * 32).public_key
NONCE = NonceTrace(ADDRESS, -7, signed_at_ledger=100, expiration_ledger=160, signed_at=700)
NONCE_OVER = 700 + 60 * LONGEST_LEDGER_SECONDS + CLOCK_MARGIN
TRANSACTION = TransactionTrace("ab" * 32, max_time=1_000, signed_at=700)
ENTRY = {"key": "k", "xdr": "x", "lastModifiedLedgerSeq": 101}


LATE = 1_000_000.0


def of_nonce(ledger: int, *, found: bool = False, now: float = LATE) -> Verdict | None:
    return told(NONCE, {"latestLedger": ledger, "entries": [ENTRY] if found else []}, now)


def of_transaction(
    status: str, *, closed: int = 2_000, oldest: int = 0, now: float = LATE
) -> Verdict | None:
    answer = {
        "status": status,
        "latestLedger": 9,
        "latestLedgerCloseTime": str(closed),
        "oldestLedger": 2,
        "oldestLedgerCloseTime": str(oldest),
        "ledger": 8,
        "createdAt": "900",
        "envelopeXdr": "",
        "resultXdr": "",
        "resultMetaXdr": "",
    }
    return told(TRANSACTION, answer, now)


def told(trace: Any, answer: dict[str, Any], now: float) -> Verdict | None:
    """The verdict after one question with this answer."""
    run = Run(verdict(trace))
    run.send(None)
    call: Any = run.step
    run.send(call.result({"id": 1, "result": answer}, 1))
    if isinstance(run.step, LookAtClock):
        run.send(now)
    assert run.step is None
    return run.result


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        (100, Verdict.OPEN),
        (160, Verdict.OPEN),
        (161, Verdict.VOID),
        (100 + MIN_NONCE_LEDGERS - 1, Verdict.VOID),
        (100 + MIN_NONCE_LEDGERS, Verdict.OPEN),
    ],
)
def test_a_nonce_that_is_not_there(ledger: int, expected: Verdict) -> None:
    assert of_nonce(ledger) is expected


@given(ledger=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_nonce_that_is_there(ledger: int) -> None:
    assert of_nonce(ledger, found=True) is Verdict.PAID


@pytest.mark.parametrize(
    ("closed", "oldest", "expected"),
    [
        (1_000, 0, Verdict.OPEN),
        (1_001, 0, Verdict.VOID),
        (1_001, 700, Verdict.VOID),
        (1_001, 701, Verdict.OPEN),
    ],
)
def test_a_transaction_that_is_not_there(closed: int, oldest: int, expected: Verdict) -> None:
    assert of_transaction("NOT_FOUND", closed=closed, oldest=oldest) is expected


@given(closed=st.integers(0, 253_402_300_799), oldest=st.integers(0, 253_402_300_799))
@settings(deadline=None)
def test_a_transaction_that_is_there(closed: int, oldest: int) -> None:
    assert of_transaction("SUCCESS", closed=closed, oldest=oldest) is Verdict.PAID
    assert of_transaction("FAILED", closed=closed, oldest=oldest) is Verdict.VOID


@pytest.mark.parametrize(
    ("now", "expected"), [(NONCE_OVER, Verdict.OPEN), (NONCE_OVER + 1, Verdict.VOID)]
)
def test_no_nonce_is_void_before_its_time_is_over_here(now: float, expected: Verdict) -> None:
    assert of_nonce(161, now=now) is expected
    assert of_nonce(161, now=now, found=True) is Verdict.PAID


@pytest.mark.parametrize(
    ("now", "expected"),
    [(1_000 + CLOCK_MARGIN, Verdict.OPEN), (1_001 + CLOCK_MARGIN, Verdict.VOID)],
)
def test_no_transaction_is_void_before_its_time_is_over_here(now: float, expected: Verdict) -> None:
    assert of_transaction("NOT_FOUND", now=now) is expected
    assert of_transaction("FAILED", now=now) is Verdict.VOID
    assert of_transaction("SUCCESS", now=now) is Verdict.PAID


@pytest.mark.parametrize("trace", [NONCE, TRANSACTION])
def test_nobody_to_ask(trace: Any) -> None:
    run = Run(verdict(trace))
    run.send(None)
    run.throw(RpcUnavailableError("down"))
    assert run.result is Verdict.OPEN
