"""A request with an ``Idempotency-Key`` is carried out once, charged once, and answered alike."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from mpp_asgi import price
from mpp_asgi.fastapi import CurrentPayment  # noqa: TC001 # FastAPI reads it at run time
from mpp_asgi.stores.contract import State, Store, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stores import StoreAround
from tests.session.drawer import CALL, DEPOSIT, Drawer, open_session_shop, session_challenge
from tests.session.stand import ENTRY, UNIT, all_is_booked, open_stand
from tests.shop import MODES, PRICE, Payer, Shop, payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import httpx

    from mpp_asgi.protocol import Challenge, Credential
    from tests.session.stand import Line, Stand

KEY = {"Idempotency-Key": "order 1"}
LIMIT = 1_000


class Trouble:
    """What goes wrong in the endpoint, and how long it takes."""

    def __init__(self) -> None:
        self.status = 200
        self.size = 0
        self.may_end = asyncio.Event()
        self.may_end.set()


@asynccontextmanager
async def open_orders(trouble: Trouble | None = None, **settings: Any) -> AsyncIterator[Shop]:
    """A shop that takes orders: each has an effect, and another number."""
    trouble = trouble or Trouble()
    async with open_session_shop(idempotency_limit=LIMIT, **settings) as shop:

        async def take(request: Request) -> Response:
            shop.runs.append(request.url.path)
            await trouble.may_end.wait()
            if trouble.status != 200:
                raise HTTPException(trouble.status)
            body = (await request.body()).decode()
            text = f"order {len(shop.runs)}: {body}".ljust(trouble.size)
            return Response(text, 201, {"x-order": str(len(shop.runs))})

        @shop.app.api_route("/order", methods=["POST", "PUT", "DELETE", "PATCH", "GET"])
        @price("0.01")
        async def order(request: Request) -> Response:
            return await take(request)

        @shop.app.post("/late")
        @price("0.01", settle="after")
        async def late(request: Request) -> Response:
            return await take(request)

        @shop.app.post("/stream")
        @price("0.01")
        async def stream(request: Request) -> StreamingResponse:
            shop.runs.append(request.url.path)

            async def parts() -> AsyncIterator[str]:
                for number in range(3):
                    yield f"part {number} " + "." * trouble.size

            return StreamingResponse(parts())

        yield shop


def ask(
    shop: Shop, credential: Credential, path: str = "/order", **request: Any
) -> Awaitable[httpx.Response]:
    headers = {**KEY, **request.pop("headers", {})}
    values = {"method": "POST", "content": b"one tea", **request}
    return shop.show(credential, path, headers=headers, **values)


async def charge(shop: Shop, path: str = "/order", mode: str = "sponsored") -> Credential:
    challenges = await shop.challenges(path, method="POST", content=b"one tea")
    return shop.payer().in_mode(mode, challenges)


async def session(shop: Shop) -> tuple[Drawer, Challenge]:
    drawer = await Drawer.on_record(shop)
    challenges = await shop.challenges("/order", method="POST", content=b"one tea")
    return drawer, session_challenge(challenges)


def same(one: httpx.Response, other: httpx.Response) -> bool:
    return (one.status_code, one.content, one.headers.multi_items()) == (
        other.status_code,
        other.content,
        other.headers.multi_items(),
    )


def house_of(shop: Shop) -> Any:
    return payment_middleware(shop.app)._house


# --- charges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/order", "/late", "/stream"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_charge_is_answered_again(mode: str, path: str) -> None:
    async with open_orders() as shop:
        credential = await charge(shop, path, mode)
        first = await ask(shop, credential, path)
        assert first.is_success
        assert first.headers["payment-receipt"]
        for _ in range(3):
            assert same(await ask(shop, credential, path), first)
        assert (shop.runs, shop.earned()) == ([path], PRICE)


async def test_it_is_answered_again_when_the_challenge_has_expired() -> None:
    async with open_orders() as shop:
        credential = await charge(shop)
        first = await ask(shop, credential)
        shop.time.now += 80_000
        assert same(await ask(shop, credential), first)


async def test_it_is_answered_again_as_long_as_it_is_kept() -> None:
    async with open_orders(idempotency_seconds=600) as shop:
        credential = await charge(shop)
        await ask(shop, credential)
        shop.time.now += 600
        again = await ask(shop, credential)
        assert again.status_code == 402
        assert shop.runs == ["/order"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_with_an_effect_has_keys(method: str) -> None:
    async with open_orders() as shop:
        challenges = await shop.challenges("/order", method=method, content=b"one tea")
        credential = shop.payer().sponsored(challenges[0])
        first = await ask(shop, credential, method=method)
        assert same(await ask(shop, credential, method=method), first)


async def test_what_has_no_effect_needs_no_key() -> None:
    async with open_orders() as shop:
        credential = shop.payer().sponsored((await shop.challenges("/order"))[0])
        assert (await shop.show(credential, "/order", headers=KEY)).status_code == 201
        assert (await shop.show(credential, "/order", headers=KEY)).status_code == 402


async def test_nothing_is_kept_without_a_key_or_if_keys_are_off() -> None:
    async with open_orders() as shop:
        credential = await charge(shop)
        answer = await shop.show(credential, "/order", method="POST", content=b"one tea")
        assert answer.status_code == 201
        assert (await ask(shop, credential)).status_code == 402
    async with open_orders(idempotency_seconds=0) as shop:
        credential = await charge(shop)
        assert (await ask(shop, credential)).status_code == 201
        assert (await ask(shop, credential)).status_code == 402


# --- what is not the same -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [{"content": b"two teas"}, {"path": "/order?n=2"}, {"method": "PUT"}], ids=str
)
@pytest.mark.parametrize("kind", ["charge", "session"])
async def test_another_request_with_the_same_key_is_refused(
    kind: str, other: dict[str, Any]
) -> None:
    async with open_orders() as shop:
        if kind == "charge":
            credential = await charge(shop)
        else:
            drawer, challenge = await session(shop)
            credential = drawer.voucher(challenge, 5 * CALL)
        assert (await ask(shop, credential)).status_code == 201
        refused = await ask(shop, credential, **other)
        assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (
            422,
            "bad-request",
        )
        assert "www-authenticate" not in refused.headers
        assert shop.runs == ["/order"]


async def test_nobody_else_is_given_the_answer() -> None:
    """The key alone is worth nothing, nor is a part of the credential."""
    async with open_orders() as shop:
        credential = await charge(shop)
        secret = await ask(shop, credential)
        fresh = await shop.challenges("/order", method="POST", content=b"one tea")
        other = shop.payer(2).sponsored(fresh[0])
        answer = await ask(shop, other)
        assert answer.status_code == 201
        assert answer.content != secret.content, "it paid, so it has an order of its own"
        thief = Payer(shop, shop.payer(3).keypair)
        stolen = thief.credential(fresh[1], **dict(credential.payload))
        forged = thief.credential(credential.challenge, **{**credential.payload, "more": "1"})
        unpaid = await shop.http.post("/order", content=b"one tea", headers=KEY)
        for answer in (await ask(shop, stolen), await ask(shop, forged), unpaid):
            assert answer.status_code == 402
            assert b"order" not in answer.content
        assert len(shop.runs) == 2


# --- sessions -------------------------------------------------------------------------------------


async def test_a_voucher_is_charged_once_for_a_key() -> None:
    async with open_orders() as shop:
        drawer, challenge = await session(shop)
        voucher = drawer.voucher(challenge, DEPOSIT)
        first = await ask(shop, voucher)
        for _ in range(3):
            assert same(await ask(shop, voucher), first)
        assert (await drawer.record()).spent == CALL
        other = await ask(shop, voucher, headers={"Idempotency-Key": "order 2"})
        assert other.status_code == 201
        assert other.content != first.content
        assert (await drawer.record()).spent == 2 * CALL
        assert len(shop.runs) == 2


async def test_a_voucher_without_headroom_is_answered_again() -> None:
    """Without the key it would be refused, and the payer would sign for the same once more."""
    async with open_orders() as shop:
        drawer, challenge = await session(shop)
        voucher = drawer.voucher(challenge, CALL)
        first = await ask(shop, voucher)
        assert first.status_code == 201
        assert same(await ask(shop, voucher), first)
        assert (await drawer.record()).spent == CALL


# --- several at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["charge", "session"])
async def test_of_many_at_once_one_runs_and_all_are_answered(kind: str) -> None:
    async with open_orders() as shop:
        if kind == "charge":
            credential = await charge(shop)
        else:
            drawer, challenge = await session(shop)
            credential = drawer.voucher(challenge, DEPOSIT)
        answers = await asyncio.gather(*(ask(shop, credential) for _ in range(20)))
        assert Counter(a.status_code for a in answers) == {201: 20}
        assert len({a.content for a in answers}) == 1
        assert len(shop.runs) == 1
        if kind == "session":
            assert (await drawer.record()).spent == CALL
        else:
            assert shop.earned() == PRICE


async def test_of_two_processes_one_runs_and_both_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    monkeypatch.setattr("mpp_asgi.house.store_from_url", lambda _: store)
    trouble = Trouble()
    trouble.may_end.clear()
    async with open_orders(trouble) as here:
        there_trouble = Trouble()
        async with open_orders(there_trouble, sandbox=here.sandbox, time=here.time) as there:
            drawer, challenge = await session(here)
            voucher = drawer.voucher(challenge, DEPOSIT)
            first = asyncio.ensure_future(ask(here, voucher))
            async with asyncio.timeout(30):
                while not here.runs:  # noqa: ASYNC110 # what it waits for cannot tell
                    await asyncio.sleep(0)
            second = asyncio.ensure_future(ask(there, voucher))
            for _ in range(50):
                await asyncio.sleep(0)
            trouble.may_end.set()
            assert same(await first, await second)
            assert (here.runs, there.runs) == (["/order"], [])
            assert (await drawer.record()).spent == CALL


# --- units ----------------------------------------------------------------------------------------


@asynccontextmanager
async def open_works(status: int = 200, size: int = 0) -> AsyncIterator[tuple[Stand, Drawer, str]]:
    """A stand whose work takes ten units, which its endpoint leaves to the end of the response; and
    a credential for it."""
    async with open_stand(idempotency_limit=LIMIT) as stand:

        @stand.shop.app.post("/work")
        @price("0.01", intents=["session"])
        async def work(payment: CurrentPayment) -> Response:
            assert payment is not None
            stand.shop.runs.append("/work")
            await payment.meter("0.0001").reserve(10)
            return Response("work".ljust(size), status)

        drawer = await stand.drawer()
        challenges = await stand.shop.challenges("/work", method="POST")
        credential = drawer.voucher(session_challenge(challenges), WORK)
        yield stand, drawer, credential.to_header()


WORK = ENTRY + 10 * UNIT


def post(stand: Stand, credential: str, path: str = "/work") -> Line:
    field = (b"idempotency-key", KEY["Idempotency-Key"].encode())
    return stand.listen(credential, path, method="POST", headers=(field, (b"content-length", b"0")))


async def leave_at_once(stand: Stand, credential: str) -> None:
    line = post(stand, credential)
    line.hang_up()
    await line.end()
    await all_is_booked(stand.shop)


@pytest.mark.parametrize("status", [200, 410])
async def test_what_is_kept_for_whoever_hung_up_is_paid_for(status: int) -> None:
    """Its payer has it for the asking."""
    async with open_works(status) as (stand, drawer, credential):
        await leave_at_once(stand, credential)
        again = post(stand, credential)
        await again.end()
        assert (again.status, again.body) == (status, b"work")
        assert stand.shop.runs == ["/work"]
        assert (await drawer.record()).spent == WORK


async def test_whoever_hangs_up_while_it_is_being_kept_pays_for_it() -> None:
    """The store goes on without us."""
    async with open_works() as (stand, drawer, credential):
        store: Any = stand.shop.store
        keep, kept = store.keep_answer, asyncio.Event()

        async def slowly(answer: Any, *, now: int) -> None:
            await keep(answer, now=now)
            kept.set()
            await asyncio.Event().wait()

        store.keep_answer = slowly
        line = post(stand, credential)
        await kept.wait()
        line.task.cancel()
        await line.end()
        await all_is_booked(stand.shop)
        again = post(stand, credential)
        await again.end()
        assert again.body == b"work"
        assert (await drawer.record()).spent == WORK


async def test_units_that_nobody_can_have_any_more_are_given_back() -> None:
    """What is too large to be kept went with the connection."""
    async with open_works(size=LIMIT + 1) as (stand, drawer, credential):
        await leave_at_once(stand, credential)
        assert (await drawer.record()).spent == ENTRY


async def test_a_stream_that_was_cut_off_is_not_kept() -> None:
    """It ends as streams do, so that nobody who keeps it could tell."""
    async with open_stand(idempotency_limit=LIMIT) as stand:

        @stand.shop.app.post("/words")
        @price("0.01", intents=["session"])
        async def words(payment: CurrentPayment) -> StreamingResponse:
            assert payment is not None
            stand.shop.runs.append("/words")
            return StreamingResponse(payment.meter("0.0001").stream(stand.source))

        drawer = await stand.drawer()
        challenges = await stand.shop.challenges("/words", method="POST")
        voucher = drawer.voucher(session_challenge(challenges), 2 * ENTRY + 10 * UNIT)
        line = post(stand, voucher.to_header(), "/words")
        line.leaves_it_to_sending()
        stand.source.give("one")
        await line.hears(1)
        line.hang_up()
        stand.source.give("two", "three")
        await line.end()
        stand.source.items = asyncio.Queue()
        stand.source.give("one", "two", "three")
        stand.source.end()
        again = post(stand, voucher.to_header(), "/words")
        await again.end()
        assert again.texts == ["one", "two", "three"]
        assert stand.shop.runs == ["/words"] * 2


# --- what is not kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["charge", "session"])
@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_failed_runs_again(kind: str, status: int) -> None:
    trouble = Trouble()
    trouble.status = status
    async with open_orders(trouble) as shop:
        if kind == "charge":
            credential = await charge(shop)
        else:
            drawer, challenge = await session(shop)
            credential = drawer.voucher(challenge, CALL)
        assert (await ask(shop, credential)).status_code == status
        trouble.status = 200
        first = await ask(shop, credential)
        assert first.status_code == 201
        assert same(await ask(shop, credential), first)
        assert shop.runs == ["/order"] * 2


async def test_what_we_say_instead_of_the_app_is_not_kept() -> None:
    """There is more to come for the same credential, once there is more to draw on."""
    async with open_orders() as shop:

        @shop.app.post("/metered")
        @price("0.01", intents=["session"])
        async def metered(payment: CurrentPayment) -> str:
            shop.runs.append("/metered")
            assert payment is not None
            await (await payment.meter("0.01").reserve()).commit()
            return "work"

        drawer = await Drawer.on_record(shop)
        challenges = await shop.challenges("/metered", method="POST")
        voucher = drawer.voucher(session_challenge(challenges), CALL)
        request: dict[str, Any] = {"path": "/metered", "content": b""}
        assert (await ask(shop, voucher, **request)).status_code == 402
        higher = drawer.voucher(session_challenge(challenges), 2 * CALL)
        other = {"Idempotency-Key": "order 2"}
        await ask(shop, higher, headers=other, **request)
        assert (await ask(shop, voucher, **request)).json()["acceptedCumulative"] == str(2 * CALL)


async def test_a_refusal_that_was_paid_for_is_given_again() -> None:
    trouble = Trouble()
    trouble.status = 410
    async with open_orders(trouble) as shop:
        credential = await charge(shop)
        first = await ask(shop, credential)
        assert first.status_code == 410
        assert same(await ask(shop, credential), first)
        assert shop.runs == ["/order"]


@pytest.mark.parametrize("kind", ["charge", "session"])
@pytest.mark.parametrize("path", ["/order", "/stream"])
async def test_what_is_too_large_is_not_carried_out_again(kind: str, path: str) -> None:
    trouble = Trouble()
    trouble.size = LIMIT + 1
    async with open_orders(trouble) as shop:
        if kind == "charge":
            credential = await charge(shop, path)
        else:
            drawer, challenge = await session(shop)
            credential = drawer.voucher(challenge, DEPOSIT)
        assert (await ask(shop, credential, path)).is_success
        refused = await ask(shop, credential, path)
        assert refused.status_code == 409
        assert "too large" in refused.json()["detail"]
        assert "www-authenticate" not in refused.headers
        assert shop.runs == [path]
        if kind == "session":
            assert (await drawer.record()).spent == CALL


async def test_what_is_as_large_as_allowed_is_kept() -> None:
    trouble = Trouble()
    trouble.size = LIMIT
    async with open_orders(trouble) as shop:
        credential = await charge(shop)
        first = await ask(shop, credential)
        assert same(await ask(shop, credential), first)


# --- faults ---------------------------------------------------------------------------------------


class Failing(StoreAround):
    """Fails at one kind of call."""

    fails = ""

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        if name == self.fails:
            raise StoreUnavailableError(name)
        return await operation()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    store = MemoryStore()
    around: Any = Failing(store)
    monkeypatch.setattr("mpp_asgi.house.store_from_url", lambda _: around)
    assert isinstance(around, Failing)
    return around


async def test_a_store_out_of_reach_is_our_fault(failing: Failing) -> None:
    async with open_orders() as shop:
        credential = await charge(shop)
        failing.fails = "kept_answer"
        assert (await ask(shop, credential)).status_code == 503
        assert (shop.runs, shop.earned()) == ([], 0)
        failing.fails = ""
        assert (await ask(shop, credential)).status_code == 201
        failing.fails = "kept_answer"
        assert (await ask(shop, credential)).status_code == 503, "a 402 has agents pay again"


async def test_what_cannot_be_kept_is_answered_all_the_same(failing: Failing) -> None:
    async with open_orders() as shop:
        credential = await charge(shop)
        failing.fails = "keep_answer"
        assert (await ask(shop, credential)).status_code == 201
        assert shop.runs == ["/order"]


async def test_a_process_that_dies_before_it_notes_its_delivery(failing: Failing) -> None:
    """What is kept is the delivery; without its key the credential buys nothing more."""
    async with open_orders() as shop:
        credential = await charge(shop)
        first = await ask(shop, credential)
        store: Store = failing._store
        record = await store.get(credential.challenge.id)
        assert record is not None
        memory: Any = store
        memory._put(record._replace(state=State.SETTLED, receipt="r", owner=None), ())
        assert same(await ask(shop, credential), first)
        without = await shop.show(credential, "/order", method="POST", content=b"one tea")
        assert without.status_code == 402
        assert shop.runs == ["/order"]


async def test_a_payer_who_hung_up_is_answered_when_it_comes_back() -> None:
    """The effect was had, so it is not had twice."""
    trouble = Trouble()
    async with open_orders(trouble) as shop:
        credential = await charge(shop)
        sent: list[Any] = []

        async def gone() -> Any:
            if not sent:
                sent.append("read")
                return {"type": "http.request", "body": b"one tea", "more_body": False}
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/order",
            "raw_path": b"/order",
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"shop.test"),
                (b"content-length", b"7"),
                (b"authorization", credential.to_header().encode()),
                (b"idempotency-key", KEY["Idempotency-Key"].encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("shop.test", 80),
        }
        await shop.app(scope, gone, send)
        record = await shop.store.get(credential.challenge.id)
        assert record is not None
        assert record.state is State.SETTLED, "its response did not arrive"
        back = await ask(shop, credential)
        assert back.status_code == 201
        assert (shop.runs, shop.earned()) == (["/order"], PRICE)
        record = await shop.store.get(credential.challenge.id)
        assert record is not None
        assert record.state is State.DELIVERED


async def test_turns_leave_nothing_behind() -> None:
    async with open_orders() as shop:
        credential = await charge(shop)
        await ask(shop, credential)
        await ask(shop, credential)
        book = house_of(shop)._book
        assert book._queues == {}
        memory: Any = shop.store
        assert [record for record in memory._open if record.startswith("answer:")] == []
