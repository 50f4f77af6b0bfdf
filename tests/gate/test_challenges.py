"""What a 402 offers: realm, expiry, preference, size; and where payments are taken at all."""

import tracemalloc
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi import ConfigError, Price, price
from mpp_asgi.protocol import Challenge, digest_matches, parse_timestamp
from tests.limits import quick
from tests.methods.nod import Nod
from tests.methods.stall import START, Exchange, Selling, Visitor, payment


def shop(*amounts: Any, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.api_route("/", methods=["GET", "POST"])
    @price(*(amounts or ("0.01",)), **options)
    async def endpoint() -> str:
        return "content"

    return app


# What is in a challenge


async def test_a_challenge_says_what_is_wanted_until_when() -> None:
    challenge = await Visitor(Selling().to(shop("0.01"))).challenge("GET", "/")
    assert (challenge.method, challenge.intent) == ("nod", "charge")
    assert challenge.request_object() == {"amount": "100000", "currency": "USDC"}
    assert challenge.expires is not None
    assert parse_timestamp(challenge.expires).timestamp() == START + 300
    assert challenge.expires.endswith("Z")
    assert challenge.description is None
    assert challenge.digest is None
    assert challenge.header is None


async def test_no_two_challenges_are_the_same() -> None:
    visitor = Visitor(Selling().to(shop()))
    assert len({(await visitor.challenge("GET", "/")).id for _ in range(20)}) == 20


async def test_a_body_is_bound_by_its_digest() -> None:
    challenge = await Visitor(Selling().to(shop())).challenge("POST", "/", body=b"question")
    assert challenge.digest is not None
    assert digest_matches(challenge.digest, b"question")


async def test_a_description_stays_in_the_request() -> None:
    app = shop(description="A Payment for tomorrow\u2019s weather")
    refused = await Visitor(Selling().to(app)).get("/")
    assert refused.challenge.description is None
    assert refused.challenge.request_object()["description"] == (
        "A Payment for tomorrow\u2019s weather"
    )


async def test_how_long_a_challenge_is_good_can_be_set() -> None:
    selling = Selling(challenge_seconds=30)
    visitor = Visitor(selling.to(shop()))
    challenge = await visitor.challenge("GET", "/")
    selling.time.now += 30
    assert (await visitor.get("/", headers=payment(challenge))).problem == "payment-expired"


async def test_many_offers_fit_into_eight_kilobytes() -> None:
    amounts = ["0.01", Price("0.1", "XLM"), "123456789.1234567", Price("1", "XLM")]
    app = shop(lambda _: amounts, description="d" * 200)
    selling = Selling(realm="a" * 200)
    refused = await Visitor(selling.to(app)).ask("POST", "/", body=b"x" * 1000)
    assert len(refused.challenges) == 4
    size = sum(len(name) + len(value) + 4 for name, value in refused.headers)
    assert size < 8192
    assert all(len(challenge.to_header()) < 2048 for challenge in refused.challenges)


# Realm


@pytest.mark.parametrize(
    ("host", "realm"),
    [
        ("shop.example", "shop.example"),
        ("SHOP.Example", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "[::1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("", "localhost"),
        (" ", "localhost"),
        ("a b", "localhost"),
        ("a|b", "localhost"),
        ('a"b', "localhost"),
        ("a\\b", "localhost"),
        ("bücher.example", "localhost"),
        ("a/b", "localhost"),
        ("user@a", "localhost"),
        ("a:b", "localhost"),
        ("a:123456", "localhost"),
        ("a" * 256, "localhost"),
        ("a, b", "localhost"),
    ],
)
async def test_the_realm_is_the_host_or_none_at_all(host: str, realm: str) -> None:
    visitor = Visitor(Selling().to(shop()))
    challenge = await visitor.challenge("GET", "/", headers={"host": host})
    assert challenge.realm == realm
    served = await visitor.get("/", headers={"host": host, **payment(challenge)})
    assert served.status == 200


@quick
@given(st.binary(max_size=40))
async def test_any_octets_as_a_host(host: bytes) -> None:
    visitor = Visitor(Selling().to(shop()))
    challenge = await visitor.challenge("GET", "/", headers={"host": host.decode("latin-1")})
    assert challenge.realm
    assert Challenge.from_header(challenge.to_header()) == challenge


async def test_a_realm_that_is_set_is_used_for_every_host() -> None:
    visitor = Visitor(Selling(realm="Our \u201eshop\u201c").to(shop()))
    challenge = await visitor.challenge("GET", "/", headers={"host": "a.example"})
    assert challenge.realm == "Our \u201eshop\u201c"
    served = await visitor.get("/", headers={"host": "b.example", **payment(challenge)})
    assert served.status == 200


@pytest.mark.parametrize("realm", ["", "a|b", "a\nb", "a\x00b", "\ud800"])
async def test_a_realm_that_cannot_be_used_stops_the_start(realm: str) -> None:
    with pytest.raises(ConfigError, match="The setting 'realm' is wrong"):
        await Visitor(Selling(realm=realm).to(shop())).get("/")


@pytest.mark.repeating
async def test_a_flood_of_unpaid_requests_leaves_nothing_behind() -> None:
    """Whatever is remembered to be quick is little, though the client chooses it."""
    app = shop()

    @app.get("/{rest:path}")
    @price("1")
    async def rest(rest: str) -> None: ...

    visitor = Visitor(Selling().to(app))
    await visitor.get("/")
    tracemalloc.start()
    try:
        for n in range(300):
            filler = f"{n:05}" + "x" * 20_000
            for target in (f"/?{filler}", f"/{filler}"):
                headers = {"host": filler, "authorization": "Payment " + filler}
                assert (await visitor.get(target, headers={"host": filler})).status == 402
                assert (await visitor.get(target, headers=headers)).status == 402
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 2_000_000


# Accept-Payment


def several(**names: str) -> Selling:
    """Sells by several intents."""
    selling = Selling()
    selling.options["intents"] = [
        lambda book, name=name: Nod(book, till=selling.till, name=name)
        for name in ("charge", "session", "lottery")
    ]
    return selling


@pytest.mark.parametrize(
    ("accept", "offered"),
    [
        (None, "charge session lottery"),
        ("", "charge session lottery"),
        ("nod/session", "session"),
        ("nod/*", "charge session lottery"),
        ("*/*", "charge session lottery"),
        ("*/lottery, nod/charge", "charge lottery"),
        ("nod/charge;q=0.1, nod/session", "session charge"),
        ("*/*;q=0.5, nod/lottery", "lottery charge session"),
        ("*/*, nod/charge;q=0", "session lottery"),
        ("*/*;q=0, nod/session;q=0.001", "session"),
        ("other/charge", "charge session lottery"),
        ("*/*;q=0", "charge session lottery"),
        ("nonsense", "charge session lottery"),
        ("nod/charge;q=2", "charge session lottery"),
        ("nod/session, \xff\xfe", "charge session lottery"),
        (", ".join(["nod/session"] * 500), "charge session lottery"),
        ("nod/" + "x" * 10_000, "charge session lottery"),
    ],
)
async def test_offers_are_arranged_as_the_payer_likes(accept: str | None, offered: str) -> None:
    visitor = Visitor(several().to(shop()))
    headers = {} if accept is None else {"accept-payment": accept}
    refused = await visitor.get("/", headers=headers)
    assert " ".join(challenge.intent for challenge in refused.challenges) == offered


async def test_several_preferences_are_one() -> None:
    visitor = Visitor(several().to(shop()))
    headers = [("accept-payment", "nod/lottery;q=0.5"), ("accept-payment", "nod/session")]
    refused = await visitor.get("/", headers=headers)
    assert [challenge.intent for challenge in refused.challenges] == ["session", "lottery"]


async def test_so_are_the_fresh_challenges_of_a_refusal() -> None:
    visitor = Visitor(several().to(shop()))
    headers = {"accept-payment": "nod/session", "authorization": "Payment nonsense"}
    refused = await visitor.get("/", headers=headers)
    assert [challenge.intent for challenge in refused.challenges] == ["session"]


async def test_what_was_not_preferred_may_be_paid_all_the_same() -> None:
    visitor = Visitor(several().to(shop()))
    lottery = (await visitor.get("/")).challenges[2]
    headers = {"accept-payment": "nod/charge", **payment(lottery)}
    assert (await visitor.get("/", headers=headers)).status == 200


# Plain HTTP


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"scheme": "https", "client": ("203.0.113.9", 1)}, 402),
        ({"scheme": "http", "client": ("203.0.113.9", 1)}, 400),
        ({"scheme": "http", "client": ("2001:db8::1", 1)}, 400),
        ({"scheme": "http", "client": ("10.0.0.1", 1)}, 400),
        ({"scheme": "http", "client": ("::ffff:203.0.113.9", 1)}, 400),
        ({"scheme": "http", "client": ("127.0.0.1", 1)}, 402),
        ({"scheme": "http", "client": ("127.8.8.8", 1)}, 402),
        ({"scheme": "http", "client": ("::1", 1)}, 402),
        ({"scheme": "http", "client": ("::ffff:127.0.0.1", 1)}, 402),
        ({"scheme": "http", "client": None}, 402),
        ({"scheme": "http", "client": ("testclient", 50000)}, 402),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_payments_over_plain_http_are_taken_from_this_machine_only(
    scope: dict[str, Any], status: int, method: str
) -> None:
    visitor = Visitor(Selling().to(shop()))
    answer = await visitor.ask(method, "/", **scope)
    assert answer.status == status
    if status == 400:
        assert answer.problem == "bad-request"
        assert answer.challenges == []
        assert "HTTPS" in answer.json()["detail"]


async def test_a_credential_in_the_clear_is_not_used() -> None:
    selling = Selling()
    visitor = Visitor(selling.to(shop()))
    headers = payment(await visitor.challenge("GET", "/"))
    refused = await visitor.get("/", headers=headers, scheme="http")
    assert (refused.status, selling.till.takings) == (400, 0)


async def test_the_operator_may_allow_plain_http() -> None:
    visitor = Visitor(Selling(allow_http=True).to(shop()))
    assert (await visitor.buy("GET", "/", scheme="http")).status == 200


async def test_free_routes_answer_over_plain_http() -> None:
    app = shop()

    @app.get("/free")
    async def free() -> str:
        return "free"

    assert (await Visitor(Selling().to(app)).get("/free", scheme="http")).status == 200


# Every answer of ours


async def answers() -> list[Exchange]:
    selling = Selling(body_limit=10)
    visitor = Visitor(selling.to(shop()))
    paid = payment(await visitor.challenge("GET", "/"))
    two = [("authorization", "Payment a"), ("authorization", "Payment b")]
    await visitor.get("/", headers=paid)
    return [
        await visitor.get("/"),
        await visitor.get("/", headers={"authorization": "Payment nonsense"}),
        await visitor.get("/", headers=paid),
        await visitor.get("/", headers=two),
        await visitor.get("/", scheme="http"),
        await visitor.ask("POST", "/", body=b"x" * 11),
    ]


async def test_every_answer_of_ours_is_a_problem_that_nobody_stores() -> None:
    statuses = []
    for answer in await answers():
        statuses.append(answer.status)
        assert answer.header("content-type") == "application/problem+json"
        assert answer.header("cache-control") == "no-store"
        assert answer.header("content-length") == str(len(answer.body))
        assert answer.json()["status"] == answer.status
        assert answer.json()["detail"]
        assert answer.receipt is None
        assert bool(answer.challenges) == (answer.status == 402)
    assert statuses == [402, 402, 402, 400, 400, 413]
