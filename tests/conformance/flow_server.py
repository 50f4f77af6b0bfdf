"""A server for the flow cases of the public suite, made of the protocol package alone.

A case is a mapping of the suite's form: a `path`, what it costs (`request`), what proves the
payment (`expected_signature`), and what is special about it (`fail_verification`, ...).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from mpp_asgi.protocol import (
    Challenge,
    Credential,
    Problem,
    ProtocolError,
    Receipt,
    Secrets,
    content_digest,
    digest_matches,
    encode_object,
    parse_timestamp,
    payment_credentials,
    problems,
    resource_binding,
)
from mpp_asgi.protocol.headers import (
    ACCEPT_PAYMENT,
    AUTHORIZATION,
    PAYMENT_RECEIPT,
    WWW_AUTHENTICATE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

REALM = "conformance"
SECRETS = Secrets("the-flow-server-has-a-secret-of-its-own")
NOW = parse_timestamp("2026-06-01T00:00:00Z")
PAID_AT = "2026-01-01T00:00:00Z"

Case = dict[str, Any]


class Refused(Exception):  # noqa: N818  # it is an answer, not a failure
    """The request is answered with this problem and a fresh challenge."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class FlowServer:
    """An ASGI app that sells every case of `cases`, redirecting some to `other_origin`."""

    def __init__(self, cases: Iterable[Case], other_origin: str) -> None:
        self._cases = {case["path"]: case for case in cases}
        self._other_origin = other_origin
        self._accept_payment: dict[str, str | None] = {}
        self._done: dict[str, int] = {}
        self._used: set[str] = set()
        self._serial = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        case = self._cases.get(request.url.path)
        if case is None:
            return Response(status_code=404)
        if "force_status" in case:
            return Response(status_code=case["force_status"])
        if "redirect_to" in case:
            return RedirectResponse(self._other_origin + case["redirect_to"], 302)
        if case.get("no_payment"):
            return JSONResponse({"ok": True, "name": case["name"]})
        body = await request.body()
        credentials = payment_credentials(request.headers.getlist(AUTHORIZATION))
        if not credentials:
            self._accept_payment[request.url.path] = request.headers.get(ACCEPT_PAYMENT)
        try:
            receipt = self._admit(case, request, body, credentials)
        except Refused as refused:
            return self._refusal(case, request, body, refused.problem)
        return self._delivery(case, request, body, receipt)

    def _admit(self, case: Case, request: Request, body: bytes, credentials: list[str]) -> Receipt:
        """The checks in the order of the scheme; raises `Refused` at the first that fails."""
        if not credentials:
            raise Refused(problems.PAYMENT_REQUIRED.because("Payment is required."))
        try:
            credential = Credential.from_header(credentials[0])
        except ProtocolError as error:
            raise Refused(problems.MALFORMED_CREDENTIAL.because(str(error))) from error
        challenge = credential.challenge
        foreign = self._foreign(case, request, body, challenge)
        if foreign is not None:
            raise Refused(problems.INVALID_CHALLENGE.because(foreign, challenge_id=challenge.id))
        expires = challenge.expires_at()
        if expires is None or expires <= NOW:
            detail = f"The challenge expired at {challenge.expires}."
            raise Refused(problems.PAYMENT_EXPIRED.because(detail, challenge_id=challenge.id))
        signature = credential.payload.get("signature")
        if case.get("fail_verification") or signature != case["expected_signature"]:
            raise Refused(problems.VERIFICATION_FAILED.because("The signature is not the payer's."))
        if challenge.id in self._used:
            raise Refused(problems.INVALID_CHALLENGE.because("The credential was used before."))
        self._used.add(challenge.id)
        reference = case.get("receipt", {}).get("reference", "ref-default")
        return Receipt("tempo", reference, PAID_AT)

    def _foreign(
        self, case: Case, request: Request, body: bytes, challenge: Challenge
    ) -> str | None:
        """Why the challenge is for something else than this request, if it is."""
        if not SECRETS.authentic(challenge):
            return "The challenge was not issued by this server."
        if challenge.request != encode_object(self._price(case, request)):
            return "The challenge is for another price."
        if challenge.opaque_object().get("r") != bound_to(request):
            return "The challenge is for another resource."
        if challenge.digest is not None and not digest_matches(challenge.digest, body):
            return "The challenge is for another body."
        return None

    def _refusal(self, case: Case, request: Request, body: bytes, problem: Problem) -> Response:
        if "expect_problem_details" in case:
            told = case["expect_problem_details"]
            slug = told["type"].removeprefix(problems.BASE_URI)
            problem = Problem(slug, told["title"], told["status"], problem.detail)
        headers = {
            WWW_AUTHENTICATE: self._challenge(case, request, body),
            "Cache-Control": "no-store",
        }
        if "expect_retry_after" in case:
            headers["Retry-After"] = case["expect_retry_after"]
        return Response(problem.to_json(), problem.status, headers, problems.CONTENT_TYPE)

    def _challenge(self, case: Case, request: Request, body: bytes) -> str:
        if case.get("invalid_www_authenticate"):
            return f'Payment id="bad", realm="{REALM}", method="tempo", intent="charge"'
        price = self._price(case, request)
        offer: dict[str, str | None] = {
            "expires": price["expires"],
            "digest": content_digest(body) if case.get("digest_binding") else None,
            # A serial number, because the expiries of the cases do not make challenges differ.
            "opaque": encode_object({"n": str(next(self._serial)), "r": bound_to(request)}),
        }
        request_text = encode_object(price)
        made = SECRETS.challenge_id(
            realm=REALM, method="tempo", intent="charge", request=request_text, **offer
        )
        return Challenge(made, REALM, "tempo", "charge", request_text, **offer).to_header()

    def _price(self, case: Case, request: Request) -> dict[str, Any]:
        price: dict[str, Any] = dict(case["request"])
        if case.get("bind_request_resource"):
            price["resource"] = f"{request.url.path}?{request.url.query}"
        return price

    def _delivery(self, case: Case, request: Request, body: bytes, receipt: Receipt) -> Response:
        delivered: dict[str, Any] = {
            "ok": True,
            "name": case["name"],
            "accept_payment_observed": self._accept_payment.get(request.url.path),
        }
        if case.get("verify_body_preserved"):
            delivered["received_body"] = body.decode()
        if "idempotency_key" in case:
            key = request.headers.get("Idempotency-Key", "")
            self._done[key] = self._done.get(key, 0) + 1
            delivered["side_effect_count"] = self._done[key]
            delivered["idempotency_key_observed"] = key
        headers = {"Cache-Control": "private"}
        if not case.get("omit_receipt"):
            headers[PAYMENT_RECEIPT] = receipt.to_header()
        return JSONResponse(delivered, headers=headers)


def bound_to(request: Request) -> str:
    """The one resource a challenge for this request is good for."""
    return resource_binding(request.method, request.url.path, request.scope["query_string"])
