"""The second act: the agent buys everything there is, in each of the three ways to pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx

from example_app.demo.books import MismatchError, whole
from example_app.demo.handmade import first_challenge, price_of
from mpp_asgi.client import PaymentAuth

if TYPE_CHECKING:
    from example_app.demo.scene import Scene


@dataclass(frozen=True, slots=True)
class Way:
    """A way to pay."""

    name: str
    meaning: str
    mode: Literal["pull", "push"]
    sponsored: bool


@dataclass(frozen=True, slots=True)
class Purchase:
    """Something to buy, and what it has to cost."""

    method: str
    path: str
    price: int
    """Base units of USDC."""
    why: str
    json: Any = None


WAYS = (
    Way(
        "pull, sponsored",
        "agent signs a transfer; API submits it and pays the fee",
        "pull",
        sponsored=True,
    ),
    Way(
        "pull, own fee",
        "agent signs a transaction, fee included; API submits it",
        "pull",
        sponsored=False,
    ),
    Way(
        "push",
        "agent submits the transaction and shows its hash, signed",
        "push",
        sponsored=False,
    ),
)

STOPS = [
    {"latitude": 48.86, "longitude": 2.35, "at": "2026-06-21T04:00:00Z"},
    {"latitude": 60.17, "longitude": 24.94, "at": "2026-06-21T22:00:00Z"},
    {"latitude": 64.15, "longitude": -21.94, "at": "2026-12-21T12:00:00Z"},
]

PURCHASES = (
    Purchase("GET", "/sun/paris", 100_000, "A fixed price."),
    Purchase("GET", "/calendars/month/lima", 500_000, "A price by path: a month."),
    Purchase("POST", "/journeys", 60_000, "A price by body: three stops.", {"stops": STOPS}),
    Purchase("GET", "/live/tokyo", 200_000, "A stream, paid before its first byte."),
    Purchase("GET", "/white-nights/reykjavik", 300_000, "Paid once there is something to sell."),
    Purchase("GET", "/watch/lima", 10_000, "A reading; sessions buy more than one."),
    Purchase("GET", "/sky/cairo", 50_000, "Fails at first: the agent asks again, and pays once."),
)


def perform(scene: Scene) -> None:
    """Buy everything in every way."""
    page = scene.page
    for way in WAYS:
        page.entry(way.name, way.meaning, width=17)
    payers = {way: _payer(scene, way) for way in WAYS}
    for purchase in PURCHASES:
        price = _asked(scene, purchase)
        page.item(f"{purchase.method} {purchase.path}", f"{whole(price)} USDC")
        page.text(purchase.why)
        for way, payer in payers.items():
            _buy(scene, purchase, way, payer)


def _payer(scene: Scene, way: Way) -> PaymentAuth:
    return PaymentAuth(
        scene.agent, budget="1.00", rpc=scene.network_url, mode=way.mode, sponsored=way.sponsored
    )


def _asked(scene: Scene, purchase: Purchase) -> int:
    """The price that an unpaid request is told."""
    answer = scene.http.request(purchase.method, purchase.path, json=purchase.json)
    if answer.status_code != httpx.codes.PAYMENT_REQUIRED:
        raise MismatchError(f"{purchase.path} is not priced: HTTP {answer.status_code}.")
    price = price_of(first_challenge(answer))
    if price != purchase.price:
        raise MismatchError(
            f"{purchase.path} costs {whole(price)} USDC and should cost {whole(purchase.price)}."
        )
    return price


def _buy(scene: Scene, purchase: Purchase, way: Way, payer: PaymentAuth) -> None:
    books, page = scene.books, scene.page
    before = {name: books.read(name).usdc for name in ("agent", "seller")}
    answer = scene.http.request(purchase.method, purchase.path, json=purchase.json, auth=payer)
    answer.raise_for_status()
    paid = payer.paid[-1]
    if paid.receipt is None or paid.receipt.reference != paid.transaction_hash:
        raise MismatchError(f"The receipt for {purchase.path} is not for its transaction.")
    books.paid("agent", "seller", purchase.price)
    fee_payer = "sponsor" if way.sponsored else "agent"
    fee = books.fee(fee_payer, paid.receipt.reference)
    books.balance(f"{purchase.method} {purchase.path}, {way.name}")
    moves = [
        f"{name} {whole(units)} → {whole(books.due[name].usdc)}" for name, units in before.items()
    ]
    page.line(f"    {way.name}")
    page.line(f"      {'   '.join(moves)} USDC")
    page.line(f"      fee {whole(fee)} XLM, paid by the {fee_payer}", style="dim")
    page.line(f"      tx  {paid.transaction_hash}", style="dim")
    page.line(
        f"      receipt for that tx: {paid.receipt.status}, {paid.receipt.timestamp}", style="dim"
    )
