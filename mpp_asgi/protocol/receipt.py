"""Receipts: what a paid response carries in `Payment-Receipt` (core draft, section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.encoding import b64url_encode, decode_object, encode_json, json_string
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.timestamps import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OWN_MEMBERS = frozenset({"method", "reference", "status", "timestamp", "externalId"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was paid: `reference` names the payment to its method, `timestamp` is RFC 3339.

    `extra` holds the members that a payment method or intent adds; one that is ``null`` is absent.
    """

    method: str
    reference: str
    timestamp: str
    status: str = "success"
    external_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_header(cls, value: str) -> Receipt:
        """The receipt of a `Payment-Receipt` field value.

        Raises:
            ProtocolError: it is no receipt of a payment that succeeded.
        """
        body = decode_object(value.strip(" \t"), name="receipt", part="receipt")
        external_id = body.get("externalId")
        if external_id is not None and not isinstance(external_id, str):
            raise ProtocolError("The receipt's 'externalId' is not a text.", "receipt")
        receipt = cls(
            **{name: _text(body, name) for name in ("method", "reference", "timestamp", "status")},
            external_id=external_id,
            extra={
                name: member
                for name, member in body.items()
                if member is not None and name not in _OWN_MEMBERS
            },
        )
        receipt._check()
        return receipt

    def to_header(self) -> str:
        """The receipt as a `Payment-Receipt` field value; absent members are left out.

        Raises:
            ProtocolError: the status is not ``success`` (a payment that failed has no receipt), a
                member is empty or unreadable, or `extra` would replace one.
        """
        self._check()
        return receipt_header(
            self.method, self.reference, self.timestamp, self.external_id, self.extra
        )

    def _check(self) -> None:
        if self.status != "success":
            raise ProtocolError(
                "The receipt's status is not 'success'; only a payment that succeeded has one.",
                "receipt",
            )
        if not self.method or not self.reference:
            raise ProtocolError("The receipt's method or reference is empty.", "receipt")
        try:
            parse_seconds(self.timestamp)
        except ProtocolError as error:
            raise ProtocolError(f"The receipt's timestamp: {error}", "receipt") from None


def receipt_header(
    method: str,
    reference: str,
    timestamp: str,
    external_id: str | None = None,
    extra: Mapping[str, Any] = _NOTHING,
) -> str:
    """The field value of a receipt, for those who know that its members are as `Receipt` says.

    Raises:
        ProtocolError: JSON cannot carry it, or `extra` would replace a member.
    """
    further = "" if external_id is None else f',"externalId":{json_string(external_id)}'
    if extra:
        clash = _OWN_MEMBERS.intersection(extra)
        if clash:
            raise ProtocolError(
                f"The receipt's extra members would replace {min(clash)!r}.", "receipt"
            )
        for name, value in extra.items():
            if value is not None:
                further += f",{json_string(name)}:{_json(value)}"
    try:
        text = (
            f'{{"method":{json_string(method)},"reference":{json_string(reference)},'
            f'"status":"success","timestamp":{json_string(timestamp)}{further}}}'
        ).encode()
    except UnicodeEncodeError:
        raise ProtocolError("The receipt is not valid Unicode.", "receipt") from None
    return b64url_encode(text)


def _json(value: object) -> str:
    if type(value) is str:
        return json_string(value)
    return encode_json({"": value}, name="receipt", part="receipt")[4:-1].decode()


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"The receipt needs a member '{name}', a text.", "receipt")
    return value
