"""What every store promises from its opening to its closing, and of what comes back from it."""

from __future__ import annotations

import base64

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpp_asgi.stores.contract import Charge, Outcome, State


async def test_the_secret_is_32_bytes_and_everyones(stores):
    one, other = stores
    secret = await one.secret()
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert "=" not in secret
    assert await other.secret() == secret
    assert await one.secret() == secret


async def test_every_storage_has_a_secret_of_its_own(new_storage):
    secrets = set()
    for _ in range(3):
        store = new_storage()()
        await store.open()
        secrets.add(await store.secret())
        await store.close()
    assert len(secrets) == 3


async def test_a_store_opened_again_knows_everything(connect, new_charge):
    store = connect()
    await store.open()
    await store.heartbeat("w", alive_until=10)
    await store.claim(new_charge(), ["tx:1"], now=0)
    secret = await store.secret()
    await store.close()
    await store.close()

    for later in (store, connect()):
        await later.open()
        await later.open()
        assert await later.get("challenge") == new_charge()
        assert (await later.claim(new_charge(owner="v"), [], now=9)).outcome is Outcome.BUSY
        assert (await later.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.CONFLICT
        assert await later.secret() == secret
        await later.close()


async def test_closing_what_was_never_opened_does_nothing(connect):
    await connect().close()


# the record

words = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
seconds = st.integers(min_value=0, max_value=2**53)
charges = st.builds(
    Charge,
    id=words,
    credential=words,
    state=st.sampled_from(State),
    keep_until=seconds,
    owner=st.none() | words,
    reference=st.none() | words,
    envelope=st.none() | st.integers(0, 20_000).map("A".__mul__),
    valid_until=st.none() | seconds,
    payer=st.none() | words,
    receipt=st.none() | words,
    problem=st.none() | words,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(charge=charges, proofs=st.lists(words, max_size=3))
async def test_a_record_comes_back_exactly(store, charge, proofs):
    await store.claim(charge._replace(state=State.CLAIMED, owner="w"), proofs, now=0)
    await store.write(charge, proofs, owner="w")
    found = await store.get(charge.id)
    assert found == charge
    assert isinstance(found.state, State)
    while await store.purge(now=2**53, limit=100):
        pass
