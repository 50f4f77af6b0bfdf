"""What a payer is made from, and the mistakes that are told at once."""

import traceback
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.client import LedgerUnavailableError, PaymentAuth
from mpp_asgi.client.connection import origins_from
from mpp_asgi.stellar.network import TESTNET, Token
from tests.servers import served

PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32)


@pytest.fixture(autouse=True)
def _no_rpc_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPP_RPC_URL", raising=False)


def test_the_least_that_is_needed() -> None:
    auth = PaymentAuth(PAYER.secret, budget="1.00")
    assert auth.payer == PAYER.public_key
    assert auth.left == {"USDC": Decimal(1)}
    assert (auth.paid, auth.receipts, auth.unresolved) == ((), (), ())


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"budget": 1.0}, TypeError, 'write "1.0"'),
        ({"budget": "-1"}, ValueError, "is not an amount"),
        ({"max_per_request": 0.1}, TypeError, "not float"),
        ({"max_per_request": {"XLM": "1"}}, ValueError, "not among the currencies"),
        ({"currencies": ["EURC"]}, ValueError, "not a well-known currency"),
        ({"network": "testnet"}, ValueError, "did you mean 'stellar:testnet'"),
        ({"network": "sandbox"}, ValueError, 'write rpc="http://127.0.0.1:8000/.mpp/sandbox"'),
        ({"network": "stellar:pubnet"}, ValueError, "no public RPC for stellar:pubnet"),
        ({"sessions": "allways"}, ValueError, "sessions is 'always', 'never', a number of calls"),
        ({"sessions": True}, ValueError, "sessions is 'always', 'never', a number of calls"),
        ({"sessions": 2.5}, ValueError, "sessions is 'always', 'never', a number of calls"),
        ({"mode": "shove"}, ValueError, "'pull' or 'push'"),
        ({"rpc": "rpc.test"}, ValueError, "http:// or https:// URL"),
        ({"origins": ["shop.test"]}, ValueError, "is not an origin"),
        ({"origins": ["https://shop.test/path"]}, ValueError, "is not an origin"),
        ({"origins": ["https://shop.test?query"]}, ValueError, "is not an origin"),
        ({"origins": ["ftp://shop.test"]}, ValueError, "is not an origin"),
        ({"origins": ["https://"]}, ValueError, "is not an origin"),
    ],
    ids=str,
)
def test_mistakes(settings: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        PaymentAuth(PAYER, **({"budget": "1.00"} | settings))


def test_a_key_that_cannot_sign() -> None:
    with pytest.raises(ValueError, match="has no secret"):
        PaymentAuth(Keypair.from_public_key(PAYER.public_key), budget="1")


@pytest.mark.parametrize("around", ["{}\n", " {}", "\t{}\r\n"])
def test_a_secret_may_come_out_of_a_file(around: str) -> None:
    assert PaymentAuth(around.format(PAYER.secret), budget="1").payer == PAYER.public_key


@pytest.mark.parametrize(
    "wrong",
    [
        PAYER.secret[:-1],
        PAYER.secret[:-1] + "é",
        PAYER.secret[:9] + ("A" if PAYER.secret[9] != "A" else "B") + PAYER.secret[10:],
        PAYER.secret[:5] + "\n" + PAYER.secret[5:],
        PAYER.secret.lower(),
        PAYER.public_key,
        "",
    ],
)
def test_a_wrong_secret_is_told_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"^That is not a secret key: it begins with S") as error:
        PaymentAuth(wrong, budget="1")
    told = "".join(traceback.format_exception(error.value, chain=True))
    assert wrong[5:] not in told or not wrong
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (None, "There is no secret key: it begins with S and has 56 characters."),
        (
            PAYER.secret.encode(),
            "A secret key is a text, not bytes: it begins with S and has 56 characters.",
        ),
    ],
)
def test_what_is_no_text_is_no_secret(wrong: Any, sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        PaymentAuth(wrong, budget="1")
    assert str(error.value) == sentence


def test_the_environment_names_the_rpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPP_RPC_URL", "nonsense")
    with pytest.raises(ValueError, match="http:// or https:// URL"):
        PaymentAuth(PAYER, budget="1")
    monkeypatch.setenv("MPP_RPC_URL", "https://rpc.test")
    PaymentAuth(PAYER, budget="1", network="stellar:pubnet")
    PaymentAuth(PAYER, budget="1", network="stellar:pubnet", rpc="https://other.test")


def test_currencies_and_budgets_of_their_own() -> None:
    own = Token("CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSD", "OWN", 2)
    auth = PaymentAuth(PAYER, budget={"XLM": 5, "OWN": "0.05"}, currencies=["XLM", own])
    assert auth.left == {"XLM": Decimal(5), "OWN": Decimal("0.05")}
    auth = PaymentAuth(PAYER, budget={"XLM": 5}, currencies=["XLM", TESTNET.tokens["USDC"]])
    assert auth.left == {"XLM": Decimal(5), "USDC": Decimal(0)}


def test_origins() -> None:
    assert origins_from(["https://Shop.test", "http://localhost:80/"]) == {
        ("https", "shop.test", 443),
        ("http", "localhost", 80),
    }


async def test_an_rpc_that_is_not_there_is_named_without_its_path() -> None:
    auth = PaymentAuth(PAYER, budget="1", rpc="http://user:pw@127.0.0.1:9/a-key")
    app = FastAPI()
    app.add_middleware(PaymentMiddleware, network="sandbox")
    app.get("/")(price("0.01")(lambda: "content"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://test", auth=auth
    ) as client:
        with pytest.raises(LedgerUnavailableError) as unavailable:
            await client.get("/")
    assert str(unavailable.value) == (
        "Nothing was paid, because the Stellar RPC could not be asked. It is the one at "
        "127.0.0.1:9: rpc= or MPP_RPC_URL names another."
    )
    with (
        served(app) as url,
        httpx.Client(auth=auth) as blocking,
        pytest.raises(LedgerUnavailableError, match=r"the one at 127\.0\.0\.1:9:"),
    ):
        blocking.get(url)  # noqa: ASYNC212 # the server has a thread of its own
