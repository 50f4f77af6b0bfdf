"""What the app makes of a proxy's word: TLS ends there, and only a trusted one is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from mpp_asgi.client import PaymentAuth
from mpp_asgi.protocol import Challenge
from tests.servers import running_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Network

STRANGER = "203.0.113.9"


@pytest.fixture(scope="module")
def api(network: Network) -> Iterator[str]:
    trusted = ("--proxy-headers", "--forwarded-allow-ips", "127.0.0.1")
    settings = network.settings | {"MPP_STORE": "memory://"}
    with running_app("example_app.main:app", *trusted, settings=settings) as (url, _):
        yield url


def test_tls_that_ended_at_the_proxy_is_tls(api: str) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": STRANGER, "Host": "api.example.com"}
    answer = httpx.get(f"{api}/sun/paris", headers=said)
    assert answer.status_code == 402
    challenge, *_ = Challenge.all_from_headers(answer.headers.get_list("WWW-Authenticate"))
    assert challenge.realm == "api.example.com"


def test_plain_http_from_elsewhere_is_refused_without_a_challenge(api: str) -> None:
    said = {"X-Forwarded-Proto": "http", "X-Forwarded-For": STRANGER}
    answer = httpx.get(f"{api}/sun/paris", headers=said)
    assert answer.status_code == 400
    assert "WWW-Authenticate" not in answer.headers
    assert "HTTPS" in answer.json()["detail"]
    assert httpx.get(f"{api}/", headers=said).status_code == 200


def test_a_payment_goes_through_the_proxy(api: str, network: Network) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": STRANGER, "Host": "api.example.com"}
    auth = PaymentAuth(network.payer(), budget="0.01", rpc=network.url)
    with httpx.Client(base_url=api, headers=said, auth=auth, timeout=60) as client:
        answer = client.get("/sun/paris")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private"
    assert answer.headers["Payment-Receipt"]
