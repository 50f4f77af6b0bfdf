"""pympp, another implementation: it reads what we write, and we read what it writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import mpp
import pytest

from mpp_asgi.protocol import (
    Challenge,
    ChallengeTemplate,
    Credential,
    Receipt,
    Secrets,
    content_digest,
    encode_object,
    resource_binding,
)

SECRET = "a secret that both implementations share"
SECRETS = Secrets(SECRET)
EXPIRES = "2098-01-01T00:00:00Z"
REQUEST = {
    "amount": "100000",
    "currency": "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA",
    "description": "Café <b>☕</b> & more",
    "methodDetails": {"Layer": 2, "feePayer": True, "network": "stellar:testnet"},
    "recipient": "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
}
OPAQUE = {"r": resource_binding("GET", "/tea", b"")}
PAYLOAD = {"type": "transaction", "transaction": "AAAA"}

OPTIONAL: list[dict[str, Any]] = [
    {},
    {"description": 'Tea "Earl \\ Grey" — 5 €, 🍵'},
    {"digest": content_digest(b"body")},
    {"meta": OPAQUE},
    {"meta": {}},
    {"header": "Payment-Authorization"},
    {"digest": "sha-256=:YQ==:", "meta": OPAQUE, "header": "Payment-Authorization"},
]


def ours(**optional: Any) -> str:
    """A challenge field as our server issues it."""
    meta = optional.get("meta")
    template = ChallengeTemplate(
        "shop.test",
        "stellar",
        "charge",
        encode_object(REQUEST),
        description=optional.get("description"),
        header=optional.get("header"),
    )
    issued = template.issue(
        SECRETS,
        expires=EXPIRES,
        digest=optional.get("digest"),
        opaque=None if meta is None else encode_object(meta),
    )
    return issued.header_value


def theirs(**optional: Any) -> mpp.Challenge:
    return mpp.Challenge.create(
        secret_key=SECRET,
        realm="shop.test",
        method="stellar",
        intent="charge",
        request=REQUEST,
        expires=EXPIRES,
        **optional,
    )


@pytest.mark.parametrize("optional", OPTIONAL)
def test_it_reads_and_verifies_our_challenges(optional: dict[str, Any]) -> None:
    challenge = mpp.Challenge.from_www_authenticate(ours(**optional))
    assert challenge.verify(SECRET, "shop.test")
    assert challenge == theirs(**optional)


@pytest.mark.parametrize("optional", OPTIONAL)
def test_we_read_and_verify_its_challenges(optional: dict[str, Any]) -> None:
    challenge = Challenge.from_header(theirs(**optional).to_www_authenticate("shop.test"))
    assert SECRETS.authentic(challenge)
    assert challenge == Challenge.from_header(ours(**optional))
    assert challenge.request_object() == REQUEST
    assert not SECRETS.authentic(replace(challenge, realm="other.test"))


@pytest.mark.parametrize("optional", OPTIONAL)
def test_its_credential_for_our_challenge_is_authentic(optional: dict[str, Any]) -> None:
    """It decodes `request` and `opaque` and encodes them again for the echo."""
    challenge = mpp.Challenge.from_www_authenticate(ours(**optional))
    header = mpp.Credential(
        challenge=challenge.to_echo(), payload=PAYLOAD, source="did:pkh:stellar:testnet:GA"
    ).to_authorization()
    credential = Credential.from_header(header)
    assert SECRETS.authentic(credential.challenge)
    assert credential.payload == PAYLOAD
    assert credential.source == "did:pkh:stellar:testnet:GA"
    if "description" not in optional:
        assert credential.challenge == Challenge.from_header(ours(**optional))


@pytest.mark.parametrize("optional", OPTIONAL)
def test_it_reads_our_credentials(optional: dict[str, Any]) -> None:
    challenge = Challenge.from_header(ours(**optional))
    header = Credential(challenge, PAYLOAD, "did:pkh:stellar:testnet:GA").to_header()
    credential = mpp.Credential.from_authorization(header)
    assert credential.payload == PAYLOAD
    assert credential.source == "did:pkh:stellar:testnet:GA"
    assert (credential.challenge.id, credential.challenge.request) == (
        challenge.id,
        challenge.request,
    )
    assert credential.challenge.opaque == challenge.opaque


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt("stellar", "ab12", "2026-11-22T08:00:00Z"),
        Receipt(
            "stellar",
            "ab12",
            "2026-11-22T08:00:00Z",
            external_id="order-7",
            extra={"challengeId": "i1", "spent": "5", "units": 3},
        ),
    ],
)
def test_receipts_pass_both_ways(receipt: Receipt) -> None:
    read = mpp.Receipt.from_payment_receipt(receipt.to_header())
    assert read.status == "success"
    assert (read.method, read.reference) == ("stellar", "ab12")
    assert read.timestamp == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert read.external_id == receipt.external_id
    assert (read.extensions or {}) == receipt.extra
    assert Receipt.from_header(read.to_payment_receipt()) == receipt
