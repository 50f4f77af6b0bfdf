"""Control of the network: in Python, and over HTTP from the same machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from stellar_sdk import xdr as sdk

from mpp_asgi import PaymentMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

    from mpp_asgi.sandbox import Sandbox

CALL = {"jsonrpc": "2.0", "id": 1, "method": "getLatestLedger"}


@pytest.fixture
def open_stage(new_stage: Callable[..., Stage]) -> Stage:
    """A stage whose sandbox has the admin endpoint."""
    return new_stage(admin=True)


def web(sandbox: Sandbox, *, host: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=sandbox.app, client=(host, 123))
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox")


class Admin:
    """Somebody at the endpoint."""

    def __init__(self, stage: Stage) -> None:
        self.client = web(stage.sandbox)

    async def __call__(self, action: str, **wishes: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/admin/{action}", json=wishes)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, action: str, **wishes: Any) -> str:
        answer = await self.client.post(f"/admin/{action}", json=wishes)
        assert answer.status_code == 400
        (sentence,) = answer.json().values()
        return sentence


@pytest.fixture
def admin(open_stage: Stage) -> Admin:
    return Admin(open_stage)


# Ledgers


async def test_it_tells_how_the_sandbox_is(open_stage: Stage, admin: Admin) -> None:
    expected = {
        "sequence": open_stage.sandbox.sequence,
        "closeTime": int(open_stage.clock.now),
        "closeInterval": None,
        "frozen": False,
        "behind": False,
    }
    assert (await admin.client.get("/admin")).json() == expected


async def test_ledgers_close_now(open_stage: Stage, admin: Admin) -> None:
    before = open_stage.sandbox.sequence
    assert (await admin.client.post("/admin/close")).json()["sequence"] == before + 1
    assert (await admin("close", count=500_000))["sequence"] == before + 500_001
    assert open_stage.rpc("getHealth")["oldestLedger"] == before + 500_001 - 120_959
    open_stage.succeed(open_stage.ready_transfer())


async def test_there_is_a_last_ledger(open_stage: Stage, admin: Admin) -> None:
    left = 2**32 - 1 - open_stage.sandbox.sequence
    assert "4294967295" in await admin.refused("close", count=2**32 - 1)
    with pytest.raises(ValueError, match="cannot be closed"):
        open_stage.sandbox.close_ledger(left + 1)
    assert (await admin("close", count=left))["sequence"] == 2**32 - 1


def test_a_jump_takes_along_what_waits(stage: Stage) -> None:
    """And time stands still in it: what is good until a time is good after it."""
    envelope = stage.ready_transfer()
    stage.send(envelope)
    before = stage.sandbox.sequence
    stage.sandbox.close_ledger(1_000)
    outcome = stage.outcome(envelope)
    assert (outcome["status"], outcome["ledger"]) == ("SUCCESS", before + 1)
    assert stage.sandbox.close_time == int(stage.clock.now)
    stage.sandbox.close_ledger(0)
    assert stage.sandbox.sequence == before + 1_000


async def test_the_pace_can_be_set(open_stage: Stage, admin: Admin) -> None:
    before = open_stage.sandbox.sequence
    assert (await admin("close-interval", seconds=2.5))["closeInterval"] == 2.5
    open_stage.clock.now += 10
    assert (await admin.client.get("/admin")).json()["sequence"] == before + 4
    assert (await admin("close-interval", seconds=None))["closeInterval"] is None
    open_stage.clock.now += 10
    assert open_stage.sandbox.sequence == before + 4


async def test_it_stops_and_goes_on(open_stage: Stage, admin: Admin) -> None:
    await admin("close-interval", seconds=1)
    before = (await admin("freeze"))["sequence"]
    open_stage.clock.now += 100
    assert (await admin.client.get("/admin")).json()["frozen"] is True
    assert (await admin("thaw"))["sequence"] == before
    open_stage.clock.now += 1
    assert open_stage.sandbox.sequence == before + 1


# Faults


async def test_the_next_submissions_are_refused(open_stage: Stage, admin: Admin) -> None:
    await admin("refuse-submit", status="TRY_AGAIN_LATER", times=2)
    await admin("refuse-submit", status="ERROR", code="INSUFFICIENT_FEE")
    envelope = open_stage.ready_transfer()
    assert open_stage.send(envelope)["status"] == "TRY_AGAIN_LATER"
    assert open_stage.send(envelope)["status"] == "TRY_AGAIN_LATER"
    code = open_stage.error_of(open_stage.send(envelope))
    assert code is sdk.TransactionResultCode.txINSUFFICIENT_FEE
    open_stage.succeed(envelope)


async def test_the_next_answer_is_lost(open_stage: Stage, admin: Admin) -> None:
    await admin("lose-answer")
    envelope = open_stage.ready_transfer()
    params = {"transaction": envelope.to_xdr()}
    call = CALL | {"method": "sendTransaction", "params": params}
    assert (await admin.client.post("/", json=call)).status_code == 504
    open_stage.sandbox.close_ledger()
    assert open_stage.outcome(envelope)["status"] == "SUCCESS"


@pytest.mark.parametrize("late", [1, 2, 3])
async def test_a_transaction_lags(open_stage: Stage, admin: Admin, late: int) -> None:
    await admin("delay-submit", ledgers=late)
    envelope = open_stage.ready_transfer()
    assert open_stage.send(envelope)["status"] == "PENDING"
    for _ in range(late):
        open_stage.sandbox.close_ledger()
        assert open_stage.outcome(envelope)["status"] == "NOT_FOUND"
        assert open_stage.send(envelope)["status"] == "DUPLICATE"
    open_stage.sandbox.close_ledger()
    assert open_stage.outcome(envelope)["status"] == "SUCCESS"
    open_stage.succeed(open_stage.ready_transfer())  # the fault is used up


async def test_a_transaction_that_lags_too_long_is_lost(open_stage: Stage, admin: Admin) -> None:
    await admin("delay-submit", ledgers=4)
    envelope = open_stage.ready_transfer()
    assert open_stage.send(envelope)["status"] == "PENDING"
    open_stage.sandbox.close_ledger(4)
    assert open_stage.send(envelope)["status"] == "TRY_AGAIN_LATER"  # banned, for ten ledgers
    open_stage.sandbox.close_ledger(10)
    assert open_stage.outcome(envelope)["status"] == "NOT_FOUND"
    open_stage.succeed(envelope)


async def test_answers_come_from_an_older_ledger(open_stage: Stage, admin: Admin) -> None:
    old = open_stage.sandbox.sequence
    assert (await admin("fall-behind"))["behind"] is True
    envelope = open_stage.ready_transfer()
    assert open_stage.send(envelope)["latestLedger"] == old
    open_stage.sandbox.close_ledger(3)
    assert open_stage.outcome(envelope)["status"] == "NOT_FOUND"
    assert open_stage.outcome(envelope)["latestLedger"] == old
    assert open_stage.usdc_of(open_stage.seller) == 1_0000000 + 10  # the network has gone on
    assert open_stage.rpc("getLatestLedger")["sequence"] == old
    stale = open_stage.sequence_of(open_stage.sponsor)
    assert (await admin("catch-up"))["behind"] is False
    assert open_stage.outcome(envelope)["status"] == "SUCCESS"
    assert open_stage.sequence_of(open_stage.sponsor) == stale + 1


async def test_it_falls_behind_for_some_answers(open_stage: Stage, admin: Admin) -> None:
    old = (await admin("fall-behind", times=2))["sequence"]
    open_stage.sandbox.close_ledger()
    seen = [open_stage.rpc("getLatestLedger")["sequence"] for _ in range(3)]
    assert seen == [old, old, old + 1]
    assert (await admin.client.get("/admin")).json()["behind"] is False


# Back and forth


async def test_a_snapshot_is_a_file(open_stage: Stage, admin: Admin) -> None:
    content = (await admin.client.get("/admin/snapshot")).content
    before = open_stage.sandbox.sequence
    envelope = open_stage.ready_transfer()
    open_stage.succeed(envelope)
    answer = await admin.client.post("/admin/restore", content=content)
    assert answer.json()["sequence"] == before
    assert open_stage.outcome(envelope)["status"] == "NOT_FOUND"
    answer = await admin.client.post("/admin/restore", content=b"nonsense")
    assert answer.status_code == 400
    assert answer.json() == {"error": "It is not a state that a sandbox has saved."}


# Who may, and what is no request


async def test_it_is_off_unless_asked_for(stage: Stage) -> None:
    async with web(stage.sandbox) as client:
        assert (await client.get("/admin")).status_code == 404
        assert (await client.post("/admin/close")).status_code == 404


@pytest.mark.parametrize(("asked_for", "status"), [(False, 404), (True, 200)])
async def test_in_an_app_it_is_off_as_well(
    new_stage: Callable[..., Stage], asked_for: bool, status: int
) -> None:
    sandbox = new_stage(admin=asked_for).sandbox
    app = PaymentMiddleware(Starlette(), network="sandbox", sandbox=sandbox, store="memory://")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.get("/.mpp/sandbox/admin")).status_code == status
        assert (await client.post("/.mpp/sandbox/admin/close")).status_code == status
        assert (await client.get("/admin")).status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 403), ("2001:db8::1", 403), ("else", 403)],
)
async def test_it_is_for_this_machine(open_stage: Stage, host: str, status: int) -> None:
    async with web(open_stage.sandbox, host=host) as client:
        assert (await client.get("/admin")).status_code == status
        assert (await client.post("/admin/close")).status_code == status


async def test_it_is_not_for_pages_in_a_browser(open_stage: Stage, admin: Admin) -> None:
    before = open_stage.sandbox.sequence
    for origin in ("https://page.example", "null", "http://sandbox"):
        answer = await admin.client.post("/admin/close", headers={"Origin": origin})
        assert answer.status_code == 403
        assert answer.json() == {"error": "Pages in a browser may not control the sandbox."}
    assert open_stage.sandbox.sequence == before


@pytest.mark.parametrize(
    ("action", "wishes", "sentence"),
    [
        ("close", {"count": 0}, "count must be an integer from 1 to 4294967295."),
        ("close", {"count": True}, "count must be an integer"),
        ("close", {"counts": 1}, "'counts' means nothing here; there is: count."),
        ("freeze", {"now": 1}, "'now' means nothing here; there is: nothing."),
        ("close-interval", {}, "seconds must be a number of seconds, or null."),
        ("close-interval", {"seconds": "1"}, "seconds must be a number of seconds, or null."),
        ("close-interval", {"seconds": 0}, "seconds must be more than 0."),
        ("refuse-submit", {}, "status must be one of TRY_AGAIN_LATER, DUPLICATE, ERROR."),
        ("refuse-submit", {"status": "ERROR", "code": "SUCCESS"}, "code must be one of FAILED"),
        ("lose-answer", {"method": "getNothing"}, "method must be one of getEvents"),
        ("delay-submit", {}, "ledgers must be an integer from 1 to 1000."),
        ("fall-behind", {"times": 1.5}, "times must be an integer from 1 to 1000."),
    ],
)
async def test_what_is_unclear_is_said(
    admin: Admin, action: str, wishes: dict[str, Any], sentence: str
) -> None:
    assert (await admin.refused(action, **wishes)).startswith(sentence)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The request is not JSON."),
        (b"\xff\xfe\xfd", "The request is not JSON."),
        (b"[" * 30_000, "The request is not JSON."),
        (b"[]", "The request must be an object in JSON."),
        (b" " * 65_537, "The request is larger than 65536 bytes."),
        (b'{"count":1e400}', "count must be an integer from 1 to 4294967295."),
    ],
)
async def test_garbage_is_refused(admin: Admin, body: bytes, sentence: str) -> None:
    answer = await admin.client.post("/admin/close", content=body)
    assert answer.status_code == 400
    assert answer.json() == {"error": sentence}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_time_is_no_interval(stage: Stage, seconds: float) -> None:
    with pytest.raises(ValueError, match="no time between ledgers"):
        stage.sandbox.set_close_interval(seconds)
