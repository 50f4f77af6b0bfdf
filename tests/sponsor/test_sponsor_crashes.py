"""A process with an account on loan stops at any step of a payment."""

import pytest

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stellar.sponsor_pool import LOAN_SECONDS
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.mortal import Moment, Process, stopped
from tests.charge.test_crashes import MOST_STEPS, show_until_it_ends
from tests.shop import PRICE, SPONSOR, Payer, Shop, Time, open_shop

ACCOUNTS = 2


def sponsored_transactions(shop: Shop) -> int:
    """How many transactions the channel accounts have had on the ledger."""
    payer = Payer(shop, SPONSOR)
    keys = channel_accounts(SPONSOR, ACCOUNTS)
    return sum(payer.sequence(key) & 0xFFFFFFFF for key in keys)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("end", ["killed", "left"])
async def test_it_is_paid_once_and_the_account_is_lent_again(
    monkeypatch: pytest.MonkeyPatch, end: str, moment: Moment
) -> None:
    for step in range(MOST_STEPS):
        memory = MemoryStore()
        time = Time()
        sandbox = Sandbox(clock=time, close_interval=0.1)
        dying = Process()
        dying.run_by(monkeypatch, lambda kept=memory: kept)  # type: ignore[misc] # bound now
        async with open_shop(sandbox=sandbox, time=time, sponsor_accounts=ACCOUNTS) as shop:
            payer = shop.payer()
            credential = payer.sponsored((await shop.challenges())[0])
            dying.stop_at(step, moment, killed=end == "killed")
            if not await stopped(shop.show(credential), dying):
                assert step > 6
                return
            sandbox.set_close_interval(5)
            time.now += LIFE_SECONDS + 1
            Process().run_by(monkeypatch, lambda kept=memory: kept)  # type: ignore[misc] # bound now
            async with open_shop(sandbox=sandbox, time=time, sponsor_accounts=ACCOUNTS) as heir:
                answer = await show_until_it_ends(heir, credential, "/paid")
                assert answer.status_code == 200 or shop.left[-1] == 200
                assert (heir.earned(), sponsored_transactions(heir)) == (PRICE, 1)
                time.now += LOAN_SECONDS
                free = await heir.store.borrow(
                    [key.public_key for key in channel_accounts(SPONSOR, ACCOUNTS)][::-1],
                    until=int(time()) + 1,
                    now=int(time()),
                )
                assert free is not None
                again = payer.sponsored((await heir.challenges())[0], nonce=8)
                assert (await heir.show(again)).status_code == 200
                assert (heir.earned(), sponsored_transactions(heir)) == (2 * PRICE, 2)
    raise AssertionError("a payment takes more steps than were tried")
