"""Channel accounts in the service of paying requests: how many ledgers a crowd takes, and who is
what in a transaction."""

import asyncio
import math
from collections import Counter

import pytest
from stellar_sdk import Keypair, StrKey, xdr

from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from tests.charge.bad_line import BadLine
from tests.shop import PRICE, SPONSOR, Payer, Shop, Time, open_shop


def ledger_entry(shop: Shop, account: Keypair) -> xdr.AccountEntry:
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(account.xdr_account_id())
    )
    (found,) = shop.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]
    entry = xdr.LedgerEntryData.from_xdr(found["xdr"]).account
    assert entry is not None
    return entry


def test_keys_are_made_from_the_sponsors_alone() -> None:
    keys = channel_accounts(SPONSOR, 3)
    assert [key.public_key for key in keys] == [
        key.public_key for key in channel_accounts(SPONSOR, 5)[:3]
    ]
    assert len({key.public_key for key in keys}) == 3
    assert keys[0] != channel_accounts(Keypair.from_raw_ed25519_seed(bytes(32)), 1)[0]


@pytest.mark.parametrize(("accounts", "payers"), [(0, 4), (1, 4), (3, 10), (10, 30)])
async def test_a_crowd_settles_in_as_few_ledgers_as_there_are_accounts_for(
    accounts: int, payers: int
) -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=5)
    line = BadLine(sandbox)
    async with open_shop(
        sandbox=sandbox,
        node=line,
        time=time,
        sponsor_accounts=accounts,
        settle_seconds=600,
        challenge_seconds=3_600,
    ) as shop:
        credentials = [
            shop.payer(number).sponsored((await shop.challenges())[0], expiration_ledger=None)
            for number in range(payers)
        ]
        before = sandbox.sequence
        line.follow()
        answers = await asyncio.gather(*map(shop.show, credentials))
        assert Counter(answer.status_code for answer in answers) == {200: payers}
        assert shop.earned() == payers * PRICE
        ledgers = sandbox.sequence - before
        assert ledgers <= math.ceil(payers / max(1, accounts)) + 2
        calls = Counter(line.calls)
        assert calls["sendTransaction"] == payers
        assert calls["simulateTransaction"] <= payers


async def test_who_is_what_in_a_transaction() -> None:
    async with open_shop(sponsor_accounts=2) as shop:
        payer = shop.payer()
        challenge = (await shop.challenges())[0]
        before = shop.sponsor_funds()
        answer = await shop.show(payer.sponsored(challenge))
        assert answer.status_code == 200
        (receipt,) = answer.headers.get_list("payment-receipt")
        reference = payment_reference(receipt)
        found = shop.ask("getTransaction", hash=reference)
        assert found["status"] == "SUCCESS"
        bump = xdr.TransactionEnvelope.from_xdr(found["envelopeXdr"]).fee_bump
        assert bump is not None
        assert bump.tx.fee_source == SPONSOR.xdr_muxed_account()
        inner = bump.tx.inner_tx.v1
        assert inner is not None
        first = channel_accounts(SPONSOR, 1)[0]
        assert inner.tx.source_account == first.xdr_muxed_account()
        charged = xdr.TransactionResult.from_xdr(found["resultXdr"]).fee_charged.int64
        assert shop.sponsor_funds() == before - charged
        assert shop.sandbox.balance(first.public_key, shop.sandbox.xlm) == 10_000 * 10**7


async def test_the_next_number_is_known_without_asking() -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1)
    line = BadLine(sandbox)
    async with open_shop(sandbox=sandbox, node=line, time=time, sponsor_accounts=1) as shop:
        payer = shop.payer()
        await shop.show(payer.sponsored((await shop.challenges())[0], nonce=1))
        credential = payer.sponsored((await shop.challenges())[0], nonce=2)
        line.follow()
        assert (await shop.show(credential)).status_code == 200
        assert "getLedgerEntries" not in line.calls


@pytest.mark.parametrize("drift", [1, 5])
async def test_a_wrong_number_is_read_once_and_the_payment_goes_on(drift: int) -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1)
    line = BadLine(sandbox)
    async with open_shop(sandbox=sandbox, node=line, time=time, sponsor_accounts=1) as shop:
        payer = shop.payer()
        assert (await shop.show(payer.sponsored((await shop.challenges())[0], nonce=1))).is_success
        account = channel_accounts(SPONSOR, 1)[0]
        bump_sequence(
            shop, account, ledger_entry(shop, account).seq_num.sequence_number.int64, drift
        )
        credential = payer.sponsored((await shop.challenges())[0], nonce=2)
        line.follow()
        assert (await shop.show(credential)).status_code == 200
        assert line.calls.count("getLedgerEntries") == 1
        assert line.calls.count("sendTransaction") == 2
        assert shop.earned() == 2 * PRICE


async def test_no_channel_account_may_pay() -> None:
    async with open_shop(sponsor_accounts=3) as shop:
        for account in channel_accounts(SPONSOR, 3):
            shop.sandbox.fund(account.public_key, usdc=1)
            payer = Payer(shop, account)
            sponsored, unsponsored = await shop.challenges()
            for credential in (payer.sponsored(sponsored), payer.unsponsored(unsponsored)):
                answer = await shop.show(credential)
                assert answer.status_code == 402
                assert "server" in answer.json()["detail"]
        assert shop.earned() == 0


def bump_sequence(shop: Shop, account: Keypair, sequence: int, drift: int) -> None:
    """Somebody else uses the account's key."""
    from stellar_sdk import Account, TransactionBuilder

    builder = TransactionBuilder(Account(account.public_key, sequence), TESTNET.passphrase, 100)
    envelope = builder.append_bump_sequence_op(sequence + drift).set_timeout(0).build()
    envelope.sign(account)
    assert shop.ask("sendTransaction", transaction=envelope.to_xdr())["status"] == "PENDING"
    shop.time.now += 2


def payment_reference(receipt: str) -> str:
    from mpp_asgi.protocol import Receipt

    reference = Receipt.from_header(receipt).reference
    assert len(reference) == 64
    assert not StrKey.is_valid_ed25519_public_key(reference)
    return reference
