"""The payer's own dealings with the ledger, when they go wrong."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from stellar_sdk import Keypair, xdr

from mpp_asgi.client import (
    LedgerUnavailableError,
    PaymentAuth,
    PaymentNotMadeError,
    PaymentOutcomeUnknownError,
    TransferFailedError,
)
from mpp_asgi.stellar.network import PUBNET
from tests.client.shop import PAYER, Shop

NOTHING = {"USDC": Decimal(0)}
PAID = {"USDC": Decimal("0.01")}


class Node:
    """The sandbox's RPC with faults: ``node.fail[method]`` calls get no answer, and
    ``node.answer[method]`` is what a method's results are, ``node.alter[method]`` what is changed
    in them, down to the first entries of lists."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.fail: dict[str, int] = {}
        self.answer: dict[str, dict[str, Any]] = {}
        self.alter: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        method = request["method"]
        self.calls.append(method)
        if self.fail.get(method, 0) > 0:
            self.fail[method] -= 1
            raise ConnectionError("down")
        response = self.sandbox.rpc(request)
        if method in self.answer:
            response = response | {"result": self.answer[method]}
        if method in self.alter:
            response = response | {"result": altered(response["result"], self.alter[method])}
        return response


def altered(result: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
    changed = dict(result)
    for name, value in by.items():
        changed[name] = [result[name][0] | value[0]] if isinstance(value, list) else value
    return changed


@pytest.fixture
def node(sandbox: Any) -> Node:
    return Node(sandbox)


@pytest.fixture
def auth(payer: Any, node: Node, way: str) -> Any:
    return payer(rpc=node, mode="push" if way == "push" else "pull")


@pytest.fixture
def pusher(payer: Any, node: Node, shop: Shop) -> Any:
    shop.unsponsored()
    return payer(rpc=node, mode="push")


def nothing_happened(shop: Shop, auth: PaymentAuth) -> None:
    assert shop.credentials == []
    assert auth.spent == NOTHING
    assert auth.left == {"USDC": Decimal(1)}


# --- before anything is signed --------------------------------------------------------------------


LAST_SEQUENCE = xdr.LedgerEntryData(
    xdr.LedgerEntryType.ACCOUNT,
    account=xdr.AccountEntry(
        account_id=PAYER.xdr_account_id(),
        balance=xdr.Int64(0),
        seq_num=xdr.SequenceNumber(xdr.Int64(2**63 - 1)),
        num_sub_entries=xdr.Uint32(0),
        inflation_dest=None,
        flags=xdr.Uint32(0),
        home_domain=xdr.String32(b""),
        thresholds=xdr.Thresholds(b"\0" * 4),
        signers=[],
        ext=xdr.AccountEntryExt(0),
    ),
).to_xdr()


@pytest.mark.parametrize(
    ("way", "method", "said"),
    [
        ("unsponsored", "simulateTransaction", {"transactionData": "***"}),
        ("unsponsored", "simulateTransaction", {"transactionData": "\u00e9"}),
        ("unsponsored", "simulateTransaction", {"minResourceFee": -5_000}),
        ("unsponsored", "simulateTransaction", {"latestLedger": 2**32}),
        ("unsponsored", "getLedgerEntries", {"entries": [{"xdr": LAST_SEQUENCE}]}),
        ("sponsored", "getLatestLedger", {"sequence": 2**33}),
        ("sponsored", "getLatestLedger", {"sequence": 2**32 - 1}),
        ("sponsored", "getLatestLedger", {"sequence": -100}),
    ],
    indirect=["way"],
)
async def test_an_rpc_that_talks_nonsense(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, method: str, said: dict[str, Any]
) -> None:
    node.alter[method] = said
    with pytest.raises(LedgerUnavailableError):
        await fetch(auth)
    nothing_happened(shop, auth)


@pytest.mark.parametrize("method", ["getNetwork", "getLatestLedger"])
async def test_no_rpc_no_payment(
    shop: Shop, payer: Any, node: Node, fetch: Any, method: str
) -> None:
    auth = payer(rpc=node)
    node.fail[method] = 1
    with pytest.raises(LedgerUnavailableError, match="could not be asked"):
        await fetch(auth)
    nothing_happened(shop, auth)
    assert (await fetch(auth)).status_code == 200


@pytest.mark.parametrize("method", ["getNetwork", "getLedgerEntries", "simulateTransaction"])
@pytest.mark.parametrize("way", ["unsponsored", "push"], indirect=True)
async def test_no_rpc_no_payment_of_ones_own(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, method: str
) -> None:
    node.fail[method] = 1
    with pytest.raises(LedgerUnavailableError):
        await fetch(auth)
    nothing_happened(shop, auth)
    assert (await fetch(auth)).status_code == 200


async def test_an_rpc_of_another_network(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any
) -> None:
    node.answer["getNetwork"] = {"passphrase": PUBNET.passphrase, "protocolVersion": 28}
    with pytest.raises(PaymentNotMadeError, match="does not follow stellar:testnet"):
        await fetch(auth)
    nothing_happened(shop, auth)


async def test_the_network_is_asked_for_once(auth: PaymentAuth, node: Node, fetch: Any) -> None:
    await fetch(auth)
    await fetch(auth)
    assert node.calls.count("getNetwork") == 1


@pytest.mark.parametrize("way", ["unsponsored", "push"], indirect=True)
async def test_the_network_fee_is_capped(shop: Shop, payer: Any, fetch: Any, way: str) -> None:
    mode = "push" if way == "push" else "pull"
    auth = payer(mode=mode, max_network_fee=5_000)
    with pytest.raises(PaymentNotMadeError, match="more than the 5000 allowed"):
        await fetch(auth)
    nothing_happened(shop, auth)


@pytest.mark.parametrize("way", ["unsponsored", "push"], indirect=True)
@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ({"error": "HostError: Error(Contract, #10)"}, "does not cover it"),
        ({"error": "HostError: Error(Contract, #13)"}, "no trustline"),
        ({"error": "out of luck"}, "the transfer would fail"),
        (
            {
                "transactionData": "",
                "minResourceFee": "1",
                "restorePreamble": {"transactionData": "", "minResourceFee": "1"},
            },
            "archived",
        ),
    ],
)
async def test_a_transfer_that_would_fail(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, answer: dict[str, Any], match: str
) -> None:
    node.answer["simulateTransaction"] = {"latestLedger": 5} | answer
    with pytest.raises(TransferFailedError, match=match):
        await fetch(auth)
    nothing_happened(shop, auth)


@pytest.mark.parametrize("way", ["unsponsored", "push"], indirect=True)
async def test_an_account_that_is_not_there(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any
) -> None:
    node.answer["getLedgerEntries"] = {"latestLedger": 5, "entries": []}
    with pytest.raises(TransferFailedError, match="account is not there"):
        await fetch(auth)
    nothing_happened(shop, auth)


@pytest.mark.parametrize("way", ["unsponsored", "push"], indirect=True)
@pytest.mark.parametrize("data", ["", "AAAA", "AAAABgAAAAA="])
async def test_an_account_that_cannot_be_read(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, data: str
) -> None:
    entry = {"key": "k", "xdr": data, "lastModifiedLedgerSeq": 1}
    node.answer["getLedgerEntries"] = {"latestLedger": 5, "entries": [entry]}
    with pytest.raises(LedgerUnavailableError):
        await fetch(auth)
    nothing_happened(shop, auth)


async def test_expired_while_it_was_being_paid(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any
) -> None:
    def slow(request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] in ("getLatestLedger", "simulateTransaction"):
            shop.clock.now += 300
        return node(request)

    late = PaymentAuth(
        Keypair.from_raw_ed25519_seed(b"p" * 32),
        budget=1,
        rpc=slow,
        clock=shop.clock,
        mode=auth._payer.rules.mode,
    )
    with pytest.raises(PaymentNotMadeError, match="expired while"):
        await fetch(late)
    nothing_happened(shop, late)


# --- submitting -----------------------------------------------------------------------------------


async def test_try_again_later(shop: Shop, pusher: Any, node: Node, fetch: Any) -> None:
    shop.sandbox.refuse_next_submit("TRY_AGAIN_LATER", times=3)
    assert (await fetch(pusher)).status_code == 200
    assert node.calls.count("sendTransaction") == 4
    assert shop.earned == 100_000


async def test_the_node_refuses_it(shop: Shop, pusher: Any, fetch: Any) -> None:
    shop.sandbox.refuse_next_submit("ERROR")
    with pytest.raises(TransferFailedError, match="the ledger refused the transfer"):
        await fetch(pusher)
    assert (pusher.spent, pusher.unresolved) == (NOTHING, ())
    assert shop.credentials == []


async def test_the_node_refuses_it_in_the_end(shop: Shop, pusher: Any, fetch: Any) -> None:
    shop.sandbox.refuse_next_submit("TRY_AGAIN_LATER")
    shop.sandbox.refuse_next_submit("ERROR")
    with pytest.raises(TransferFailedError):
        await fetch(pusher)
    assert pusher.spent == NOTHING


async def test_the_answer_to_the_submission_is_lost(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    shop.sandbox.lose_next_answer("sendTransaction")
    assert (await fetch(pusher)).status_code == 200
    assert shop.earned == 100_000


async def test_an_error_after_a_lost_answer_decides_nothing(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    """The transaction is queued; the node's complaint is about its repetition."""
    shop.sandbox.freeze()
    shop.sandbox.lose_next_answer("sendTransaction")
    node.fail["getTransaction"] = 0
    sent: list[int] = []

    def complaining(request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "sendTransaction":
            sent.append(1)
            if len(sent) == 2:
                shop.sandbox.refuse_next_submit("ERROR")
            if len(sent) == 3:
                shop.sandbox.thaw()
        return shop.sandbox.rpc(request)

    pusher._node._rpc = complaining
    assert (await fetch(pusher)).status_code == 200
    assert shop.earned == 100_000
    assert pusher.spent == PAID


async def test_the_submission_is_lost_before_the_node(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    node.fail["sendTransaction"] = 3
    assert (await fetch(pusher)).status_code == 200
    assert shop.earned == 100_000


async def test_the_ledger_takes_its_time(
    shop: Shop, pusher: Any, node: Node, fetch: Any, waits: list[float]
) -> None:
    node.fail["getTransaction"] = 20
    assert (await fetch(pusher)).status_code == 200
    assert len(waits) > 15


async def test_it_never_got_into_a_ledger(shop: Shop, pusher: Any, node: Node, fetch: Any) -> None:
    """Its time is over: certain that nothing moved."""
    node.fail["sendTransaction"] = 10_000
    with pytest.raises(TransferFailedError):
        await fetch(pusher)
    assert (pusher.spent, pusher.unresolved) == (NOTHING, ())


async def test_the_ledger_cannot_be_asked_any_more(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    node.fail["getTransaction"] = 10_000
    with pytest.raises(PaymentOutcomeUnknownError, match="could not be asked") as caught:
        await fetch(pusher)
    assert caught.value.transaction_hash is not None
    assert pusher.spent == PAID
    assert shop.credentials == []
    assert shop.earned == 100_000

    node.fail.clear()
    assert (await fetch(pusher)).status_code == 200
    assert node.calls.count("sendTransaction") == 1
    assert shop.earned == 100_000
    assert (pusher.spent, pusher.in_doubt) == (PAID, NOTHING)


async def test_a_transfer_that_fails_in_the_ledger(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    def spoiling(request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "sendTransaction":
            shop.burn_all_of_the_payers()
        return node(request)

    pusher._node._rpc = spoiling
    with pytest.raises(TransferFailedError):
        await fetch(pusher)
    assert (pusher.spent, pusher.unresolved) == (NOTHING, ())


class EndOfTheTaskError(BaseException):
    """As when a task is cancelled while it waits."""


async def test_the_task_ends_while_the_ledger_takes_its_time(
    shop: Shop, pusher: Any, node: Node, fetch: Any
) -> None:
    """The transaction is in a ledger by then, so the node would call its repetition an error."""
    sleep, async_sleep = pusher._sleep, pusher._async_sleep

    def end(seconds: float) -> None:
        sleep(seconds)
        raise EndOfTheTaskError

    async def async_end(seconds: float) -> None:
        end(seconds)

    pusher._sleep, pusher._async_sleep = end, async_end
    with pytest.raises(EndOfTheTaskError):
        await fetch(pusher)
    assert len(pusher.unresolved) == 1
    assert pusher.spent == PAID

    pusher._sleep, pusher._async_sleep = sleep, async_sleep
    node.fail["getTransaction"] = 1
    assert (await fetch(pusher)).status_code == 200
    assert shop.earned == 100_000
    assert pusher.spent == PAID


# --- in doubt -------------------------------------------------------------------------------------


async def in_doubt(shop: Shop, auth: PaymentAuth, fetch: Any, *, taken: bool) -> None:
    def react(request: httpx.Request, credential: Any) -> httpx.Response:
        if taken:
            shop.take(credential)
        raise httpx.ReadTimeout("lost", request=request)

    shop.reactions = [react]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)


async def reconcile(auth: PaymentAuth, request: Any) -> None:
    if "async" in request.node.callspec.id:
        await auth.areconcile()
    else:
        auth.reconcile()


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_the_ledger_knows(
    shop: Shop, auth: PaymentAuth, fetch: Any, taken: bool, request: pytest.FixtureRequest
) -> None:
    await in_doubt(shop, auth, fetch, taken=taken)
    await reconcile(auth, request)
    assert auth.spent == PAID
    assert len(auth.unresolved) == 1

    shop.clock.now += 400
    shop.sandbox.close_ledger(61)
    await reconcile(auth, request)
    assert auth.spent == (PAID if taken else NOTHING)
    assert auth.in_doubt == NOTHING
    assert len(auth.unresolved) == (1 if taken else 0)


@pytest.mark.parametrize("way", ["unsponsored"], indirect=True)
async def test_the_ledger_is_asked_once_for_each_payment(
    shop: Shop,
    auth: PaymentAuth,
    node: Node,
    fetch: Any,
    request: pytest.FixtureRequest,
) -> None:
    await in_doubt(shop, auth, fetch, taken=False)
    await in_doubt(shop, auth, fetch, taken=False)
    assert len(shop.payments) == 1
    node.calls.clear()
    await reconcile(auth, request)
    assert node.calls == ["getTransaction"]


@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_a_ledger_that_cannot_be_asked_knows_nothing(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, request: pytest.FixtureRequest
) -> None:
    await in_doubt(shop, auth, fetch, taken=False)
    shop.clock.now += 400
    shop.sandbox.close_ledger(61)
    node.fail = {"getLedgerEntries": 1, "getTransaction": 1}
    await reconcile(auth, request)
    assert auth.spent == PAID


@pytest.mark.parametrize("way", ["sponsored"], indirect=True)
async def test_a_nonce_that_may_have_been_forgotten_proves_nothing(
    shop: Shop, auth: PaymentAuth, fetch: Any, request: pytest.FixtureRequest
) -> None:
    await in_doubt(shop, auth, fetch, taken=True)
    shop.sandbox.close_ledger(800)
    await reconcile(auth, request)
    assert auth.spent == PAID


@pytest.mark.parametrize("way", ["unsponsored"], indirect=True)
async def test_a_node_that_forgot_old_ledgers_proves_nothing(
    shop: Shop, auth: PaymentAuth, node: Node, fetch: Any, request: pytest.FixtureRequest
) -> None:
    await in_doubt(shop, auth, fetch, taken=True)
    later = int(shop.clock.now) + 1000
    node.answer["getTransaction"] = {
        "status": "NOT_FOUND",
        "latestLedger": 900,
        "latestLedgerCloseTime": str(later),
        "oldestLedger": 800,
        "oldestLedgerCloseTime": str(int(shop.clock.now) + 1),
    }
    await reconcile(auth, request)
    assert auth.spent == PAID


async def test_doubts_are_settled_when_the_budget_is_short(
    shop: Shop, payer: Any, node: Node, fetch: Any
) -> None:
    auth = payer(rpc=node, budget="0.01")
    await in_doubt(shop, auth, fetch, taken=False)
    auth.abandon(auth.unresolved[0])
    shop.clock.now += 400
    shop.sandbox.close_ledger(61)
    assert (await fetch(auth)).status_code == 200
    assert auth.spent == PAID
    assert shop.earned == 100_000
