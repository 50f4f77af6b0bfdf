"""The load generator counts what a known server sent, however it was framed."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from benchmarks import load

if TYPE_CHECKING:
    from collections.abc import Iterator

SENT: Counter[int] = Counter()
LOCK = threading.Lock()


class KnownServer(BaseHTTPRequestHandler):
    """Answers the status named by the path, framed as the path says, and counts what it sends."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        framing, status = self.path.strip("/").split("/")
        with LOCK:
            SENT[int(status)] += 1
        if framing == "garbage":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
        elif framing == "closed":
            self.close_connection = True
        elif framing == "silent":
            threading.Event().wait(1)
        else:
            self.send_response(int(status))
            getattr(self, f"_send_{framing}")()

    def _send_whole(self) -> None:
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"HTTP/1.1 500")  # a body that looks like a response is no response

    def _send_pieces(self) -> None:
        self.send_header("Content-Length", "6")
        self.end_headers()
        for piece in (b"ab", b"cd", b"ef"):
            self.wfile.write(piece)
            self.wfile.flush()

    def _send_chunked(self) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"3\r\nabc\r\n", b"0", b"\r\n\r", b"\n"):
            self.wfile.write(piece)
            self.wfile.flush()

    def _send_empty(self) -> None:
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Say nothing."""


class PatientServer(ThreadingHTTPServer):
    """Does not mind that the load generator hangs up when it has had enough."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    SENT.clear()
    server = PatientServer(("127.0.0.1", 0), KnownServer)
    with server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_port
        server.shutdown()


def drive(port: int, *requests: bytes) -> load.Tally:
    target = load.Target(port=port, requests=partial(cycle, requests))
    plan = load.Plan(targets=[target], connections=3, seconds=0.06, slice_seconds=0.02)
    (tally,) = load.drive(plan)
    return tally


def test_every_response_is_counted_by_its_status_whatever_its_framing(port: int) -> None:
    paths = ["/whole/200", "/chunked/402", "/pieces/404", "/empty/204", "/whole/503"]

    tally = drive(port, *map(load.get, paths))

    assert set(tally.statuses) == {200, 204, 402, 404, 503}
    assert tally.statuses == SENT
    assert tally.responses == sum(SENT.values())
    assert tally.seconds >= 0.06
    assert tally.rate == pytest.approx(tally.responses / tally.seconds)


def test_targets_take_turns_and_are_counted_apart(port: int) -> None:
    targets = [
        load.Target(port=port, requests=load.same(load.get("/whole/200"))),
        load.Target(port=port, requests=load.same(load.get("/whole/402"))),
    ]

    with load.generator() as drive_elsewhere:
        first, second = drive_elsewhere(load.Plan(targets=targets, connections=2, seconds=0.06))

    assert first.statuses == {200: SENT[200]}
    assert second.statuses == {402: SENT[402]}
    assert first.responses > 0
    assert second.responses > 0


@pytest.mark.parametrize("framing", ["garbage", "closed"])
def test_a_server_that_does_not_play_its_part_ends_the_round(port: int, framing: str) -> None:
    with pytest.raises(load.LoadError):
        drive(port, load.get(f"/{framing}/200"))


def test_an_answer_that_does_not_come_is_not_waited_for_without_end(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0.05)

    with pytest.raises(load.LoadError, match="in vain"):
        drive(port, load.get("/silent/200"))


def test_a_round_is_refused_that_runs_out_of_requests(port: int) -> None:
    few = partial(iter, [load.get("/whole/200")] * 4)
    plan = load.Plan(targets=[load.Target(port=port, requests=few)], connections=2)

    with pytest.raises(load.LoadError, match="too few"):
        load.drive(plan)


def test_a_request_is_rendered_as_http() -> None:
    assert load.get("/a?b=c", authorization="Payment e30", accept_payment="*/*") == (
        b"GET /a?b=c HTTP/1.1\r\n"
        b"host: localhost\r\n"
        b"authorization: Payment e30\r\n"
        b"accept-payment: */*\r\n"
        b"\r\n"
    )
