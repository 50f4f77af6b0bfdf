"""The public flow cases against a server made of the protocol package, compared with the golden
results of the reference implementation.

Each case is walked step by step, with the adapter's operations in between, and where it needs
no more than one paying client also through the adapter's `http.payment_request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Call = Callable[[str, dict[str, Any]], dict[str, Any]]
    Case = dict[str, Any]

NOT_OF_THE_SCHEME = {
    "discovery_document": "the OpenAPI document is the server's",
    "json_rpc_mcp_payment": "JSON-RPC carries no header fields",
}
# What one paying client cannot be told to do: it pays what it asked for, at once, unexpired.
BEYOND_ONE_CLIENT = {
    "retry_body",
    "retry_query",
    "challenge_path",
    "omit_challenge_expires",
    "concurrent_replay",
    "check_expires",
    "expect_no_authorization",
    "server_only",
}
PARSED = ("accept_payment_observed", "side_effect_count", "idempotency_key_observed")


def by_steps(case: Case) -> bool:
    return not (case["name"] in NOT_OF_THE_SCHEME or case.get("client_flow") or redirects(case))


def by_one_client(case: Case) -> bool:
    return not (case["name"] in NOT_OF_THE_SCHEME or BEYOND_ONE_CLIENT & set(case))


def redirects(case: Case) -> bool:
    return "redirect_to" in case or case.get("server_only", False)


@pytest.fixture(scope="module")
def origin(
    selling: Callable[[list[Case]], AbstractContextManager[str]],
    public_vectors: Callable[[str], dict[str, Any]],
) -> Iterator[str]:
    cases = public_vectors("flows")["cases"]
    with selling([case for case in cases if case["name"] not in NOT_OF_THE_SCHEME]) as address:
        yield address


@pytest.fixture(scope="module")
def http(origin: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=origin, trust_env=False) as client:
        yield client


@pytest.fixture
def golden(
    scenario: Case, public_vectors: Callable[[str], dict[str, Any]]
) -> dict[str, Any] | None:
    results = public_vectors("golden-results")["results"]
    return next((result for result in results if result["name"] == scenario["name"]), None)


def sent(http: httpx.Client, case: Case, *, retry: bool, credential: str | None) -> httpx.Response:
    body = case.get("retry_body", case.get("body")) if retry else case.get("body")
    query = case.get("retry_query", case.get("initial_query", "")) if retry else ""
    headers = {
        "Accept-Payment": case.get("accept_payment"),
        "Idempotency-Key": case.get("idempotency_key"),
        "Authorization": credential,
    }
    return http.request(
        case.get("http_method", "GET"),
        case["path"] + (query or case.get("initial_query", "")),
        content=body,
        headers={name: value for name, value in headers.items() if value is not None},
    )


def walked(http: httpx.Client, call: Call, case: Case, challenge_case: Case) -> dict[str, Any]:
    """The case step by step; the result has the members of the golden one."""
    offered = sent(http, challenge_case, retry=False, credential=None)
    if case.get("no_payment"):
        return outcome(offered.status_code)
    if offered.status_code != httpx.codes.PAYMENT_REQUIRED:
        return outcome(offered.status_code, "unexpected_status")
    parsed = call("challenge.parse", {"header": offered.headers["WWW-Authenticate"]})
    if not parsed["ok"]:
        return outcome(402, "challenge_parse_error") | problem_in(offered)
    challenge = altered(case, parsed["value"])
    formatted = call("credential.format", {"challenge": challenge, "payload": case["payload"]})
    credential = None if case.get("skip_authorization") else formatted["value"]["header"]
    paid = sent(http, case, retry=True, credential=credential)
    result: dict[str, Any] = {
        "challenge": {name: challenge[name] for name in ("method", "intent", "realm", "request")},
        "credential": {"payload": case["payload"]},
    }
    if case.get("concurrent_replay"):
        again = sent(http, case, retry=True, credential=credential)
        statuses = sorted([paid.status_code, again.status_code])
        return result | outcome(200) | {"concurrent_statuses": statuses}
    if case.get("check_cache_headers"):
        result["initial_cache_control"] = offered.headers.get("Cache-Control")
        result["retry_cache_control"] = paid.headers.get("Cache-Control")
    if paid.status_code == httpx.codes.PAYMENT_REQUIRED:
        if case.get("check_cache_headers"):
            result["retry_after"] = paid.headers.get("Retry-After")
            result["receipt_on_error"] = "Payment-Receipt" in paid.headers
        return result | outcome(402, "payment_required") | problem_in(paid)
    delivered = paid.json()
    result |= outcome(paid.status_code)
    result |= {name: delivered[name] for name in PARSED if name in delivered}
    result["receipt"] = receipt_in(call, paid.headers)
    if case.get("verify_body_preserved"):
        result["body_preserved"] = delivered["received_body"] == case["body"]
    return result


def altered(case: Case, challenge: dict[str, Any]) -> dict[str, Any]:
    """The challenge as this case's client echoes it."""
    echo = dict(challenge)
    if case.get("mismatch_request"):
        echo["request"] = {**echo["request"], "amount": "1"}
    if case.get("invalid_challenge_id"):
        echo["id"] = "invalid-challenge-id"
    if case.get("omit_challenge_expires"):
        del echo["expires"]
    return echo


def outcome(status: int, error_type: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"ok": error_type is None, "status": status}
    return {"outcome": told if error_type is None else {**told, "error_type": error_type}}


def problem_in(response: httpx.Response) -> dict[str, Any]:
    problem = response.json()
    return {"problem_details": {name: problem[name] for name in ("type", "title", "status")}}


def receipt_in(call: Call, headers: Any) -> dict[str, Any] | None:
    if "Payment-Receipt" not in headers:
        return None
    parsed = call("receipt.parse", {"header": headers["Payment-Receipt"]})
    receipt: dict[str, Any] = parsed["value"]
    return receipt


def comparable(golden: dict[str, Any]) -> dict[str, Any]:
    """A golden result without what is its server's own: secret, sentences, absent bodies."""
    result = {name: value for name, value in golden.items() if name != "name"}
    told = dict(result["outcome"])
    told.pop("content_type", None)
    if "error_type" in told:
        told["error_type"] = told["error_type"].partition(":")[0]
    result["outcome"] = told
    if "challenge" in result:
        result["challenge"] = {k: v for k, v in result["challenge"].items() if k != "id"}
    if result.get("problem_details") is None:
        result.pop("problem_details", None)
    else:
        problem = result["problem_details"]
        result["problem_details"] = {name: problem[name] for name in ("type", "title", "status")}
    return result


@pytest.mark.public("flows", "cases", where=by_steps)
def test_step_by_step(
    http: httpx.Client,
    call: Call,
    scenario: Case,
    golden: dict[str, Any] | None,
    public_vectors: Callable[[str], dict[str, Any]],
) -> None:
    assert golden is not None
    by_path = {case["path"]: case for case in public_vectors("flows")["cases"]}
    challenge_case = by_path[scenario.get("challenge_path", scenario["path"])]
    result = walked(http, call, scenario, challenge_case)
    wanted = comparable(golden)
    if "problem_details" not in wanted:
        assert result.pop("problem_details", {}).get("status", 402) == 402
    assert result == wanted


@pytest.mark.public("flows", "cases", where=by_one_client)
def test_by_one_paying_client(
    origin: str, call: Call, scenario: Case, golden: dict[str, Any] | None
) -> None:
    mode = scenario.get("mode", "payment")
    for flag, told in (
        ("skip_authorization", "plain"),
        ("mismatch_request", "mismatched_request"),
        ("invalid_challenge_id", "invalid_challenge_id"),
    ):
        mode = told if scenario.get(flag) else mode
    headers = {
        "Accept-Payment": scenario.get("accept_payment"),
        "Idempotency-Key": scenario.get("idempotency_key"),
    }
    response = call(
        "http.payment_request",
        {
            "url": f"{origin}{scenario['path']}{scenario.get('initial_query', '')}",
            "method": scenario.get("http_method", "GET"),
            "headers": {name: value for name, value in headers.items() if value is not None},
            "body": scenario.get("body"),
            "payment": {"payload": scenario.get("payload", {}), "source": None},
            "mode": mode,
        },
    )
    assert response["ok"]
    value = response["value"]
    receipt_wanted = scenario.get("expect_payment_receipt", False)
    if golden is not None:
        assert value["status"] == golden["outcome"]["status"]
        receipt_wanted = golden.get("receipt") is not None
        if receipt_wanted:
            assert receipt_in(call, httpx.Headers(value["headers"])) == golden["receipt"]
    else:
        assert value["status"] == (402 if mode == "plain" else 200)
    assert ("payment-receipt" in value["headers"]) == receipt_wanted


@pytest.mark.public("flows", "cases", where=lambda case: "redirect_to" in case)
def test_a_credential_stays_with_the_origin_that_was_asked(
    origin: str, call: Call, scenario: Case
) -> None:
    response = call(
        "http.payment_request",
        {
            "url": origin + scenario["path"],
            "method": "GET",
            "headers": {},
            "body": None,
            "payment": {"payload": scenario["payload"]},
            "mode": "payment",
        },
    )
    assert response["error"]["type"] == scenario["expect_error_type"]
    assert scenario["expect_error_message_contains"] in response["error"]["message"]
