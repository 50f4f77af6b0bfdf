"""What strangers' bytes get to, and what has to hold of it whatever they are.

Each target takes bytes. It may refuse them with the one error that is documented; anything else
that is raised, and an answer that is not what it says, is a finding.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from stellar_sdk import Keypair, xdr

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Challenge, Credential, ProtocolError, Receipt, arrange
from mpp_asgi.protocol.accept import AcceptPayment
from mpp_asgi.protocol.encoding import canonical
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.channel_calls import NotTheCallError, read_opening, read_top_up
from mpp_asgi.stellar.inspection import XDR_ERRORS, inspect_envelope
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.token_events import EventError, meta_events, simulated_events
from mpp_asgi.stellar.transfer import TransferError
from mpp_asgi.stellar.vouchers import read_session

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_790_000_000.0
KINDS = (("stellar", "charge"), ("stellar", "session"), ("other", "charge"))


def challenges(data: bytes) -> None:
    """``WWW-Authenticate``: what is read is written as something that reads the same."""
    fields = data.decode("latin-1").split("\n")
    with suppress(ProtocolError):
        for challenge in Challenge.all_from_headers(fields):
            with suppress(ProtocolError):  # its parameters may be nothing that may be written
                assert Challenge.from_header(challenge.to_header()) == challenge
            with suppress(ProtocolError):
                challenge.request_object()
            with suppress(ProtocolError):
                challenge.opaque_object()
            with suppress(ProtocolError):
                challenge.expires_at()


def credentials(data: bytes) -> None:
    """``Authorization``, as a field and, so that a fuzzer gets further, as the JSON in it."""
    encoded = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for value in (data.decode("latin-1"), f"Payment {encoded}"):
        with suppress(ProtocolError):
            credential = Credential.from_header(value)
            assert Credential.from_header(credential.to_header()) == credential
            shown, known = repr(credential), repr((credential.challenge, credential.source))
            for secret in credential.payload.values():
                if isinstance(secret, str) and len(secret) > 40:
                    assert secret not in shown or secret in known, secret
            with suppress(RefusalError):
                read_session(credential)


def receipts(data: bytes) -> None:
    """``Payment-Receipt``, in the same two ways."""
    encoded = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for value in (data.decode("latin-1"), encoded):
        with suppress(ProtocolError):
            receipt = Receipt.from_header(value)
            assert Receipt.from_header(receipt.to_header()) == receipt


def preferences(data: bytes) -> None:
    """``Accept-Payment``: offers are arranged by it, and never made more, or none."""
    text = data.decode("latin-1")
    with suppress(ProtocolError):
        accepted = AcceptPayment.from_header(text)
        assert 0 <= accepted.weight("stellar", "charge") <= 1000
    arranged = list(arrange(text, KINDS, key=lambda kind: kind))
    assert 1 <= len(arranged) == len(set(arranged) & set(KINDS))


def canonical_json(data: bytes) -> None:
    """RFC 8785: one text for each value, which reads as that value."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    with suppress(ProtocolError):
        text = canonical(value)
        assert canonical(json.loads(text)) == text


def envelopes(data: bytes) -> None:
    """A payer's transaction: what was inspected is what would be submitted."""
    with suppress(TransferError):
        inspected = inspect_envelope(base64.b64encode(data).decode(), TESTNET.passphrase)
        assert len(bytes.fromhex(inspected.hash)) == 32


def channel_calls(data: bytes) -> None:
    """What a payer's transaction asks of a channel or its factory: read as it would be written."""
    try:
        function = xdr.HostFunction.from_xdr_bytes(data)
    except XDR_ERRORS:
        return
    for read in (read_opening, read_top_up):
        with suppress(NotTheCallError):
            read(function)


def events(data: bytes) -> None:
    """What a node says that happened."""
    text = base64.b64encode(data).decode()
    with suppress(EventError):
        simulated_events([text])
    with suppress(EventError):
        meta_events(text)


def rpc(data: bytes) -> None:
    """The sandbox's JSON-RPC: an answer to whatever it is, and the ledger goes on."""
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):
        return
    answer = _sandbox().rpc(request)
    json.dumps(answer, allow_nan=False)
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert answer["error"]["code"] in {-32600, -32601, -32602}


@cache
def _sandbox() -> Sandbox:
    sandbox = Sandbox(clock=lambda: NOW, close_interval=1.0)
    sandbox.fund(Keypair.from_raw_ed25519_seed(bytes(32)).public_key)
    return sandbox


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(challenges, credentials, receipts, preferences, canonical_json),
        *(envelopes, channel_calls, events, rpc),
    )
}
