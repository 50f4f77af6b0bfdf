"""``keys``, ``fund`` and ``trust``: from nothing to an account that can be paid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from stellar_sdk import Keypair

from mpp_asgi.sandbox import Sandbox
from tests.servers import Network, served

if TYPE_CHECKING:
    from tests.cli.conftest import Command

SOMEBODY = Keypair.from_raw_ed25519_seed(bytes(31) + b"?")


def test_a_new_key_is_a_key(command: Command) -> None:
    told = command("keys", "new")
    address = re.search(r"^address  (G\w{55})$", told.out, re.MULTILINE)
    secret = re.search(r"^secret   (S\w{55})$", told.out, re.MULTILINE)
    assert address
    assert secret
    assert Keypair.from_secret(secret[1]).public_key == address[1]
    assert secret[1] not in told.err
    assert command("keys", "new").out != told.out


def test_three_commands_make_an_account_that_can_be_paid(
    command: Command, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Keypair.random()
    monkeypatch.setenv("MPP_RPC_URL", network.url)
    monkeypatch.setenv("STELLAR_SECRET", key.secret)

    told = command("trust", "USDC")
    assert told.status == 1
    assert "create it with `mpp-asgi fund`" in told.err

    told = command("fund", key.public_key)
    assert (told.status, told.out) == (0, f"{key.public_key} has 10,000 XLM.\n")
    assert "is there already" in command("fund", key.public_key).out

    told = command("trust", "USDC")
    assert told.status == 0
    assert f"{key.public_key} trusts USDC of G" in told.out
    assert re.search(r"^transaction [0-9a-f]{64}$", told.out, re.MULTILINE)
    assert key.secret not in told.out + told.err
    assert command("trust", "usdc").out == f"{key.public_key} trusts USDC already.\n"


def test_any_asset_can_be_trusted(command: Command, network: Network) -> None:
    key, issuer = network.payer(), network.payer()
    options = ("--rpc-url", network.url, "--key", key.secret)
    assert command("trust", f"EURC:{issuer.public_key}", *options).status == 0
    assert "trusts EURC already" in command("trust", f"EURC:{issuer.public_key}", *options).out


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("XLM", "XLM needs no trustline."),
        ("EURC", "Name the token as USDC, or as CODE:G... with its issuer's address."),
        ("EURC:GABC", "Name the token as USDC, or as CODE:G... with its issuer's address."),
        (f"EURO€:{SOMEBODY.public_key}", "1 to 12 letters and digits"),
    ],
)
def test_what_cannot_be_trusted(
    command: Command, network: Network, token: str, sentence: str
) -> None:
    key = network.payer()
    told = command("trust", token, "--rpc-url", network.url, "--key", key.secret)
    assert told.status == 1
    assert sentence in told.err


def test_a_trustline_without_the_reserve_for_it_is_refused(
    command: Command, network: Network
) -> None:
    key = network.payer(usdc=0, xlm=2)
    issuer = network.payer()
    options = ("--rpc-url", network.url, "--key", key.secret)
    told = command("trust", f"ONE:{issuer.public_key}", *options)
    assert told.status == 1
    assert "0.5 XLM to spare" in told.err


def test_a_token_without_issuer_is_refused_by_name(command: Command, network: Network) -> None:
    key = network.payer()
    nobody = Keypair.random().public_key
    told = command("trust", f"GONE:{nobody}", "--rpc-url", network.url, "--key", key.secret)
    assert told.status == 1
    assert "CHANGE_TRUST_NO_ISSUER" in told.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("trust", "USDC"), "set STELLAR_SECRET"),
        (("trust", "USDC", "--key", "SWRONG"), "not a secret key"),
        (("fund", "GWRONG"), "not the address of an account"),
        (("fund", SOMEBODY.secret), "not the address of an account"),
    ],
)
def test_keys_and_addresses_are_looked_at_first(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    told = command(*arguments)
    assert told.status == 1
    assert sentence in told.err
    assert arguments[-1] == "USDC" or arguments[-1] not in told.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--network", "testnat"), "did you mean 'stellar:testnet'?"),
        (("--network", "pubnet"), "stellar:pubnet has no public RPC"),
        (("--rpc-url", "ftp://localhost"), "must be an http:// or https:// URL"),
        (("--rpc-url", "http://127.0.0.1:9"), "did not answer"),
    ],
)
def test_networks_and_their_nodes_are_named_right(
    command: Command, options: tuple[str, ...], sentence: str
) -> None:
    told = command("fund", Keypair.random().public_key, *options)
    assert told.status == 1
    assert sentence in told.err


def test_nothing_is_signed_for_another_network(command: Command) -> None:
    with served(Sandbox(passphrase="Somebody else's network").app) as url:
        told = command("trust", "USDC", "--rpc-url", url, "--key", Keypair.random().secret)
    assert told.status == 1
    assert "does not follow stellar:testnet" in told.err
