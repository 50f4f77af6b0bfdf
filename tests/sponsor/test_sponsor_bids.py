"""More is bid for what is not included, and however often, it is one transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from stellar_sdk import xdr

from mpp_asgi.intents import FaultError
from mpp_asgi.protocol import Receipt
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.ledger import PATIENT_LEDGERS
from mpp_asgi.stellar.rpc import FeeStats
from mpp_asgi.stellar.sponsor_budget import SponsorBudget, SponsorLimits
from mpp_asgi.stellar.sponsor_fees import INCLUSION_FEE, FeeBids
from tests.charge.bad_line import BadLine, Plan, lost_after
from tests.charge.test_crashes import sponsor_transactions
from tests.shop import PRICE, SPONSOR, Time, open_shop


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def sandbox(time: Time) -> Sandbox:
    return Sandbox(clock=time, close_interval=5)


@pytest.mark.parametrize("accounts", [0, 2])
@pytest.mark.parametrize("answer", ["taken", "lost"])
async def test_what_waits_is_replaced_by_a_higher_bid(
    time: Time, sandbox: Sandbox, accounts: int, answer: str
) -> None:
    line = BadLine(sandbox)
    settings: dict[str, Any] = {
        "sponsor_accounts": accounts,
        "sponsor_budget": Decimal(1),
        "settle_seconds": 60,
    }
    async with open_shop(sandbox=sandbox, node=line, time=time, **settings) as shop:
        credential = shop.payer().sponsored((await shop.challenges())[0])
        before = shop.sponsor_funds()
        if answer == "lost":
            line.follow(Plan("sendTransaction", 1, lost_after))
        else:
            line.follow()
        sandbox.delay_next_submit(4)  # by then the first is dropped
        shown = await shop.show(credential)
        assert shown.status_code == 200
        assert line.calls.count("sendTransaction") == 2
        reference = Receipt.from_header(shown.headers["payment-receipt"]).reference
        found = shop.ask("getTransaction", hash=reference)
        bump = xdr.TransactionEnvelope.from_xdr(found["envelopeXdr"]).fee_bump
        assert bump is not None
        assert bump.tx.fee_source == SPONSOR.xdr_muxed_account()
        inner = bump.tx.inner_tx.v1
        assert inner is not None
        resources = inner.tx.ext.soroban_data
        assert resources is not None
        assert bump.tx.fee.int64 - resources.resource_fee.int64 == 10 * 2 * INCLUSION_FEE
        assert shop.earned() == PRICE
        budget = SponsorBudget(SPONSOR.public_key, SponsorLimits(), shop.store, clock=time)
        assert await budget.drawn() == before - shop.sponsor_funds()
        if not accounts:
            assert sponsor_transactions(shop) == 1


async def test_no_more_is_bid_than_may_be_spent(time: Time, sandbox: Sandbox) -> None:
    line = BadLine(sandbox)
    async with open_shop(
        sandbox=sandbox, node=line, time=time, sponsor_accounts=1, max_fee=40_000
    ) as shop:
        credential = shop.payer().sponsored((await shop.challenges())[0])
        line.follow()
        sandbox.delay_next_submit(PATIENT_LEDGERS + 1)
        assert (await shop.show(credential)).status_code == 200
        assert line.calls.count("sendTransaction") == 1
        assert shop.earned() == PRICE


def bids(stats: FeeStats | None = None, *, max_fee: int = 500_000) -> FeeBids:
    made = FeeBids(
        None,  # type: ignore[arg-type] # asks nothing as long as no time passes
        max_fee=max_fee,
        clock=lambda: 0.0,
        spawn=lambda _: None,
    )
    made._stats = stats
    return made


def stats(p90: int, p99: int) -> FeeStats:
    return FeeStats(latest_ledger=1, p50=100, p90=p90, p99=p99, max=10**6)


def test_a_bid_is_what_others_bid_and_never_less_than_our_own() -> None:
    assert bids().first(20_000, 2) == 22_000
    assert bids(stats(100, 200)).first(20_000, 2) == 22_000
    assert bids(stats(7_000, 9_000)).first(20_000, 2) == 34_000
    assert bids(stats(7_000, 9_000)).first(20_000, 1) == 27_000


def test_a_bid_is_capped() -> None:
    assert bids(stats(7_000, 9_000), max_fee=30_000).first(20_000, 2) == 30_000
    assert bids(max_fee=20_200).first(20_000, 2) == 20_200
    with pytest.raises(FaultError, match="too high"):
        bids(max_fee=20_199).first(20_000, 2)


def test_a_higher_bid_is_ten_times_as_high_at_least() -> None:
    assert bids().next(20_000, 2, bid=1_000) == 40_000
    assert bids(stats(7_000, 90_000)).next(20_000, 2, bid=1_000) == 200_000
    assert bids(stats(7_000, 90_000), max_fee=50_000).next(20_000, 2, bid=1_000) == 50_000
    assert bids(max_fee=39_999).next(20_000, 2, bid=1_000) is None
