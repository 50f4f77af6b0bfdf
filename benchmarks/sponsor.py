"""A thousand payers at once: how many ledgers, and how many RPC calls, until all have settled.

On the sandbox, whose ledgers close every five seconds of a time that passes only while everybody
waits: what is counted depends on no machine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final

from stellar_sdk import Keypair

from benchmarks.crowd import MOST_CALLS_A_LEDGER, Crowd
from benchmarks.crowd_plot import plot
from benchmarks.results import Row, at_most, fact
from benchmarks.virtual_time import START, VirtualTime
from mpp_asgi.charges import ChargeBook
from mpp_asgi.intents import Quote
from mpp_asgi.protocol import Challenge, Credential, encode_object
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.admissions import Counter as Till
from mpp_asgi.stellar.charge import ChargeIntent
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.sponsor import Sponsor, SponsorTerms
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stellar.transfer import Transfer, sponsored_envelope
from mpp_asgi.stores.memory.store import MemoryStore

PAYERS: Final = 1_000
ACCOUNTS: Final = (1, 2, 5, 10, 20, 50)
WANTED: Final = frozenset({1, 10, 50})
"""For these the number of ledgers is promised."""
LEDGER_SECONDS: Final = 5
POLL_SECONDS: Final = 1.0
PLOT: Final = Path(__file__).parent.parent / "docs" / "sponsor.svg"

_LONG: Final = 100_000
_RECIPIENT: Final = Keypair.from_raw_ed25519_seed(bytes(31) + b"r")
_SPONSOR: Final = Keypair.from_raw_ed25519_seed(bytes(31) + b"s")


async def settle(payers: int, accounts: int) -> Crowd:
    """Have a crowd pay at once, with so many channel accounts."""
    time = VirtualTime()
    sandbox = Sandbox(clock=time, close_interval=LEDGER_SECONDS)
    calls: Counter[str] = Counter()

    def counted(request: dict[str, Any]) -> dict[str, Any]:
        calls[request["method"]] += 1
        return sandbox.rpc(request)

    intent = _shop(time, sandbox, InProcessRpc(counted), accounts)
    credentials = [_credential(sandbox, number) for number in range(payers)]
    began = sandbox.sequence

    async def pay(credential: Credential) -> None:
        request = credential.challenge.request_object()
        quote = Quote(credential.challenge.id, request, START + _LONG)
        admission = await intent.verify(credential, quote)
        await admission.settle()
        await admission.delivered()

    await time.until(asyncio.gather(*map(pay, credentials)))
    return Crowd(
        accounts=accounts,
        payers=payers,
        ledgers=sandbox.sequence - began,
        calls=dict(calls),
        earned=sandbox.balance(_RECIPIENT.public_key, sandbox.usdc),
    )


def _shop(time: VirtualTime, sandbox: Sandbox, rpc: InProcessRpc, accounts: int) -> ChargeIntent:
    store = MemoryStore()
    ledger = Ledger(
        rpc,
        clock=time,
        sleep=time.sleep,
        poll_seconds=POLL_SECONDS,
        patience_seconds=_LONG,
    )
    sponsor = Sponsor(
        _SPONSOR,
        ledger,
        store,
        SponsorTerms(
            max_fee=500_000,
            patience_seconds=_LONG,
            poll_seconds=POLL_SECONDS,
            most_waiting=PAYERS,
        ),
        clock=time,
        sleep=time.sleep,
        channel_accounts=channel_accounts(_SPONSOR, accounts),
    )
    for address in (_RECIPIENT.public_key, *sponsor.addresses):
        sandbox.fund(address)
    book = ChargeBook(store, owner="benchmark", clock=time, sleep=time.sleep)
    till = Till(
        network=TESTNET,
        ledger=ledger,
        book=book,
        sponsor=sponsor,
        own_addresses=frozenset({_RECIPIENT.public_key, *sponsor.addresses}),
        clock=time,
        sleep=time.sleep,
    )
    token = TESTNET.tokens["USDC"]
    tokens = {None: token, token.symbol: token, token.address: token}
    return ChargeIntent(till, recipient=_RECIPIENT.public_key, tokens=tokens)


def _credential(sandbox: Sandbox, number: int) -> Credential:
    """A payer's, for one base unit."""
    key = Keypair.from_raw_ed25519_seed((1_000_000 + number).to_bytes(32, "big"))
    sandbox.fund(key.public_key, usdc=1)
    envelope = sponsored_envelope(
        Transfer(sandbox.usdc, key.public_key, _RECIPIENT.public_key, 1),
        nonce=number,
        expiration_ledger=sandbox.sequence + _LONG // LEDGER_SECONDS,
        max_time=START + _LONG,
        signer=key,
        passphrase=TESTNET.passphrase,
    )
    request = {
        "amount": "1",
        "currency": sandbox.usdc,
        "recipient": _RECIPIENT.public_key,
        "methodDetails": {"network": TESTNET.name, "feePayer": True},
    }
    challenge = Challenge(
        id=f"challenge {number}",
        realm="benchmark",
        method="stellar",
        intent="charge",
        request=encode_object(request),
    )
    payload = {"type": "transaction", "transaction": envelope}
    return Credential(challenge, payload, f"did:pkh:{TESTNET.name}:{key.public_key}")


def run() -> list[Row]:
    """Every number of accounts, and the plot."""
    crowds = [asyncio.run(settle(PAYERS, accounts)) for accounts in ACCOUNTS]
    plot(crowds, PLOT)
    rows = [fact("payers at once", PAYERS)]
    for crowd in crowds:
        rows += _rows(crowd)
    return rows


def _rows(crowd: Crowd) -> list[Row]:
    case = f"{crowd.accounts} channel accounts" if crowd.accounts > 1 else "1 channel account"
    ledgers = f"{case}: ledgers until all have settled"
    return [
        at_most(crowd.bound, ledgers, crowd.ledgers, "ledgers")
        if crowd.accounts in WANTED
        else fact(ledgers, crowd.ledgers, "ledgers"),
        at_most(2, f"{case}: RPC calls of a charge", crowd.calls_a_charge, "calls/charge"),
        at_most(
            MOST_CALLS_A_LEDGER,
            f"{case}: RPC calls besides, however many are under way",
            crowd.calls_a_ledger,
            "calls/ledger",
        ),
        at_most(0, f"{case}: payments lost", crowd.payers - crowd.earned, "payments"),
    ]
