"""The fourth act: a payment channel is funded once, and calls are paid from it off the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from example_app.demo.books import MismatchError, whole
from mpp_asgi.client import PaymentAuth, SessionPolicy, Status, payment_receipt

if TYPE_CHECKING:
    from example_app.demo.scene import Scene
    from mpp_asgi.client import HeldChannel

CALLS = 200
CALL = 100_000
"""Base units of USDC."""
CALLED = "/sun/cairo"
READINGS = 50
READING = 10_000
WATCHED = "/watch/cairo"


@dataclass(slots=True)
class Traffic:
    """What the agent heard from the API."""

    statuses: list[int] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    """Those that receipts name: of an opening, a top-up, a close."""

    def note(self, answer: httpx.Response) -> None:
        """Called by httpx for every answer, those included that `PaymentAuth` keeps to itself."""
        self.statuses.append(answer.status_code)
        receipt = payment_receipt(answer)
        transaction = None if receipt is None else receipt.extra.get("txHash")
        if isinstance(transaction, str):
            self.transactions.append(transaction)


def perform(scene: Scene) -> None:
    """Open, call, listen, close; the ledger is compared after each."""
    policy = SessionPolicy(after="always", expected_calls=CALLS)
    agent = PaymentAuth(scene.agent, budget="3.00", rpc=scene.network_url, sessions=policy)
    traffic = Traffic()
    with httpx.Client(
        base_url=scene.api_url, auth=agent, timeout=60, event_hooks={"response": [traffic.note]}
    ) as client:
        for title, act in ACTS:
            scene.page.line()
            scene.page.line(f"  {title}", style="bold")
            act(scene, agent, client, traffic)
            scene.books.balance(title)
            _show_balances(scene)


def open_channel(scene: Scene, agent: PaymentAuth, client: httpx.Client, traffic: Traffic) -> None:
    """The first call puts the deposit into the channel, and is paid from it."""
    _get(client, CALLED)
    _require(traffic.statuses == [402, 200], f"The API answered {traffic.statuses}.")
    channel = _channel(agent)
    _require(channel.deposit == CALLS * CALL, f"The deposit is {whole(channel.deposit)} USDC.")
    scene.books.add("channel", channel.id)
    scene.books.paid("agent", "channel", channel.deposit)
    _say(
        scene,
        f"GET {CALLED} costs {whole(CALL)} USDC, and the agent expects {CALLS} such calls. It "
        f"signs for a channel with a deposit of {whole(channel.deposit)} USDC, and a voucher for "
        "the first call. The API opens the channel, and answers.",
    )
    _count_fee(scene, traffic)
    scene.page.line(f"    channel {channel.id}", style="dim")


def call(scene: Scene, agent: PaymentAuth, client: httpx.Client, traffic: Traffic) -> None:
    """Every other call is one request with a voucher, and one answer."""
    traffic.statuses.clear()
    began = time.monotonic()
    for _ in range(CALLS - 1):
        _get(client, CALLED)
    seconds = time.monotonic() - began
    channel = _channel(agent)
    _require(traffic.statuses == [200] * (CALLS - 1), "There was more than one answer to a call.")
    _require(channel.owed == CALLS * CALL, f"{whole(channel.owed)} USDC are owed.")
    _say(
        scene,
        f"{CALLS - 1} calls, each one request with a voucher and one answer with a receipt, "
        f"{1000 * seconds / (CALLS - 1):.0f} ms a call. The API is owed {whole(channel.owed)} "
        "USDC, which it can take whenever it likes. On the ledger nothing has happened.",
        style="good",
    )


def listen(scene: Scene, agent: PaymentAuth, client: httpx.Client, traffic: Traffic) -> None:
    """The deposit is used up, so it is topped up; then the stream asks for voucher by voucher."""
    before = _channel(agent)
    traffic.statuses.clear()
    with agent.stream(client, "GET", f"{WATCHED}?readings={READINGS}", limit="0.10") as events:
        events.response.raise_for_status()
        heights = [event.data for event in events]
    channel = _channel(agent)
    cost = READING + READINGS * READING
    _require(len(heights) == READINGS, f"{len(heights)} readings came.")
    _require(channel.owed == before.owed + cost, f"{whole(channel.owed)} USDC are owed.")
    added = channel.deposit - before.deposit
    scene.books.paid("agent", "channel", added)
    _say(
        scene,
        f"The deposit is used up. The agent adds {whole(added)} USDC, then follows the sun from "
        f"{heights[0]} to {heights[-1]} degrees: {READINGS} readings, {whole(READING)} USDC each. "
        "Whenever it has not signed for the next one, the stream asks and waits.",
    )
    _count_fee(scene, traffic)


def close(scene: Scene, agent: PaymentAuth, client: httpx.Client, traffic: Traffic) -> None:
    """The API takes what it is owed, to the base unit, and the agent has the rest."""
    owed = CALLS * CALL + READING + READINGS * READING
    deposit = _channel(agent).deposit
    (channel,) = agent.close_sessions(client)
    _require(
        (channel.status, channel.owed) == (Status.CLOSED, owed),
        f"The channel is {channel.status} at {whole(channel.owed)} USDC.",
    )
    scene.books.paid("channel", "seller", owed)
    scene.books.paid("channel", "agent", deposit - owed)
    _say(
        scene,
        f"One voucher for all: {whole(owed)} USDC for the API, and {whole(deposit - owed)} USDC "
        "back to the agent.",
        style="good",
    )
    _count_fee(scene, traffic)


ACTS = (
    ("The channel is opened by the first call", open_channel),
    (f"{CALLS - 1} more calls", call),
    ("A stream, after a top-up", listen),
    ("The channel is closed", close),
)


def _get(client: httpx.Client, path: str) -> None:
    client.get(path).raise_for_status()


def _channel(agent: PaymentAuth) -> HeldChannel:
    (channel,) = agent.channels
    return channel


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise MismatchError(otherwise)


def _say(scene: Scene, text: str, *, style: str = "") -> None:
    scene.page.text(text, indent=4, style=style)


def _count_fee(scene: Scene, traffic: Traffic) -> None:
    """There was one transaction, and the sponsor paid for it."""
    (transaction,) = traffic.transactions
    traffic.transactions.clear()
    fee = scene.books.fee("sponsor", transaction)
    scene.page.line(f"    tx  {transaction}", style="dim")
    scene.page.line(f"    fee {whole(fee)} XLM, paid by the sponsor", style="dim")


def _show_balances(scene: Scene) -> None:
    due = scene.books.due
    has = (f"{name} {whole(due[name].usdc)}" for name in ("agent", "channel", "seller"))
    scene.page.line(f"    {'   '.join(has)} USDC, exact", style="dim")
