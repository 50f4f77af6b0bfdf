"""The host: runs a host function and offers contracts what they need of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host import budget as cost
from mpp_asgi.sandbox.host.authorization import Authorization
from mpp_asgi.sandbox.host.budget import Budget
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.events import EventLog, message
from mpp_asgi.sandbox.host.native import Function, call_native
from mpp_asgi.sandbox.host.signatures import check_account_signatures
from mpp_asgi.sandbox.host.validation import check_value
from mpp_asgi.sandbox.wire.authorization import Invocation, call_function
from mpp_asgi.sandbox.wire.entries import ContractData
from mpp_asgi.sandbox.wire.keys import (
    PERSISTENT,
    TEMPORARY,
    account_key,
    contract_data_key,
)
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    VOID,
    Address,
    AddressKind,
    Instance,
    Val,
    address_val,
    bytes_val,
    i64_val,
    instance_val,
    nonce_key_val,
    symbol_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mpp_asgi.sandbox.host.storage import Slot, Storage
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
    from mpp_asgi.sandbox.wire.entries import Account, Entry

Verify = "Callable[[bytes, bytes, bytes], bool]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an invocation may know of the ledger it runs in."""

    sequence: int
    close_time: int
    network_id: bytes
    base_reserve: int
    contracts: Contracts


@dataclass(frozen=True, slots=True)
class Contracts:
    """The native contracts: the Stellar Asset Contract, and others by the hash of their Wasm."""

    asset: Mapping[str, Function]
    by_wasm: Mapping[bytes, Mapping[str, Function]]


class Frame:
    """A contract that runs."""

    __slots__ = ("args", "contract", "instance", "modified", "name", "storage")

    def __init__(
        self, contract: Address, name: str, args: tuple[Val, ...], instance: Instance
    ) -> None:
        self.contract = contract
        self.name = name
        self.args = args
        self.instance = instance
        self.storage = dict(instance.storage or ())
        """Instance storage; written back when the frame ends well."""
        self.modified = False


class Host:
    """Runs one host function."""

    def __init__(
        self,
        environment: Environment,
        storage: Storage,
        *,
        source: Address,
        authorization: Iterable[AuthorizationEntry] | None,
        allow_non_root: bool = False,
        upgraded: bool = False,
        new_nonce: Callable[[], int] = lambda: 0,
        verify: Callable[[bytes, bytes, bytes], bool],
        instructions: int,
    ) -> None:
        """``authorization`` is enforced; ``None`` records what would be needed.

        ``verify(public_key, message, signature)`` checks ed25519 signatures.
        """
        self.environment = environment
        self.sequence = environment.sequence
        self.storage = storage
        self.events = EventLog()
        self.budget = Budget(instructions)
        self.frames: list[Frame] = []
        self._new_nonce = new_nonce
        self._verify = verify
        self.authorization = Authorization(
            self, source, authorization, allow_non_root=allow_non_root, upgraded=upgraded
        )

    # Frames

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def contract(self) -> Address:
        """The contract that runs."""
        return self.frames[-1].contract

    def call(self, contract: Address, name: str, args: Sequence[Val]) -> Val:
        """Call a contract's function; raises :class:`HostError`, everything it did undone."""
        if name.startswith("__"):
            raise self.error(
                ErrorType.CONTEXT,
                ErrorCode.INVALID_ACTION,
                "can't invoke a reserved function directly",
                [symbol_val(name)],
            )
        return self.call_internal(contract, name, args)

    def call_internal(self, contract: Address, name: str, args: Sequence[Val]) -> Val:
        if any(frame.contract == contract for frame in self.frames):
            raise self.error(
                ErrorType.CONTEXT, ErrorCode.INVALID_ACTION, "Contract re-entry is not allowed"
            )
        caller = self.frames[-1].contract if self.frames else None
        topics = [symbol_val("fn_call"), bytes_val(contract.key), symbol_val(name)]
        self.events.diagnose(caller, topics, args)
        self.budget.charge(cost.CALL)
        instance = self.instance_of(contract)
        functions = self._functions(instance)
        frame = Frame(contract, name, tuple(args), instance)
        result = self._run(frame, lambda: call_native(self, functions, name, args))
        self.events.diagnose(contract, [symbol_val("fn_return"), symbol_val(name)], [result])
        return result

    def _functions(self, instance: Instance) -> Mapping[str, Function]:
        wasm_hash = instance.executable.wasm_hash
        contracts = self.environment.contracts
        if wasm_hash is None:
            return contracts.asset
        functions = contracts.by_wasm.get(wasm_hash)
        if functions is None:
            raise self.error(
                ErrorType.WASM_VM,
                ErrorCode.INVALID_ACTION,
                "the sandbox runs no Wasm and has no native contract of this hash",
                [bytes_val(wasm_hash)],
            )
        return functions

    def _run(self, frame: Frame, body: Callable[[], Val]) -> Val:
        stored = self.storage.snapshot()
        events = len(self.events)
        self.frames.append(frame)
        self.authorization.push(frame.contract)
        allowed = self.authorization.snapshot()
        try:
            result = body()
            self._persist(frame)
        except HostError:
            self.storage.rollback(stored)
            self.authorization.rollback(allowed)
            self.events.fail_from(events)
            raise
        finally:
            self.authorization.pop()
            self.frames.pop()
        return result

    def _persist(self, frame: Frame) -> None:
        if not frame.modified:
            return
        pairs = tuple(sorted(frame.storage.items(), key=lambda pair: pair[0].xdr))
        instance = Instance(frame.instance.executable, pairs)
        self.put_instance(frame.contract, instance)

    def try_call(self, contract: Address, name: str, args: Sequence[Val]) -> Val | HostError:
        """Call a function and take its failure as a value, where it is one to be caught."""
        try:
            return self.call(contract, name, args)
        except HostError as problem:
            if not problem.is_recoverable:
                raise
            return problem

    def construct(self, contract: Address, args: Sequence[Val]) -> None:
        """Run a new contract's constructor; one that takes nothing may be missing."""
        functions = self._functions(self.instance_of(contract))
        if "__constructor" not in functions and not args:
            return
        try:
            self.call_internal(contract, "__constructor", args)
        except HostError as problem:
            if not problem.is_recoverable:
                raise
            raise self.error(
                ErrorType.CONTEXT,
                ErrorCode.INVALID_ACTION,
                "constructor invocation has failed with error",
                [problem.value],
            ) from None

    # Authorization

    def require_auth(self, address: Address) -> None:
        """The address must have allowed the call that runs, with its arguments."""
        frame = self.frame
        self.budget.charge(cost.AUTHORIZATION)
        self.authorization.require(address, call_function(frame.contract, frame.name, frame.args))

    def allow_own(self, invocations: Iterable[Invocation]) -> None:
        """Let deeper calls act on behalf of the contract that runs."""
        self.authorization.allow_own(self.contract, invocations)

    @property
    def max_live_until(self) -> int:
        return self.storage.max_live_until

    def new_nonce(self) -> int:
        return self._new_nonce()

    def authenticate(self, entry: AuthorizationEntry, address: Address) -> None:
        payload = entry.payload(self.environment.network_id)
        if address.kind == AddressKind.ACCOUNT:
            check_account_signatures(self, address, payload, entry.signature)
            return
        # A contract account decides in its own code.
        raise self.error(
            ErrorType.CONTEXT,
            ErrorCode.MISSING_VALUE,
            "function does not exist",
            [symbol_val("__check_auth")],
        )

    def emulate_authentication(self) -> None:
        """After recording: read what checking the signatures will read, and count its cost."""
        for entry in self.authorization.recorded():
            address = entry.address
            if address is None:
                continue
            if address.kind == AddressKind.ACCOUNT:
                self.storage.get(account_key(address.key))
                self.budget.charge(cost.ENTRY + cost.SIGNATURE)
            else:
                self.storage.get(contract_data_key(address, INSTANCE_KEY, PERSISTENT))

    def consume_nonce(self, address: Address, nonce: int, live_until: int) -> None:
        name = nonce_key_val(nonce)
        key = contract_data_key(address, name, TEMPORARY)
        try:
            used = self.storage.get(key) is not None
        except HostError:
            raise self.error(
                ErrorType.STORAGE,
                ErrorCode.EXCEEDED_LIMIT,
                "trying to access nonce outside of footprint for address",
                [address_val(address)],
            ) from None
        if used:
            raise self.error(
                ErrorType.AUTH,
                ErrorCode.EXISTING_VALUE,
                "nonce already exists for address",
                [address_val(address)],
            )
        entry = ContractData(contract=address, name=name, value=VOID, durability=TEMPORARY)
        until = max(live_until, self.storage.min_live_until(temporary=True))
        try:
            self.storage.put(entry, until)
        except HostError:
            raise self.outside_footprint("nonce", [address_val(address), i64_val(nonce)]) from None

    def verify(self, public_key: bytes, text: bytes, signature: bytes) -> None:
        """Check an ed25519 signature; raises when it is not good."""
        self.budget.charge(cost.SIGNATURE)
        if not self._verify(public_key, text, signature):
            raise self.error(
                ErrorType.CRYPTO, ErrorCode.INVALID_INPUT, "failed ED25519 verification"
            )

    # Ledger entries

    def load_account(self, address: Address) -> Account:
        """The account, which must exist."""
        slot = self.read(account_key(address.key), "account", [address_val(address)])
        if slot is None:
            raise self.error(
                ErrorType.STORAGE,
                ErrorCode.MISSING_VALUE,
                "trying to get non-existing value for account",
            )
        return slot.entry  # type: ignore[return-value]  # the key is an account's

    def read(self, key: bytes, what: str, args: Sequence[Val] = ()) -> Slot | None:
        """An entry within the footprint; the error for one outside it says ``what`` it was."""
        self.budget.charge(cost.ENTRY)
        try:
            return self.storage.get(key)
        except HostError:
            raise self.outside_footprint(what, args) from None

    def write(
        self, entry: Entry, what: str, args: Sequence[Val] = (), until: int | None = None
    ) -> None:
        self.budget.charge(cost.ENTRY)
        try:
            self.storage.put(entry, until)
        except HostError:
            raise self.outside_footprint(what, args) from None

    def outside_footprint(self, what: str, args: Sequence[Val] = ()) -> HostError:
        return self.error(
            ErrorType.STORAGE,
            ErrorCode.EXCEEDED_LIMIT,
            f"trying to access {what} outside of the footprint",
            args,
        )

    def contract_value(self, name: Val, durability: int = PERSISTENT) -> Val | None:
        """A value in the storage of the contract that runs."""
        key = contract_data_key(self.contract, name, durability)
        slot = self.read(key, "contract data key", [address_val(self.contract), name])
        if slot is None:
            return None
        assert isinstance(slot.entry, ContractData)
        return slot.entry.value

    def put_contract_value(self, name: Val, value: Val, durability: int = PERSISTENT) -> None:
        entry = ContractData(contract=self.contract, name=name, value=value, durability=durability)
        args = [address_val(self.contract), name]
        existing = self.read(entry.key, "contract data key", args)
        minimum = self.storage.min_live_until(temporary=durability == TEMPORARY)
        self.write(entry, "contract data key", args, None if existing else minimum)

    def extend_contract_value(
        self, name: Val, threshold: int, extend_to: int, durability: int = PERSISTENT
    ) -> None:
        self.storage.extend(
            contract_data_key(self.contract, name, durability), threshold, extend_to
        )

    def instance_of(self, contract: Address) -> Instance:
        key = contract_data_key(contract, INSTANCE_KEY, PERSISTENT)
        slot = self.read(key, "contract instance", [address_val(contract)])
        if slot is None:
            raise self.error(
                ErrorType.STORAGE,
                ErrorCode.MISSING_VALUE,
                "trying to get non-existing value for contract instance",
            )
        assert isinstance(slot.entry, ContractData)
        instance: Instance = slot.entry.value.value
        return instance

    def put_instance(self, contract: Address, instance: Instance) -> None:
        entry = ContractData(contract=contract, name=INSTANCE_KEY, value=instance_val(instance))
        args = [address_val(contract)]
        existing = self.read(entry.key, "contract instance", args)
        until = None if existing else self.storage.min_live_until(temporary=False)
        self.write(entry, "contract instance", args, until)

    def extend_instance(self, threshold: int, extend_to: int) -> None:
        """Let the instance of the contract that runs live on."""
        key = contract_data_key(self.contract, INSTANCE_KEY, PERSISTENT)
        self.storage.extend(key, threshold, extend_to)

    def instance_value(self, name: Val) -> Val | None:
        return self.frame.storage.get(name)

    def put_instance_value(self, name: Val, value: Val) -> None:
        self.frame.storage[name] = value
        self.frame.modified = True

    # Events and errors

    def emit(self, topics: Sequence[Val], data: Val) -> None:
        self.budget.charge(cost.EVENT)
        self.events.emit(self.contract, topics, data)

    def error(
        self, error_type: ErrorType, code: int, text: str, args: Sequence[Val] = ()
    ) -> HostError:
        """An error to raise, noted in the diagnostics."""
        problem = HostError(error_type, code)
        contract = self.frames[-1].contract if self.frames else None
        topics = [symbol_val("error"), problem.value]
        self.events.diagnose(contract, topics, message(text, args))
        problem.log = self.events.describe()
        return problem

    def check_arguments(self, args: Iterable[Val]) -> None:
        """Refuse values that exist in XDR but that no contract can be given."""
        for value in args:
            check_value(self, value)
