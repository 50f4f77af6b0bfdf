"""``mpp-asgi doctor``: one line for each thing, and what to do about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Account as SourceAccount
from stellar_sdk import Asset, Keypair, TransactionBuilder

from mpp_asgi.cli.checkup import Check, examine
from mpp_asgi.config import read_settings
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.accounts import get_account
from mpp_asgi.stellar.rpc import send_transaction
from mpp_asgi.stellar.rpc_drivers import InProcessSyncRpc
from tests.redis_server import DURABLE, redis_process
from tests.servers import served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cli.conftest import Command

ORDER = ["settings", "rpc", "network", "recipient", "sponsor", "clock", "store"]


class Town:
    """A network and a seller on it whom nothing is missing."""

    def __init__(self, url: str, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.recipient, self.sponsor = Keypair.random(), Keypair.random()
        sandbox.fund(self.recipient.public_key)
        sandbox.fund(self.sponsor.public_key)
        self.settings: Mapping[str, Any] = {
            "network": "stellar:testnet",
            "rpc_url": url,
            "recipient": self.recipient.public_key,
            "sponsor": self.sponsor.secret,
        }

    def look(self, *, later: float = 0, **changes: Any) -> dict[str, Check]:
        """What the doctor says, by name."""
        now = _ledger_time(self.sandbox) + later
        given = {
            name: value for name, value in (self.settings | changes).items() if value is not None
        }
        return {each.name: each for each in examine(read_settings(given, {}), clock=lambda: now)}


def _ledger_time(sandbox: Sandbox) -> float:
    answer = sandbox.rpc({"jsonrpc": "2.0", "id": 1, "method": "getLatestLedger"})
    return float(answer["result"]["closeTime"])


@pytest.fixture
def town() -> Any:
    sandbox = Sandbox(close_interval=None)
    with served(sandbox.app) as url:
        yield Town(url, sandbox)


def wrong(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: check.text for name, check in checks.items() if not check.good}


def test_a_seller_whom_nothing_is_missing(town: Town) -> None:
    checks = town.look()
    assert wrong(checks) == {}
    assert list(checks) == ORDER
    assert "can hold USDC" in checks["recipient"].text
    assert "9998.5 XLM to spend, enough for 199,970 payments" in checks["sponsor"].text
    assert not Path("mpp-asgi.db").exists()


def test_no_sponsor_is_a_choice(town: Town) -> None:
    checks = town.look(sponsor=None)
    assert wrong(checks) == {}
    assert "payers need XLM" in checks["sponsor"].text


def test_a_recipient_that_does_not_exist(town: Town) -> None:
    nobody = Keypair.random().public_key
    assert wrong(town.look(recipient=nobody)) == {
        "recipient": f"{nobody} does not exist: create it with `mpp-asgi fund`, or send XLM to it."
    }


def test_a_recipient_without_trustline(town: Town) -> None:
    key = Keypair.random()
    town.sandbox.friendbot(key.public_key)
    (text,) = wrong(town.look(recipient=key.public_key)).values()
    assert "cannot hold USDC" in text
    assert f"`mpp-asgi trust USDC:{town.sandbox.usdc_issuer.public_key}`" in text
    assert wrong(town.look(recipient=key.public_key, currency="XLM")) == {}


def test_a_trustline_that_is_full(town: Town) -> None:
    rpc = InProcessSyncRpc(town.sandbox.rpc)
    account = rpc.do(get_account(town.recipient.public_key))
    assert account is not None
    town.sandbox.fund(town.recipient.public_key, xlm=0, usdc=5)
    envelope = (
        TransactionBuilder(
            SourceAccount(town.recipient.public_key, account.sequence), town.sandbox.passphrase
        )
        .append_change_trust_op(Asset("USDC", town.sandbox.usdc_issuer.public_key), limit="5")
        .add_time_bounds(0, 0)
        .build()
    )
    envelope.sign(town.recipient)
    assert rpc.do(send_transaction(envelope.to_xdr())).status == "PENDING"
    town.sandbox.close_ledger()
    assert "reached its limit" in wrong(town.look())["recipient"]


def test_a_contract_needs_no_trustline(town: Town) -> None:
    checks = town.look(recipient=town.sandbox.xlm)
    assert wrong(checks) == {}
    assert "a contract" in checks["recipient"].text


def test_a_sponsor_that_does_not_exist_or_runs_dry(town: Town) -> None:
    key = Keypair.random()
    assert "does not exist" in wrong(town.look(sponsor=key.secret))["sponsor"]
    town.sandbox.fund(key.public_key, xlm=5)
    text = wrong(town.look(sponsor=key.secret))["sponsor"]
    assert text.endswith("has 3.5 XLM to spend: send it 5 XLM or more.")
    assert wrong(town.look(sponsor=key.secret, max_fee=100_000)) == {}


def test_a_sponsor_that_is_the_recipient(town: Town) -> None:
    checks = town.look(recipient=town.sponsor.public_key)
    assert "make another account the sponsor" in wrong(checks)["sponsor"]


@pytest.mark.parametrize(("later", "side"), [(31, "ahead of"), (-31, "behind"), (30, None)])
def test_a_clock_that_is_wrong(town: Town, later: float, side: str | None) -> None:
    found = wrong(town.look(later=later))
    assert ("clock" in found) is (side is not None)
    assert side is None or f"31 s {side} the last ledger's" in found["clock"]


def test_an_rpc_that_does_not_answer(town: Town) -> None:
    checks = town.look(rpc_url="http://127.0.0.1:9")
    assert list(checks) == ["settings", "rpc", "store"]
    assert "Set MPP_RPC_URL to an RPC that answers" in wrong(checks)["rpc"]


def test_an_rpc_of_another_network(town: Town) -> None:
    checks = town.look(network="stellar:pubnet")
    assert list(checks) == ["settings", "rpc", "network", "store"]
    assert "does not follow stellar:pubnet" in wrong(checks)["network"]


def lines(town: Town, **changes: Any) -> list[Check]:
    settings = read_settings({**town.settings, **changes}, {})
    now = _ledger_time(town.sandbox)
    return [each for each in examine(settings, clock=lambda: now) if each.name == "rpc"]


def test_every_rpc_of_several_is_looked_at(town: Town) -> None:
    """The others serve while one is dark, behind, or on another network."""
    behind = Sandbox(close_interval=None, clock=lambda: _ledger_time(town.sandbox) - 20)
    foreign = Sandbox(close_interval=None, passphrase="another network")
    town.sandbox.close_ledger(20)
    url = town.settings["rpc_url"]
    with served(behind.app) as late, served(foreign.app) as strange:
        found = lines(town, rpc_url=["http://127.0.0.1:9", late, strange, url])
        assert [each.good for each in found] == [False, False, False, True]
        dark, lagging, wrong_one, well = [each.text for each in found]
        assert "127.0.0.1:9: The RPC did not answer getNetwork" in dark
        assert "20 ledgers behind" in lagging
        assert "follows another network" in wrong_one
        assert f"answers; ledger {town.sandbox.sequence}" in well
        checks = town.look(rpc_url=["http://127.0.0.1:9", late, strange, url])
        assert set(wrong(checks)) == set()
        assert checks["network"].good


def test_none_of_several_answers(town: Town) -> None:
    found = lines(town, rpc_url=["http://127.0.0.1:9", "http://127.0.0.1:19"])
    assert [each.good for each in found] == [False, False, False]
    assert "Set MPP_RPC_URL to an RPC that answers" in found[-1].text


def test_a_currency_that_is_unknown(town: Town) -> None:
    assert "currency 'EURC' is unknown" in wrong(town.look(currency="EURC"))["settings"]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("memory://", "memory forgets payments"),
        ("sqlite:///missing/payments.db", "create its folder"),
        ("carrier://pigeon", "There is no store for 'carrier' URLs"),
        ("sqlite:///notes.txt", "notes.txt"),
    ],
)
def test_a_store_that_keeps_nothing(town: Town, store: str, said: str) -> None:
    Path("notes.txt").write_text("Remember the milk. " * 1000)
    assert said in wrong(town.look(store=store))["store"]
    assert Path("notes.txt").read_text().startswith("Remember the milk.")


def test_nothing_of_a_servers_url_is_shown_but_its_scheme(town: Town) -> None:
    with redis_process(*DURABLE) as process:  # whose default user takes any password
        url = process.url.replace("//", "//default:hunter2@")
        check = town.look(store=url)["store"]
    assert check == Check("store", good=True, text="redis+unix can be written")
    assert "hunter2" not in repr(read_settings({"network": "sandbox", "store": url}, {}))


def test_a_store_that_is_there(town: Town) -> None:
    Path("payments.db").touch()
    checks = town.look(store="sqlite:///payments.db")
    assert wrong(checks) == {}
    assert checks["store"].text == "sqlite:///payments.db can be written"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written(town: Town) -> None:
    Path("locked").mkdir(mode=0o500)
    assert "writable" in wrong(town.look(store="sqlite:///locked/payments.db"))["store"]


def test_the_command_prints_a_line_for_each_and_tells_by_its_status(
    command: Command, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in town.settings.items():
        monkeypatch.setenv(f"MPP_{name.upper()}", value)
    town.sandbox.close_ledger()
    told = command("doctor")
    assert (told.status, told.err) == (0, "")
    assert [line.split()[:2] for line in told.out.splitlines()] == [["ok", name] for name in ORDER]
    assert town.sponsor.secret not in told.out

    monkeypatch.setenv("MPP_STORE", "memory://")
    told = command("doctor")
    assert told.status == 1
    assert told.out.splitlines()[-1].startswith("wrong  store      memory forgets")
    assert told.err == "mpp-asgi: 1 to put right.\n"


def test_settings_that_stop_the_start_stop_the_doctor(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = command("doctor")
    assert told.status == 1
    assert told.out.startswith("wrong  settings   PaymentMiddleware needs a network: add network=")
    monkeypatch.setenv("MPP_NETWORK", "sandbox")
    monkeypatch.setenv("MPP_SPONSER", "S")
    assert "did you mean 'MPP_SPONSOR'?" in command("doctor").out


APPS = """
from fastapi import FastAPI
from mpp_asgi import PaymentMiddleware

paid = FastAPI()
paid.add_middleware(PaymentMiddleware, network="sandbox", prices={"GET /x": "0.01"})
free = FastAPI()
"""


def test_it_reads_the_settings_of_an_app(command: Command) -> None:
    Path("shopfront.py").write_text(APPS)
    told = command("doctor", "shopfront:paid")
    assert told.status == 0
    names = [line.split()[1] for line in told.out.splitlines()]
    assert names == ["settings", "network", "store", "price", "price"]
    assert "play money" in told.out
    assert str(Path.cwd()) not in sys.path


PRICES = """
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from mpp_asgi import PaymentMiddleware, Price, price

def by_size(request): ...
async def plain(request): ...
class Item(HTTPEndpoint):
    async def get(self, request): ...
    @price("0.3")
    async def put(self, request): ...

app = FastAPI()
app.get("/map/{x}")(price("0.05", Price("0.4", "XLM"))(lambda x: x))
app.post("/long")(price(by_size, settle="after", intents=["charge"])(lambda: ""))
app.websocket("/feed")(price("0.02")(plain))
app.add_route("/item", Item)
app.get("/free")(lambda: "")
app.get("/number/{n:int}")(lambda n: n)
app.mount("/m", Starlette(routes=[Route("/deep", price("2")(plain)), Route("/shallow", plain)]))
app.mount("/files", StaticFiles(directory=".", check_dir=False))
app.add_middleware(
    PaymentMiddleware,
    network="sandbox",
    prices={
        "GET /files/index.html": None,
        "/m/{x}": "0.7",
        "GET /number/{x}": "0.8",
        "GET /number/{x:float}/y": "0.8",
        "GET /fiels/{path:path}": "0.02",
        "POST /free": "1",
    },
)
"""


def test_it_lists_what_an_app_sells_and_what_it_cannot(command: Command) -> None:
    Path("listed.py").write_text(PRICES)
    told = command("doctor", "listed:app")
    assert (told.status, told.err) == (0, "")
    prices = [line for line in told.out.splitlines() if line.split()[1] == "price"]
    assert prices == [
        "ok     price      GET /map/{x} costs 0.05 USDC or 0.4 XLM, by charge or session",
        "ok     price      POST /long costs a price by by_size(), by charge, after it succeeded",
        "ok     price      WebSocket /feed costs 0.02 USDC, by charge or session",
        "ok     price      PUT /item costs 0.3 USDC, by charge or session",
        "ok     price      GET /m/deep costs 2 USDC, by charge or session",
        "ok     price      /m/{x} costs 0.7 USDC, by charge or session",
        "ok     price      GET /number/{x} costs 0.8 USDC, by charge or session",
        "ok     price      GET /number/{x:float}/y costs 0.8 USDC, by charge or session",
        "ok     price      GET /fiels/{path:path} costs 0.02 USDC, by charge or session",
        "ok     price      POST /free costs 1 USDC, by charge or session",
        *(
            f"note   price      prices={{{key!r}: ...}} is for no route of the app: is it right?"
            for key in ("GET /number/{x:float}/y", "GET /fiels/{path:path}", "POST /free")
        ),
    ]


def test_a_price_that_cannot_be_paid_is_wrong(command: Command) -> None:
    Path("unpaid.py").write_text(
        "from fastapi import FastAPI\n"
        "from mpp_asgi import PaymentMiddleware, price\n"
        "dear, bare = FastAPI(), FastAPI()\n"
        "dear.get('/x')(price('1', intents=['session'])(lambda: ''))\n"
        "bare.get('/x')(price(lambda request: ''))\n"
        "for app in (dear, bare):\n"
        "    app.add_middleware(PaymentMiddleware, network='sandbox', intents=['charge'])\n"
    )
    told = command("doctor", "unpaid:dear")
    assert told.status == 1
    assert "GET /x costs 1 USDC, by session only, and configured is charge." in told.out
    told = command("doctor", "unpaid:bare")
    assert told.status == 1
    assert 'The @price of /x has no amount: write @price("0.01").' in told.out


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("front2:free", "front2:free has no PaymentMiddleware."),
        ("front2:gone", "There is no app front2:gone"),
        ("nowhere:app", "There is no app nowhere:app: No module named 'nowhere'."),
        ("front2", "An app is named as uvicorn is told: main:app."),
    ],
)
def test_apps_that_are_not_there(command: Command, app: str, sentence: str) -> None:
    Path("front2.py").write_text(APPS)
    told = command("doctor", app)
    assert told.status == 1
    assert sentence in told.err
