"""What a Wasm sees of the host: functions of the host, whose failure traps the Wasm."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, NoReturn, ParamSpec, TypeVar

from mpp_asgi.sandbox.host.creation import create_contract
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.authorization import ContractIdPreimage
from mpp_asgi.sandbox.wire.operations import CreateContract
from mpp_asgi.sandbox.wire.values import (
    Address,
    AddressKind,
    Executable,
    error_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.authorization import Invocation
    from mpp_asgi.sandbox.wire.values import Val

P = ParamSpec("P")
R = TypeVar("R")


class UnreachableError(Exception):
    """The Wasm trapped by itself, as Rust's panics do: a failed unwrap, an overflow."""


def _host_function(
    name: str,
) -> Callable[[Callable[Concatenate[Guest, P], R]], Callable[Concatenate[Guest, P], R]]:
    """Failing, a function of the host traps the Wasm that called it, and says so."""
    text = f"escalating error to VM trap from failed host function call: {name}"

    def decorate(method: Callable[Concatenate[Guest, P], R]) -> Callable[Concatenate[Guest, P], R]:
        @wraps(method)
        def call(guest: Guest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(guest, *args, **kwargs)
            except HostError as problem:
                raise guest.host.error(problem.type, problem.code, text) from None

        return call

    return decorate


class Guest:
    """The contract that runs, looking at its host."""

    __slots__ = ("host",)

    def __init__(self, host: Host) -> None:
        self.host = host

    # What it may know

    @property
    def contract(self) -> Address:
        """Its own address."""
        return self.host.contract

    @property
    def sequence(self) -> int:
        """The ledger it runs in."""
        return self.host.sequence

    @property
    def network_id(self) -> bytes:
        return self.host.environment.network_id

    # Its instance storage

    def get(self, key: Val) -> Val | None:
        return self.host.instance_value(key) if self.host.has_instance_value(key) else None

    def put(self, key: Val, value: Val) -> None:
        self.host.put_instance_value(key, value)

    # Others

    @_host_function("call")
    def call(self, contract: Address, name: str, args: Sequence[Val]) -> Val:
        """Call another contract and fail with it."""
        callee = self._callee(contract)
        try:
            return self.host.call(callee, name, args)
        except HostError as problem:
            self._note(problem, "contract call failed", name, args)
            raise

    @_host_function("try_call")
    def try_call(self, contract: Address, name: str, args: Sequence[Val]) -> Val:
        """Call another contract and get its failure as an error value.

        A contract's own errors come as they are, all others as one and the same.
        """
        callee = self._callee(contract)
        try:
            return self.host.call(callee, name, args)
        except HostError as problem:
            self._note(problem, "contract try_call failed", name, args)
            if not problem.is_recoverable:
                raise
            if problem.type is ErrorType.CONTRACT:
                return problem.value
            return error_val(ErrorType.CONTEXT, ErrorCode.INVALID_ACTION)

    def _callee(self, contract: Address) -> Address:
        if contract.kind != AddressKind.CONTRACT:
            raise self.host.error(
                ErrorType.OBJECT, ErrorCode.INVALID_INPUT, "not a contract address"
            )
        return contract

    def _note(self, problem: HostError, text: str, name: str, args: Sequence[Val]) -> None:
        self.host.error(problem.type, problem.code, text, [symbol_val(name), vec_val(args)])

    @_host_function("create_contract_with_constructor")
    def deploy(self, wasm_hash: bytes, salt: bytes, args: Sequence[Val]) -> Address:
        """Create a contract of its own with a Wasm that is on the ledger."""
        preimage = ContractIdPreimage.of(self.contract, salt)
        creation = CreateContract(preimage, Executable(wasm_hash), tuple(args))
        return create_contract(self.host, creation)

    @_host_function("require_auth")
    def require_auth(self, address: Address) -> None:
        """The address must have allowed the call that runs, with its arguments."""
        self.host.require_auth(address)

    def allow_own(self, invocations: Iterable[Invocation]) -> None:
        """Let calls below the next one act on behalf of this contract."""
        self.host.allow_own(invocations)

    # What it does

    @_host_function("verify_sig_ed25519")
    def verify(self, public_key: bytes, text: bytes, signature: bytes) -> None:
        """Check an ed25519 signature; a bad one traps."""
        self.host.verify(public_key, text, signature)

    @_host_function("contract_event")
    def emit(self, topics: Sequence[Val], data: Val) -> None:
        self.host.emit(topics, data)

    @_host_function("fail_with_error")
    def fail(self, code: int) -> NoReturn:
        """Fail with an error of the contract's own."""
        raise self.host.error(
            ErrorType.CONTRACT, code, "failing with contract error", [u32_val(code)]
        )

    def trap(self) -> NoReturn:
        """Fail without a word, as a panic does."""
        raise UnreachableError
