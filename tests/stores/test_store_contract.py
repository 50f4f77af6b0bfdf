"""What every store promises, call by call."""

from __future__ import annotations

import pytest

from mpp_asgi.stores.contract import Claim, Outcome, OwnershipLostError, State

OVER = (State.DELIVERED, State.FAILED)
OPEN = (State.CLAIMED, State.SUBMITTED, State.SETTLED)


# claim


async def test_a_first_claim_writes_the_charge(store, new_charge):
    charge = new_charge()
    assert await store.claim(charge, ["tx:1"], now=0) == Claim(Outcome.NEW, charge)
    assert await store.get(charge.id) == charge


async def test_a_charge_nobody_claimed_is_not_there(store):
    assert await store.get("challenge") is None


async def test_a_claim_needs_no_proof(store, new_charge):
    assert (await store.claim(new_charge("a"), [], now=0)).outcome is Outcome.NEW
    assert (await store.claim(new_charge("b"), [], now=0)).outcome is Outcome.NEW


async def test_a_proof_may_be_named_twice(store, new_charge):
    charge = new_charge()
    assert (await store.claim(charge, ["tx:1", "tx:1"], now=0)).outcome is Outcome.NEW
    await store.write(charge, ["tx:1", "nonce:1", "nonce:1"], owner="w")
    await store.release(charge.id, owner="w")
    again = await store.claim(new_charge("other"), ["tx:1", "nonce:1"], now=0)
    assert again.outcome is Outcome.NEW


async def test_another_process_sees_the_claim(stores, new_charge):
    one, other = stores
    charge = new_charge()
    await one.claim(charge, [], now=0)
    assert await other.get(charge.id) == charge


@pytest.mark.parametrize("state", OPEN)
async def test_a_living_owner_keeps_its_charge(stores, new_charge, state):
    one, other = stores
    await one.heartbeat("w", alive_until=10)
    await one.claim(new_charge(), [], now=0)
    found = new_charge(state=state, reference="ab" * 32)
    await one.write(found, owner="w")
    assert await other.claim(new_charge(owner="v"), [], now=9) == Claim(Outcome.BUSY, found)
    assert await one.get(found.id) == found


@pytest.mark.parametrize("state", OPEN)
async def test_the_charge_of_a_dead_owner_is_taken_as_it_stands(stores, new_charge, state):
    one, other = stores
    await one.heartbeat("w", alive_until=10)
    await one.claim(new_charge(), [], now=0)
    found = new_charge(state=state, reference="ab" * 32, envelope="AAAA", valid_until=77, payer="G")
    await one.write(found, owner="w")
    taken = found._replace(owner="v")
    claim = await other.claim(new_charge(owner="v", keep_until=5), [], now=10)
    assert claim == Claim(Outcome.TAKEN, taken)
    assert await one.get(found.id) == taken


async def test_an_owner_never_heard_of_is_dead(store, new_charge):
    await store.claim(new_charge(owner="w"), [], now=0)
    claim = await store.claim(new_charge(owner="v"), [], now=0)
    assert claim == Claim(Outcome.TAKEN, new_charge(owner="v"))


@pytest.mark.parametrize("state", OPEN)
async def test_a_charge_let_go_of_is_anyones(store, new_charge, state):
    await store.heartbeat("w", alive_until=10)
    await store.claim(new_charge(), [], now=0)
    await store.write(new_charge(state=state, owner=None), owner="w")
    claim = await store.claim(new_charge(owner="v"), [], now=0)
    assert claim == Claim(Outcome.TAKEN, new_charge(state=state, owner="v"))


async def test_an_owner_may_claim_its_own_charge_again(store, new_charge):
    await store.heartbeat("w", alive_until=10)
    await store.claim(new_charge(), ["tx:1"], now=0)
    claim = await store.claim(new_charge(), ["tx:1"], now=0)
    assert claim == Claim(Outcome.TAKEN, new_charge())


async def test_a_settled_charge_is_delivered_to_the_same_credential_again(store, new_charge):
    await store.claim(new_charge(), ["tx:1"], now=0)
    settled = new_charge(state=State.SETTLED, receipt="eyJ", owner=None)
    await store.write(settled, owner="w")
    claim = await store.claim(new_charge(owner="v"), ["tx:1"], now=0)
    assert claim == Claim(Outcome.TAKEN, settled._replace(owner="v"))


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("owner", [None, "w"])
async def test_what_is_over_stays_over(store, new_charge, state, owner):
    await store.claim(new_charge(), ["tx:1"], now=0)
    over = new_charge(state=state, owner=owner, problem="settlement-failed")
    await store.write(over, owner="w")
    assert await store.claim(new_charge(), ["tx:1"], now=0) == Claim(Outcome.OVER, over)
    assert await store.get(over.id) == over


@pytest.mark.parametrize("state", State)
async def test_a_challenge_is_good_for_one_credential(store, new_charge, state):
    await store.claim(new_charge(), [], now=0)
    found = new_charge(state=state, owner=None)
    await store.write(found, owner="w")
    claim = await store.claim(new_charge(credential="d" * 64), ["tx:2"], now=0)
    assert claim == Claim(Outcome.CONFLICT, found)
    assert await store.get(found.id) == found
    assert (await store.claim(new_charge("other"), ["tx:2"], now=0)).outcome is Outcome.NEW


@pytest.mark.parametrize("proofs", [["tx:1"], ["tx:2", "tx:1"], ["tx:1", "tx:2"]])
async def test_a_proof_is_good_for_one_challenge(stores, new_charge, proofs):
    one, other = stores
    await one.claim(new_charge("a"), ["tx:1"], now=0)
    assert await other.claim(new_charge("b"), proofs, now=0) == Claim(Outcome.CONFLICT, None)
    assert await other.get("b") is None
    assert (await other.claim(new_charge("c"), ["tx:2"], now=0)).outcome is Outcome.NEW


async def test_a_foreign_proof_is_a_conflict_for_an_existing_charge_too(store, new_charge):
    await store.claim(new_charge("a"), ["tx:1"], now=0)
    await store.claim(new_charge("b"), [], now=0)
    claim = await store.claim(new_charge("b", owner="v"), ["tx:1"], now=0)
    assert claim == Claim(Outcome.CONFLICT, None)
    assert await store.get("b") == new_charge("b")


async def test_a_takeover_adds_new_proofs_and_keeps_the_old(store, new_charge):
    await store.claim(new_charge("a"), ["tx:1"], now=0)
    taken = await store.claim(new_charge("a", owner="v"), ["tx:1", "tx:2"], now=0)
    assert taken.outcome is Outcome.TAKEN
    for proof in ("tx:1", "tx:2"):
        assert (await store.claim(new_charge("b"), [proof], now=0)).outcome is Outcome.CONFLICT


async def test_a_claim_that_fails_leaves_its_proofs_free(store, new_charge):
    await store.heartbeat("w", alive_until=10)
    await store.claim(new_charge("busy"), [], now=0)
    await store.claim(new_charge("over"), [], now=0)
    await store.write(new_charge("over", state=State.DELIVERED), owner="w")
    busy = await store.claim(new_charge("busy", owner="v"), ["tx:1"], now=0)
    over = await store.claim(new_charge("over", owner="v"), ["tx:2"], now=0)
    assert (busy.outcome, over.outcome) == (Outcome.BUSY, Outcome.OVER)
    free = await store.claim(new_charge("b"), ["tx:1", "tx:2"], now=0)
    assert free.outcome is Outcome.NEW


# write


async def test_the_owner_writes(stores, new_charge):
    one, other = stores
    await one.claim(new_charge(), [], now=0)
    written = new_charge(state=State.SUBMITTED, reference="ab" * 32, keep_until=5000)
    await one.write(written, owner="w")
    assert await other.get(written.id) == written


@pytest.mark.parametrize("holder", ["v", None])
async def test_nobody_else_writes(store, new_charge, holder):
    await store.claim(new_charge(), [], now=0)
    held = new_charge(owner=holder)
    await store.write(held, owner="w")
    with pytest.raises(OwnershipLostError):
        await store.write(new_charge(state=State.SETTLED), ["tx:1"], owner="w")
    assert await store.get(held.id) == held
    assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.NEW


async def test_what_is_gone_cannot_be_written(store, new_charge):
    with pytest.raises(OwnershipLostError):
        await store.write(new_charge(), ["tx:1"], owner="w")
    assert await store.get("challenge") is None
    assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.NEW


async def test_a_dead_owner_may_write_while_nobody_took_over(store, new_charge):
    await store.heartbeat("w", alive_until=10)
    await store.claim(new_charge(), [], now=0)
    await store.heartbeat("w", alive_until=0)
    await store.write(new_charge(state=State.SETTLED), owner="w")
    assert await store.get("challenge") == new_charge(state=State.SETTLED)


async def test_a_writer_that_was_replaced_learns_it(stores, new_charge):
    one, other = stores
    await one.heartbeat("w", alive_until=10)
    await one.claim(new_charge(owner="w"), [], now=0)
    await other.claim(new_charge(owner="v"), [], now=10)
    with pytest.raises(OwnershipLostError):
        await one.write(new_charge(state=State.SUBMITTED), owner="w")
    assert await one.get("challenge") == new_charge(owner="v")


async def test_written_proofs_are_used_up(store, new_charge):
    await store.claim(new_charge("a"), ["tx:1"], now=0)
    await store.write(new_charge("a"), ["nonce:1"], owner="w")
    for proof in ("tx:1", "nonce:1"):
        assert (await store.claim(new_charge("b"), [proof], now=0)).outcome is Outcome.CONFLICT


async def test_a_foreign_proof_stops_the_whole_write(store, new_charge):
    await store.claim(new_charge("a"), ["tx:1"], now=0)
    await store.claim(new_charge("b"), [], now=0)
    with pytest.raises(OwnershipLostError):
        await store.write(new_charge("b", state=State.SUBMITTED), ["tx:2", "tx:1"], owner="w")
    assert await store.get("b") == new_charge("b")
    assert (await store.claim(new_charge("c"), ["tx:2"], now=0)).outcome is Outcome.NEW


async def test_what_was_written_last_is_what_is_kept(stores, new_charge):
    one, other = stores
    await one.claim(new_charge(), [], now=0)
    submitted = new_charge(state=State.SUBMITTED, envelope="AAAA", valid_until=7, reference="ab")
    for charge in (submitted, submitted._replace(envelope="BBBB", reference="cd"), new_charge()):
        await one.write(charge, owner="w")
        assert await other.get(charge.id) == charge


# release


async def test_a_released_challenge_and_its_proofs_can_be_used_again(stores, new_charge):
    one, other = stores
    await one.claim(new_charge("a"), ["tx:1"], now=0)
    await one.write(new_charge("a"), ["nonce:1"], owner="w")
    await one.release("a", owner="w")
    assert await other.get("a") is None
    reused = await other.claim(new_charge("b"), ["tx:1", "nonce:1"], now=0)
    assert reused.outcome is Outcome.NEW
    again = await other.claim(new_charge("a", credential="d" * 64, owner="v"), [], now=0)
    assert again.outcome is Outcome.NEW


async def test_only_the_owner_releases(store, new_charge):
    await store.claim(new_charge(), ["tx:1"], now=0)
    await store.release("challenge", owner="v")
    assert await store.get("challenge") == new_charge()
    assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.CONFLICT


async def test_a_charge_without_an_owner_is_not_released(store, new_charge):
    await store.claim(new_charge(), [], now=0)
    await store.write(new_charge(owner=None), owner="w")
    await store.release("challenge", owner="w")
    assert await store.get("challenge") == new_charge(owner=None)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLAIMED])
async def test_once_submitted_a_charge_is_never_released(store, new_charge, state):
    await store.claim(new_charge(), ["tx:1"], now=0)
    await store.write(new_charge(state=state), owner="w")
    await store.release("challenge", owner="w")
    assert await store.get("challenge") == new_charge(state=state)
    assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.CONFLICT


async def test_releasing_what_is_not_there_does_nothing(store):
    await store.release("challenge", owner="w")
    assert await store.get("challenge") is None


# heartbeat and open_charges


async def test_the_latest_heartbeat_counts(stores, new_charge):
    one, other = stores
    await one.claim(new_charge(), [], now=0)
    await one.heartbeat("w", alive_until=10)
    await one.heartbeat("w", alive_until=20)
    assert (await other.claim(new_charge(owner="v"), [], now=19)).outcome is Outcome.BUSY
    await one.heartbeat("w", alive_until=15)
    assert (await other.claim(new_charge(owner="v"), [], now=15)).outcome is Outcome.TAKEN


async def test_only_unfinished_charges_without_a_living_owner_are_open(stores, new_charge):
    one, other = stores
    await one.heartbeat("alive", alive_until=10)
    await one.heartbeat("late", alive_until=9)
    for state in State:
        for owner in ("alive", "late", "unseen"):
            charge = new_charge(f"{state}-{owner}", owner=owner)
            await one.claim(charge, [], now=0)
            await one.write(charge._replace(state=state), owner=owner)
    await one.claim(new_charge("nobody"), [], now=0)
    await one.write(new_charge("nobody", owner=None), owner="w")
    found = await other.open_charges(now=9, limit=100)
    assert [charge.id for charge in found] == [
        "claimed-late",
        "claimed-unseen",
        "nobody",
        "submitted-late",
        "submitted-unseen",
    ]
    assert list(found) == [await one.get(charge.id) for charge in found]


async def test_open_charges_come_by_urgency_and_not_all_at_once(store, new_charge):
    for number, keep_until in enumerate([30, 10, 20, 10]):
        await store.claim(new_charge(f"{number}", keep_until=keep_until), [], now=0)
    found = await store.open_charges(now=0, limit=3)
    assert [charge.id for charge in found] == ["1", "3", "2"]
    assert list(await store.open_charges(now=0, limit=0)) == []
