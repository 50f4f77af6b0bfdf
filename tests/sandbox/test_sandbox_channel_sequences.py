"""Whatever is done with a channel, in whatever order: it does what a few lines of rules say."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Keypair

from mpp_asgi.sandbox.contracts.channel.commitment import commitment
from mpp_asgi.sandbox.genesis import channel_factory
from mpp_asgi.sandbox.host.errors import HostError
from mpp_asgi.sandbox.wire.values import Address, Val, address_val, bytes_val, i128_val, u32_val
from tests.sandbox.bare_host import BareHost

KEY = Keypair.from_raw_ed25519_seed(sha256(b"commitments").digest())
FUNDER = Address.account(b"\1" * 32)
RECIPIENT = Address.account(b"\2" * 32)
MONEY = 1_000
PERIOD = 3

Outcome = str | list[str]
"""An error, or the names of the events."""


@dataclass
class Rules:
    """A channel as its rules have it."""

    funder: int = MONEY
    recipient: int = MONEY
    balance: int = 0
    withdrawn: int = 0
    closes_at: int | None = None
    sequence: int = 1_000

    @property
    def is_closed(self) -> bool:
        return self.closes_at is not None and self.sequence >= self.closes_at

    def top_up(self, amount: int) -> Outcome:
        if amount < 0:
            return "Error(Contract, #1)"
        if amount > self.funder:
            return "Error(Contract, #10)"
        self.funder -= amount
        self.balance += amount
        return ["transfer"] if amount else []

    def settle(self, amount: int) -> Outcome:
        if amount < 0:
            return "Error(Contract, #1)"
        payout = max(0, amount - self.withdrawn)
        if payout > self.balance:
            return "Error(Contract, #10)"
        self.withdrawn += payout
        self.balance -= payout
        self.recipient += payout
        return ["transfer", "withdraw"] if payout else []

    def close(self, amount: int) -> Outcome:
        events = self.settle(amount)
        if isinstance(events, str):
            return events
        if not self.is_closed:
            self.closes_at = self.sequence
            events.append("close")
        return events + self._pay_back()

    def close_start(self, _amount: int) -> Outcome:
        if self.is_closed:
            return "Error(Contract, #4)"
        self.closes_at = self.sequence + PERIOD
        return ["close"]

    def refund(self, _amount: int) -> Outcome:
        if self.closes_at is None:
            return "Error(Contract, #2)"
        return self._pay_back() if self.is_closed else "Error(Contract, #3)"

    def _pay_back(self) -> list[str]:
        left, self.balance = self.balance, 0
        self.funder += left
        return ["transfer", "refund"] if left else []


@dataclass
class Run:
    """The same channel in the sandbox."""

    host: BareHost = field(default_factory=BareHost)
    channel: Address = field(init=False)

    def __post_init__(self) -> None:
        self.host.settle_in(FUNDER, RECIPIENT, usdc=MONEY)
        terms = (
            bytes_val(bytes(32)),
            address_val(self.host.usdc),
            address_val(FUNDER),
            bytes_val(KEY.raw_public_key()),
            address_val(RECIPIENT),
            i128_val(0),
            u32_val(PERIOD),
        )
        factory = channel_factory(self.host.network_id)
        self.channel = self.host.call(factory, "open", *terms).value

    def do(self, function: str, amount: int) -> Outcome:
        args: tuple[Val, ...] = ()
        if function in {"top_up", "settle", "close"}:
            args = (i128_val(amount),)
        if function in {"settle", "close"}:
            signed = KEY.sign(commitment(self.host.network_id, self.channel, amount))
            args = (*args, bytes_val(signed))
        try:
            self.host.call(self.channel, function, *args)
        except HostError as problem:
            return str(problem)
        return list(self.host.names())

    def ask(self, function: str) -> int:
        return int(self.host.call(self.channel, function).value)


steps = st.tuples(
    st.sampled_from(["top_up", "top_up", "settle", "settle", "close", "close_start", "refund"]),
    st.integers(-1, MONEY + 100),
    st.integers(0, PERIOD),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=20))
def test_any_sequence_of_calls(sequence: list[tuple[str, int, int]]) -> None:
    rules, run = Rules(), Run()
    for function, amount, ledgers in sequence:
        rules.sequence += ledgers
        run.host.sequence += ledgers
        expected = getattr(rules, function)(amount)
        assert run.do(function, amount) == expected
        held = (run.host.balance(FUNDER), run.host.balance(RECIPIENT), run.ask("balance"))
        assert held == (rules.funder, rules.recipient, rules.balance)
        assert sum(held) == 2 * MONEY
        assert run.ask("withdrawn") == rules.withdrawn
        assert run.ask("deposited") == rules.withdrawn + rules.balance


def test_more_than_can_be_counted() -> None:
    """What was deposited in all may be more than a number holds; then asking for it traps."""
    run = Run()
    most = 2**127 - 1
    run.host.call(run.host.usdc, "mint", address_val(run.channel), i128_val(most))
    assert run.do("settle", MONEY) == ["transfer", "withdraw"]
    assert run.ask("deposited") == most
    run.host.call(run.host.usdc, "mint", address_val(run.channel), i128_val(1))
    assert run.do("deposited", 0) == "Error(WasmVm, InvalidAction)"
    assert run.do("settle", most) == "Error(Contract, #12)"  # more than the recipient can hold
