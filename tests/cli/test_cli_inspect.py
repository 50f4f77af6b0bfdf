"""``mpp-asgi inspect``: header fields in words."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Keypair

from example_app.demo.handmade import sponsored_credential
from mpp_asgi.cli.reading import amount_text, read_text
from mpp_asgi.protocol import Challenge, Credential, ProtocolError, Receipt, encode_object
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from tests.servers import Network, served

if TYPE_CHECKING:
    from tests.cli.conftest import Command

NOW = 1_790_000_000
TOKEN = TESTNET.tokens["USDC"].address
RECIPIENT = Keypair.from_raw_ed25519_seed(bytes(32)).public_key


def charge(**changes: str) -> Challenge:
    request = {
        "amount": "12500000",
        "currency": TOKEN,
        "recipient": RECIPIENT,
        "description": "a forecast",
        "methodDetails": {
            "network": "stellar:testnet",
            "feePayer": False,
            "credentialTypes": ["transaction", "signedHash"],
        },
    }
    fields = {
        "id": "x1",
        "realm": "api.example.com",
        "method": "stellar",
        "intent": "charge",
        "request": encode_object(request),
        "expires": "2026-09-21T14:18:20Z",
    }
    return Challenge(**(fields | changes))


def rows(text: str) -> dict[str, str]:
    (finding,) = read_text(text, now=NOW)
    return dict(finding.rows)


@pytest.mark.parametrize("prefix", ["", "WWW-Authenticate: ", "www-authenticate:"])
def test_a_challenge_says_what_it_asks_for(prefix: str) -> None:
    assert rows(prefix + charge().to_header()) == {
        "pay by": "stellar/charge",
        "price": "1.25 USDC",
        "paid to": RECIPIENT,
        "network": "stellar:testnet",
        "fee": "paid by the payer",
        "show": "transaction or signedHash",
        "for": "a forecast",
        "realm": "api.example.com",
        "expires": "2026-09-21T14:18:20Z (in 5 min 0 s)",
        "id": "x1",
    }


def test_merged_challenges_are_told_apart() -> None:
    merged = f"{charge().to_header()}, {charge(id='x2').to_header()}"
    assert [dict(each.rows)["id"] for each in read_text(merged, now=NOW)] == ["x1", "x2"]


def test_another_method_is_shown_as_it_is() -> None:
    other = charge(method="card", header="Payment-Authorization", description="A card")
    shown = rows(other.to_header())
    assert shown["pay by"] == "card/charge"
    assert shown["request amount"] == "12500000"
    assert (shown["answer in"], shown["says"]) == ("Payment-Authorization", "A card")


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        ("2026-09-21T14:13:15Z", "5 s ago"),
        ("2026-09-21T14:13:21Z", "in 1 s"),
        ("tomorrow", "not a date"),
    ],
)
def test_expiry_is_told_from_now(expires: str, said: str) -> None:
    assert rows(charge(expires=expires).to_header())["expires"] == f"{expires} ({said})"


def test_a_credential_says_what_it_pays(api: str, network: Network) -> None:
    payer = Keypair.random()
    challenge = Challenge.all_from_headers(
        httpx.get(f"{api}/sun/paris").headers.get_list("WWW-Authenticate")
    )[0]
    rpc = SyncRpc(network.url)
    credential = sponsored_credential(challenge, payer, rpc)
    rpc.close()
    for text in (credential, f"Authorization: {credential}"):
        shown = rows(text)
        assert shown["transfers"] == "0.01 USDC"
        assert shown["sender"] == payer.public_key
        assert shown["to"] == network.recipient
        assert shown["from"] == f"did:pkh:stellar:testnet:{payer.public_key}"
        assert shown["authorized"].startswith(f"by {payer.public_key} until ledger ")
        assert shown["id"] == challenge.id


@pytest.mark.parametrize(
    ("payload", "label", "said"),
    [
        ({"type": "signedHash", "hash": "AB" * 32, "sourceSignature": "0" * 128}, "hash", "abab"),
        ({"type": "transaction", "transaction": "AAAA"}, "transaction", "not valid XDR"),
        ({"type": "song"}, "payload", "type must be"),
        ({}, "payload", "type must be"),
    ],
)  # fmt: skip
def test_any_payload_is_described(payload: dict[str, str], label: str, said: str) -> None:
    assert said in rows(Credential(charge(), payload).to_header())[label]


def test_a_receipt_says_what_it_confirms() -> None:
    receipt = Receipt(
        "stellar", "ab" * 32, "2026-09-21T14:13:20Z", external_id="42", extra={"ledger": 7}
    )
    for prefix in ("", "Payment-Receipt: "):
        assert rows(prefix + receipt.to_header()) == {
            "paid by": "stellar",
            "reference": "ab" * 32,
            "at": "2026-09-21T14:13:20Z",
            "status": "success",
            "order": "42",
            "ledger": "7",
        }


def test_it_reads_a_url(command: Command, api: str) -> None:
    told = command("inspect", f"{api}/sun/paris")
    assert told.status == 0
    assert re.findall(r"^  pay by +stellar/(\w+)$", told.out, re.MULTILINE) == [
        *("charge", "charge", "session")
    ]
    assert told.out.count("  price    0.01 USDC\n") == 2
    assert "paid by the server" in told.out


def test_it_reads_lines_of_the_input(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = Receipt("stellar", "ab" * 32, "2026-09-21T14:13:20Z").to_header()
    lines = f"{charge().to_header()}\n\nPayment-Receipt: {receipt}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    told = command("inspect", "-")
    assert [line for line in told.out.splitlines() if line[:1].strip()] == ["Challenge", "Receipt"]


def test_what_steers_terminals_is_spelled_out(command: Command) -> None:
    told = command("inspect", charge(realm="evil", description="a").to_header().replace(
        '"evil"', '"e\x1b[2Jvil"'))  # fmt: skip
    assert "\x1b" not in told.out + told.err


@pytest.mark.parametrize(
    "text", ["", "Payment", "hello", "Payment e30", "Bearer abc", "WWW-Authenticate: Basic x"]
)
def test_what_is_none_of_them_is_said_in_a_sentence(command: Command, text: str) -> None:
    told = command("inspect", text)
    assert told.status == 1
    assert told.err.startswith("mpp-asgi: ")
    assert len(told.err.splitlines()) == 1


def test_urls_without_a_price_are_said(command: Command, api: str) -> None:
    assert "asks for no payment: it answers HTTP 200" in command("inspect", f"{api}/").err
    assert "does not answer" in command("inspect", "http://127.0.0.1:9/").err

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 402, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    with served(app) as url:
        assert "does not say how to pay" in command("inspect", url).err


@settings(max_examples=100, deadline=None)
@given(st.text() | st.text().map("Payment ".__add__) | st.text().map("WWW-Authenticate: ".__add__))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    try:
        read_text(text, now=NOW)
    except ProtocolError:
        return
    raise AssertionError("garbage was read as something")


@given(st.integers(0, 10**38), st.integers(0, 18))
def test_amounts_are_exact(units: int, decimals: int) -> None:
    whole, _, fraction = amount_text(units, decimals).partition(".")
    assert int(whole + fraction.ljust(decimals, "0")) == units
    assert not fraction.endswith("0")
