"""Real processes with one channel on one storage: they race, and they are killed."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from functools import partial

from mpp_asgi.stores.channels import SpendOutcome
from tests.stores import racing
from tests.stores.backends import patient_store

processes = partial(racing.processes, "channel_process")
OWNERS = ["w0", "w1", "w2", "w3"]


async def test_four_processes_spend_every_unit_once_and_lose_no_voucher(url, look):
    """They also create what is stored in and the channel, all at once."""
    with processes(*(("race", url, owner) for owner in OWNERS)) as spenders:
        results = racing.results(spenders)
    assert all(result["units"] for result in results)
    channel = await (await look()).channel("channel")
    assert channel.spent == sum(result["granted"] for result in results)
    assert channel.units == sum(result["units"] for result in results)
    assert channel.accepted == max(result["accepted"] for result in results)
    assert channel.signature == f"s{channel.accepted}"
    assert channel.spent <= channel.accepted <= channel.deposited
    assert channel.settled <= channel.accepted
    ledger = max(result["ledger"] for result in results)
    facts = (channel.seen_ledger, channel.deposited, channel.settled)
    assert facts == (ledger, 2**70 + ledger, ledger // 10)
    assert racing.intact(url)


async def test_of_four_processes_one_has_each_lease(url, look):
    with processes(*(("lease", url, owner) for owner in OWNERS)) as takers:
        results = racing.results(takers)
    assert Counter(name for names in results for name in names) == {
        f"settle:{n}": 1 for n in range(30)
    }


async def test_killed_in_the_middle_of_spending_a_process_leaves_all_it_was_told_is_kept(url, look):
    with processes(("work", url, "killed"), ("work", url, "other")) as (killed, other):
        kept = [int(killed.stdout.readline()) for _ in range(50)]
        killed.send_signal(signal.SIGKILL)
        kept += [int(line) for line in killed.stdout if line.endswith("\n")]
        # The other one goes on as if nothing had happened.
        assert [int(other.stdout.readline()) for _ in range(50)] == list(range(1, 51))
    channel = await (await look()).channel("killed")
    assert channel.spent == channel.units
    assert channel.spent in (kept[-1], kept[-1] + 1)  # the last one may not have been told yet
    assert racing.intact(url)


async def test_a_process_killed_with_a_spend_half_done_has_spent_nothing(sqlite_urls):
    """Who waits for it goes on, from what was there before."""
    url = sqlite_urls()
    store = patient_store(url)
    await store.open()
    with processes(("hold", url, "killed")) as (killed,):
        assert killed.stdout.readline() == "holding\n"
        waiting = asyncio.create_task(
            store.spend("channel", amount=12, signature="s12", cost=8, units=1, min_delta=0, now=2)
        )
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not waiting.done()
        killed.send_signal(signal.SIGKILL)
        spend = await waiting
    await store.close()
    assert spend.outcome is SpendOutcome.SPENT
    assert (spend.channel.accepted, spend.channel.spent, spend.channel.units) == (12, 12, 2)
    assert racing.intact(url)


async def test_a_spend_that_was_acknowledged_is_there_after_a_crash_in_the_same_moment(url, look):
    with processes(("die", url, "w")) as (process,):
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    channel = await (await look()).channel("channel")
    assert (channel.accepted, channel.signature, channel.spent, channel.units) == (10, "s10", 4, 1)
    assert racing.intact(url)
