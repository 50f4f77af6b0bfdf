"""Reading parameters: clients send what they like, methods get what they asked for.

Absent and ``null`` are the same: SDKs send ``null`` for what was not set.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from mpp_asgi.sandbox.rpc.errors import invalid_params

UINT32_MAX = 2**32 - 1


class Params:
    """The parameters of one request: an object."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str) -> str:
        """A string; missing is empty."""
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise invalid_params(f"{name} must be a string")
        return value

    def number(self, name: str) -> int:
        """An unsigned 32-bit integer; missing is 0."""
        value = self._values.get(name)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid_params(f"{name} must be an integer")
        if not 0 <= value <= UINT32_MAX:
            raise invalid_params(f"{name} is out of range")
        return value

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise invalid_params(f"{name} must be a boolean")
        return value

    def items(self, name: str) -> list[Any]:
        """A list; missing is empty."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise invalid_params(f"{name} must be a list")
        return value

    def texts(self, name: str) -> list[str]:
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise invalid_params(f"{name} must be a list of strings")
        return values

    def object(self, name: str) -> Params:
        """An object; missing is empty."""
        value = self._values.get(name)
        if value is None:
            return Params({})
        if not isinstance(value, dict):
            raise invalid_params(f"{name} must be an object")
        return Params(value)

    def require_base64_format(self) -> None:
        """The sandbox writes XDR as base64 only."""
        wanted = self.text("xdrFormat")
        if wanted not in {"", "base64", "json"}:
            raise invalid_params(
                f"expected xdrFormat to be either 'base64' or 'json' but got '{wanted}'"
            )
        if wanted == "json":
            raise invalid_params("the sandbox offers XDR as base64 only")


def decode_base64(text: str) -> bytes:
    """Strict base64; ``ValueError`` for anything else."""
    return b64decode(text.encode("ascii", "strict"), validate=True)


def encode_base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
