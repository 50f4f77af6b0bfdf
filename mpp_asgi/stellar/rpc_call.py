"""A call to Stellar RPC: the JSON-RPC request, its answer read strictly, and what may go wrong.

Sans-I/O: `rpc_drivers` carries calls over HTTP or to a function in the same process. Which calls
there are is in `rpc`.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_REFUSALS: Final = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC codes that blame the request. Every other one blames the node: nothing is known."""

LAST_LEDGER: Final = 2**32 - 1
_MOST: Final = 2**63 - 1
_LAST_TIME: Final = 253_402_300_799
"""The end of the year 9999."""

_SHOWN: Final = 200
"""Characters of a node's own words that may enter an error message."""


class RpcError(Exception):
    """An RPC call had no result."""


class RpcUnavailableError(RpcError):
    """The call could not be made, or its answer makes no sense: **nothing is known**.

    A transaction that was being sent may or may not have reached the network.
    """


class RpcAnswerTooLargeError(RpcUnavailableError):
    """The answer was larger than is read. Asking for less may help."""


class RpcRefusedError(RpcError):
    """The node understood the request and refused it: it had no effect."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The RPC refused the request: {message[:_SHOWN]} ({code}).")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RpcCall(Generic[T_co]):
    """One JSON-RPC request and how to read its result."""

    method: str
    params: Mapping[str, Any]
    parse: Callable[[Fields], T_co]

    def request(self, request_id: int) -> dict[str, Any]:
        """The JSON-RPC 2.0 request object."""
        return {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": self.method,
            "params": dict(self.params),
        }

    def result(self, response: object, request_id: int) -> T_co:
        """What the response says.

        Raises:
            RpcRefusedError: the node refused the request.
            RpcUnavailableError: the node failed, or the response is not one to this request.
        """
        if not isinstance(response, dict) or response.get("id") != request_id:
            raise RpcUnavailableError(f"The RPC's answer to {self.method} is not one to it.")
        if (error := response.get("error")) is not None:
            raise self._failure(error)
        result = response.get("result")
        if not isinstance(result, dict):
            raise RpcUnavailableError(f"The RPC's answer to {self.method} has no result.")
        return self.parse(Fields(self.method, result))

    def _failure(self, error: object) -> RpcError:
        if not isinstance(error, dict):
            return RpcUnavailableError(f"The RPC failed at {self.method}.")
        code, words = error.get("code"), str(error.get("message", "no reason given"))
        if isinstance(code, int) and code in _REFUSALS:
            return RpcRefusedError(code, words)
        return RpcUnavailableError(f"The RPC failed at {self.method}: {words[:_SHOWN]} ({code!r}).")


class Rpc(Protocol):
    """Something that carries calls to a node."""

    async def do(self, call: RpcCall[T]) -> T:
        """The call's result.

        Raises:
            RpcUnavailableError: nothing is known.
            RpcRefusedError: the node refused the request.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection. Idempotent."""
        ...


class BlockingRpc(Protocol):
    """`Rpc` for code without an event loop."""

    def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `Rpc.do` does."""
        ...

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an answer, read strictly. Anything unexpected is an `RpcUnavailableError`."""

    method: str
    values: Mapping[str, Any]

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.senseless(name)
        return value

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def integer(self, name: str) -> int:
        """A number, or a decimal number as text: nodes write either."""
        value = self.values.get(name)
        if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST:
            return value
        raise self.senseless(name)

    def natural(self, name: str) -> int:
        """A number that is not negative."""
        value = self.integer(name)
        if value < 0:
            raise self.senseless(name)
        return value

    def time(self, name: str) -> int:
        """Unix seconds that a date can be made of."""
        value = self.integer(name)
        if not 0 <= value <= _LAST_TIME:
            raise self.senseless(name)
        return value

    def ledger(self, name: str) -> int:
        """A ledger's number, which has 32 bits."""
        value = self.natural(name)
        if value > LAST_LEDGER:
            raise self.senseless(name)
        return value

    def base64(self, name: str) -> str:
        """Text that is bytes in base64."""
        value = self.text(name)
        try:
            b64decode(value, validate=True)
        except ValueError:
            raise self.senseless(name) from None
        return value

    def integer_or_none(self, name: str) -> int | None:
        return self.integer(name) if self.has(name) else None

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._items(name, str))

    def objects(self, name: str) -> tuple[Fields, ...]:
        return tuple(Fields(self.method, each) for each in self._items(name, dict))

    def lists_of_texts(self, name: str) -> tuple[str, ...]:
        """The texts of a list of lists, in one tuple."""
        lists = self._items(name, list)
        if not all(isinstance(text, str) for texts in lists for text in texts):
            raise self.senseless(name)
        return tuple(text for texts in lists for text in texts)

    def _items(self, name: str, kind: type[T]) -> list[T]:
        """A list, empty if absent, whose items are all of one kind."""
        values = self.values.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or not all(isinstance(each, kind) for each in values):
            raise self.senseless(name)
        return values

    def object(self, name: str) -> Fields:
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.senseless(name)
        return Fields(self.method, value)

    def senseless(self, name: str) -> RpcUnavailableError:
        return RpcUnavailableError(
            f"The RPC's answer to {self.method} makes no sense: {name!r} is missing or malformed."
        )
