"""A21: secrets, credentials and internals where they do not belong."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from example_app.demo.processes import ROOT
from mpp_asgi.protocol import b64url_encode
from tests.attacks.ground import SECRET, SHOP
from tests.attacks.rows.a14_malformed import HOSTILE, PLACES, body_of, shown, with_value
from tests.attacks.rows.a20_rpc_trouble import ANSWERS, always
from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.servers import clean_environment
from tests.session.drawer import CALL
from tests.shop import MODES, RECIPIENT, SPONSOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.attacks.scene import Scene

PASSWORD = "planted-password-of-the-store"  # planted, to be looked for
SECRETS = {"the secret": SECRET, "the sponsor's key": SPONSOR.secret,
           "the recipient's key": RECIPIENT.secret, "the store's password": PASSWORD}  # fmt: skip
LONGEST = 40
"""Characters of a planted value that are looked for: a part of it is as bad."""
INTERNALS = re.compile(
    rb"Traceback|File \"|site-packages|sqlite3\.|\bat 0x[0-9a-f]{6,}|mpp_asgi[/.]"
)


def planted(*credentials: str) -> dict[str, str]:
    """What must not turn up, by name: the secrets, and the inner parts of credentials."""
    found = dict(SECRETS)
    for number, header in enumerate(credentials):
        text = header.partition(" ")[2]
        found[f"credential {number}"] = text[-LONGEST - 4 : -4]
        payload = body_of(header)["payload"]
        for name in ("transaction", "signature", "sourceSignature"):
            if name in payload:
                found[f"the {name} of credential {number}"] = str(payload[name])[-LONGEST:]
    return found


def look(scene: Scene, where: str, text: str, wanted: dict[str, str]) -> None:
    for name, value in wanted.items():
        if value and value in text:
            scene.tally.leak(f"{name} is in {where}")


@attack("A21", "logs at DEBUG, of everything that can happen", place=Place.TROUBLED, times=1,
        short=1)  # fmt: skip
async def logs(scene: Scene) -> None:
    """A server that logs all there is, honest and hostile requests, and a broken node: then every
    line of it is looked through."""
    ground, node = scene.ground, scene.ground.crooked
    assert node is not None
    credentials: list[str] = []
    store = f"sqlite:///{ground.store}"
    async with ground.another("--log-level", "debug", LOG_LEVEL="DEBUG", MPP_STORE=store) as server:
        scene.is_troubled = True
        for number, mode in enumerate(MODES):
            payer = await scene.payer(number)
            for path in ("/paid", "/after", "/failing"):
                credential = (await scene.in_mode(mode, path, payer=payer)).to_header()
                credentials.append(credential)
                await scene.redeem(credential, path)
                await scene.refused(credential, "/dear")
        funder = HttpFunder(scene)
        challenge = await funder.begin()
        for calls in (2, 3):
            voucher = funder.voucher(challenge, calls * CALL)
            credentials.append(voucher.to_header())
            await scene.show(voucher)
        body = body_of(credentials[0])
        for place in PLACES:
            value = scene.random.choice(HOSTILE[:10])
            await scene.refused(shown(with_value(body, place, value)))
        for name in ("500", "no JSON", "an internal error"):
            for method in ("simulateTransaction", "sendTransaction"):
                payer = await scene.payer(10 + len(credentials))
                credential = (await scene.sponsored(payer=payer)).to_header()
                credentials.append(credential)
                node.behave = always(method, ANSWERS[name])
                asked = asyncio.ensure_future(scene.show(credential))
                await asyncio.wait([asked], timeout=0.5)
                node.reset()
                await asked
        with ground.locked_store():
            payer = await scene.payer(99)
            credentials.append((await scene.sponsored(payer=payer)).to_header())
            asked = asyncio.ensure_future(scene.show(credentials[-1]))
            await asyncio.wait([asked], timeout=1)
        await asked
        await scene.refused("Payment " + b64url_encode(SECRET.encode()))
        await funder.finish(challenge, 3 * CALL)
    wanted = planted(*credentials)
    for line in server.output:
        look(scene, f"a log line: {line[:60]}...", line, wanted)
    if not any("DEBUG" in line for line in server.output):
        scene.tally.err("there is nothing at DEBUG: the attack proves nothing")


@attack("A21", "what is answered", times=400, short=40)
async def answers(scene: Scene) -> None:
    """Problems and fields of every refusal: no secrets, no internals, and nothing of what was
    shown but the challenge's id."""
    credential = (await scene.sponsored()).to_header()
    body = body_of(credential)
    wanted = planted(credential)
    for _ in range(scene.times):
        place, value = scene.random.choice(PLACES), scene.random.choice(HOSTILE)
        path = scene.random.choice(("/paid", "/after", "/shelf/a.txt", "/twin", "/sizes"))
        answer = await scene.show(shown(with_value(body, place, value)), path)
        fields = "\n".join(f"{name}: {text}" for name, text in answer.fields)
        look(scene, f"the answer to {place}", answer.text + fields, wanted)
        if found := INTERNALS.search(answer.body):
            scene.tally.leak(f"internals in the answer to {place}: {found[0]!r}")


@attack("A21", "handlers that raise", times=3, short=1)
async def raised(scene: Scene) -> None:
    """What the application's own errors show of the payment."""
    scene.is_troubled = True
    for number in range(scene.times):
        payer = await scene.payer(number)
        credential = (await scene.sponsored("/failing", payer=payer)).to_header()
        wanted = planted(credential)
        for _ in range(2):
            answer = await scene.show(credential, "/failing")
            look(scene, "an error of the handler's", answer.text, wanted)


WRONG: dict[str, dict[str, str]] = {
    "a secret that is too short": {"MPP_SECRET": SECRET[:20]},
    "a sponsor's key with a wrong checksum": {"MPP_SPONSOR": SPONSOR.secret[:-1] + "A"},
    "a recipient's key with a letter too many": {"MPP_RECIPIENT_SECRET": RECIPIENT.secret + "A"},
    "a recipient's key as its address": {"MPP_RECIPIENT": RECIPIENT.secret},
    "a sponsor's key as the secret of another": {"MPP_CHANNEL_FACTORY": SPONSOR.secret},
    "a store that there is none": {"MPP_STORE": f"oracle://me:{PASSWORD}@db.test/x"},
    "a store that is not there": {"MPP_STORE": f"postgresql://me:{PASSWORD}@127.0.0.1:9/x"},
    "an unreadable store": {"MPP_STORE": f"postgresql://me:{PASSWORD}@[::/x"},
    "a store in memory with a password": {"MPP_STORE": f"memory://me:{PASSWORD}@x"},
    "an RPC with a key, and a wrong network": {
        "MPP_RPC_URL": f"ftp://{PASSWORD}@rpc.test",
        "MPP_NETWORK": "stellar:pubnet",
    },
}


async def _said_at_start(scene: Scene, wrong: dict[str, str]) -> str:
    """What a server says that is started with a wrong setting, and ends."""
    environment = clean_environment() | scene.ground.settings | wrong

    def run() -> str:
        command = [sys.executable, "-m", "uvicorn", SHOP, "--port", "0", "--log-level", "debug"]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment | {"LOG_LEVEL": "DEBUG"},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except subprocess.TimeoutExpired as error:  # it started all the same
            return "".join(
                text.decode() if isinstance(text, bytes) else text or ""
                for text in (error.stdout, error.stderr)
            )
        return done.stdout + done.stderr

    return await asyncio.to_thread(run)


def _wrong(name: str) -> None:
    @attack(
        "A21", f"a start with {name}", short=int(name == "a sponsor's key with a wrong checksum")
    )
    async def start(scene: Scene) -> None:
        scene.tally.attempts += 1
        said = await _said_at_start(scene, WRONG[name])
        wanted = {**SECRETS, **{key: value[:LONGEST] for key, value in WRONG[name].items()
                                if key != "MPP_STORE" and key != "MPP_RPC_URL"}}  # fmt: skip
        wanted.pop("MPP_NETWORK", None)
        for key in ("MPP_SPONSOR", "MPP_RECIPIENT_SECRET", "MPP_RECIPIENT"):
            wanted[f"the start of {key}"] = scene.ground.settings.get(key, "")[:20]
        wanted.pop("the start of MPP_RECIPIENT")
        look(scene, f"what the server says: {_last(said)}", said, wanted)


def _last(said: str) -> str:
    lines: Iterable[str] = [line for line in said.splitlines() if line.strip()]
    return (list(lines) or [""])[-1][:100]


for _name in WRONG:
    _wrong(_name)


@attack("A21", "what the free routes know", times=1, short=1)
async def routes(scene: Scene) -> None:
    """OpenAPI, docs, and paths that frameworks and tools have by habit."""
    habits = ("/openapi.json", "/docs", "/metrics", "/health", "/.mpp/sandbox", "/.mpp", "/.env",
              "/.mpp/sandbox/admin", "/admin", "/debug", "/store.db", "/.git/config")  # fmt: skip
    for path in habits:
        answer = await scene.request("GET", path, wants=Wants.REFUSED)
        look(scene, path, answer.text, planted())
