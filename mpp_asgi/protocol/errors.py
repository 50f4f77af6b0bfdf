"""The one error of the protocol: a value that cannot be read or cannot be written."""

from __future__ import annotations


class ProtocolError(ValueError):
    """A protocol value is malformed, or would be if it were written.

    ``str(error)`` is a sentence that tells whoever made the value what to change. It never
    holds a secret, a credential or a payload, so it may be shown to the peer.
    ``error.part`` names the kind of value: ``"challenge"``, ``"credential"``, ``"receipt"``,
    ``"problem"``, ``"accept-payment"``, ``"digest"``, ``"timestamp"``, ``"secret"`` or
    ``"encoding"``.
    """

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message)
        self.part = part

    def __reduce__(self) -> tuple[type[ProtocolError], tuple[str, str]]:
        return type(self), (str(self), self.part)
