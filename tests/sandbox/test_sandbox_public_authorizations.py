"""Authorization entries that another SDK made: what is signed, and that the signatures hold."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry, Credentials
from mpp_asgi.sandbox.wire.values import VOID, Address, Kind, fields
from tests.sandbox.public_examples.gathered import network_id, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.sandbox.wire.authorization import Delegate
    from mpp_asgi.sandbox.wire.values import Val

TESTNET = network_id("testnet")
PUBLISHED = [
    (AuthorizationEntry.parse(b64decode(each["entry"])), each) for each in records("authorizations")
]


def signed(entry: AuthorizationEntry) -> Iterator[tuple[Address, Val]]:
    """Every address of an entry with what it signed, from the top down."""
    assert entry.address is not None
    yield entry.address, entry.signature
    for delegate in entry.delegates:
        yield from _signed(delegate)


def _signed(delegate: Delegate) -> Iterator[tuple[Address, Val]]:
    yield delegate.address, delegate.signature
    for each in delegate.delegates:
        yield from _signed(each)


def test_payloads_are_hashed_as_published() -> None:
    """With delegates the same is signed as without."""
    for entry, record in PUBLISHED:
        assert entry.xdr == b64decode(record["entry"])
        assert entry.payload(TESTNET).hex() == record["payload"]
    assert [entry.credentials for entry, _ in PUBLISHED] == [
        Credentials.ADDRESS_V2,
        Credentials.ADDRESS_WITH_DELEGATES,
        Credentials.ADDRESS_WITH_DELEGATES,
    ]


def test_payloads_depend_on_everything_that_is_signed() -> None:
    for entry, record in PUBLISHED:
        changed = [
            replace(entry, nonce=entry.nonce + 1),
            replace(entry, expiration=entry.expiration + 1),
            replace(entry, credentials=Credentials.ADDRESS),
            replace(entry, address=Address.account(bytes(32))),
        ]
        payloads = {each.payload(TESTNET).hex() for each in changed}
        payloads.add(entry.payload(network_id("public")).hex())
        assert record["payload"] not in payloads
        # Nobody signs signatures.
        unsigned = replace(entry, signature=VOID, delegates=())
        assert unsigned.payload(TESTNET).hex() == record["payload"]


def test_signatures_hold() -> None:
    verify = Verifier()
    checked = 0
    for entry, record in PUBLISHED:
        payload = bytes.fromhex(record["payload"])
        for address, signature in signed(entry):
            if signature.kind is Kind.VOID:
                continue
            (proof,) = signature.value
            parts = fields(proof)
            public_key, raw = parts["public_key"].value, parts["signature"].value
            assert public_key == address.key
            assert verify(public_key, payload, raw)
            assert not verify(public_key, bytes(32), raw)
            checked += 1
    assert checked == 5
