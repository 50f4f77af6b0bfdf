"""What challenges, credentials and receipts say, in rows for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Challenge, Credential, ProtocolError, Receipt, parse_timestamp
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.network import NETWORKS, Token
from mpp_asgi.stellar.payload import TRANSACTION, ShownPayment
from mpp_asgi.stellar.terms import Terms
from mpp_asgi.stellar.transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpp_asgi.stellar.inspection import InspectedTransfer

Rows = list[tuple[str, str]]

_FIELDS = ("www-authenticate", "authorization", "payment-authorization", "payment-receipt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One value that was read."""

    title: str
    rows: Rows


def read_text(text: str, *, now: float) -> list[Finding]:
    """What a header field says, given as its value or as ``Name: value``.

    Args:
        now: Unix seconds.

    Raises:
        ProtocolError: it is none of the three.
    """
    name, _, value = text.strip().partition(":")
    field = name.strip().lower()
    value = value.strip() if field in _FIELDS else text.strip()
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "payment" and field != "www-authenticate":
        return [_receipt(Receipt.from_header(value))]
    if "=" not in rest.rstrip("="):
        return [_credential(Credential.from_header(value), now)]
    challenges = Challenge.all_from_headers([value])
    if not challenges:
        raise ProtocolError("There is no Payment challenge in it.", "challenge")
    return [Finding("Challenge", challenge_rows(each, now=now)) for each in challenges]


def challenge_rows(challenge: Challenge, *, now: float) -> Rows:
    """What a challenge asks for."""
    rows = [("pay by", f"{challenge.method}/{challenge.intent}")]
    terms = terms_of(challenge)
    if terms is None:
        rows += _flat("request", challenge.request_object())
    else:
        rows += [
            ("price", price_text(terms)),
            ("paid to", terms.recipient),
            ("network", terms.network),
            ("fee", "paid by the server" if terms.sponsored else "paid by the payer"),
        ]
        rows += _details(challenge.request_object())
    rows.append(("realm", challenge.realm))
    if challenge.expires is not None:
        rows.append(("expires", f"{challenge.expires} ({_distance(challenge.expires, now)})"))
    if challenge.digest is not None:
        rows.append(("for body", challenge.digest))
    if challenge.header is not None:
        rows.append(("answer in", challenge.header))
    if challenge.description is not None:
        rows.append(("says", challenge.description))
    rows.append(("id", challenge.id))
    return rows


def terms_of(challenge: Challenge) -> Terms | None:
    """The terms of a charge on Stellar; ``None`` for another kind of challenge."""
    if (challenge.method, challenge.intent) != ("stellar", "charge"):
        return None
    try:
        return Terms.from_request(challenge.request_object())
    except RefusalError:
        return None


def price_text(terms: Terms) -> str:
    """``0.01 USDC``."""
    token = token_of(terms)
    if token is None:
        return f"{terms.amount} base units of {terms.token}"
    return f"{amount_text(terms.amount, token.decimals)} {token.symbol}"


def token_of(terms: Terms) -> Token | None:
    """The well-known token that is charged."""
    network = NETWORKS.get(terms.network)
    return None if network is None else network.token_at(terms.token)


def amount_text(units: int, decimals: int) -> str:
    """Base units as whole tokens, without trailing zeros."""
    whole, fraction = divmod(units, 10**decimals)
    return f"{whole}.{fraction:0{decimals}}".rstrip("0").rstrip(".") if fraction else str(whole)


def receipt_rows(receipt: Receipt) -> Rows:
    """What a receipt confirms."""
    rows = [
        ("paid by", receipt.method),
        ("reference", receipt.reference),
        ("at", receipt.timestamp),
        ("status", receipt.status),
    ]
    if receipt.external_id is not None:
        rows.append(("order", receipt.external_id))
    return rows + _flat("", receipt.extra)


def _receipt(receipt: Receipt) -> Finding:
    return Finding("Receipt", receipt_rows(receipt))


def _credential(credential: Credential, now: float) -> Finding:
    rows = challenge_rows(credential.challenge, now=now)
    if credential.source is not None:
        rows.append(("from", credential.source))
    try:
        shown = ShownPayment.in_credential(credential)
    except RefusalError as refusal:
        rows.append(("payload", str(refusal)))
        return Finding("Credential", rows)
    rows.append(("shows", shown.type))
    if shown.type == TRANSACTION:
        rows += _transaction(shown, terms_of(credential.challenge))
    else:
        rows.append(("hash", shown.value))
    return Finding("Credential", rows)


def _transaction(shown: ShownPayment, terms: Terms | None) -> Rows:
    network = NETWORKS.get(terms.network) if terms is not None else None
    if network is None:
        return [("transaction", "of a network that is not known here")]
    try:
        found = inspect_envelope(shown.value, network.passphrase)
    except TransferError as error:
        return [("transaction", str(error))]
    return list(_transfer(found, terms))


def _transfer(found: InspectedTransfer, terms: Terms | None) -> Iterator[tuple[str, str]]:
    transfer = found.transfer
    if transfer is None:
        yield "transfer", f"none: {found.no_transfer}"
        return
    decimals = 7
    if terms is not None and transfer.token == terms.token and (token := token_of(terms)):
        decimals = token.decimals
        yield "transfers", f"{amount_text(transfer.amount, decimals)} {token.symbol}"
    else:
        yield "transfers", f"{transfer.amount} base units of {transfer.token}"
    yield "sender", transfer.sender
    yield "to", transfer.recipient
    for entry in found.authorizations:
        if entry.kind != "source":
            yield "authorized", f"by {entry.address} until ledger {entry.expiration_ledger}"
    if found.signatures:
        yield "hash", found.hash


def _details(request: Mapping[str, object]) -> Rows:
    rows = []
    details = request.get("methodDetails")
    types = details.get("credentialTypes") if isinstance(details, dict) else None
    if isinstance(types, list):
        rows.append(("show", " or ".join(str(each) for each in types)))
    rows += [
        (label, str(request[name]))
        for name, label in (("description", "for"), ("externalId", "order"))
        if name in request
    ]
    return rows


def _flat(prefix: str, members: Mapping[str, object]) -> Rows:
    return [(f"{prefix} {name}".strip(), str(value)) for name, value in members.items()]


def _distance(timestamp: str, now: float) -> str:
    try:
        moment = parse_timestamp(timestamp)
    except ProtocolError:
        return "not a date"
    seconds = round((moment - datetime.fromtimestamp(now, UTC)).total_seconds())
    minutes, rest = divmod(abs(seconds), 60)
    span = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"in {span}" if seconds > 0 else f"{span} ago"
