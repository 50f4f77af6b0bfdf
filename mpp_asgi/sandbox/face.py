"""The sandbox over HTTP: JSON-RPC, friendbot and a faucet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from stellar_sdk import StrKey

from mpp_asgi.sandbox.admin import Admin
from mpp_asgi.sandbox.faults import AnswerLostError
from mpp_asgi.sandbox.friendbot import FriendbotError
from mpp_asgi.sandbox.rpc.dispatch import failure
from mpp_asgi.sandbox.rpc.errors import ErrorCode
from mpp_asgi.sandbox.rpc.params import encode_base64

if TYPE_CHECKING:
    from starlette.requests import Request

    from mpp_asgi.sandbox.sandbox import Sandbox

MAX_REQUEST_BYTES = 512 * 1024
_MAX_BATCH = 100


def create_app(sandbox: Sandbox, *, admin: bool) -> Starlette:
    """The ASGI application of a sandbox; with ``admin`` it can be controlled over HTTP."""
    face = Face(sandbox)
    cors = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return Starlette(
        routes=[
            Route("/", face.json_rpc, methods=["POST"]),
            Route("/friendbot", face.friendbot, methods=["GET", "POST"]),
            Route("/faucet", face.faucet, methods=["POST"]),
            *(Admin(sandbox).routes() if admin else ()),
        ],
        middleware=[cors],
    )


class Face:
    """HTTP handlers over one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def json_rpc(self, request: Request) -> Response:
        body = await _read_limited(request)
        if body is None:
            return PlainTextResponse("http: request body too large", status_code=413)
        try:
            content = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _json(failure(None, ErrorCode.PARSE_ERROR, "invalid JSON"))
        try:
            answer = self._answer(content, friendbot_url=f"{request.base_url}friendbot")
        except AnswerLostError:
            return PlainTextResponse("gateway timeout", status_code=504)
        return Response(status_code=204) if answer is None else _json(answer)

    def _answer(self, content: Any, *, friendbot_url: str) -> Any:
        """The answer to a request or a batch; ``None`` when none is wanted."""
        if not isinstance(content, list):
            return self._answer_one(content, friendbot_url=friendbot_url)
        if not content or len(content) > _MAX_BATCH:
            return failure(None, ErrorCode.INVALID_REQUEST, "bad size of batch")
        answers = [self._answer_one(item, friendbot_url=friendbot_url) for item in content]
        return [answer for answer in answers if answer is not None] or None

    def _answer_one(self, call: Any, *, friendbot_url: str) -> dict[str, Any] | None:
        answer = self._sandbox.rpc(call)
        if not isinstance(call, dict):
            return answer
        if call.get("method") == "getNetwork" and "result" in answer:
            answer["result"]["friendbotUrl"] = friendbot_url  # only the face knows where it is
        return answer if "id" in call else None

    async def friendbot(self, request: Request) -> Response:
        """``?addr=G…``: creates the account; as a form field for POST, too."""
        address = request.query_params.get("addr", "")
        if not address and request.method == "POST":
            address = _form_field(await _read_limited(request) or b"", "addr")
        if not StrKey.is_valid_ed25519_public_key(address):
            return _problem("invalid_field", "addr must be an account's address (G…)")
        try:
            applied = self._sandbox.friendbot(address)
        except FriendbotError as problem:
            return _problem("transaction_failed", str(problem))
        return JSONResponse(
            {
                "hash": applied.hash.hex(),
                "successful": True,
                "envelope_xdr": encode_base64(applied.envelope),
                "result_xdr": encode_base64(applied.result),
                "result_meta_xdr": encode_base64(applied.meta),
            }
        )

    async def faucet(self, request: Request) -> Response:
        """``?addr=G…&usdc=10&xlm=100``: gives tokens, creating account and trustline.

        A new account gets 10,000 XLM unless told otherwise.
        """
        query = request.query_params
        address = query.get("addr", "")
        if not StrKey.is_valid_ed25519_public_key(address):
            return _problem("invalid_field", "addr must be an account's address (G…)")
        xlm = query.get("xlm", "0" if self._sandbox.has_account(address) else "10000")
        try:
            self._sandbox.fund(address, xlm=xlm, usdc=query.get("usdc", "0"))
        except ValueError as problem:
            return _problem("invalid_field", str(problem))
        return JSONResponse(
            {
                "address": address,
                "xlm": str(self._sandbox.balance(address, self._sandbox.xlm)),
                "usdc": str(self._sandbox.balance(address, self._sandbox.usdc)),
            }
        )


def _refuse_constant(name: str) -> None:
    """``NaN`` and ``Infinity`` are Python's own, not JSON."""
    raise ValueError(name)


def _json(content: Any) -> Response:
    """In ASCII, so that what a caller gets back of its own words can always be encoded."""
    return Response(json.dumps(content), media_type="application/json")


async def _read_limited(request: Request) -> bytes | None:
    """The body, or ``None`` when it is larger than a request may be."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            return None
    return bytes(body)


def _form_field(body: bytes, name: str) -> str:
    return parse_qs(body.decode("latin-1")).get(name, [""])[0]


def _problem(kind: str, detail: str) -> JSONResponse:
    content = {"type": kind, "title": "Bad Request", "status": 400, "detail": detail}
    return JSONResponse(content, status_code=400, media_type="application/problem+json")
