"""What a good payment does on the ledger, and what the network's own answers can spoil."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from stellar_sdk import Keypair, scval, xdr

from mpp_asgi.protocol import Challenge, Credential, Receipt
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.network import LEDGER_SECONDS, TESTNET
from mpp_asgi.stellar.policy import DRIFT_LEDGERS, LEAST_LEDGERS
from mpp_asgi.stellar.sponsor_fees import INCLUSION_FEE
from tests.charge.bad_line import (
    Answer,
    BadLine,
    Fault,
    Plan,
    Request,
    altered,
    shop_on_bad_line,
)
from tests.charge.forgery import amount, changed, forged_own, showing, transaction_in
from tests.shop import MODES, PRICE, RECIPIENT, SPONSOR, START, Payer, Shop, open_shop


def problem(response: object) -> tuple[int, str, str]:
    body = response.json()  # type: ignore[attr-defined] # an httpx.Response
    return body["status"], body["type"].rpartition("/")[2], body["detail"]


def on_ledger(shop: Shop, hash_: str) -> dict[str, object]:
    found = shop.ask("getTransaction", hash=hash_)
    assert found["status"] == "SUCCESS"
    return found


# --- the three ways -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_money_moves_once_and_the_receipt_says_where(shop: Shop, mode: str) -> None:
    payer = shop.payer()
    challenges = await shop.challenges()
    had, sponsor_had = payer.balance(), shop.sponsor_funds()
    credential = payer.in_mode(mode, challenges)

    paid = await shop.show(credential)

    assert (paid.status_code, paid.json()) == (200, {"resource": "paid"})
    assert (had - payer.balance(), shop.earned()) == (PRICE, PRICE)
    receipt = Receipt.from_header(paid.headers["payment-receipt"])
    transaction = on_ledger(shop, receipt.reference)
    assert receipt.method == "stellar"
    # A transaction of the payer's own is sent once a ledger has closed without it.
    closes = 22 if mode == "unsponsored" else 21
    assert receipt.timestamp == f"2026-09-21T14:13:{closes}Z"
    assert "private" in paid.headers["cache-control"]
    inspected = inspect_envelope(str(transaction["envelopeXdr"]), TESTNET.passphrase)
    assert (inspected.source == SPONSOR.public_key) == (mode == "sponsored")
    assert (shop.sponsor_funds() < sponsor_had) == (mode == "sponsored")

    again = await shop.show(credential)
    assert problem(again)[:2] == (402, "invalid-challenge")
    assert shop.runs == ["/paid"]


async def test_sponsored_transaction_is_ours_but_for_the_operation(shop: Shop) -> None:
    """Resources, fee, memo, limits: nothing of the payer's choosing gets into it."""
    payer = shop.payer()
    challenge = (await shop.challenges())[0]
    own, _ = payer.own_transaction(payer.transfer(challenge), max_time=START + 5)
    data = xdr.TransactionEnvelope.from_xdr(own).v1.tx.ext.soroban_data  # type: ignore[union-attr]
    assert data is not None

    def inflate(transaction: xdr.Transaction) -> None:
        transaction.fee = xdr.Uint32(2**32 - 1)
        transaction.memo = xdr.Memo(xdr.MemoType.MEMO_TEXT, text=b"mine")
        data.resources.instructions = xdr.Uint32(100_000_000)
        data.resource_fee = xdr.Int64(10**9)
        transaction.ext = xdr.TransactionExt(1, soroban_data=data)

    honest = payer.sponsored(challenge)
    had = shop.sponsor_funds()
    paid = await shop.show(showing(honest, changed(transaction_in(honest), inflate)))

    hash_ = Receipt.from_header(paid.headers["payment-receipt"]).reference
    envelope = str(on_ledger(shop, hash_)["envelopeXdr"])
    transaction = xdr.TransactionEnvelope.from_xdr(envelope).v1.tx  # type: ignore[union-attr]
    ours = transaction.ext.soroban_data
    assert ours is not None
    assert ours.resources.instructions.uint32 < 10_000_000
    assert ours.resource_fee.int64 < 100_000
    assert transaction.fee.uint32 == INCLUSION_FEE + ours.resource_fee.int64
    assert transaction.memo.type == xdr.MemoType.MEMO_NONE
    assert had - shop.sponsor_funds() <= transaction.fee.uint32
    operation = xdr.TransactionEnvelope.from_xdr(transaction_in(honest)).v1.tx.operations  # type: ignore[union-attr]
    assert transaction.operations == operation


async def test_unsponsored_transaction_is_submitted_as_it_came(shop: Shop) -> None:
    payer = shop.payer()
    credential = payer.unsponsored((await shop.challenges())[1])
    paid = await shop.show(credential)
    hash_ = Receipt.from_header(paid.headers["payment-receipt"]).reference
    assert on_ledger(shop, hash_)["envelopeXdr"] == transaction_in(credential)


async def test_another_account_may_carry_an_unsponsored_transfer(shop: Shop) -> None:
    """The payer's wallet has a fee account: two signatures, none of them ours."""
    payer, carrier = shop.payer(), shop.payer(2)
    credential = payer.unsponsored((await shop.challenges())[1], source=carrier.keypair)
    assert (await shop.show(credential)).status_code == 200


async def test_source_may_be_left_out(shop: Shop) -> None:
    challenges = await shop.challenges()
    for mode in ("sponsored", "unsponsored"):
        credential = replace(shop.payer().in_mode(mode, challenges), source=None)
        assert (await shop.show(credential)).status_code == 200


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("expires_in", [300, 299, 17])
async def test_authorization_may_last_as_long_as_the_challenge(shop: Shop, expires_in: int) -> None:
    payer = shop.payer()
    challenge = (await shop.challenges())[0]
    shop.time.now += 300 - expires_in
    latest = shop.sandbox.sequence + -(-expires_in // LEDGER_SECONDS) + DRIFT_LEDGERS
    paid = await shop.show(payer.sponsored(challenge, expiration_ledger=latest))
    assert paid.status_code == 200, paid.text


async def test_authorization_must_outlive_the_submission(shop: Shop) -> None:
    payer = shop.payer()
    challenge = (await shop.challenges())[0]
    least = shop.sandbox.sequence + LEAST_LEDGERS
    paid = await shop.show(payer.sponsored(challenge, expiration_ledger=least))
    assert paid.status_code == 200, paid.text


async def test_challenge_is_good_until_its_last_second(shop: Shop) -> None:
    payer = shop.payer()
    challenges = await shop.challenges()
    shop.time.now += 297
    assert (await shop.show(payer.unsponsored(challenges[1]))).status_code == 200


@pytest.mark.parametrize("mode", MODES)
async def test_expired_challenge_is_not_paid(shop: Shop, mode: str) -> None:
    payer = shop.payer()
    challenges = await shop.challenges()
    shop.time.now += 300
    credential = payer.in_mode(mode, challenges)
    earned, sponsor_had = shop.earned(), shop.sponsor_funds()
    refused = await shop.show(credential)
    assert problem(refused)[:2] == (402, "payment-expired")
    assert Challenge.all_from_headers(refused.headers.get_list("www-authenticate"))
    assert (shop.earned(), shop.sponsor_funds()) == (earned, sponsor_had)
    assert await shop.store.get(credential.challenge.id) is None


# --- verified, but not carried out ----------------------------------------------------------------


def bad_sequence(payer: Payer, challenge: Challenge) -> Credential:
    return payer.unsponsored(challenge, sequence=payer.sequence(payer.keypair) + 7)


def used_sequence(payer: Payer, challenge: Challenge) -> Credential:
    return payer.unsponsored(challenge, sequence=payer.sequence(payer.keypair))


def bad_signature(payer: Payer, challenge: Challenge) -> Credential:
    stranger = Keypair.from_raw_ed25519_seed(bytes(32))
    return forged_own(payer, challenge, lambda transaction: None, signer=stranger)


def fee_too_low(payer: Payer, challenge: Challenge) -> Credential:
    def lower(transaction: xdr.Transaction) -> None:
        transaction.fee = xdr.Uint32(100)

    return forged_own(payer, challenge, lower)


def too_few_resources(payer: Payer, challenge: Challenge) -> Credential:
    """Taken by the network, and fails on the ledger."""

    def lower(transaction: xdr.Transaction) -> None:
        data = transaction.ext.soroban_data
        assert data is not None
        data.resources.instructions = xdr.Uint32(1)

    return forged_own(payer, challenge, lower)


@pytest.mark.parametrize(
    "forge", [bad_sequence, used_sequence, bad_signature, fee_too_low, too_few_resources]
)
async def test_what_the_ledger_refuses_is_settlement_failed(
    shop: Shop, forge: Callable[[Payer, Challenge], Credential]
) -> None:
    payer = shop.payer()
    payer.push(payer.transfer((await shop.challenges())[1]))  # a first sequence number is used
    earned = shop.earned()
    credential = forge(payer, (await shop.challenges())[1])

    refused = await shop.show(credential)

    assert problem(refused)[:2] == (402, "settlement-failed")
    assert Challenge.all_from_headers(refused.headers.get_list("www-authenticate"))
    assert problem(await shop.show(credential))[:2] == (402, "settlement-failed")
    shop.time.now += 400
    assert (shop.earned(), shop.runs) == (earned, [])
    fresh = (await shop.challenges())[1]
    assert (await shop.show(payer.unsponsored(fresh))).status_code == 200


async def test_who_cannot_pay_is_told_why(shop: Shop) -> None:
    poor = shop.payer(2, usdc="0.009")
    challenges = await shop.challenges()
    affordable = poor.unsponsored(challenges[1], change=lambda t: replace(t, amount=1))
    for credential in (
        poor.sponsored(challenges[0]),
        showing(
            affordable, changed(transaction_in(affordable), amount(PRICE), signer=poor.keypair)
        ),
    ):
        assert problem(await shop.show(credential))[1:] == (
            "verification-failed",
            "The payer's balance does not cover the amount.",
        )
    nobody = Payer(shop, Keypair.from_raw_ed25519_seed(b"n" * 32))
    assert problem(await shop.show(nobody.sponsored(challenges[0])))[1] == "verification-failed"


# --- the simulation's answer ----------------------------------------------------------------------


def event(
    *topics: xdr.SCVal, amount: int = PRICE, contract: str = TESTNET.tokens["USDC"].address
) -> str:
    """A DiagnosticEvent of a token."""
    address = scval.to_address(contract).address
    assert address is not None
    return xdr.DiagnosticEvent(
        True,
        xdr.ContractEvent(
            ext=xdr.ExtensionPoint(0),
            contract_id=address.contract_id,
            type=xdr.ContractEventType.CONTRACT,
            body=xdr.ContractEventBody(
                0, v0=xdr.ContractEventV0(list(topics), scval.to_int128(amount))
            ),
        ),
    ).to_xdr()


def transferred(sender: str, recipient: str) -> list[xdr.SCVal]:
    return [
        scval.to_symbol("transfer"),
        scval.to_address(sender),
        scval.to_address(recipient),
        scval.to_string("USDC"),
    ]


EFFECTS: dict[str, Callable[[str, str], list[str]]] = {
    "none": lambda payer, seller: [],
    "another movement beside": lambda payer, seller: [
        event(*transferred(payer, seller)),
        event(*transferred(SPONSOR.public_key, payer)),
    ],
    "a fee to a third party": lambda payer, seller: [
        event(*transferred(payer, seller)),
        event(*transferred(payer, SPONSOR.public_key), amount=1),
    ],
    "of another token": lambda payer, seller: [
        event(*transferred(payer, seller), contract=TESTNET.tokens["XLM"].address)
    ],
    "from another sender": lambda payer, seller: [event(*transferred(SPONSOR.public_key, seller))],
    "to another recipient": lambda payer, seller: [event(*transferred(payer, payer))],
    "of another amount": lambda payer, seller: [
        event(*transferred(payer, seller), amount=PRICE - 1)
    ],
    "a mint": lambda payer, seller: [
        event(scval.to_symbol("mint"), scval.to_address(seller), scval.to_string("USDC"))
    ],
}


@pytest.mark.parametrize("mode", ["sponsored", "unsponsored"])
@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_transfer_with_any_other_effect_is_refused(mode: str, effect: str) -> None:
    async with shop_on_bad_line() as (shop, line):
        payer = shop.payer()
        challenges = await shop.challenges()
        credential = payer.in_mode(mode, challenges)
        events = EFFECTS[effect](payer.address, RECIPIENT.public_key)
        line.follow(Plan("simulateTransaction", 0, altered(events=events)))
        refused = await shop.show(credential)
        assert problem(refused)[:2] == (402, "verification-failed")
        assert "the transfer" in problem(refused)[2]
        assert "sendTransaction" not in line.calls
        assert await shop.store.get(credential.challenge.id) is None
        assert (await shop.show(credential)).status_code == 200


async def test_archived_balance_must_be_restored_first() -> None:
    restore = altered(restorePreamble={"transactionData": "", "minResourceFee": "1"})
    async with shop_on_bad_line() as (shop, line):
        for mode in ("sponsored", "unsponsored"):
            credential = shop.payer().in_mode(mode, await shop.challenges())
            line.follow(Plan("simulateTransaction", 0, restore))
            refused = await shop.show(credential)
            assert problem(refused)[1:] == (
                "verification-failed",
                "The payer's balance is archived and must be restored first.",
            )
            assert (await shop.show(credential)).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        altered(minResourceFee="500000"),
        altered(transactionData=None),
        altered(events=["not base64"]),
        altered(events=["AAAA"]),
        altered(transactionData="!!!"),
        altered(minResourceFee="99999999999999999999"),
        altered(latestLedger=10**18),
        altered(error="preflight: context deadline exceeded"),
    ],
    ids=[
        "too dear",
        "no resources",
        "events of another kind",
        "half an event",
        "no base64",
        "no fee of this world",
        "no ledger of this world",
        "an error of its own",
    ],
)
async def test_what_is_wrong_with_the_network_is_not_the_payers_fault(fault: Fault) -> None:
    async with shop_on_bad_line() as (shop, line):
        credential = shop.payer().sponsored((await shop.challenges())[0])
        had = shop.sponsor_funds()
        line.follow(Plan("simulateTransaction", 0, fault))
        answer = await shop.show(credential)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "sendTransaction" not in line.calls
        assert (shop.sponsor_funds(), shop.earned()) == (had, 0)
        assert (await shop.show(credential)).status_code == 200


def odd_once_found(**changes: object) -> Fault:
    def answer(line: BadLine, request: Request) -> Answer:
        true = line.sandbox.rpc(request)
        if true["result"]["status"] == "NOT_FOUND":
            return true
        return {**true, "result": {**true["result"], **changes}}

    return answer


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    [
        odd_once_found(createdAt=START * 1_000),
        odd_once_found(createdAt="99999999999999999999"),
        odd_once_found(createdAt=-(10**18)),
        odd_once_found(latestLedger=10**400),
        odd_once_found(envelopeXdr="AAAA"),
    ],
    ids=["milliseconds", "too large", "negative", "a ledger too large", "half an envelope"],
)
async def test_odd_news_of_a_transaction_is_not_the_payers_fault(mode: str, fault: Fault) -> None:
    async with shop_on_bad_line(settle_seconds=2) as (shop, line):
        credential = shop.payer().in_mode(mode, await shop.challenges())
        line.follow(Plan("getTransaction", 0, fault, 10**6))
        answer = await shop.show(credential)
        assert answer.status_code == 503 or (answer.status_code == 200 and mode != "push")
        line.follow()
        shop.time.now += 1
        if answer.status_code == 503:
            assert (await shop.show(credential)).status_code == 200
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


@pytest.mark.parametrize("ledgers", range(LEAST_LEDGERS + 2))
async def test_leave_that_is_about_to_lapse_costs_the_sponsor_nothing(ledgers: int) -> None:
    """The transaction gets in late: not at all rather than when it fails."""
    async with open_shop(settle_seconds=100) as shop:
        shop.sandbox.set_close_interval(LEDGER_SECONDS)
        payer = shop.payer()
        challenge = (await shop.challenges())[0]
        had = shop.sponsor_funds()
        shop.sandbox.delay_next_submit(ledgers, times=9)
        shown = payer.sponsored(challenge, expiration_ledger=shop.sandbox.sequence + LEAST_LEDGERS)
        answer = await shop.show(shown)
        assert (answer.status_code == 200) == (had > shop.sponsor_funds())
        assert (answer.status_code == 200) == (shop.earned() == PRICE)
        assert (answer.status_code == 200) == (ledgers < LEAST_LEDGERS - 1)
