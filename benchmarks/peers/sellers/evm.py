"""What both shops on the chain in memory have in common."""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from eth_account import Account

from benchmarks.peers import usdc
from benchmarks.peers.sellers.seller import Purse
from benchmarks.peers.usdc import Transfer
from example_app.demo.processes import Server
from tests.attacks.ground import START_SECONDS, Premises
from tests.servers import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.peers.trouble import Trouble

RECIPIENT = "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"
THIEF = "0x00000000000000000000000000000000000000Ee"
WORTHLESS = "0x1111111111111111111111111111111111111111"


class Facilitator:
    """The one that both settle through, by URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30)

    def ask(self, action: str, **query: Any) -> dict[str, int]:
        answer = self._http.post(f"/admin/{action}", params=query)
        answer.raise_for_status()
        said: dict[str, int] = answer.json()
        return said

    def close(self) -> None:
        self._http.close()


class Payers:
    """People with money on the chain."""

    cent = 10_000

    def __init__(self, facilitator: Facilitator, premises: Premises) -> None:
        self.facilitator = facilitator
        self.premises = premises

    def purse(self, name: str, cents: int) -> Purse:
        account = Account.from_key(sha256(f"{name} {secrets.token_hex(8)}".encode()).digest())
        had = cents * self.cent
        self.facilitator.ask("fund", address=account.address, amount=had)
        return Purse(account.address, "0x" + bytes(account.key).hex(), had)

    def left(self, purse: Purse) -> int:
        return self.facilitator.ask("balance", address=purse.address)["balance"]

    def bring(self, trouble: Trouble, purse: Purse | None = None) -> None:
        payer = purse.address if purse is not None else ""
        at, kind, after, times = trouble.at, trouble.kind, trouble.is_after, trouble.times
        self.facilitator.ask("trouble", at=at, kind=kind, after=after, times=times, payer=payer)

    def calm(self) -> None:
        self.facilitator.ask("calm")

    def held(self) -> int:
        return self.facilitator.ask("held")["held"]


def authorized(
    purse: Purse,
    amount: int,
    *,
    to: str = RECIPIENT,
    nonce: str | None = None,
    after: int = 0,
    before: int | None = None,
    domain: dict[str, object] | None = None,
    key: str | None = None,
) -> tuple[dict[str, str], str]:
    """An authorization as it goes over the wire, and its signature."""
    words = nonce or "0x" + secrets.token_hex(32)
    until = int(time.time()) + 290 if before is None else before
    transfer = Transfer(purse.address, to, amount, after, until, bytes.fromhex(words[2:]))
    signature = usdc.sign(key or purse.key, transfer, domain)
    return {
        "from": purse.address,
        "to": to,
        "value": str(amount),
        "validAfter": str(after),
        "validBefore": str(until),
        "nonce": words,
    }, signature


def flipped(signature: str) -> str:
    """The other signature of the same words by the same key, which anybody can make of it."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s, v = signature[2:66], int(signature[66:130], 16), int(signature[130:132], 16)
    return f"0x{r}{order - s:064x}{55 - v:02x}"


@contextmanager
def opened(app: str, **settings: str) -> Iterator[tuple[Facilitator, Premises]]:
    """A facilitator and a shop that settles through it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process = stack.enter_context(
            Server(
                *("uvicorn", "benchmarks.peers.facilitator:app", "--port", "0"),
                *("--no-access-log", "--lifespan", "off"),
                environment=clean_environment(),
            )
        )
        facilitator = Facilitator(process.wait_for(r"running on (http://\S+)", START_SECONDS)[1])
        stack.callback(facilitator.close)
        environment = {
            "FACILITATOR": facilitator.url,
            "RECIPIENT": RECIPIENT,
            "GOODS": str(folder / "goods.txt"),
            **settings,
        }
        premises = Premises(folder, environment, app)
        stack.callback(premises.close)
        premises.wires.append(premises.start())
        stack.callback(facilitator.ask, "calm")
        yield facilitator, premises
