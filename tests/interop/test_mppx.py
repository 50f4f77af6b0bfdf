"""mppx, the reference implementation, reads our challenges and receipts, and writes credentials
that we take. Its functions run in node; the package is installed once, outside the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stellar_sdk import Keypair

from mpp_asgi.protocol import Challenge, Receipt
from tests.interop.conftest import Seller
from tests.interop.node import Node, running
from tests.interop.npm import installed
from tests.interop.sdk_payer import SdkPayer
from tests.shop import PRICE

VERSION = "0.11.0"
SCRIPT = Path(__file__).with_name("mppx.mjs")


def directory() -> Path:
    # Its peers are web frameworks and other chains, which none of this needs.
    return installed("mppx", VERSION, "--legacy-peer-deps") / "node_modules" / "mppx"


@pytest.fixture(scope="module")
def mppx() -> Iterator[Node]:
    with running(SCRIPT, directory()) as node:
        yield node


@pytest.fixture
def payer(seller: Seller) -> SdkPayer:
    keypair = Keypair.random()
    seller.sandbox.fund(keypair.public_key, usdc=1)
    return SdkPayer(keypair, seller.rpc_url)


def as_mppx_shows(challenge: Challenge) -> dict[str, Any]:
    """A challenge's fields in mppx's shape."""
    shown = {
        "id": challenge.id,
        "realm": challenge.realm,
        "method": challenge.method,
        "intent": challenge.intent,
        "request": challenge.request_object(),
        "expires": challenge.expires,
        "digest": challenge.digest,
        "description": challenge.description,
        "opaque": challenge.opaque,
        "header": challenge.header,
    }
    return {name: value for name, value in shown.items() if value is not None}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/paid", {}),
        ("POST", "/order", {}),
        ("GET", "/guarded", {"Authorization": "Bearer sesame"}),
    ],
)
def test_challenges(
    seller: Seller, mppx: Node, method: str, path: str, headers: dict[str, str]
) -> None:
    body = {"tea": "Earl Grey"} if method == "POST" else None
    unpaid = httpx.request(method, f"{seller.url}{path}", headers=headers, json=body)
    assert unpaid.status_code == 402
    fields = unpaid.headers.get_list("www-authenticate")
    assert len(fields) == 2
    read = mppx("challenges", fields=fields)
    assert read == [as_mppx_shows(each) for each in Challenge.all_from_headers(fields)]


@pytest.mark.parametrize("mode", ["sponsored", "unsponsored", "push"])
@pytest.mark.parametrize("path", ["/paid", "/guarded"])
def test_credential_and_receipt(
    seller: Seller, mppx: Node, payer: SdkPayer, path: str, mode: str
) -> None:
    headers = {"Authorization": "Bearer sesame"} if path == "/guarded" else {}
    url = f"{seller.url}{path}"
    fields = httpx.get(url, headers=headers).headers.get_list("www-authenticate")
    field = fields[0 if mode == "sponsored" else 1]
    challenge = mppx("challenges", fields=[field])[0]
    payload = payer.payload(mode, challenge["id"], challenge["request"], challenge["expires"])

    credential = mppx("credential", field=field, payload=payload, source=payer.source)
    carrier = "Payment-Authorization" if path == "/guarded" else "Authorization"
    earned = seller.earned() - (PRICE if mode == "push" else 0)
    paid = httpx.get(url, headers={**headers, carrier: credential})

    assert paid.status_code == 200, paid.text
    assert seller.earned() == earned + PRICE
    ours = Receipt.from_header(paid.headers["payment-receipt"])
    assert mppx("receipt", value=paid.headers["payment-receipt"]) == {
        "method": "stellar",
        "reference": ours.reference,
        "status": "success",
        "timestamp": ours.timestamp,
    }
