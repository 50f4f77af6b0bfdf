"""What every store promises of accounts that are lent to one process at a time."""

from __future__ import annotations

import asyncio

import pytest

from mpp_asgi.stores.loans import LONGEST_SECONDS

ACCOUNTS = ("GA", "GB", "GC")


async def test_what_was_never_borrowed_is_lent_in_the_order_given(stores):
    one, other = stores
    loans = [
        await one.borrow(ACCOUNTS, until=10, now=0),
        await other.borrow(ACCOUNTS, until=10, now=0),
        await one.borrow(ACCOUNTS, until=10, now=0),
    ]
    assert [(loan.account, loan.sequence) for loan in loans] == [(name, None) for name in ACCOUNTS]
    assert await other.borrow(ACCOUNTS, until=10, now=9) is None


async def test_only_what_was_asked_for_is_lent(store):
    await store.borrow(["GA"], until=10, now=0)
    assert await store.borrow([], until=10, now=0) is None
    assert await store.borrow(["GA"], until=10, now=0) is None
    assert (await store.borrow(["GA", "GD"], until=10, now=0)).account == "GD"


async def test_what_was_returned_last_is_lent_first_with_its_sequence(stores):
    """So that few accounts do most of the work, and their sequence numbers stay known."""
    one, other = stores
    loans = {name: await one.borrow([name], until=10, now=0) for name in ACCOUNTS}
    for name, sequence in (("GB", 7), ("GC", None), ("GA", 2**62 + 1)):
        assert await other.hand_back(loans[name], sequence=sequence, free_at=0)
    order = [await one.borrow([*ACCOUNTS[::-1], "GD"], until=10, now=0) for _ in range(4)]
    assert [(loan.account, loan.sequence) for loan in order] == [
        ("GA", 2**62 + 1),
        ("GB", 7),
        ("GC", None),
        ("GD", None),
    ]


async def test_the_last_return_counts(store):
    a = await store.borrow(["GA"], until=10, now=0)
    b = await store.borrow(["GB"], until=10, now=0)
    await store.hand_back(a, sequence=1, free_at=0)
    await store.hand_back(b, sequence=2, free_at=0)
    assert await store.hand_back(a, sequence=3, free_at=0)  # nobody has had it since
    again = await store.borrow(ACCOUNTS, until=10, now=0)
    assert (again.account, again.sequence) == ("GA", 3)


async def test_an_account_of_unknown_sequence_waits_for_those_of_known_ones(store):
    """Whenever it was returned."""
    a = await store.borrow(["GA"], until=10, now=0)
    b = await store.borrow(["GB"], until=10, now=0)
    await store.hand_back(b, sequence=5, free_at=0)
    await store.hand_back(a, sequence=None, free_at=0)
    assert (await store.borrow(ACCOUNTS, until=10, now=0)).account == "GB"
    assert (await store.borrow(ACCOUNTS, until=10, now=0)).account == "GA"


async def test_a_loan_lapses_and_its_sequence_is_unknown_then(stores):
    one, other = stores
    first = await one.borrow(["GA"], until=10, now=0)
    await one.hand_back(first, sequence=7, free_at=0)
    known = await one.borrow(["GA"], until=10, now=0)
    assert known.sequence == 7
    assert await other.borrow(["GA"], until=20, now=9) is None
    lapsed = await other.borrow(["GA"], until=20, now=10)
    assert (lapsed.account, lapsed.sequence) == ("GA", None)
    assert first.fence < known.fence < lapsed.fence


async def test_a_borrower_whose_loan_went_to_another_can_neither_keep_nor_return_it(stores):
    one, other = stores
    lapsed = await one.borrow(["GA"], until=10, now=0)
    current = await other.borrow(["GA"], until=20, now=10)
    assert not await one.prolong(lapsed, until=99)
    assert not await one.hand_back(lapsed, sequence=7, free_at=0)
    assert await one.borrow(["GA"], until=30, now=19) is None
    assert await other.hand_back(current, sequence=8, free_at=11)
    assert not await one.hand_back(lapsed, sequence=7, free_at=0)
    assert not await one.prolong(lapsed, until=99)
    assert (await one.borrow(["GA"], until=30, now=11)).sequence == 8


async def test_a_loan_that_lapsed_is_its_borrowers_until_somebody_else_has_it(stores):
    one, other = stores
    lapsed = await one.borrow(["GA"], until=10, now=0)
    assert await one.prolong(lapsed, until=30)
    assert await other.borrow(["GA"], until=40, now=29) is None
    assert await one.hand_back(lapsed, sequence=7, free_at=30)
    assert (await other.borrow(["GA"], until=40, now=30)).sequence == 7


@pytest.mark.parametrize("until", [5, 30])
async def test_a_loan_is_kept_until_its_borrower_says(stores, until):
    """Longer, or shorter."""
    one, other = stores
    loan = await one.borrow(["GA"], until=10, now=0)
    assert await one.prolong(loan, until=until)
    assert await other.borrow(["GA"], until=99, now=until - 1) is None
    assert (await other.borrow(["GA"], until=99, now=until)).account == "GA"


async def test_what_is_returned_for_later_is_lent_later(stores):
    """As when the network was not told, or asked, what became of the last transaction."""
    one, other = stores
    loan = await one.borrow(["GA"], until=10, now=0)
    assert await one.hand_back(loan, sequence=7, free_at=60)
    assert await other.borrow(["GA"], until=99, now=59) is None
    assert (await other.borrow(["GA"], until=99, now=60)).sequence == 7


async def test_a_loan_that_is_prolonged_once_it_was_returned_is_lent_again(store):
    """As by a borrower who did not hear that it was returned. It may have used the number."""
    loan = await store.borrow(["GA"], until=10, now=0)
    await store.hand_back(loan, sequence=7, free_at=0)
    assert await store.prolong(loan, until=20)
    assert await store.borrow(["GA"], until=30, now=19) is None
    assert (await store.borrow(["GA"], until=30, now=20)).sequence is None


async def test_what_is_forgotten_is_as_never_borrowed(stores):
    one, other = stores
    loans = [await one.borrow([name], until=10, now=0) for name in ACCOUNTS]
    await one.hand_back(loans[1], sequence=7, free_at=0)
    await other.forget_loans(["GA", "GB", "unheard of"])
    await other.forget_loans([])
    assert not await one.prolong(loans[0], until=99)
    assert not await one.hand_back(loans[1], sequence=9, free_at=0)
    found = [await one.borrow(ACCOUNTS, until=10, now=0) for _ in range(3)]
    assert [loan and (loan.account, loan.sequence) for loan in found] == [
        ("GA", None),
        ("GB", None),
        None,
    ]
    assert await one.hand_back(loans[2], sequence=9, free_at=0)


async def test_fences_do_not_begin_again_once_an_account_was_forgotten(stores):
    one, other = stores
    before = await one.borrow(["GA"], until=10, now=0)
    await one.forget_loans(["GA"])
    after = await other.borrow(["GA"], until=10, now=0)
    assert after.fence > before.fence
    assert not await one.hand_back(before, sequence=7, free_at=0)


async def test_a_purge_leaves_loans_alone(store):
    loan = await store.borrow(["GA"], until=10, now=0)
    await store.hand_back(loan, sequence=7, free_at=0)
    assert await store.purge(now=2**40, limit=100) == 0
    assert (await store.borrow(["GA"], until=10, now=0)).sequence == 7


async def test_of_many_borrowers_at_once_no_two_have_one_account(stores):
    accounts = [f"G{n}" for n in range(20)]
    loans = await asyncio.gather(
        *(stores[n % 2].borrow(accounts, until=10, now=0) for n in range(50))
    )
    assert sorted(loan.account for loan in loans if loan) == sorted(accounts)
    assert loans.count(None) == 30


async def test_of_many_who_take_over_a_lapsed_loan_one_has_it(stores):
    lapsed = await stores[0].borrow(["GA"], until=10, now=0)
    loans = await asyncio.gather(
        *(stores[n % 2].borrow(["GA"], until=20, now=10) for n in range(50)),
    )
    (winner,) = [loan for loan in loans if loan]
    assert winner.fence > lapsed.fence
    assert await stores[1].prolong(winner, until=30)
    assert not await stores[0].prolong(lapsed, until=30)


async def test_of_a_return_and_a_takeover_at_once_one_comes_to_nothing(stores):
    for _ in range(20):
        lapsed = await stores[0].borrow(["GA"], until=10, now=0)
        returned, taken = await asyncio.gather(
            stores[0].hand_back(lapsed, sequence=7, free_at=99),
            stores[1].borrow(["GA"], until=99, now=10),
        )
        assert returned == (taken is None)
        await stores[0].forget_loans(["GA"])


async def test_what_a_clock_that_ran_ahead_lent_counts_as_lapsed(stores):
    """Its sequence is unknown, and whoever borrowed it learns that it is another's."""
    one, other = stores
    ahead = await one.borrow(["GA"], until=LONGEST_SECONDS + 10, now=3_000)
    assert await other.borrow(["GA"], until=20, now=10) is None  # so long may a loan be
    again = await other.borrow(["GA"], until=20, now=9)
    assert (again.account, again.sequence) == ("GA", None)
    assert not await one.prolong(ahead, until=LONGEST_SECONDS + 10)
    assert not await one.hand_back(ahead, sequence=7, free_at=0)


async def test_what_a_clock_that_ran_ahead_returned_is_lent_with_its_sequence(stores):
    """No clock has a part in that."""
    one, other = stores
    loan = await one.borrow(["GA"], until=LONGEST_SECONDS + 50, now=LONGEST_SECONDS + 5)
    assert await one.hand_back(loan, sequence=7, free_at=LONGEST_SECONDS + 10)
    assert await other.borrow(ACCOUNTS[:1], until=20, now=10) is None
    assert (await other.borrow(ACCOUNTS, until=20, now=9)).sequence == 7
