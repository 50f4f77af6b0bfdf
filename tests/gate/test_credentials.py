"""What is shown as a credential: tampered with, malformed, or too much of it."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi import price
from mpp_asgi.protocol import Challenge, Credential, b64url_decode, b64url_encode, encode_object
from tests.limits import quick
from tests.methods.stall import Exchange, Selling, Visitor, credential, payment

FIELDS = ["id", "realm", "method", "intent", "request", "expires", "digest", "opaque", "header"]


def shop() -> FastAPI:
    app = FastAPI()

    @app.post("/")
    @price("1")
    async def run() -> str:
        return "content"

    return app


class Counter:
    """A shop, and a challenge for a request with a body."""

    def __init__(self) -> None:
        self.selling = Selling()
        self.visitor = Visitor(self.selling.to(shop()))

    async def challenge(self) -> Challenge:
        return await self.visitor.challenge("POST", "/", body=b"question")

    async def show(self, *values: str, header: str = "authorization") -> Exchange:
        headers = [(header, value) for value in values]
        return await self.visitor.ask("POST", "/", body=b"question", headers=headers)


@pytest.fixture
def counter() -> Counter:
    return Counter()


def check_refused(counter: Counter, refused: Exchange, *slugs: str) -> None:
    """With the precise type, a fresh challenge, and nothing lost."""
    assert refused.status == 402, refused
    assert refused.problem in slugs, refused
    assert len(refused.challenges) == 1
    assert refused.header("cache-control") == "no-store"
    assert counter.selling.till.takings == 0


def reencoded(challenge: Challenge, **changes: Any) -> str:
    inside = {**challenge.request_object(), **changes}
    return encode_object(inside)


TAMPERED: dict[str, Any] = {
    "id": lambda c: replace(c, id=c.id[:-1] + ("A" if c.id[-1] != "A" else "B")),
    "id of another length": lambda c: replace(c, id=c.id + "A"),
    "id beyond ascii": lambda c: replace(c, id="é" * 43),
    "realm": lambda c: replace(c, realm="elsewhere.example"),
    "realm in capitals": lambda c: replace(c, realm=c.realm.upper()),
    "method": lambda c: replace(c, method="stellar"),
    "intent": lambda c: replace(c, intent="session"),
    "amount": lambda c: replace(c, request=reencoded(c, amount="1")),
    "currency": lambda c: replace(c, request=reencoded(c, currency="XLM")),
    "one more field": lambda c: replace(c, request=reencoded(c, extra="1")),
    "expires later": lambda c: replace(c, expires="2099-01-01T00:00:00Z"),
    "expires written otherwise": lambda c: replace(c, expires=c.expires.replace("Z", "+00:00")),
    "no expires": lambda c: replace(c, expires=None),
    "digest": lambda c: replace(c, digest="sha-256=:" + base64.b64encode(bytes(32)).decode() + ":"),
    "digest written otherwise": lambda c: replace(c, digest=c.digest.replace(":", "")),
    "no digest": lambda c: replace(c, digest=None),
    "opaque": lambda c: replace(c, opaque=encode_object({"n": "x", "r": "y"})),
    "empty opaque": lambda c: replace(c, opaque=encode_object({})),
    "no opaque": lambda c: replace(c, opaque=None),
    "header": lambda c: replace(c, header="Payment-Authorization"),
    "slots moved": lambda c: replace(c, realm=f"{c.realm}|{c.method}", method=c.intent),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_challenge_that_was_changed_is_not_ours(what: str, counter: Counter) -> None:
    tampered = TAMPERED[what](await counter.challenge())
    refused = await counter.show(credential(tampered).to_header())
    check_refused(counter, refused, "invalid-challenge")
    assert refused.json()["challengeId"] == tampered.id


@pytest.mark.parametrize(
    "unbound", [{"description": "A gift"}, {"header": "Authorization"}, {"header": "authorization"}]
)
async def test_what_is_not_bound_may_differ(unbound: dict[str, str], counter: Counter) -> None:
    changed = replace(await counter.challenge(), **unbound)
    assert (await counter.show(credential(changed).to_header())).status == 200


@quick
@given(field=st.sampled_from(FIELDS), text=st.text(min_size=1, max_size=60))
async def test_any_other_text_in_any_field(field: str, text: str) -> None:
    counter = Counter()
    challenge = await counter.challenge()
    echo = json.loads(b64url_decode(credential(challenge).to_header().removeprefix("Payment ")))
    if echo["challenge"].get(field) == text or (field, text.lower()) == ("header", "authorization"):
        return
    echo["challenge"][field] = text
    value = "Payment " + b64url_encode(json.dumps(echo).encode("utf-8", "surrogatepass"))
    refused = await counter.show(value)
    check_refused(counter, refused, "invalid-challenge", "malformed-credential")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@quick
@given(field=st.sampled_from([*FIELDS, "description"]), value=JSON)
async def test_any_json_in_any_field(field: str, value: Any) -> None:
    counter = Counter()
    challenge = await counter.challenge()
    echo = json.loads(b64url_decode(credential(challenge).to_header().removeprefix("Payment ")))
    echo["challenge"][field] = value
    answer = await counter.show("Payment " + b64url_encode(json.dumps(echo).encode()))
    if answer.status != 200:
        check_refused(counter, answer, "invalid-challenge", "malformed-credential")


@quick
@given(payload=st.dictionaries(st.text(max_size=8), JSON, max_size=3), source=JSON)
async def test_any_payload_of_an_authentic_challenge(payload: dict[str, Any], source: Any) -> None:
    counter = Counter()
    challenge = await counter.challenge()
    echo = json.loads(b64url_decode(credential(challenge).to_header().removeprefix("Payment ")))
    echo["payload"], echo["source"] = payload, source
    refused = await counter.show("Payment " + b64url_encode(json.dumps(echo).encode()))
    check_refused(counter, refused, "verification-failed", "malformed-credential")
    again = await counter.show(credential(challenge).to_header())
    assert again.status == 200  # nothing was used up


@quick
@given(st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
async def test_any_octets_as_a_credential(text: str) -> None:
    counter = Counter()
    refused = await counter.show(f"Payment {text}")
    if refused.status == 400:
        assert refused.problem == "bad-request"  # it reads as several
    else:
        check_refused(counter, refused, "malformed-credential")


@quick
@given(place=st.integers(0, 999), shift=st.integers(1, 254))
async def test_a_credential_that_was_cut_or_flipped_anywhere(place: int, shift: int) -> None:
    """No two challenges are the same, so what is drawn does not depend on one."""
    counter = Counter()
    value = credential(await counter.challenge()).to_header()
    start = len("Payment ")
    at = start + place * (len(value) - start) // 1000
    octet = chr((ord(value[at]) - 1 + shift) % 255 + 1)  # any other one but NUL
    for broken in (value[:at], value[:at] + octet + value[at + 1 :]):
        answer = await counter.show(broken)
        assert answer.status in {200, 400, 402}, (broken, answer)
        if answer.status == 200:  # the change did not change what is said
            assert Credential.from_header(broken) == Credential.from_header(value)


@pytest.mark.parametrize(
    "value",
    [
        "Payment",
        "Payment ",
        "payment =",
        "Payment e30",
        "Payment W10",
        "Payment bnVsbA",
        "Payment " + b64url_encode(b"[" * 5000),
        "Payment " + b64url_encode(b'{"challenge":' * 5000),
        "Payment " + b64url_encode(b'{"challenge":{},"challenge":{}}'),
        "Payment " + b64url_encode(b'{"challenge":{},"payload":{"a":NaN}}'),
        "Payment " + b64url_encode(b'{"challenge":{},"payload":{"a":1e999}}'),
        "Payment " + b64url_encode(b'{"challenge":{},"payload":{"a":' + b"9" * 5000 + b"}}"),
        "Payment " + b64url_encode(b'{"challenge":\xff}'),
        "Payment " + b64url_encode(b'{"challenge":"\\ud800"}'),
        "Payment " + "A" * 100_000,
        "Payment " + "é" * 100,
        "Payment\te30",
        'Payment id="x", realm="y"',
        "Payment e30 e30",
        "Payment e30==",
    ],
    ids=lambda value: value[:40],
)
async def test_what_is_no_credential(value: str, counter: Counter) -> None:
    refused = await counter.show(value)
    if refused.status != 400:
        check_refused(counter, refused, "malformed-credential")


@pytest.mark.parametrize("header", ["authorization", "payment-authorization"])
async def test_either_header_carries_a_credential(header: str, counter: Counter) -> None:
    value = credential(await counter.challenge()).to_header()
    assert (await counter.show(value, header=header)).status == 200


@pytest.mark.parametrize(
    "values",
    [
        ["{0}", "{0}"],
        ["{0}", "{1}"],
        ["{0}, {1}"],
        ["{0},{1}"],
        ["Bearer x, {0}, {1}"],
        ["{0}", "Payment nonsense"],
        ["{0}, Payment"],
    ],
)
async def test_more_than_one_credential_is_one_too_many(
    values: list[str], counter: Counter
) -> None:
    written = [credential(await counter.challenge()).to_header() for _ in range(2)]
    refused = await counter.show(*(value.format(*written) for value in values))
    assert (refused.status, refused.problem) == (400, "bad-request")
    assert refused.challenges == []
    assert counter.selling.till.takings == 0
    assert (await counter.show(written[0])).status == 200


async def test_one_in_each_header_is_one_too_many(counter: Counter) -> None:
    written = credential(await counter.challenge()).to_header()
    headers = [("authorization", written), ("payment-authorization", written)]
    refused = await counter.visitor.ask("POST", "/", body=b"question", headers=headers)
    assert (refused.status, refused.problem) == (400, "bad-request")


@pytest.mark.parametrize(
    "beside", ["Bearer abc", "Basic dXNlcjpwYXNz", 'Digest username="Payment x, y"', "Payments e30"]
)
async def test_other_schemes_may_stand_beside_it(beside: str, counter: Counter) -> None:
    for join in (lambda one: [beside, one], lambda one: [f"{beside}, {one}"]):
        written = credential(await counter.challenge()).to_header()
        assert (await counter.show(*join(written))).status == 200


async def test_a_way_to_pay_that_is_not_taken_is_said_precisely() -> None:
    """Authentic, but of another server with the same secret."""
    other = Selling()
    ours = Selling()
    [make] = other.options["intents"]

    def session(book: Any) -> Any:
        intent = make(book)
        intent.name = "session"
        return intent

    other.options["intents"] = [session]
    app = shop()
    challenge = await Visitor(other.around(app)).challenge("POST", "/", body=b"question")
    answer = await Visitor(ours.around(app)).ask(
        "POST", "/", body=b"question", headers=payment(challenge)
    )
    assert (answer.status, answer.problem) == (400, "method-unsupported")


async def test_a_large_credential_is_taken(counter: Counter) -> None:
    challenge = await counter.challenge()
    value = credential(challenge, filler="x" * 40_000).to_header()
    assert (await counter.show(value)).status == 200


async def test_unknown_members_are_ignored(counter: Counter) -> None:
    value = credential(await counter.challenge()).to_header()
    body = json.loads(b64url_decode(value.removeprefix("Payment ")))
    body["version"] = 2
    body["challenge"]["colour"] = "red"
    assert (await counter.show("Payment " + b64url_encode(json.dumps(body).encode()))).status == 200
