"""Servers that want more than is owed to them, and channels that are not what they should be.

Whatever they try, what was signed away is the price of the requests that were made.
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    ChannelDisputedError,
    PaymentAuth,
    PaymentError,
    PaymentNotMadeError,
    PaymentRefusedError,
    SessionPolicy,
    Status,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.protocol import Credential, ProblemType, problems
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.network import PUBNET
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PAYER, PRICE, XLM, Clock

Payers = Callable[..., PaymentAuth]


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


@pytest.fixture
def auth(payer: Payers) -> PaymentAuth:
    return payer(sessions="always", max_per_request="0.05")


def most_signed(shop: SessionShop) -> int:
    """Of the vouchers that were ever shown, the highest."""
    return max(
        (int(each.payload.get("cumulativeAmount", 0)) for each in shop.credentials), default=0
    )


def refusing(shop: SessionShop, problem: ProblemType, **extra: str) -> Any:
    return lambda request, credential: shop.refuse(request, problem, **extra)


async def test_no_price_is_learnt_that_must_not_be_paid(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "evil.test":
            return shop(request)
        return httpx.Response(307, headers={"Location": "https://evil.test/forecast"})

    with pytest.raises(UnsafeConnectionError, match="another origin"):
        await fetch(auth, server=server, follow_redirects=True)
    assert not auth._payer.sessions.prices.knows("GET", httpx.URL("https://evil.test/forecast"))
    assert (shop.credentials, auth.channels) == ([], ())


@pytest.mark.parametrize("sponsored", [True, False])
async def test_no_deposit_by_an_rpc_of_another_network(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any, sponsored: bool
) -> None:
    def foreign(request: dict[str, Any]) -> dict[str, Any]:
        answer = sandbox.rpc(request)
        if request["method"] == "getNetwork":
            answer = answer | {"result": answer["result"] | {"passphrase": PUBNET.passphrase}}
        return answer

    shop.details["feePayer"] = sponsored
    auth = payer(sessions="always", rpc=foreign)
    with pytest.raises(PaymentNotMadeError, match="does not follow stellar:testnet"):
        await fetch(auth)
    assert (shop.credentials, auth.channels) == ([], ())


# --- offers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "details", "match"),
    [
        ({"amount": "1000000"}, {}, "one request may cost"),
        ({"amount": "-1"}, {}, "not an integer"),
        ({"currency": XLM.address}, {}, "not in USDC"),
        ({"recipient": PAYER.public_key}, {}, "is the payer"),
        ({"recipient": "G"}, {}, "not an address"),
        ({"suggestedDeposit": "much"}, {}, "suggestedDeposit is not"),
        ({}, {"network": "stellar:pubnet"}, "not on stellar:testnet"),
        ({}, {"feePayer": "yes"}, "neither true nor false"),
        ({}, {"minVoucherDelta": "0x1"}, "minVoucherDelta is not"),
        ({}, {"minVoucherDelta": "1000000"}, "vouchers rise by 0.1 USDC"),
        ({}, {"minRefundWaitingPeriod": 10**6}, "hold up a deposit"),
        ({}, {"minRefundWaitingPeriod": True}, "number of ledgers"),
        ({}, {"minRefundWaitingPeriod": -1}, "number of ledgers"),
        ({}, {"channelWasmHashes": ["00" * 32]}, "kind that is trusted"),
        ({}, {"channelWasmHashes": "d8b1"}, "kind that is trusted"),
        ({}, {"channelWasmHashes": [None]}, "kind that is trusted"),
    ],
)
async def test_offers(
    shop: SessionShop,
    auth: PaymentAuth,
    fetch: Any,
    changes: dict[str, Any],
    details: dict[str, Any],
    match: str,
) -> None:
    shop.session_request |= changes
    if details:
        shop.details.update(details)
    with pytest.raises(UnacceptableOfferError, match=match):
        await fetch(auth)
    assert shop.credentials == []
    assert auth.channels == ()


async def test_a_factory_that_nobody_trusts_is_not_asked(
    shop: SessionShop, sandbox: Sandbox, auth: PaymentAuth, fetch: Any
) -> None:
    """Its admin could have any code run with the deposit."""
    shop.details["channelFactory"] = sandbox.usdc
    await fetch(auth)
    [channel] = auth.channels
    executable = shop.instance(channel.id).executable.wasm_hash
    assert executable is not None
    assert executable.hash.hex() == sandbox.channel_wasm_hash


async def test_recipients_are_the_users_to_name(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    with pytest.raises(UnacceptableOfferError, match="not one that may be paid"):
        await fetch(payer(sessions="always", recipients=[PAYER.public_key]))


async def test_another_recipient_gets_another_channel(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    shop.session_request["recipient"] = "GCEZWKCA5VLDNRLN3RPRJMRZOX3Z6G5CHCGSNFHEYVXM3XOJMDS674JZ"
    shop.reactions = [refusing(shop, problems.INVALID_CHALLENGE)]
    with pytest.raises(PaymentRefusedError):
        await fetch(auth)
    assert most_signed(shop) == 2 * PRICE  # as shown before anybody knew
    assert {each.payload["channelId"] for each in shop.credentials} == {auth.channels[0].id}


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["acceptedCumulative", "spent"])
@pytest.mark.parametrize(
    "problem",
    [
        problems.SESSION_INSUFFICIENT_BALANCE,
        problems.VERIFICATION_FAILED,
        problems.INVALID_CHALLENGE,
        problems.PAYMENT_REQUIRED,
    ],
)
async def test_more_than_was_ever_signed(
    shop: SessionShop, auth: PaymentAuth, fetch: Any, claim: str, problem: ProblemType
) -> None:
    await fetch(auth)
    shop.lies.claim = {claim: str(3 * PRICE)}
    shop.reactions = [refusing(shop, problem)]
    with pytest.raises(ChannelDisputedError) as caught:
        await fetch(auth)
    assert caught.value.channel == auth.channels[0].id
    assert auth.channels[0].status is Status.FORSAKEN
    assert most_signed(shop) == 2 * PRICE


async def test_a_receipt_for_more_than_was_ever_signed(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    shop.lies.receipt = {"spent": str(3 * PRICE)}
    assert (await fetch(auth)).status_code == 200
    assert auth.channels[0].status is Status.FORSAKEN


async def test_a_receipt_of_another_channel_says_nothing(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    shop.lies.receipt = {"channelId": "C", "spent": "999999999"}
    for _ in range(2):
        await fetch(auth)
    assert (auth.channels[0].status, auth.channels[0].owed) == (Status.OPEN, 3 * PRICE)


@pytest.mark.parametrize(
    "problem",
    [
        problems.SESSION_INSUFFICIENT_BALANCE,
        problems.VERIFICATION_FAILED,
        problems.PAYMENT_REQUIRED,
        problems.SESSION_DELTA_TOO_SMALL,
        problems.SESSION_AMOUNT_EXCEEDS_DEPOSIT,
        problems.SESSION_INVALID_SIGNATURE,
        problems.SESSION_SIGNER_MISMATCH,
        problems.SESSION_CHALLENGE_NOT_FOUND,
        problems.SESSION_CHANNEL_NOT_FOUND,
        problems.SESSION_CHANNEL_FINALIZED,
        problems.MALFORMED_CREDENTIAL,
    ],
)
async def test_refusing_for_ever_gets_one_price(
    shop: SessionShop, auth: PaymentAuth, fetch: Any, problem: ProblemType
) -> None:
    await fetch(auth)
    shop.reactions = [refusing(shop, problem) for _ in range(20)]
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth)
    assert caught.value.paid is None
    assert most_signed(shop) == 2 * PRICE
    assert len(shop.reactions) >= 15


async def test_saying_that_it_was_spent_each_time_gets_one_price_a_request(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    """It takes each voucher, spends it, and says that there is no headroom."""
    await fetch(auth)

    def greedy(request: httpx.Request, credential: Credential) -> httpx.Response:
        channel = str(credential.payload["channelId"])
        account = shop.accounts[channel]
        account.accepted = account.spent = shop.signed(channel, credential.payload)
        return shop.refuse(request, problems.SESSION_INSUFFICIENT_BALANCE, **shop.figures(channel))

    for n in range(3):
        shop.reactions = [greedy for _ in range(20)]
        with pytest.raises(PaymentError):
            await fetch(auth)
        assert most_signed(shop) <= (2 + n) * PRICE


async def test_saying_that_a_voucher_was_settled_gets_one_base_unit_a_request(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    shop.reactions = [lambda request, credential: httpx.Response(500)]
    await fetch(auth)
    for n in range(1, 4):
        shop.reactions = [refusing(shop, problems.SESSION_INSUFFICIENT_BALANCE) for _ in range(20)]
        with pytest.raises(PaymentRefusedError):
            await fetch(auth)
        assert most_signed(shop) == 2 * PRICE + n


async def test_a_price_that_jumps_goes_no_further_than_was_allowed(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    shop.session_request["amount"] = str(6 * PRICE)
    with pytest.raises(PaymentRefusedError):
        await fetch(auth)
    assert most_signed(shop) == 2 * PRICE
    shop.session_request["amount"] = str(5 * PRICE)
    shop.reactions = []
    await fetch(auth)
    assert most_signed(shop) == 6 * PRICE


@pytest.mark.parametrize("spent", [3 * PRICE, 0])
async def test_closing_at_another_amount(
    shop: SessionShop, auth: PaymentAuth, fetch: Any, spent: int
) -> None:
    for _ in range(2):
        await fetch(auth)
    [account] = shop.accounts.values()
    account.spent = spent
    if spent:
        with pytest.raises(ChannelDisputedError):
            await closing(auth, shop)
        assert auth.channels[0].status is Status.FORSAKEN
        assert most_signed(shop) == 2 * PRICE
    else:
        [closed] = await closing(auth, shop)
        assert closed.owed == shop.earned == 0


async def test_a_closing_that_was_none(shop: SessionShop, auth: PaymentAuth, fetch: Any) -> None:
    await fetch(auth)
    shop.reactions = [lambda request, credential: httpx.Response(204)]
    with pytest.raises(PaymentError, match="the ledger does not"):
        await closing(auth, shop)
    assert auth.channels[0].status is Status.CLOSING
    [closed] = await closing(auth, shop)
    assert closed.owed == PRICE


# --- recoveries -----------------------------------------------------------------------------------


async def test_a_server_that_lost_its_memory_is_shown_the_opening_again(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    for _ in range(2):
        await fetch(auth)
    shop.accounts.clear()
    for _ in range(2):
        assert (await fetch(auth)).status_code == 200
    assert shop.actions == ["open", "voucher", "voucher", "open", "voucher"]
    assert len(auth.channels) == 1
    assert most_signed(shop) == 3 * PRICE  # of which it has forgotten two
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == 2 * PRICE


async def test_a_channel_that_was_closed_is_replaced(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    [channel], [account] = auth.channels, shop.accounts.values()
    shop._paid(channel.id, "close", PRICE, account.signature)
    account.closed = True
    assert (await fetch(auth)).status_code == 200
    assert [each.status for each in auth.channels] == [Status.CLOSED, Status.OPEN]
    assert shop.earned == PRICE


async def test_saying_that_a_channel_is_over_gets_no_second_payment(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    """The ledger knows better. The channel is not used again, and the deposit is not lost."""
    await fetch(auth)
    shop.reactions = [refusing(shop, problems.SESSION_CHANNEL_FINALIZED)]
    with pytest.raises(PaymentRefusedError):
        await fetch(auth)
    [channel] = auth.channels
    assert channel.status is Status.FORSAKEN
    assert len({each.payload["channelId"] for each in shop.credentials}) == 1


async def test_a_late_voucher_is_shown_again_as_the_latest(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    """A request that was overtaken: the server already holds a higher voucher."""
    await fetch(auth)
    [account] = shop.accounts.values()

    def overtaken(request: httpx.Request, credential: Credential) -> httpx.Response:
        shop.reactions = []
        with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as other:
            other.get(request.url)
        return shop.honestly_by_session(request, credential)

    shop.reactions = [overtaken]
    assert (await fetch(auth)).status_code == 200
    assert (account.accepted, account.spent) == (3 * PRICE, 3 * PRICE)


async def test_a_voucher_that_got_lost_is_not_paid_twice(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    def lost(request: httpx.Request, credential: Credential) -> httpx.Response:
        raise httpx.ReadTimeout("lost", request=request)

    await fetch(auth)
    shop.reactions = [lost]
    with pytest.raises(httpx.ReadTimeout):
        await fetch(auth)
    await fetch(auth)
    assert most_signed(shop) == 2 * PRICE


async def test_a_request_that_got_lost_on_its_way_back_is_paid(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    def lost(request: httpx.Request, credential: Credential) -> httpx.Response:
        shop.honestly_by_session(request, credential)
        raise httpx.ReadTimeout("lost", request=request)

    await fetch(auth)
    shop.reactions = [lost]
    with pytest.raises(httpx.ReadTimeout):
        await fetch(auth)
    await fetch(auth)
    assert most_signed(shop) == 3 * PRICE
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == 3 * PRICE


@pytest.mark.parametrize("landed", [True, False])
async def test_an_opening_of_which_nothing_was_heard(
    shop: SessionShop, sandbox: Sandbox, auth: PaymentAuth, fetch: Any, landed: bool
) -> None:
    def lost(request: httpx.Request, credential: Credential) -> httpx.Response:
        if landed:
            shop.honestly_by_session(request, credential)
        raise httpx.ReadTimeout("lost", request=request)

    shop.reactions = [lost]
    with pytest.raises(PaymentError, match="not known what came of a deposit"):
        await fetch(auth)
    assert (await fetch(auth)).status_code == 200
    [channel] = auth.channels
    assert sandbox.balance(channel.id, sandbox.usdc) == channel.deposit == 10 * PRICE
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == PRICE + landed * PRICE


async def test_an_opening_that_was_refused(
    shop: SessionShop, clock: Clock, sandbox: Sandbox, auth: PaymentAuth, fetch: Any
) -> None:
    shop.reactions = [refusing(shop, problems.SESSION_TRANSACTION_REVERTED)] * 9
    with pytest.raises(PaymentRefusedError):
        await fetch(auth)
    shop.reactions = []
    clock.now += 10_000
    for _ in range(100):
        sandbox.close_ledger()
    await fetch(auth)
    assert [each.status for each in auth.channels] == [Status.VOID, Status.OPEN]


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("sponsored", [True, False])
async def test_an_opening_that_is_asked_about_days_later(
    shop: SessionShop,
    sandbox: Sandbox,
    clock: Clock,
    auth: PaymentAuth,
    fetch: Any,
    landed: bool,
    sponsored: bool,
) -> None:
    """When the ledger has forgotten the transaction and the nonce."""

    def lost(request: httpx.Request, credential: Credential) -> httpx.Response:
        if landed:
            shop.honestly_by_session(request, credential)
        raise httpx.ReadTimeout("lost", request=request)

    shop.details["feePayer"] = sponsored
    shop.reactions = [lost]
    with pytest.raises(PaymentError, match="not known what came of a deposit"):
        await fetch(auth)
    clock.now += 86_400
    for _ in range(800):
        sandbox.close_ledger()
    assert (await fetch(auth)).status_code == 200
    statuses = [each.status for each in auth.channels]
    assert statuses == ([Status.OPEN] if landed else [Status.VOID, Status.OPEN])
    assert sum(each.locked for each in auth.channels) == 10 * PRICE


@pytest.mark.parametrize("landed", [True, False])
async def test_a_top_up_of_which_nothing_was_heard(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any, landed: bool
) -> None:
    def lost(request: httpx.Request, credential: Credential) -> httpx.Response:
        if landed:
            shop.honestly_by_session(request, credential)
        raise httpx.ReadTimeout("lost", request=request)

    auth = payer(sessions=SessionPolicy(after="always", expected_calls=1))
    await fetch(auth)
    shop.reactions = [lost]
    with pytest.raises(PaymentError, match="not known what came of a deposit"):
        await fetch(auth)
    assert (await fetch(auth)).status_code == 200
    [channel] = auth.channels
    assert sandbox.balance(channel.id, sandbox.usdc) == channel.deposit == 2 * PRICE


async def test_a_server_that_knows_less_of_the_deposit_than_the_ledger(
    shop: SessionShop, auth: PaymentAuth, fetch: Any
) -> None:
    await fetch(auth)
    [account] = shop.accounts.values()
    account.deposit = PRICE
    with pytest.raises(PaymentRefusedError):
        await fetch(auth)
    assert most_signed(shop) == 2 * PRICE


async def test_a_refused_voucher_is_not_followed_by_a_charge(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    """The price jumps to what neither the deposit nor the budget has, and a charge is offered."""
    for settings in (
        {"sessions": SessionPolicy(after="always", expected_calls=2, max_deposit="0.02")},
        {"sessions": "always", "budget": "0.04"},
    ):
        auth = payer(**settings)
        shop.charges, shop.session_request["amount"] = True, str(PRICE)
        await fetch(auth)
        earned, shop.session_request["amount"] = shop.earned, str(4 * PRICE)
        with pytest.raises(PaymentRefusedError):
            await fetch(auth)
        assert shop.earned == earned
        await closing(auth, shop)
