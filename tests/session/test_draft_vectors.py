"""The session draft, its test vectors and the code say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import Keypair, scval, xdr

from mpp_asgi.protocol import Challenge, Credential, Secrets, encode_object
from mpp_asgi.protocol.encoding import b64url_decode, canonical
from mpp_asgi.stellar.channel_calls import read_opening, read_top_up
from mpp_asgi.stellar.commitment import Commitments
from mpp_asgi.stellar.vouchers import read_session
from tests.session.draft_vectors import FILES, VECTORS
from tests.session.draft_world import receipt_object
from tests.session.json_schema import complaints

DRAFT = (Path(__file__).parents[2] / "docs" / "draft-stellar-session-00.md").read_text()
STANDING = {"channelId", "acceptedCumulative", "spent", "deposit"}
ALWAYS = {"type", "title", "status", "detail"}

Vector = dict[str, Any]


def stored(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


PARTIES: Vector = stored("parties.json")
SESSION: list[Vector] = stored("session.json")
REFUSALS: list[Vector] = stored("refusals.json")
DIALECT: list[Vector] = stored("dialect.json")
COMMITMENTS: list[Vector] = stored("commitments.json")


def by_name(vector: Vector) -> str:
    name: str = vector["name"]
    return name


# The code makes the vectors


@pytest.mark.parametrize("name", FILES)
async def test_the_code_makes_the_vectors(name: str) -> None:
    assert steady(await FILES[name]()) == steady(stored(name))


def steady(vectors: Any) -> Any:
    """Vectors without what the way to the ledger decides."""
    if isinstance(vectors, dict):
        return vectors
    return [_steady(vector) if "varies" in vector else vector for vector in vectors]


def _steady(vector: Vector) -> Vector:
    response = vector["response"]
    headers = {k: v for k, v in response["headers"].items() if k != "payment-receipt"}
    receipt = {k: v for k, v in response["receipt"].items() if k not in vector["varies"]}
    return {**vector, "response": {**response, "headers": headers, "receipt": receipt}}


def test_there_are_no_other_vectors() -> None:
    assert {path.name for path in VECTORS.iterdir()} == {*FILES, "README.md"}


# The code reads the vectors


@pytest.mark.parametrize("vector", stored("challenges.json"), ids=by_name)
def test_challenges_are_read(vector: Vector) -> None:
    challenge = Challenge.from_header(vector["wwwAuthenticate"])
    read = {name: getattr(challenge, name) for name in vector["parameters"]}
    assert read == vector["parameters"]
    assert challenge.request_object() == vector["request"]
    assert canonical(vector["request"]).decode() == vector["canonical"]
    assert b64url_decode(challenge.request).decode() == vector["canonical"]
    assert encode_object(vector["request"]) == challenge.request
    assert Secrets(PARTIES["secret"]).authentic(challenge)


@pytest.mark.parametrize("vector", COMMITMENTS, ids=by_name)
def test_commitments_are_checked(vector: Vector) -> None:
    network, signature = bytes.fromhex(vector["networkId"]), bytes.fromhex(vector["signature"])
    amount, channel = int(vector["cumulativeAmount"]), vector["channelId"]
    fields = [
        ("amount", scval.to_int128(amount)),
        ("channel", scval.to_address(channel)),
        ("domain", scval.to_symbol("chancmmt")),
        ("network", scval.to_bytes(network)),
    ]
    entries = [xdr.SCMapEntry(scval.to_symbol(name), value) for name, value in fields]
    general = xdr.SCVal(xdr.SCValType.SCV_MAP, map=xdr.SCMap(entries)).to_xdr_bytes()
    assert general.hex() == vector["bytes"]
    key = bytes.fromhex(PARTIES["commitmentKey"]["publicKey"])
    assert Commitments(network, channel, key).verify(amount, signature) == vector["valid"]


@pytest.mark.parametrize("who", ["funder", "recipient", "sponsor"])
def test_addresses_come_from_their_seeds(who: str) -> None:
    key = Keypair.from_raw_ed25519_seed(bytes.fromhex(PARTIES[who]["seed"]))
    assert key.public_key == PARTIES[who]["address"]


@pytest.mark.parametrize("vector", stored("openings.json"), ids=by_name)
def test_openings_are_read(vector: Vector) -> None:
    envelope = xdr.TransactionEnvelope.from_xdr(vector["transaction"]).v1
    assert envelope is not None
    operation = envelope.tx.operations[0].body.invoke_host_function_op
    assert operation is not None
    assert [entry.root_invocation.to_xdr() for entry in operation.auth] == [vector["invocation"]]
    if vector["name"] == "a top-up":
        assert read_top_up(operation.host_function).channel == vector["channelId"]
    else:
        opening = read_opening(operation.host_function)
        assert opening.channel(PARTIES["passphrase"]) == vector["channelId"]
        assert opening.salt.hex() == PARTIES["salt"]


@pytest.mark.parametrize("vector", [*SESSION, *REFUSALS, *DIALECT], ids=by_name)
def test_credentials_and_receipts_are_read(vector: Vector) -> None:
    request, response = vector["request"], vector["response"]
    if "payload" in request:
        credential = Credential.from_header(request["authorization"])
        assert credential.payload == request["payload"]
        is_good = response.get("problem", {}).get("title") != "Invalid Payload"
        if is_good and credential.challenge.intent == "session":
            assert read_session(credential).channel == request["payload"]["channelId"]
    if "receipt" in response:
        assert receipt_object(response["headers"]["payment-receipt"]) == response["receipt"]


# The draft says what the vectors say

SCHEMA = "$schema"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^~~~ ?{kind}\n(.*?)^~~~$", DRAFT, re.MULTILINE | re.DOTALL)


EXAMPLES: list[Vector] = [json.loads(block) for block in blocks("json")]
SCHEMAS: dict[str, Vector] = {each["title"]: each for each in EXAMPLES if SCHEMA in each}


def objects(value: Any) -> list[Vector]:
    """Every object in a JSON value."""
    if isinstance(value, list):
        return [found for each in value for found in objects(each)]
    if not isinstance(value, dict):
        return []
    return [value, *(found for each in value.values() for found in objects(each))]


VECTOR_OBJECTS = [found for name in FILES for found in objects(stored(name))]


def agrees(example: Any, value: Any) -> bool:
    """Whether an example of the draft, where strings may be cut off (``...``), is this value."""
    match example, value:
        case dict(), dict():
            return example.keys() == value.keys() and all(
                agrees(example[name], value[name]) for name in example
            )
        case list(), list():
            return len(example) == len(value) and all(map(agrees, example, value))
        case str(), str() if example.endswith("..."):
            return len(example) > len("...") and value.startswith(example.removesuffix("..."))
        case _:
            return bool(example == value)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if SCHEMA not in each])
def test_examples_are_in_the_vectors(example: Vector) -> None:
    assert any(agrees(example, found) for found in VECTOR_OBJECTS), example


def test_the_draft_has_examples_of_everything() -> None:
    actions = {each["action"] for each in EXAMPLES if "action" in each}
    assert actions == {"open", "voucher", "topUp", "close"}
    assert sum("intent" in each for each in EXAMPLES) == 2
    assert sum("amount" in each and "action" in each for each in EXAMPLES) == 1
    assert sum("channel" in each for each in EXAMPLES) == 1
    assert sum("requiredTopUp" in each for each in EXAMPLES) == 1
    assert len(SCHEMAS) == 3


def test_the_commitment_in_the_draft_is_that_of_the_vectors() -> None:
    vector = next(each for each in COMMITMENTS if each["name"] == "100000 base units")
    digits = [block.replace("\n", "") for block in blocks("")]
    assert vector["bytes"] in digits
    assert vector["signature"] in digits


def test_the_template_in_the_draft_makes_the_commitment() -> None:
    (template,) = [block for block in blocks("") if block.startswith("offset")]
    vector = next(each for each in COMMITMENTS if each["name"] == "100000 base units")
    lines = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in template.splitlines()[1:]]
    offsets = [*(int(offset) for offset, _ in lines), 192]
    for (offset, content), end in zip(lines, offsets[1:], strict=True):
        part = bytes.fromhex(vector["bytes"])[int(offset) : end]
        if re.fullmatch(r"[0-9a-f ]+", content):
            assert bytes.fromhex(content) == part, content
        else:
            length = re.search(r"(\d+) bytes", content)
            assert length is not None
            assert len(part) == int(length[1]), content


def problem_types() -> dict[str, tuple[int, set[str]]]:
    """Status and members of each problem type, by the draft's table."""
    section = DRAFT.partition("{#errors}")[2].partition("\n#")[0]
    rows = re.findall(r"^\| `([a-z/-]+)` \| (\d+) \|.*\|([^|]*)\|$", section, re.MULTILINE)
    return {slug: (int(status), _members(members)) for slug, status, members in rows}


def _members(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text)) | (STANDING if "standing" in text else set())


@pytest.mark.parametrize("vector", REFUSALS, ids=by_name)
def test_problems_are_those_of_the_draft(vector: Vector) -> None:
    response = vector["response"]
    problem = response["problem"]
    slug = problem["type"].removeprefix("https://paymentauth.org/problems/")
    status, members = problem_types()[slug]
    assert status == response["status"] == problem["status"]
    assert problem.keys() - ALWAYS <= members
    assert response["freshChallenge"] == (status == 402)
    known = STANDING & problem.keys()
    assert known in (set(), STANDING)
    if known and slug != "session/channel-finalized":  # it may have been seen to be gone
        assert problem["deposit"] == vector["channel"]["deposit"]


def test_every_problem_of_sessions_is_in_the_vectors() -> None:
    shown = {vector["response"]["problem"]["type"].partition("problems/")[2] for vector in REFUSALS}
    # For servers that store their challenges, which this one does not.
    assert problem_types().keys() - shown == {"session/challenge-not-found"}


def test_references_in_the_draft_lead_somewhere() -> None:
    front, _, text = DRAFT.partition("--- abstract")
    sources = set(re.findall(r"^  ([A-Z][\w.-]+):", front, re.MULTILINE))
    anchors = set(re.findall(r"\{#([\w-]+)\}", text))
    used = set(re.findall(r"\{\{([\w.-]+)\}\}", text))
    assert used - sources - anchors == set()
    assert sources - used == {"RFC2119", "RFC8174"}  # the boilerplate's


# The schemas

CHECKED = {
    "Stellar Session Request": [
        each["request"] for each in VECTOR_OBJECTS if "recipient" in each.get("request", ())
    ],
    "Stellar Session Payload": [each["request"]["payload"] for each in SESSION[1:-3]],
    "Stellar Session Receipt": [
        each["response"]["receipt"] for each in SESSION if "receipt" in each["response"]
    ],
}


@pytest.mark.parametrize("title", CHECKED)
def test_the_schemas_hold_for_the_vectors(title: str) -> None:
    assert CHECKED[title]
    for value in CHECKED[title]:
        assert not complaints(value, SCHEMAS[title])


def test_the_schemas_know_what_is_wrong() -> None:
    payload, schema = SESSION[2]["request"]["payload"], SCHEMAS["Stellar Session Payload"]
    for wrong in ({"cumulativeAmount": "01"}, {"action": "pay"}, {"channelId": "G"}):
        assert complaints({**payload, **wrong}, schema)
    receipt = {**SESSION[2]["response"]["receipt"]}
    del receipt["spent"]
    schema = SCHEMAS["Stellar Session Receipt"]
    assert complaints(receipt, schema)


# Streams


def events() -> dict[str, Vector]:
    """The events that the draft shows, and their data."""
    found = {}
    for block in blocks(""):
        if block.startswith("event: "):
            first, *rest = block.splitlines()
            data = "\n".join(line.removeprefix("data: ") for line in rest)
            found[first.removeprefix("event: ")] = json.loads(data)
    return found


def test_the_events_of_streams_are_whole() -> None:
    shown = events()
    assert shown.keys() == {"payment-need-voucher", "payment-receipt"}
    assert shown["payment-need-voucher"].keys() == (STANDING - {"spent"}) | {"requiredCumulative"}
    schema = SCHEMAS["Stellar Session Receipt"]
    receipt = shown["payment-receipt"]
    assert set(schema["required"]) <= receipt.keys() <= schema["properties"].keys()
