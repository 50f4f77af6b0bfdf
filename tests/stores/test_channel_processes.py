"""Real processes with one channel in one SQLite file: they race, and they are killed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from functools import partial
from pathlib import Path

from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.sqlite import SqliteStore
from tests.stores import racing

processes = partial(racing.processes, Path(__file__).with_name("channel_process.py"))
OWNERS = ["w0", "w1", "w2", "w3"]


async def found(file: Path, channel_id: str = "channel"):
    store = SqliteStore(file)
    await store.open()
    try:
        return await store.channel(channel_id)
    finally:
        await store.close()


async def test_four_processes_spend_every_unit_once_and_lose_no_voucher(file):
    """They also create the file and the channel, all at once."""
    with processes(*(("race", file, owner) for owner in OWNERS)) as spenders:
        results = [json.loads(process.communicate()[0]) for process in spenders]
        assert [process.returncode for process in spenders] == [0] * 4
    assert all(result["units"] for result in results)
    channel = await found(file)
    assert channel.spent == sum(result["granted"] for result in results)
    assert channel.units == sum(result["units"] for result in results)
    assert channel.accepted == max(result["accepted"] for result in results)
    assert channel.signature == f"s{channel.accepted}"
    assert channel.spent <= channel.accepted <= channel.deposited
    assert channel.settled <= channel.accepted
    ledger = max(result["ledger"] for result in results)
    facts = (channel.seen_ledger, channel.deposited, channel.settled)
    assert facts == (ledger, 2**70 + ledger, ledger // 10)
    assert racing.intact(file)


async def test_of_four_processes_one_has_each_lease(file):
    with processes(*(("lease", file, owner) for owner in OWNERS)) as takers:
        results = [json.loads(process.communicate()[0]) for process in takers]
        assert [process.returncode for process in takers] == [0] * 4
    assert Counter(name for names in results for name in names) == {
        f"settle:{n}": 1 for n in range(30)
    }


async def test_killed_in_the_middle_of_spending_a_process_leaves_all_it_was_told_is_kept(file):
    with processes(("work", file, "killed"), ("work", file, "other")) as (killed, other):
        kept = [int(killed.stdout.readline()) for _ in range(50)]
        killed.send_signal(signal.SIGKILL)
        kept += [int(line) for line in killed.stdout if line.endswith("\n")]
        # The other one goes on as if nothing had happened.
        assert [int(other.stdout.readline()) for _ in range(50)] == list(range(1, 51))
    channel = await found(file, "killed")
    assert channel.spent == channel.units
    assert channel.spent in (kept[-1], kept[-1] + 1)  # the last one may not have been told yet
    assert racing.intact(file)


async def test_a_process_killed_with_a_spend_half_done_has_spent_nothing(file):
    """Who waits for it goes on, from what was there before."""
    store = SqliteStore(file, busy_timeout=30)
    await store.open()
    with processes(("hold", file, "killed")) as (killed,):
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
    assert racing.intact(file)


async def test_a_spend_that_was_acknowledged_is_there_after_a_crash_in_the_same_moment(file):
    with processes(("die", file, "w")) as (process,):
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    channel = await found(file)
    assert (channel.accepted, channel.signature, channel.spent, channel.units) == (10, "s10", 4, 1)
    assert racing.intact(file)
