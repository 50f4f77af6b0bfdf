"""The Payment scheme, sans I/O: pure values and functions for both sides of a 402.

Every value is read by `from_header` and written by `to_header`; what cannot be read or written
raises `ProtocolError`. Nothing here knows a payment method, a framework or the network.
"""

from mpp_asgi.protocol import headers, problems
from mpp_asgi.protocol.accept import AcceptPayment, arrange
from mpp_asgi.protocol.binding import Secrets, resource_binding
from mpp_asgi.protocol.challenge import Challenge
from mpp_asgi.protocol.credential import Credential
from mpp_asgi.protocol.digest import content_digest, digest_bytes, digest_matches
from mpp_asgi.protocol.encoding import (
    b64url_decode,
    b64url_encode,
    canonical,
    decode_object,
    encode_object,
)
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.headers import payment_credentials
from mpp_asgi.protocol.problems import Problem, ProblemType
from mpp_asgi.protocol.receipt import Receipt, receipt_header
from mpp_asgi.protocol.template import ChallengeTemplate, IssuedChallenge
from mpp_asgi.protocol.timestamps import format_timestamp, parse_seconds, parse_timestamp

__all__ = [
    "AcceptPayment",
    "Challenge",
    "ChallengeTemplate",
    "Credential",
    "IssuedChallenge",
    "Problem",
    "ProblemType",
    "ProtocolError",
    "Receipt",
    "Secrets",
    "arrange",
    "b64url_decode",
    "b64url_encode",
    "canonical",
    "content_digest",
    "decode_object",
    "digest_bytes",
    "digest_matches",
    "encode_object",
    "format_timestamp",
    "headers",
    "parse_seconds",
    "parse_timestamp",
    "payment_credentials",
    "problems",
    "receipt_header",
    "resource_binding",
]
