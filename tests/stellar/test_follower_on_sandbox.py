"""The follower and the network that is embedded: what they say must be what the ledger has."""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Account, Asset, Keypair, TransactionBuilder, TransactionEnvelope

from mpp_asgi.intents import FaultError
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.accounts import get_account
from mpp_asgi.stellar.ledger import Decision, Ledger, Pending
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import InProcessRpc, InProcessSyncRpc
from tests.stellar.chain import kind, outcomes

START = 1_790_000_000
LEDGER_SECONDS = 5.0
VALID_SECONDS = 60

Request = dict[str, Any]


class Stage:
    """A sandbox, time, and a line to it that may fail."""

    def __init__(self) -> None:
        self.now = float(START)
        self.sandbox = Sandbox(clock=lambda: self.now, close_interval=LEDGER_SECONDS)
        self.calls: Counter[str] = Counter()
        self.fault: Callable[[Request], None] = lambda request: None
        """Called before each request; raises `ConnectionError` for one that gets lost."""
        self.ledger = Ledger(
            InProcessRpc(self.rpc),
            clock=lambda: self.now,
            sleep=self.sleep,
            poll_seconds=1,
            patience_seconds=30,
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def rpc(self, request: Request) -> dict[str, Any]:
        self.calls[request["method"]] += 1
        self.fault(request)
        return self.sandbox.rpc(request)

    def account(self, number: int) -> Keypair:
        keypair = Keypair.from_raw_ed25519_seed(number.to_bytes(32, "big"))
        self.sandbox.fund(keypair.public_key)
        return keypair

    def payment(self, payer: Keypair, *, xlm: str = "1", ahead: int = 0) -> TransactionEnvelope:
        """One that fails if the payer has not as much, and is not taken if it is ahead."""
        account = InProcessSyncRpc(self.sandbox.rpc).do(get_account(payer.public_key))
        assert account is not None
        envelope = (
            TransactionBuilder(
                Account(payer.public_key, account.sequence + ahead),
                TESTNET.passphrase,
                base_fee=100,
            )
            .append_payment_op(payer.public_key, Asset.native(), xlm)
            .add_time_bounds(0, int(self.now) + VALID_SECONDS)
            .build()
        )
        envelope.sign(payer)
        return envelope

    def pending(self, envelope: Any, *, sent: bool = False, ours: bool = True) -> Pending:
        return Pending(
            hash=envelope.hash_hex(),
            envelope=envelope.to_xdr(),
            valid_until=START + VALID_SECONDS,
            since=START,
            sent=sent,
            ours=ours,
        )

    def truth(self, transaction_hash: str) -> str:
        """What became of it, by the ledger itself, long after."""
        answer = self.sandbox.rpc(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "getTransaction",
                "params": {"hash": transaction_hash},
            }
        )
        kinds = {"SUCCESS": "success", "FAILED": "failed", "NOT_FOUND": "dropped"}
        return kinds[answer["result"]["status"]]


@pytest.mark.parametrize("count", [1, 12, 60])
async def test_calls_a_ledger(count: int) -> None:
    stage = Stage()
    payments = [
        stage.pending(stage.payment(stage.account(number))) for number in range(1, count + 1)
    ]
    stage.sandbox.delay_next_submit(3, times=count)
    found = await outcomes(stage.ledger, *payments)
    assert {kind(each) for each in found} == {"success"}
    assert {each.status.ledger for each in found if isinstance(each, Decision)} == {1_004}
    assert stage.calls["sendTransaction"] == count
    assert stage.calls.total() - count <= 4 * 5 + 4


@pytest.mark.parametrize("others", [0, 12])
@pytest.mark.parametrize("by", ["own", "inner"])
async def test_fee_bumps(others: int, by: str) -> None:
    """What is sent is the fee bump; what is waited for is either of its hashes."""
    stage = Stage()
    payer, sponsor = stage.account(1), stage.account(2)
    inner = stage.payment(payer)
    bump = TransactionBuilder.build_fee_bump_transaction(
        sponsor, 400, inner, network_passphrase=TESTNET.passphrase
    )
    bump.sign(sponsor)
    company = [stage.pending(stage.payment(stage.account(3 + each))) for each in range(others)]
    stage.sandbox.delay_next_submit(2, times=1 + others)
    waiting = Pending(
        hash=(bump if by == "own" else inner).hash_hex(),
        envelope=bump.to_xdr(),
        valid_until=START + VALID_SECONDS,
        sent=False,
        ours=True,
    )
    decision, *_ = await outcomes(stage.ledger, waiting, *company)
    assert isinstance(decision, Decision)
    assert decision.kind == "success"
    assert decision.status.envelope_xdr == bump.to_xdr()
    if others:
        assert stage.calls["getTransaction"] <= 1


async def test_pages_tell_what_single_answers_tell() -> None:
    stage = Stage()
    payments = [stage.pending(stage.payment(stage.account(number))) for number in range(1, 13)]
    found = await outcomes(stage.ledger, *payments)
    assert stage.calls["getTransactions"] > 1
    for payment, one in zip(payments, found, strict=True):
        (alone,) = await outcomes(stage.ledger, payment)
        assert isinstance(one, Decision)
        assert isinstance(alone, Decision)
        for name in ("ledger", "created_at", "result_xdr", "result_meta_xdr", "contract_events"):
            assert getattr(one.status, name) == getattr(alone.status, name)


FAULTS = ["lost before", "lost after", "lag"]
SUBMITS = ["delay", "never", "TRY_AGAIN_LATER", "ERROR"]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 14),
    seed=st.integers(0, 2**32),
    faults=st.lists(st.sampled_from(FAULTS), max_size=8),
    submits=st.lists(st.sampled_from(SUBMITS), max_size=8),
    ours=st.booleans(),
)
async def test_no_decision_is_ever_wrong(
    count: int, seed: int, faults: list[str], submits: list[str], ours: bool
) -> None:
    """Whatever answers get lost or are old, whatever the network takes, delays and refuses, whoever
    leaves and comes back: in the end each payment is decided, as the ledger has it."""
    stage, random = Stage(), Random(seed)
    payments = []
    for number in range(1, count + 1):
        xlm = random.choice(["1", "1", "1000000"])
        ahead = random.choice([0, 0, 0, 1])
        payments.append(stage.payment(stage.account(number), xlm=xlm, ahead=ahead))
    stage.fault = _trouble(stage, random, [*faults, *[""] * 8], [*submits, *[""] * 4])

    async def decided(number: int, envelope: TransactionEnvelope) -> str:
        pending = stage.pending(envelope, ours=ours)
        for _ in range(20):
            decide = asyncio.ensure_future(stage.ledger.decide(pending))
            if random.random() < 0.2:  # the client leaves, and comes back
                for _ in range(random.randrange(40)):
                    await asyncio.sleep(0)
                decide.cancel()
            try:
                return (await decide).kind
            except FaultError as doubt:
                stage.now += doubt.retry_after
            except asyncio.CancelledError:
                pass
            pending = stage.pending(envelope, sent=True)
        raise AssertionError("no decision")

    async with asyncio.timeout(60):
        kinds = await asyncio.gather(
            *(decided(number, envelope) for number, envelope in enumerate(payments))
        )
    stage.fault = lambda request: None
    stage.sandbox.catch_up()
    stage.now += 2 * VALID_SECONDS
    assert kinds == [stage.truth(envelope.hash_hex()) for envelope in payments]


def _trouble(
    stage: Stage, random: Random, faults: list[str], submits: list[str]
) -> Callable[[Request], None]:
    orders = {
        "delay": lambda: stage.sandbox.delay_next_submit(random.randrange(4)),
        "never": lambda: stage.sandbox.delay_next_submit(4),
        "TRY_AGAIN_LATER": lambda: stage.sandbox.refuse_next_submit("TRY_AGAIN_LATER"),
        "ERROR": lambda: stage.sandbox.refuse_next_submit("ERROR"),
    }

    def fault(request: Request) -> None:
        what = random.choice(faults)
        if request["method"] == "sendTransaction":
            order = random.choice(submits)
            if order:
                orders[order]()
        if what == "lost before":
            raise ConnectionError
        if what == "lost after":
            stage.sandbox.lose_next_answer(request["method"])
        if what == "lag":
            stage.sandbox.fall_behind(times=random.randrange(1, 6))

    return fault
