"""``mpp-asgi pay``: the price first, then a yes, then the answer and its receipt."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.cli.terminal import Terminal
from tests.servers import Network, clean_environment, running_app, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stellar_sdk import Keypair

    from tests.cli.conftest import Command


@pytest.fixture
def payer(network: Network, monkeypatch: pytest.MonkeyPatch) -> Keypair:
    """An account with 10 USDC, whose key is in the environment."""
    key = network.payer()
    monkeypatch.setenv("STELLAR_SECRET", key.secret)
    monkeypatch.setenv("MPP_RPC_URL", network.url)
    return key


@pytest.mark.parametrize(
    ("options", "fee_is_ours"), [((), False), (("--own-fee",), True), (("--mode", "push"), True)]
)
def test_it_pays_and_shows_price_body_and_receipt(
    command: Command, network: Network, api: str, payer: Keypair, options: tuple[str, ...],
    fee_is_ours: bool,
) -> None:  # fmt: skip
    earned = network.usdc(network.recipient)
    told = command("pay", f"{api}/sun/paris", "--yes", *options)
    assert told.status == 0
    assert "sunset" in json.loads(told.out)
    assert told.err.startswith("Price: 0.01 USDC\n")
    assert network.recipient in told.err
    assert "Receipt\n  paid by    stellar\n" in told.err
    assert payer.secret not in told.out + told.err
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000
    assert network.usdc(network.recipient) == earned + 100_000
    assert (network.xlm(payer.public_key) < 100 * 10**7) is fee_is_ours


def test_a_body_makes_it_a_post(
    command: Command, network: Network, api: str, payer: Keypair
) -> None:
    stops = [{"latitude": 1, "longitude": 2, "at": "2026-06-21T12:00:00Z"}] * 2
    Path("journey.json").write_text(json.dumps({"stops": stops}))
    told = command("pay", f"{api}/journeys", "--data", "@journey.json", "--yes")
    assert json.loads(told.out)["paid_by"] == payer.public_key
    assert "Price: 0.004 USDC" in told.err
    assert network.usdc(payer.public_key) == 10 * 10**7 - 40_000


def test_data_is_sent_as_it_was_typed(command: Command) -> None:
    bodies = []

    async def app(scope: object, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with served(app) as url:
        assert command("pay", url, "--data", os.fsdecode(b"\xff\xc3\xa9")).status == 0
    assert bodies == [b"\xff\xc3\xa9"]


def test_a_free_url_is_only_fetched(command: Command, api: str) -> None:
    told = command("pay", f"{api}/")
    assert told.status == 0
    assert "GET /sun/{city}" in json.loads(told.out)
    assert told.err == "Nothing to pay.\n"


def test_an_error_of_the_app_is_an_error_here(command: Command, api: str, payer: Keypair) -> None:
    told = command("pay", f"{api}/sun/atlantis", "--yes")
    assert told.status == 1
    assert "No such city" in told.out
    assert told.err.endswith(
        "mpp-asgi: the answer is HTTP 404.\nmpp-asgi: nothing was paid so far; the server could "
        "still take it, until its challenge expires.\n"
    )


def test_an_error_that_was_paid_for_says_so(
    command: Command, network: Network, payer: Keypair
) -> None:
    app = FastAPI()

    @app.get("/")
    @price("0.01")
    async def fail() -> None:
        raise HTTPException(418)

    app.add_middleware(
        PaymentMiddleware,
        network="stellar:testnet",
        recipient=network.recipient,
        sponsor=network.settings["MPP_SPONSOR"],
        rpc_url=network.url,
        store="memory://",
    )
    with served(app) as url:
        told = command("pay", url, "--yes")
    assert told.status == 1
    assert told.err.endswith("HTTP 418.\nmpp-asgi: 0.01 USDC was paid all the same.\n")
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000


def asking(_: object = None) -> Terminal:
    """A terminal with somebody in front of it."""
    return Terminal(sys.stdout, sys.stderr, asks=True)


def test_without_a_yes_nothing_is_paid(
    command: Command, network: Network, api: str, payer: Keypair, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = command("pay", f"{api}/sun/paris")
    assert told.status == 1
    assert "add --yes" in told.err

    monkeypatch.setattr(Terminal, "standard", asking)
    monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
    told = command("pay", f"{api}/sun/paris")
    assert told.status == 1
    assert told.err.endswith("Pay? [y/N] mpp-asgi: Nothing was paid.\n")
    assert network.usdc(payer.public_key) == 10 * 10**7

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert command("pay", f"{api}/sun/paris").status == 0
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--budget", "0.009"), "over the budget of 0.009: nothing was paid"),
        (("--budget", "much"), "A budget is an amount such as 0.50."),
        (("--budget", "NaN"), "A budget is an amount such as 0.50."),
        (("--currency", "XLM"), "The price is 0.01 USDC: choose with --currency."),
        (("--header", "colourless"), "A header is written 'Name: value'."),
        (("--data", "@missing"), "cannot be read: No such file or directory."),
        (("--network", "pubnet"), "The price is on stellar:testnet"),
        (("--rpc-url", "nonsense"), "must be an http:// or https:// URL"),
        (("--rpc-url", "http://a..b"), "must be an http:// or https:// URL"),
        (("--rpc-url", f"https://{'a' * 64}.com"), "must be an http:// or https:// URL"),
        (("--rpc-url", "http://\udcff"), "must be an http:// or https:// URL"),
        (("--method", "\u00c9"), "A method is a word such as POST."),
        (("--method", "GET POST"), "A method is a word such as POST."),
        (("--method", "\udcff"), "A method is a word such as POST."),
        (("--header", "X: \udcff"), "see to its headers"),
    ],
)
def test_what_stops_it_before_it_pays(
    command: Command, network: Network, api: str, payer: Keypair, options: tuple[str, ...],
    sentence: str,
) -> None:  # fmt: skip
    told = command("pay", f"{api}/sun/paris", "--yes", *options)
    assert told.status == 1
    assert sentence in told.err
    assert network.usdc(payer.public_key) == 10 * 10**7


def test_an_empty_purse_is_said(
    command: Command, network: Network, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = network.payer(usdc=0)
    monkeypatch.setenv("STELLAR_SECRET", poor.secret)
    monkeypatch.setenv("MPP_RPC_URL", network.url)
    told = command("pay", f"{api}/sun/paris", "--yes")
    assert told.status == 1
    assert "balance" in told.err


def test_play_money_of_nowhere(command: Command, api: str) -> None:
    told = command("pay", f"{api}/sun/paris", "--sandbox", "--rpc-url", "http://a..b", "--yes")
    assert told.status == 1
    assert "No host can have the name in that URL." in told.err


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:9/", "The URL does not answer (ConnectError)."),
        ("ftp://127.0.0.1/", "A URL begins with http:// or https://."),
        ("example.com/forecast", "A URL begins with http:// or https://."),
        ("http://example.com:http/", "That is no URL."),
        ("http://\udcff.com/", "That is no URL."),
        (f"http://{'a' * 64}.com/", "No host can have the name in that URL."),
        ("http://a..b/", "No host can have the name in that URL."),
        ("http:///forecast", "No host can have the name in that URL."),
    ],
)
def test_urls_that_lead_nowhere(command: Command, url: str, sentence: str) -> None:
    for name in ("pay", "inspect") if url.startswith("http:") else ("pay",):
        told = command(name, url)
        assert told.status == 1
        assert sentence in told.err


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        (b'Basic realm="x"', "cannot be paid on Stellar"),
        (b'Payment id="x", realm="r", method="card", intent="charge", request="e30"',
         "cannot be paid on Stellar"),
        (b'Payment id=""', "The price cannot be read"),
    ],
)  # fmt: skip
def test_a_price_from_elsewhere(command: Command, field: bytes, sentence: str) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        headers = [(b"www-authenticate", field)]
        await send({"type": "http.response.start", "status": 402, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    with served(app) as url:
        told = command("pay", url, "--yes")
    assert told.status == 1
    assert sentence in told.err


def test_an_endpoint_that_fails_is_asked_again(
    command: Command, network: Network, api: str, payer: Keypair
) -> None:
    told = command("pay", f"{api}/sky/lima", "--yes")
    assert told.status == 0
    assert "light" in json.loads(told.out)
    assert network.usdc(payer.public_key) == 10 * 10**7 - 50_000


@pytest.fixture
def broken_api(network: Network) -> Iterator[str]:
    """It takes the money, and its endpoint has a bug."""
    settings = {name.removeprefix("MPP_").lower(): text for name, text in network.settings.items()}
    app = FastAPI()
    app.add_middleware(PaymentMiddleware, store="memory://", **settings)

    @app.post("/")
    @price("0.01")
    async def broken() -> None:
        raise HTTPException(500)

    with served(app) as url:
        yield url


def test_a_payment_in_doubt_is_never_made_twice(
    command: Command, network: Network, broken_api: str, payer: Keypair
) -> None:
    told = command("pay", broken_api, "--method", "POST", "--yes")
    assert told.status == 1
    assert "It is not known what came of a payment of 0.01 USDC" in told.err
    assert told.err.endswith("): ask the server before you pay again.\n")
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000


def test_a_payment_in_doubt_can_be_shown_again(
    command: Command,
    network: Network,
    broken_api: str,
    payer: Keypair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Terminal, "standard", asking)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\ny\nn\n"))
    told = command("pay", broken_api, "--method", "POST")
    assert told.status == 1
    assert told.err.count("Send the same payment again? [y/N] ") == 2
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000


@pytest.mark.parametrize("options", [(), ("--own-fee",)])
def test_ctrl_c_after_the_credential_was_shown_says_what_may_be(
    command: Command,
    network: Network,
    api: str,
    payer: Keypair,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    handle = httpx.HTTPTransport.handle_request

    def interrupted(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = handle(self, request)
        if any(value.startswith(b"Payment ") for _, value in request.headers.raw):
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", interrupted)
    told = command("pay", f"{api}/sun/paris", "--yes", *options)
    assert told.status == 130
    assert ("(transaction " in told.err) is bool(options)
    assert "mpp-asgi: The payment may have been made (" in told.err
    assert told.err.endswith("): ask the server before you pay again.\n")
    assert network.usdc(payer.public_key) == 10 * 10**7 - 100_000


def test_ctrl_c_before_that_says_nothing(
    command: Command, api: str, payer: Keypair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", interrupted)
    told = command("pay", f"{api}/sun/paris", "--yes")
    assert (told.status, told.err) == (130, "\n")


@pytest.fixture(scope="module")
def playground() -> Iterator[str]:
    """The example app as `uvicorn example_app.main:app` starts it: with a sandbox inside."""
    with running_app("example_app.main:app", settings={}) as (url, _):
        yield url


def test_play_money_needs_no_account(command: Command, playground: str) -> None:
    told = command("pay", f"{playground}/sun/paris?on=2026-06-21", "--sandbox", "--yes")
    assert told.status == 0
    assert json.loads(told.out)["on"] == "2026-06-21"
    assert "Receipt" in told.err


def test_play_money_is_for_sandboxes(command: Command, api: str) -> None:
    told = command("pay", f"{api}/sun/paris", "--sandbox", "--yes")
    assert told.status == 1
    assert "There is no sandbox at that URL" in told.err


def test_the_body_alone_is_on_standard_output(playground: str) -> None:
    pay = subprocess.run(
        [
            sys.executable,
            "-m",
            "mpp_asgi.cli",
            "pay",
            f"{playground}/sun/lima",
            "--sandbox",
            "--yes",
        ],
        capture_output=True,
        timeout=60,
        env=clean_environment(),
        check=True,
    )
    assert "sunset" in json.loads(pay.stdout)
    assert b"Receipt" in pay.stderr
