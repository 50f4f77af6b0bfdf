"""Real processes on one storage: they race, and they are killed."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial

import pytest

from mpp_asgi.stores.contract import Outcome, State
from tests.stores import racing

processes = partial(racing.processes, "store_process")
ALIVE_UNTIL = 100  # as the script says


async def test_of_four_processes_one_wins_each_challenge_and_each_proof(url, look, new_charge):
    """They also create what is stored in, all at once."""
    owners = ["w0", "w1", "w2", "w3"]
    with processes(*(("race", url, owner) for owner in owners)) as racers:
        results = racing.results(racers)
    assert len({result["secret"] for result in results}) == 1
    won = Counter(goal for result in results for goal in result["won"])
    assert won == {f"{kind}:{n}": 1 for kind in ("id", "proof") for n in range(40)}

    store = await look()
    for owner, result in zip(owners, results, strict=True):
        for goal in result["won"]:
            charge_id = goal if goal.startswith("id") else f"{owner}:{goal}"
            assert (await store.get(charge_id)).owner == owner
            if goal.startswith("proof"):
                claim = await store.claim(new_charge("late"), [goal], now=0)
                assert claim.outcome is Outcome.CONFLICT
    assert await store.purge(now=1000, limit=1000) == 80
    assert racing.intact(url)


async def test_killed_in_the_middle_of_its_work_a_process_leaves_all_it_was_told_is_kept(
    url, look, new_charge
):
    with processes(("work", url, "killed"), ("work", url, "other")) as (killed, other):
        kept = [killed.stdout.readline().strip() for _ in range(50)]
        killed.send_signal(signal.SIGKILL)
        kept += [line.strip() for line in killed.stdout if line.endswith("\n")]
        # The other one goes on as if nothing had happened.
        for _ in range(50):
            assert other.stdout.readline().startswith("other:")

        store = await look()
        for charge_id in kept:
            found = await store.get(charge_id)
            assert (found.state, found.reference) == (State.SUBMITTED, charge_id)
        other.kill()
        other.wait()

    late = {"owner": "late", "credential": "c"}
    await store.heartbeat("late", alive_until=1000)
    assert list(await store.open_charges(now=ALIVE_UNTIL - 1, limit=1000)) == []
    for charge_id in kept:
        claim = await store.claim(new_charge(charge_id, **late), [], now=ALIVE_UNTIL - 1)
        assert claim.outcome is Outcome.BUSY
    found = await store.open_charges(now=ALIVE_UNTIL, limit=10_000)
    assert {charge.id for charge in found} >= set(kept)
    for charge_id in kept:
        claim = await store.claim(new_charge(charge_id, **late), [], now=ALIVE_UNTIL)
        assert (claim.outcome, claim.charge.state) == (Outcome.TAKEN, State.SUBMITTED)
        for proof in (f"tx:{charge_id}", f"nonce:{charge_id}"):
            claim = await store.claim(new_charge("again"), [proof], now=ALIVE_UNTIL)
            assert claim.outcome is Outcome.CONFLICT
    assert racing.intact(url)


@pytest.mark.parametrize("step", ["claim", "write", "secret"])
async def test_what_was_acknowledged_is_there_after_a_crash_in_the_same_moment(
    url, look, new_charge, step
):
    with processes(("die", url, "w", step)) as (process,):
        printed = process.communicate()[0].strip()
        assert process.returncode == -signal.SIGKILL
    store = await look()
    found = await store.get("x")
    match step:
        case "claim":
            assert found == new_charge("x", credential="c")
        case "write":
            assert (found.state, found.envelope) == (State.SUBMITTED, "A" * 1600)
            claim = await store.claim(new_charge("b"), ["nonce:x"], now=0)
            assert claim.outcome is Outcome.CONFLICT
        case "secret":
            assert await store.secret() == printed
    assert racing.intact(url)
