"""Control over HTTP, for tests and demos that are not written in Python.

``GET /admin`` tells how the sandbox is, and so does every other answer but the snapshot's. The
others are ``POST``, with an object in JSON (or nothing, where nothing is needed):

==========================  ====================================================================
``/admin/close``            ``{"count": 1}``: close so many ledgers now
``/admin/close-interval``   ``{"seconds": 5}``: the pace from now on; ``null``: on demand only
``/admin/freeze``, ``thaw`` close no ledger by itself, and go on
``/admin/refuse-submit``    ``{"status": "TRY_AGAIN_LATER", "times": 1}``: what the next
                            submissions are answered with; ``"ERROR"`` takes ``"code": "BAD_SEQ"``
``/admin/lose-answer``      ``{"method": "sendTransaction", "times": 1}``: the next calls are
                            carried out, but answered with 504
``/admin/delay-submit``     ``{"ledgers": 2, "times": 1}``: the next transactions are taken, but
                            get in so many ledgers late; from 4 on they never do
``/admin/fall-behind``      ``{"times": 3}``: the next answers are of the present ledger, whatever
                            happens; ``null``: all, until ``/admin/catch-up``
``/admin/snapshot``         (``GET``) the state as a file
``/admin/restore``          takes such a file, and goes back to it
==========================  ====================================================================

What is wrong with a request is said in a sentence: ``{"error": "..."}``, status 400. It is for
clients on the same machine only (403), and not for pages in a browser, which send an ``Origin``.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from math import isfinite
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mpp_asgi.sandbox.rpc.dispatch import METHODS
from mpp_asgi.sandbox.snapshot import Snapshot, SnapshotError
from mpp_asgi.sandbox.wire.results import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from mpp_asgi.sandbox.sandbox import Sandbox

    Action = Callable[["Wishes"], object]

_MAX_BODY = 64 * 1024
_MAX_STATE = 1 << 30
_MAX_TIMES = 1_000
_CODES = tuple(code.name for code in Code if code < 0)
_STATUSES = ("TRY_AGAIN_LATER", "DUPLICATE", "ERROR")


class _UnclearError(Exception):
    """A request that cannot be followed; the message is a sentence for whoever sent it."""


class Wishes:
    """What a request asks for in its body."""

    def __init__(self, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for name in values:
            if name not in known:
                said = ", ".join(known) or "nothing"
                raise _UnclearError(f"{name!r} means nothing here; there is: {said}.")
        self._values = values

    def integer(self, name: str, default: int | None, *, most: int, least: int = 1) -> int:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _UnclearError(f"{name} must be an integer from {least} to {most}.")
        return value

    def optional_integer(self, name: str, *, most: int) -> int | None:
        if self._values.get(name) is None:
            return None
        return self.integer(name, None, most=most)

    def seconds(self, name: str) -> float | None:
        """A time, or ``None`` for ``null``; it has to be there."""
        value = self._values.get(name, False)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _UnclearError(f"{name} must be a number of seconds, or null.")
        if not isfinite(value) or value <= 0:
            raise _UnclearError(f"{name} must be more than 0.")
        return value

    def choice(self, name: str, default: str | None, choices: tuple[str, ...]) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str) or value not in choices:
            raise _UnclearError(f"{name} must be one of {', '.join(choices)}.")
        return value


class Admin:
    """HTTP handlers over one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        sandbox = self._sandbox
        actions: list[tuple[str, tuple[str, ...], Action]] = [
            ("close", ("count",), self._close),
            ("close-interval", ("seconds",), self._set_close_interval),
            ("freeze", (), lambda _: sandbox.freeze()),
            ("thaw", (), lambda _: sandbox.thaw()),
            ("refuse-submit", ("status", "code", "times"), self._refuse_submit),
            ("lose-answer", ("method", "times"), self._lose_answer),
            ("delay-submit", ("ledgers", "times"), self._delay_submit),
            ("fall-behind", ("times",), self._fall_behind),
            ("catch-up", (), lambda _: sandbox.catch_up()),
        ]
        posts = [
            Route(f"/admin/{name}", self._guarded(self._following(known, action)), methods=["POST"])
            for name, known, action in actions
        ]
        return [
            Route("/admin", self._guarded(self._tell), methods=["GET"]),
            Route("/admin/snapshot", self._guarded(self._snapshot), methods=["GET"]),
            Route("/admin/restore", self._guarded(self._restore), methods=["POST"]),
            *posts,
        ]

    def _guarded(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if not _is_local(request):
                return _error(403, "Only clients on the same machine may control the sandbox.")
            if "origin" in request.headers:
                return _error(403, "Pages in a browser may not control the sandbox.")
            try:
                return await handler(request)
            except (_UnclearError, SnapshotError) as problem:
                return _error(400, str(problem))

        return guarded

    def _following(
        self, known: tuple[str, ...], action: Action
    ) -> Callable[[Request], Awaitable[Response]]:
        async def follow(request: Request) -> Response:
            action(Wishes(_object(await _body(request, _MAX_BODY)), known))
            return await self._tell(request)

        return follow

    async def _tell(self, _request: Request) -> Response:
        sandbox = self._sandbox
        return JSONResponse(
            {
                "sequence": sandbox.sequence,
                "closeTime": sandbox.close_time,
                "closeInterval": sandbox.close_interval,
                "frozen": sandbox.is_frozen,
                "behind": sandbox.is_behind,
            }
        )

    async def _snapshot(self, _request: Request) -> Response:
        content = self._sandbox.snapshot().to_bytes()
        return Response(content, media_type="application/octet-stream")

    async def _restore(self, request: Request) -> Response:
        self._sandbox.restore(Snapshot.from_bytes(await _body(request, _MAX_STATE)))
        return await self._tell(request)

    def _close(self, wishes: Wishes) -> None:
        count = wishes.integer("count", 1, most=2**32 - 1)
        try:
            self._sandbox.close_ledger(count)
        except ValueError:
            raise _UnclearError("There can be no more than 4294967295 ledgers.") from None

    def _set_close_interval(self, wishes: Wishes) -> None:
        self._sandbox.set_close_interval(wishes.seconds("seconds"))

    def _refuse_submit(self, wishes: Wishes) -> None:
        status = wishes.choice("status", None, _STATUSES)
        code = wishes.choice("code", Code.BAD_SEQ.name, _CODES)
        self._sandbox.refuse_next_submit(
            status,  # type: ignore[arg-type] # one of _STATUSES, which mypy cannot see
            code=Code[code],
            times=wishes.integer("times", 1, most=_MAX_TIMES),
        )

    def _lose_answer(self, wishes: Wishes) -> None:
        method = wishes.choice("method", "sendTransaction", tuple(METHODS))
        times = wishes.integer("times", 1, most=_MAX_TIMES)
        self._sandbox.lose_next_answer(method, times=times)

    def _delay_submit(self, wishes: Wishes) -> None:
        ledgers = wishes.integer("ledgers", None, most=_MAX_TIMES)
        times = wishes.integer("times", 1, most=_MAX_TIMES)
        self._sandbox.delay_next_submit(ledgers, times=times)

    def _fall_behind(self, wishes: Wishes) -> None:
        times = wishes.optional_integer("times", most=_MAX_TIMES)
        self._sandbox.fall_behind(times=times)


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine, as far as the server knows; no address: in-process."""
    if request.client is None:
        return True
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _UnclearError(f"The request is larger than {limit} bytes.")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise _UnclearError("The request is not JSON.") from None
    if not isinstance(content, dict):
        raise _UnclearError("The request must be an object in JSON.")
    return content


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status)
