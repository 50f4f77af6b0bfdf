"""What depends on the server, under the server most people use."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from mpp_asgi import price
from mpp_asgi.protocol import Challenge
from tests.methods.stall import Selling, payment

# Older uvicorns use what the newest websockets calls deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning"),
]


FILE_SIZE = 20_000_000
"""Bytes: more than the buffers of a connection hold, so that it cannot leave unread."""


class Server(uvicorn.Server):
    """Runs in a thread, on a port of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_config=None, **options))
        self._thread = threading.Thread(target=self.run)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        self._thread.start()
        try:
            while not self.started:
                assert self._thread.is_alive()
                time.sleep(0.01)
            [listening] = self.servers[0].sockets[:1]
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            self.should_exit = True
            self._thread.join()


class Shop:
    """A shop whose doings can be watched from outside."""

    def __init__(self, file: Path) -> None:
        self.selling = Selling(clock=time.time, sleep=asyncio.sleep)
        self.goes_on = threading.Event()
        """The slow response does not stop half-way."""
        self.goes_on.set()
        self.app = app = FastAPI()
        file.write_bytes(b"x" * FILE_SIZE)

        @app.get("/json")
        @price("1")
        async def endpoint() -> str:
            return "content"

        @app.get("/file")
        @price("1")
        async def file_response() -> FileResponse:
            return FileResponse(file)

        @app.get("/slow")
        @price("1")
        async def slow() -> StreamingResponse:
            async def chunks() -> AsyncIterator[bytes]:
                for n in range(40):
                    if n == 20:
                        await asyncio.to_thread(self.goes_on.wait)
                    yield b"x" * 1000
                    await asyncio.sleep(0)

            return StreamingResponse(chunks())

        @app.post("/echo")
        @price("1")
        async def echo(body: dict[str, Any]) -> dict[str, Any]:
            return body

        @app.get("/fails")
        @price("1")
        async def fails() -> None:
            raise ZeroDivisionError("planted in the handler")

        @app.websocket("/ws")
        @price("1")
        async def ws(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text(await websocket.receive_text())

        self.selling.to(app)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("files") / "report")


@pytest.fixture(scope="module")
def url(shop: Shop) -> Iterator[str]:
    with Server(shop.app).running() as url:
        yield url


def challenge(client: httpx.Client, method: str, target: str, **request: Any) -> Challenge:
    refused = client.request(method, target, **request)
    assert refused.status_code == 402, refused.text
    return Challenge.from_header(refused.headers["www-authenticate"])


def test_requests_of_every_kind_on_one_connection(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for target, length in [("/json", 9), ("/file", FILE_SIZE), ("/slow", 40_000)]:
            headers = payment(challenge(client, "GET", target))
            served = client.get(target, headers=headers)
            assert (served.status_code, len(served.content)) == (200, length)
            assert served.headers["cache-control"] == "private"
            assert "payment-receipt" in served.headers
            assert client.get(target, headers=headers).status_code == 402
        body = {"question": "x" * 100_000}
        headers = payment(challenge(client, "POST", "/echo", json=body))
        assert client.post("/echo", json=body, headers=headers).json() == body
        assert client.head("/json").status_code == 405


def test_a_body_in_chunks_is_bound_like_a_whole_one(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"a":'
        yield b" 1}"

    json_type = {"content-type": "application/json"}
    with httpx.Client(base_url=url) as client:
        whole = challenge(client, "POST", "/echo", content=b'{"a": 1}', headers=json_type)
        served = client.post("/echo", content=chunks(), headers={**json_type, **payment(whole)})
        assert served.json() == {"a": 1}


def test_a_client_that_hangs_up_in_the_middle_is_served_again_for_free(
    url: str, shop: Shop
) -> None:
    with httpx.Client(base_url=url) as client:
        for target in ("/slow", "/file"):
            headers = payment(challenge(client, "GET", target))
            before = shop.selling.till.takings
            shop.goes_on.clear()
            hang_up(url, target, headers, after=5000)
            wait_until_idle(shop)
            shop.goes_on.set()
            served = client.get(target, headers=headers)
            assert served.status_code == 200, served.text
            assert len(served.content) in {40_000, FILE_SIZE}
            assert shop.selling.till.takings == before + 1
            assert client.get(target, headers=headers).status_code == 402


def hang_up(url: str, target: str, headers: dict[str, str], *, after: int) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        received = 0
        while received < after:
            received += len(connection.recv(1024))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def wait_until_idle(shop: Shop) -> None:
    """Until the server noticed and let go of the charge."""
    [book] = shop.selling.books
    give_up = time.monotonic() + 60
    while book._queues and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not book._queues


def test_a_handler_that_fails_is_a_500_that_says_nothing_and_a_free_retry(
    url: str, shop: Shop
) -> None:
    with httpx.Client(base_url=url) as client:
        headers = payment(challenge(client, "GET", "/fails"))
        before = shop.selling.till.takings
        for _ in range(2):
            failed = httpx.get(f"{url}/fails", headers=headers)
            assert (failed.status_code, failed.text) == (500, "Internal Server Error")
        assert shop.selling.till.takings == before + 1


def test_a_websocket_is_denied_with_the_402_and_opens_paid(url: str) -> None:
    async def talk() -> None:
        target = url.replace("http", "ws") + "/ws"
        with pytest.raises(websockets.InvalidStatus) as denied:
            await websockets.connect(target)
        response = denied.value.response
        assert response.status_code == 402
        assert response.headers["cache-control"] == "no-store"
        assert json.loads(response.body)["status"] == 402  # type: ignore[arg-type]
        asked = Challenge.from_header(response.headers["www-authenticate"])
        headers = payment(asked)
        async with websockets.connect(target, additional_headers=headers) as connection:
            assert connection.response is not None
            assert "payment-receipt" in connection.response.headers
            await connection.send("hello")
            assert await connection.recv() == "hello"
        with pytest.raises(websockets.InvalidStatus) as again:
            await websockets.connect(target, additional_headers=headers)
        assert again.value.response.status_code == 402

    asyncio.run(talk())


def test_other_middleware_around_changes_nothing_of_that(tmp_path: Path) -> None:
    class PassOn(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    shop = Shop(tmp_path / "report")
    shop.app.add_middleware(PassOn)
    with Server(shop.app).running() as url, httpx.Client(base_url=url) as client:
        for target in ("/slow", "/json", "/file"):
            headers = payment(challenge(client, "GET", target))
            assert client.get(target, headers=headers).status_code == 200
            assert client.get(target, headers=headers).status_code == 402


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_odd_requests_never_end_in_a_5xx(http: str, shop: Shop) -> None:
    requests = [
        b"GET /json HTTP/1.0\r\n\r\n",
        b"GET /json HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET //json HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://other.example/json HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /json?%ff=\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /json HTTP/1.1\r\nHost: a\r\nAuthorization: Payment \xff\xfe\r\n\r\n",
        b"GET /json HTTP/1.1\r\nHost: a\r\nAuthorization: Payment " + b"A" * 50_000 + b"\r\n\r\n",
        b"GET /json HTTP/1.1\r\nHost: a\r\nAccept-Payment: " + b"*/*," * 5_000 + b"\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"DELETE /json HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    with Server(shop.app, http=http, lifespan="off").running() as url:
        host, port = url.removeprefix("http://").split(":")
        for request in requests:
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(request)
                status = connection.recv(65536).split(b" ", 2)[1]
            assert status in {b"402", b"400", b"404", b"405", b"431"}, (request, status)


# The start


def serve(source: str, directory: Path, *arguments: str, **environment: str) -> Any:
    """An application under uvicorn, as from a shell."""
    (directory / "shop.py").write_text(source)
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


WRONG_SHOP = """
from fastapi import FastAPI
from mpp_asgi import PaymentMiddleware
app = FastAPI()
app.add_middleware(PaymentMiddleware, network="sandbox", recipent="G...")
"""


def test_a_wrong_setting_stops_the_server_with_one_sentence(tmp_path: Path) -> None:
    with serve(WRONG_SHOP, tmp_path, MPP_SECRET="planted-secret-of-more-than-32-bytes") as server:
        output, _ = server.communicate(timeout=120)
    assert server.returncode == 3
    lines = [line for line in output.splitlines() if "recipent" in line]
    assert lines == ["ERROR:    There is no setting 'recipent'; did you mean 'recipient'?"]
    assert "Application startup failed" in output
    assert "Traceback" not in output
    assert "planted" not in output


SANDBOX_SHOP = """
from fastapi import FastAPI
from mpp_asgi import PaymentMiddleware, price
app = FastAPI()
app.add_middleware(PaymentMiddleware, network="sandbox")

@app.get("/")
@price("0.01")
async def endpoint(): ...
"""


def test_several_workers_on_the_network_inside_are_told_what_to_do(tmp_path: Path) -> None:
    with serve(SANDBOX_SHOP, tmp_path, "--workers", "2") as server:
        try:
            said = next(line for line in server.stdout if "Several workers" in line)
        finally:
            server.terminate()
            server.communicate(timeout=120)
    assert said.strip() == (
        "ERROR:    Several workers need one sandbox between them: run `mpp-asgi sandbox` and "
        "start them with the network, RPC URL, recipient and sponsor that it prints."
    )


# Logs


def test_no_log_shows_a_credential_or_a_secret_at_any_level(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    shop = Shop(tmp_path / "report")
    secret = shop.selling.options["secret"]
    shown: list[str] = []
    # uvicorn's own set-up, which another test may have run in this process, keeps its records to
    # itself; what is looked at here is all of them.
    own = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(own, "handlers", [caplog.handler])
    monkeypatch.setattr(own, "level", logging.DEBUG)
    with Server(shop.app).running() as url, httpx.Client(base_url=url) as client:
        for target in ("/json", "/fails", "/slow"):
            headers = payment(challenge(client, "GET", target), by="planted")
            shown.append(headers["Authorization"].removeprefix("Payment "))
            for _ in range(2):
                httpx.get(url + target, headers=headers)
            client.get(target, headers={"authorization": "Payment planted-nonsense"})
    formatter = logging.Formatter()
    text = "\n".join(
        formatter.format(record) + str(vars(record))
        for record in caplog.records
        if record.name.split(".")[0] not in {"httpx", "httpcore"}  # the client's own
    )
    assert "ZeroDivisionError" in text
    for value in (*shown, secret, "planted-nonsense"):
        assert value not in text
