"""Whatever a credential carries: a typed answer, nothing moved, nothing kept, nothing lost."""

import asyncio
import base64
import copy
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpp_asgi.protocol import Challenge, Credential, b64url_decode, b64url_encode, problems
from mpp_asgi.stores.contract import State
from tests.charge.forgery import transaction_in
from tests.shop import MODES, PRICE, Payer, Shop

SECONDS = 10
"""No answer takes longer, whatever is asked."""
INPUTS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SLUGS = {kind.slug for kind in problems.CATALOGUE}
PULLS = ("sponsored", "unsponsored")

Json = Any


class Stand:
    """A payer with a good credential, and what must not change while bad ones are shown.

    Some changes do not matter, so that the credential stays good (its source is left out, the
    sponsor replaces what was changed). Then it is paid, once, and there is a new one.
    """

    def __init__(self, shop: Shop, payer: Payer, mode: str) -> None:
        self.shop = shop
        self.payer = payer
        self.mode = mode
        self.credential: Credential
        self._nonce = 0

    async def prepare(self) -> None:
        challenges = await self.shop.challenges()
        if self.mode == "sponsored":
            self._nonce += 1
            self.credential = self.payer.sponsored(challenges[0], nonce=self._nonce)
        else:
            self.credential = self.payer.in_mode(self.mode, challenges)

    def books(self) -> tuple[int, int, int]:
        """What the seller has, what the sponsor has, and what was served."""
        return self.shop.earned(), self.shop.sponsor_funds(), len(self.shop.runs)

    @property
    def body(self) -> dict[str, Json]:
        """The credential's JSON."""
        scheme, _, text = self.credential.to_header().partition(" ")
        assert scheme == "Payment"
        parsed: dict[str, Json] = json.loads(b64url_decode(text))
        return parsed

    async def show(self, body: Json) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.show_header(f"Payment {b64url_encode(raw)}".encode())

    async def show_header(self, *values: bytes) -> None:
        earned, funds, runs = self.books()
        headers = [(b"Authorization", value) for value in values]
        async with asyncio.timeout(SECONDS):
            answer = await self.shop.http.get("/paid", headers=headers)
        if answer.status_code == 200:
            moved = 0 if self.mode == "push" else PRICE
            assert (self.shop.earned(), len(self.shop.runs)) == (earned + moved, runs + 1)
            await self.prepare()
            return
        assert answer.status_code in (400, 402), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "payment-receipt" not in answer.headers
        slug = answer.json()["type"].rpartition("/problems/")[2]
        assert slug in SLUGS
        if answer.status_code == 402:
            assert Challenge.all_from_headers(answer.headers.get_list("www-authenticate"))
        assert self.books() == (earned, funds, runs)
        record = await self.shop.store.get(self.credential.challenge.id)
        if slug == problems.SETTLEMENT_FAILED.slug:
            assert record is not None
            assert record.state is State.FAILED
            await self.prepare()
            return
        assert record is None

    async def close(self) -> None:
        """After all that, the good credential is good, if its time has not passed."""
        expires = self.payer.expires(self.credential.challenge)
        if expires - self.shop.time.now > 60:
            assert (await self.shop.show(self.credential)).status_code == 200


@pytest.fixture
async def stands(shop: Shop) -> dict[str, Stand]:
    made = {}
    for number, mode in enumerate(MODES, 1):
        made[mode] = Stand(shop, shop.payer(number, usdc="1000"), mode)
        await made[mode].prepare()
    return made


# --- values ---------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\r\n",
        "=",
        "AAAA",
        "null",
        "-1",
        "0x10",
        "1e400",
        "9" * 400,
        "A" * 40_000,
        "\ud800",
        "\u202e",
        "é𝕏",
        "../../etc/passwd",
        "Payment id=",
        '{"a":1}',
        "stellar",
        "charge",
        "transaction",
        "signedHash",
        "hash",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | HOSTILE_TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


# What is drawn must not depend on a credential: each has another challenge, so that a failure could
# not be shown again. So changes are drawn first, places in a text as fractions of its length.

PLACES = st.integers(0, 1_000)


def at(place: int, length: int) -> int:
    """The place in something that is so long; 0 is its start, 1,000 its end."""
    return place * length // 1_000


@dataclass(frozen=True)
class Respelling:
    """Makes a text into one much like it."""

    kind: int
    place: int
    inserted: str
    appended: str | None

    def of(self, text: str) -> str:
        here = at(self.place, len(text))
        match self.kind:
            case 0:
                return text[:here]
            case 1:
                return text[here:]
            case 2:
                return text[:here] + self.inserted + text[here:]
            case 3:
                return text[:here] + self.inserted + text[here + 1 :]
            case 4:
                return text.swapcase()
            case 5:
                return text + (text if self.appended is None else self.appended)
        return text[::-1]


RESPELLINGS = st.builds(
    Respelling,
    kind=st.integers(0, 6),
    place=PLACES,
    inserted=st.characters() | st.characters(max_codepoint=127),
    appended=st.sampled_from(["=", " ", "\n", "\0", None]),
)

ECHO = ("id", "realm", "method", "intent", "request", "expires", "digest", "description", "opaque")
TERMS = (
    "amount",
    "currency",
    "recipient",
    "methodDetails",
    "network",
    "feePayer",
    "credentialTypes",
    "externalId",
)
PAYLOAD = ("type", "transaction", "hash", "sourceSignature")
FIELDS: list[tuple[str, ...]] = [
    *(("challenge", name) for name in (*ECHO, "header", "unheard-of")),
    *(("payload", name) for name in PAYLOAD),
    ("source",),
    ("challenge",),
    ("payload",),
]


@dataclass(frozen=True)
class Change:
    """Another value in one place of a credential, or none."""

    path: tuple[str, ...]
    respelling: Respelling | None
    """What becomes of a text."""
    value: Json
    """What takes the place of everything else."""
    removes: bool

    def make(self, body: dict[str, Json]) -> None:
        *parents, name = self.path
        place = body
        for parent in parents:
            place = place.get(parent, {}) if isinstance(place, dict) else {}
        if not isinstance(place, dict):
            return
        text = place.get(name)
        if self.respelling is not None and isinstance(text, str):
            place[name] = self.respelling.of(text)
        elif self.removes:
            place.pop(name, None)
        else:
            place[name] = copy.deepcopy(self.value)


CHANGES = st.builds(
    Change,
    path=st.sampled_from(FIELDS),
    respelling=st.none() | RESPELLINGS,
    value=VALUES,
    removes=st.integers(0, 5).map(lambda number: number == 0),
)


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@INPUTS
@given(changes=st.lists(CHANGES, min_size=1, max_size=2))
async def test_any_field_of_a_credential(
    stands: dict[str, Stand], mode: str, changes: list[Change]
) -> None:
    stand = stands[mode]
    body = stand.body
    for change in changes:
        change.make(body)
    await stand.show(body)


@pytest.mark.parametrize("mode", PULLS)
@INPUTS
@given(bits=st.lists(st.tuples(PLACES, st.integers(0, 7)), min_size=1, max_size=3))
async def test_any_bits_of_a_transaction(
    stands: dict[str, Stand], mode: str, bits: list[tuple[int, int]]
) -> None:
    stand = stands[mode]
    raw = bytearray(base64.b64decode(transaction_in(stand.credential)))
    for place, bit in bits:
        raw[at(place, len(raw) - 1)] ^= 1 << bit
    body = stand.body
    body["payload"]["transaction"] = base64.b64encode(raw).decode()
    await stand.show(body)


@pytest.mark.parametrize("mode", PULLS)
@INPUTS
@given(
    places=st.tuples(PLACES, PLACES),
    filling=st.binary(max_size=64) | st.sampled_from([b"\xff" * 8, b"\0" * 400]),
)
async def test_a_transaction_cut_and_filled(
    stands: dict[str, Stand], mode: str, places: tuple[int, int], filling: bytes
) -> None:
    stand = stands[mode]
    raw = base64.b64decode(transaction_in(stand.credential))
    start, end = sorted(at(place, len(raw)) for place in places)
    body = stand.body
    body["payload"]["transaction"] = base64.b64encode(raw[:start] + filling + raw[end:]).decode()
    await stand.show(body)


@pytest.mark.parametrize("mode", MODES)
@INPUTS
@given(name=st.sampled_from(TERMS), value=VALUES)
async def test_any_term_of_the_echoed_request(
    stands: dict[str, Stand], mode: str, name: str, value: Json
) -> None:
    """What is not ours is not believed, however it reads."""
    stand = stands[mode]
    body = stand.body
    request = json.loads(b64url_decode(body["challenge"]["request"]))
    assert {*request, *request["methodDetails"]} <= set(TERMS)
    place = request["methodDetails"] if name in request["methodDetails"] else request
    place[name] = value
    text = json.dumps(request)
    body["challenge"]["request"] = b64url_encode(text.encode())
    await stand.show(body)


@INPUTS
@given(
    value=st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda raw: b"Payment " + base64.urlsafe_b64encode(raw))
    | ANY_TEXT.map(lambda text: b"Payment " + text.encode("utf-8", "surrogatepass"))
)
async def test_any_header_at_all(stands: dict[str, Stand], value: bytes) -> None:
    await stands["sponsored"].show_header(value)


@pytest.mark.parametrize("mode", MODES)
async def test_every_truncation_of_a_credential(stands: dict[str, Stand], mode: str) -> None:
    stand = stands[mode]
    header = stand.credential.to_header().encode()
    for length in range(0, len(header), 23):
        await stand.show_header(header[:length])
    await stand.close()


DEEP = b'{"challenge":' + b"[" * 5_000 + b"]" * 5_000 + b',"payload":{}}'
BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"challenge":"\xff"}',
    "with a byte order mark": b"\xef\xbb\xbf{}",
    "deep": DEEP,
    "deep objects": b'{"payload":' * 3_000 + b"1" + b"}" * 3_000,
    "NaN": b'{"challenge":{},"payload":{"type":NaN}}',
    "a huge number": b'{"challenge":{},"payload":{"type":' + b"9" * 5_000 + b"}}",
    "the same name twice": b'{"challenge":{},"payload":{},"payload":{"type":"transaction"}}',
    "large": b'{"challenge":{},"payload":{"transaction":"' + b"A" * 300_000 + b'"}}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_body(stands: dict[str, Stand], name: str) -> None:
    for stand in stands.values():
        await stand.show(BODIES[name])
        await stand.close()


@pytest.mark.parametrize("mode", MODES)
async def test_two_credentials_at_once(stands: dict[str, Stand], mode: str) -> None:
    stand = stands[mode]
    header = stand.credential.to_header().encode()
    await stand.show_header(header, header)
    await stand.show_header(header, b"Payment AAAA")
    await stand.close()


@pytest.mark.parametrize("mode", PULLS)
async def test_transactions_of_any_size(stands: dict[str, Stand], mode: str) -> None:
    stand = stands[mode]
    for size in (0, 1, 4, 4_096, 45_000):
        body = stand.body
        body["payload"]["transaction"] = base64.b64encode(bytes(size)).decode()
        await stand.show(body)
    await stand.close()
