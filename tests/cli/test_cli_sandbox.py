"""``mpp-asgi sandbox``: everything one needs is on the screen, and works as it stands there."""

from __future__ import annotations

import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from stellar_sdk import Keypair

from example_app.demo.processes import Server
from mpp_asgi.cli.sandbox import Cast
from mpp_asgi.sandbox import TESTNET_PASSPHRASE, Sandbox
from mpp_asgi.stellar.network import TESTNET
from tests.servers import Network, clean_environment

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_it_prints_what_sellers_and_buyers_need(network: Network) -> None:
    cast = Cast.for_seed(0)
    assert network.settings == {
        "MPP_NETWORK": "stellar:testnet",
        "MPP_RPC_URL": network.url,
        "MPP_RECIPIENT": cast.recipient.public_key,
        "MPP_RECIPIENT_SECRET": cast.recipient.secret,
        "MPP_SPONSOR": cast.sponsor.secret,
        "MPP_CHANNEL_FACTORY": Sandbox().channel_factory,
        "MPP_CHANNEL_WASM_HASHES": Sandbox().channel_wasm_hash,
    }
    assert network.xlm(cast.recipient.public_key) == 10_000 * 10**7
    assert network.xlm(cast.sponsor.public_key) > 9_000 * 10**7  # it has paid for other tests
    assert network.usdc(cast.payer.public_key) == 1_000 * 10**7


def test_its_screen_names_network_tokens_and_a_faucet_that_works() -> None:
    with Server("mpp_asgi.cli", "sandbox", "--port", "0", environment=clean_environment()) as run:
        secret = run.wait_for(r"export STELLAR_SECRET=(S\w{55})$")[1]
        screen = "\n".join(run.output)
        faucet = run.wait_for(r"curl -X POST '(http://127\.0\.0\.1:\d+/faucet\?.*)'")[1]
        for words in (TESTNET_PASSPHRASE, *(token.address for token in TESTNET.tokens.values())):
            assert words in screen
        answer = httpx.post(faucet.replace("G...", Keypair.random().public_key))
        assert (answer.json()["usdc"], answer.json()["xlm"]) == ("1000000000", "1000000000")
        assert Keypair.from_secret(secret).public_key == Cast.for_seed(0).payer.public_key
        assert "\x1b" not in screen


def test_another_seed_has_other_accounts() -> None:
    with Server(
        *("mpp_asgi.cli", "sandbox", "--port", "0", "--seed", "7"), environment=clean_environment()
    ) as run:
        recipient = run.wait_for(r"export MPP_RECIPIENT=(\S+)")[1]
    assert recipient == Cast.for_seed(7).recipient.public_key
    assert recipient != Cast.for_seed(0).recipient.public_key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_it_stops_cleanly(number: signal.Signals) -> None:
    with Server("mpp_asgi.cli", "sandbox", "--port", "0", environment=clean_environment()) as run:
        url = run.wait_for(r"export MPP_RPC_URL=(\S+)")[1]
        httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"}).raise_for_status()
        run.process.send_signal(number)
        assert run.process.wait(60) == 0
    assert not re.search("Traceback|Error", "\n".join(run.output))


def test_a_port_in_use_is_said(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = command("sandbox", "--port", port)
    assert told.status == 1
    assert f"cannot listen at 127.0.0.1 port {port}" in told.err
    assert "choose another --port" in told.err


def test_a_host_that_is_not_ours_is_said(command: Command) -> None:
    told = command("sandbox", "--host", "192.0.2.1", "--port", "0")
    assert told.status == 1
    assert "cannot listen at 192.0.2.1" in told.err
