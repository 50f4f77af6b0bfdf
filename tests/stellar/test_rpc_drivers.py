"""Calls over HTTP and in process: bounded, and discreet about the URL."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest

from mpp_asgi.stellar.rpc import get_latest_ledger, get_transaction
from mpp_asgi.stellar.rpc_call import BlockingRpc, Rpc, RpcRefusedError, RpcUnavailableError
from mpp_asgi.stellar.rpc_drivers import (
    MAX_ANSWER,
    AsyncRpc,
    InProcessRpc,
    InProcessSyncRpc,
    SyncRpc,
)

URL = "http://rpc.test/v1/SECRET-KEY"

Answer = tuple[int, Iterable[bytes]]


def node(request: dict[str, Any]) -> dict[str, Any]:
    """Knows the latest ledger and nothing else."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "getLatestLedger":
        return answer | {"result": {"sequence": 20, "protocolVersion": 28}}
    return answer | {"error": {"code": -32601, "message": "method not found"}}


def honest(body: bytes) -> Answer:
    return 200, [json.dumps(node(json.loads(body))).encode()]


def over_asgi(serve: Callable[[bytes], Answer]) -> AsyncRpc:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        status, chunks = serve((await receive())["body"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    return AsyncRpc(URL, client=httpx.AsyncClient(transport=httpx.ASGITransport(app)))


def over_wsgi(serve: Callable[[bytes], Answer], **settings: Any) -> SyncRpc:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        status, chunks = serve(environ["wsgi.input"].read())
        start_response(f"{status} As It Is", [])
        return chunks

    client = httpx.Client(transport=httpx.WSGITransport(app))
    return SyncRpc(URL, client=client, **settings)


@pytest.mark.parametrize("rpc", [over_asgi(honest), InProcessRpc(node)], ids=["http", "in process"])
async def test_calls_are_answered(rpc: Rpc) -> None:
    assert (await rpc.do(get_latest_ledger())).sequence == 20
    assert (await rpc.do(get_latest_ledger())).sequence == 20
    with pytest.raises(RpcRefusedError):
        await rpc.do(get_transaction("ab" * 32))
    await rpc.aclose()


@pytest.mark.parametrize(
    "rpc", [over_wsgi(honest), InProcessSyncRpc(node)], ids=["http", "in process"]
)
def test_calls_are_answered_without_an_event_loop(rpc: BlockingRpc) -> None:
    assert rpc.do(get_latest_ledger()).sequence == 20
    assert rpc.do(get_latest_ledger()).sequence == 20
    with pytest.raises(RpcRefusedError):
        rpc.do(get_transaction("ab" * 32))
    rpc.close()


WORTHLESS: dict[str, Answer] = {
    "server error": (503, [b"{}"]),
    "throttled": (429, [b"{}"]),
    "not allowed in": (401, [b"{}"]),
    "redirect": (307, [b""]),
    "not JSON": (200, [b"<html>"]),
    "nothing": (200, [b""]),
    "deep": (200, [b"[" * 100_000]),
    "not UTF-8": (200, [b'"\xff"']),
    "of another request": (200, [b'{"jsonrpc":"2.0","id":99,"result":{"sequence":20}}']),
    "too large": (200, itertools.repeat(b" " * 65536, MAX_ANSWER // 65536 + 1)),
}


@pytest.mark.parametrize("answer", WORTHLESS.values(), ids=WORTHLESS)
async def test_a_worthless_answer_leaves_everything_unknown(answer: Answer) -> None:
    status, chunks = answer
    chunks = list(chunks)
    with pytest.raises(RpcUnavailableError) as caught:
        await over_asgi(lambda _: (status, chunks)).do(get_latest_ledger())
    assert "SECRET-KEY" not in str(caught.value)
    with pytest.raises(RpcUnavailableError) as caught:
        over_wsgi(lambda _: (status, chunks)).do(get_latest_ledger())
    assert "SECRET-KEY" not in str(caught.value)


async def test_the_largest_answer_is_taken() -> None:
    body = json.dumps(node(get_latest_ledger().request(1))).encode().ljust(MAX_ANSWER)
    assert (await over_asgi(lambda _: (200, [body])).do(get_latest_ledger())).sequence == 20


async def test_a_silent_node_is_given_up() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    client = httpx.AsyncClient(transport=httpx.ASGITransport(silent))
    with pytest.raises(RpcUnavailableError, match="did not answer getLatestLedger"):
        await AsyncRpc(URL, client=client, timeout=0.01).do(get_latest_ledger())


def test_a_dripping_node_is_given_up() -> None:
    """Each byte is in time for the client; together they are not."""
    seconds = itertools.count()
    rpc = over_wsgi(
        lambda _: (200, itertools.repeat(b" ")), timeout=5, monotonic=lambda: float(next(seconds))
    )
    with pytest.raises(RpcUnavailableError, match="did not answer getLatestLedger"):
        rpc.do(get_latest_ledger())


async def test_no_connection() -> None:
    class Broken(httpx.AsyncBaseTransport, httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(f"cannot connect to {request.url}")

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return self.handle_request(request)

    with pytest.raises(RpcUnavailableError, match="ConnectError") as caught:
        await AsyncRpc(URL, client=httpx.AsyncClient(transport=Broken())).do(get_latest_ledger())
    assert "SECRET-KEY" not in str(caught.value)
    with pytest.raises(RpcUnavailableError, match="ConnectError"):
        SyncRpc(URL, client=httpx.Client(transport=Broken())).do(get_latest_ledger())


async def test_an_answer_lost_in_process_leaves_everything_unknown() -> None:
    def losing(request: dict[str, Any]) -> dict[str, Any]:
        raise ConnectionError(f"lost the answer to {request['method']}")

    with pytest.raises(RpcUnavailableError, match="did not answer getLatestLedger"):
        await InProcessRpc(losing).do(get_latest_ledger())


async def test_only_a_client_of_ones_own_is_closed() -> None:
    theirs = httpx.AsyncClient()
    await AsyncRpc(URL, client=theirs).aclose()
    assert not theirs.is_closed
    await theirs.aclose()

    rpc = AsyncRpc(URL)
    await rpc.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await rpc.do(get_latest_ledger())


def test_only_a_client_of_ones_own_is_closed_without_an_event_loop() -> None:
    theirs = httpx.Client()
    SyncRpc(URL, client=theirs).close()
    assert not theirs.is_closed
    theirs.close()

    rpc = SyncRpc(URL)
    rpc.close()
    with pytest.raises(RuntimeError, match="closed"):
        rpc.do(get_latest_ledger())


@pytest.mark.parametrize("url", ["", "rpc.test", "ftp://rpc.test", "https://", "http://[::1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be an http:// or https:// URL"):
        AsyncRpc(url)
    with pytest.raises(ValueError, match="must be an http:// or https:// URL"):
        SyncRpc(url)
