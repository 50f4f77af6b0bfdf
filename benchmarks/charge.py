"""CPU time of our own code for one sponsored charge, and where it goes.

Real charges are made on the embedded network first: real signatures, real XDR. Then they are made
again against the network's recorded answers, so that only our side of them is measured, on the
event loop that servers have.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvloop
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from stellar_sdk import Keypair

from benchmarks import results
from benchmarks.profile import report
from benchmarks.results import Row, at_most, fact
from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.protocol import Challenge, Credential, parse_timestamp
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer, sponsored_envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Scope

    from mpp_asgi.config import EmbeddedNetwork

CHARGES = 300
WARM_UP = 30
START = 1_790_000_000
LEDGER_SECONDS = 0.25
"""Five looks at each transaction before the ledger has it, as on the real network, where both the
ledger and the looks are twenty times slower."""
PAYER = Keypair.from_raw_ed25519_seed(sha256(b"payer").digest())
NOTE = """\
One sponsored charge from request to response, network excluded, memory store. A profiler costs time
itself, most where functions are small: the shares are what to read."""

SQLITE = "sqlite:///{folder}/charges.db"
MEMORY = "memory://"


@dataclass(slots=True)
class Recording:
    """Charges as they went: what the payer signed, and every word with the network."""

    envelopes: list[str] = field(default_factory=list)
    calls: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)


class RecordedNetwork:
    """The embedded network, written down."""

    channel_factory = ""
    channel_wasm_hash = ""

    def __init__(self, recording: Recording, sandbox: Sandbox) -> None:
        self.app: ASGIApp = sandbox.app
        self._recording = recording
        self._sandbox = sandbox

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._sandbox.rpc(request)
        self._recording.calls.append((request, answer))
        return answer

    def fund(self, address: str) -> None:
        self._sandbox.fund(address)


class ReplayedNetwork:
    """Gives the recorded answers, to the very same requests only. Those that follow each other for
    no reason may come in another order."""

    channel_factory = ""
    channel_wasm_hash = ""

    def __init__(self, recording: Recording) -> None:
        self.app: ASGIApp = Starlette()
        self._answers: dict[str, deque[dict[str, Any]]] = {}
        for request, answer in recording.calls:
            self._answers.setdefault(_question(request), deque()).append(answer)

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        answers = self._answers.get(_question(request))
        if not answers:
            raise RuntimeError(f"nobody asked that when it was recorded: {request}")
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        return answer | {"id": request["id"]}

    def fund(self, address: str) -> None:
        """Everyone was funded when the answers were recorded."""


def _question(request: Mapping[str, Any]) -> str:
    """What is asked, whoever asks."""
    return json.dumps([request["method"], request.get("params")], sort_keys=True)


class Clock:
    """Unix seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Counter:
    """A paid route, where one pays by hand."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def challenge(self) -> Challenge:
        """The sponsored one: it is the first."""
        return Challenge.from_header((await self._get(402))[b"www-authenticate"].decode())

    async def pay(self, challenge: Challenge, envelope: str) -> float:
        """CPU seconds, of every thread, from the request with the credential to its response."""
        payload = {"type": "transaction", "transaction": envelope}
        value = Credential(challenge, payload).to_header()
        before = time.process_time()
        await self._get(200, (b"authorization", value.encode()))
        return time.process_time() - before

    async def _get(self, status: int, *headers: tuple[bytes, bytes]) -> dict[bytes, bytes]:
        answers: list[Message] = []

        async def send(message: Message) -> None:
            answers.append(message)

        await self._app(_scope(headers), _no_body, send)
        if answers[0]["status"] != status:
            raise RuntimeError(f"not {status}, but {answers}")
        return dict(reversed(answers[0]["headers"]))  # of several of a name, the first


def rows() -> Iterator[Row]:
    """The figures; the profile goes into ``results/charge-profile.txt``."""
    recording = asyncio.run(_record())
    sqlite = uvloop.run(_measure(recording, SQLITE))
    memory = uvloop.run(_measure(recording, MEMORY))
    case = "our own CPU time for a sponsored charge"
    yield at_most(3, f"{case}, SQLite store", 1000 * median(sqlite), "ms")
    yield fact(f"{case}, memory store", 1000 * median(memory), "ms")
    profile = asyncio.run(_profile(recording))
    results.FOLDER.mkdir(exist_ok=True)
    (results.FOLDER / "charge-profile.txt").write_text(profile, encoding="utf-8")


async def _record() -> Recording:
    recording, clock = Recording(), Clock()
    sandbox = Sandbox(close_interval=LEDGER_SECONDS, clock=clock)
    sandbox.fund(PAYER.public_key, usdc=1_000)
    async with _counter(RecordedNetwork(recording, sandbox), clock, MEMORY) as counter:
        for number in range(CHARGES):
            challenge = await counter.challenge()
            envelope = _signed(challenge, nonce=number, ledger=sandbox.sequence)
            await counter.pay(challenge, envelope)
            recording.envelopes.append(envelope)
    return recording


def _signed(challenge: Challenge, *, nonce: int, ledger: int) -> str:
    asked = challenge.request_object()
    transfer = Transfer(
        token=asked["currency"],
        sender=PAYER.public_key,
        recipient=asked["recipient"],
        amount=int(asked["amount"]),
    )
    return sponsored_envelope(
        transfer,
        nonce=nonce,
        expiration_ledger=ledger + 50,
        max_time=int(parse_timestamp(challenge.expires or "").timestamp()),
        signer=PAYER,
        passphrase=TESTNET.passphrase,
    )


async def _measure(recording: Recording, store: str) -> list[float]:
    async with _counter(ReplayedNetwork(recording), Clock(), store) as counter:
        times = [
            await counter.pay(await counter.challenge(), envelope)
            for envelope in recording.envelopes
        ]
    return times[WARM_UP:]


async def _profile(recording: Recording) -> str:
    profile = cProfile.Profile()
    async with _counter(ReplayedNetwork(recording), Clock(), MEMORY) as counter:
        gc.disable()  # or whoever allocates at the wrong moment is charged for all the others
        for envelope in recording.envelopes:
            challenge = await counter.challenge()
            profile.enable()
            await counter.pay(challenge, envelope)
            profile.disable()
        gc.enable()
    return report(profile, times=CHARGES, note=NOTE)


@asynccontextmanager
async def _counter(network: EmbeddedNetwork, clock: Clock, store: str) -> AsyncIterator[Counter]:
    with TemporaryDirectory() as folder:
        app = PaymentMiddleware(
            Starlette(routes=[Route("/", _endpoint)]),
            network="sandbox",
            sandbox=network,
            store=store.format(folder=Path(folder).as_posix()),
            clock=clock,
            sleep=clock.sleep,
        )
        try:
            yield Counter(app)
        finally:
            await app._close()  # noqa: SLF001 # it lived without a lifespan: nothing ran beside it


@price("0.01")
async def _endpoint(request: Request) -> JSONResponse:
    del request
    return JSONResponse({"city": "Lisbon", "celsius": 21})


def _scope(headers: tuple[tuple[bytes, bytes], ...]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
