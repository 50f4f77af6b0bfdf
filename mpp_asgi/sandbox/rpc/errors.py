"""Errors of JSON-RPC."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603


class RpcError(Exception):
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_params(message: str) -> RpcError:
    return RpcError(ErrorCode.INVALID_PARAMS, message)


def invalid_request(message: str) -> RpcError:
    return RpcError(ErrorCode.INVALID_REQUEST, message)


def internal_error(message: str) -> RpcError:
    return RpcError(ErrorCode.INTERNAL_ERROR, message)
