"""The host: what contracts run in, and what it offers them of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mpp_asgi.sandbox.host import budget as cost
from mpp_asgi.sandbox.host.authentication import (
    authenticate_account,
    authentication_contexts,
    read_authenticator,
)
from mpp_asgi.sandbox.host.authorization import Authorization
from mpp_asgi.sandbox.host.budget import Budget
from mpp_asgi.sandbox.host.calls import Call, Reentry
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.events import EventLog, message
from mpp_asgi.sandbox.host.native import call_native
from mpp_asgi.sandbox.host.validation import MAX_DEPTH
from mpp_asgi.sandbox.host.wasm import call_wasm, find_wasm
from mpp_asgi.sandbox.signatures import is_curve_point
from mpp_asgi.sandbox.wire.authorization import AuthorizedFunction
from mpp_asgi.sandbox.wire.entries import Account, ContractCode, ContractData, Entry
from mpp_asgi.sandbox.wire.keys import (
    PERSISTENT,
    TEMPORARY,
    account_key,
    contract_code_key,
    contract_data_key,
    value_order,
)
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    VOID,
    Address,
    AddressKind,
    Instance,
    Kind,
    Val,
    address_val,
    bytes_val,
    error_val,
    i64_val,
    instance_val,
    nonce_key_val,
    symbol_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mpp_asgi.sandbox.host.environment import Environment
    from mpp_asgi.sandbox.host.storage import Storage
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry, Invocation

E = TypeVar("E", bound=Entry)

_INSTANCE = "contract instance"
_CODE = "contract code"
_DATA = "contract data key"
_ACCOUNT = "account"
_CHECK_AUTH = "__check_auth"
_CONSTRUCTOR = "__constructor"


class Host:
    """Runs one host function."""

    def __init__(
        self,
        environment: Environment,
        storage: Storage,
        *,
        source: Address,
        authorization: Iterable[AuthorizationEntry] | None,
        instructions: int,
        allow_non_root: bool = False,
        upgraded: bool = False,
        new_nonce: Callable[[], int] = lambda: 0,
    ) -> None:
        """``authorization`` is enforced; ``None`` records what would be needed."""
        self.environment = environment
        self.sequence = environment.sequence
        self.storage = storage
        self.events = EventLog()
        self.budget = Budget(instructions)
        self.calls: list[Call] = []
        self.new_nonce = new_nonce
        self.authorization = Authorization(
            self, source, authorization, allow_non_root=allow_non_root, upgraded=upgraded
        )

    # Calls

    @property
    def contract(self) -> Address:
        """The contract that runs."""
        return self.calls[-1].contract

    def call(self, contract: Address, name: str, args: Sequence[Val]) -> Val:
        """Call a contract's function; when :class:`HostError` is raised, all it did is undone."""
        if name.startswith("__"):
            raise self.error(
                ErrorType.CONTEXT,
                ErrorCode.INVALID_ACTION,
                "can't invoke a reserved function directly",
                [symbol_val(name)],
            )
        return self._call(contract, name, args)

    def construct(self, contract: Address, args: Sequence[Val]) -> None:
        """Run a new contract's constructor; one that takes nothing may be missing."""
        wasm_hash = self.instance_of(contract).executable.wasm_hash
        if wasm_hash is not None:
            find_wasm(self, wasm_hash)
        try:
            result = self._call(contract, _CONSTRUCTOR, args, optional=not args)
        except HostError as problem:
            if not problem.is_recoverable:
                raise
            # What it failed with stays hidden from contracts that create contracts.
            raise self.error(
                ErrorType.CONTEXT,
                ErrorCode.INVALID_ACTION,
                "constructor invocation has failed with error",
                [problem.value],
            ) from None
        if result.kind is not Kind.VOID:
            text = "constructor returned non-void value"
            raise self.error(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE, text, [result])

    def _call(
        self,
        contract: Address,
        name: str,
        args: Sequence[Val],
        reentry: Reentry = Reentry.PROHIBITED,
        *,
        optional: bool = False,
    ) -> Val:
        if len(self.calls) >= MAX_DEPTH:
            raise HostError(ErrorType.CONTEXT, ErrorCode.EXCEEDED_LIMIT)
        self._check_reentry(contract, reentry)
        caller = self.calls[-1].contract if self.calls else None
        topics = [symbol_val("fn_call"), bytes_val(contract.key), symbol_val(name)]
        self.events.diagnose(caller, topics, args)
        self.budget.charge(cost.CALL)
        instance = self.instance_of(contract)
        call = Call(contract, name, tuple(args), instance)
        wasm_hash = instance.executable.wasm_hash
        if wasm_hash is None:
            functions = self.environment.contracts.asset
            result = self._run(call, lambda: call_native(self, functions, name, args))
        else:
            wasm = find_wasm(self, wasm_hash)
            result = self._run(call, lambda: call_wasm(self, wasm, name, args, optional=optional))
        self.events.diagnose(contract, [symbol_val("fn_return"), symbol_val(name)], [result])
        return result

    def _check_reentry(self, contract: Address, reentry: Reentry) -> None:
        running = [call.contract for call in self.calls]
        if contract not in running:
            return
        if reentry is Reentry.SELF and running[-1] == contract:
            self._persist(self.calls[-1])
            return
        raise self.error(
            ErrorType.CONTEXT, ErrorCode.INVALID_ACTION, "Contract re-entry is not allowed"
        )

    def _run(self, call: Call, body: Callable[[], Val]) -> Val:
        stored = self.storage.snapshot()
        events = len(self.events)
        self.calls.append(call)
        self.authorization.push(call.contract)
        allowed = self.authorization.snapshot()
        try:
            result = self._accept(body())
            self._persist(call)
        except HostError:
            self.storage.rollback(stored)
            self.authorization.rollback(allowed)
            self.events.fail_from(events)
            raise
        finally:
            self.authorization.pop()
            self.calls.pop()
        return result

    def _accept(self, result: Val) -> Val:
        """Contracts fail also by returning an error, if it is one of their own."""
        if result.kind is not Kind.ERROR:
            return result
        error_type, code = result.value
        if error_type == ErrorType.CONTRACT:
            text = "escalating Ok(ScErrorType::Contract) frame-exit to Err"
            raise self.error(ErrorType.CONTRACT, code, text)
        text = "frame-exit with Ok(Error) carrying a non-ScErrorType::Contract Error"
        raise self.error(ErrorType.CONTEXT, ErrorCode.INVALID_ACTION, text, [result])

    def _persist(self, call: Call) -> None:
        """Write changed instance storage back, also into outer calls of the same contract."""
        if not call.modified:
            return
        pairs = sorted(call.storage.items(), key=lambda pair: value_order(pair[0]))
        self.put_instance(call.contract, Instance(call.instance.executable, tuple(pairs)))
        call.modified = False
        for outer in self.calls:
            if outer is not call and outer.contract == call.contract:
                outer.storage = dict(pairs)

    # Authorization

    def require_auth(self, address: Address) -> None:
        """The address must have allowed the call that runs, with its arguments."""
        call = self.calls[-1]
        self.budget.charge(cost.AUTHORIZATION)
        function = AuthorizedFunction.call(call.contract, call.name, call.args)
        self.authorization.require(address, function)

    def allow_own(self, invocations: Iterable[Invocation]) -> None:
        """Let deeper calls act on behalf of the contract that runs."""
        self.authorization.allow_own(self.contract, invocations)

    @property
    def max_live_until(self) -> int:
        return self.storage.max_live_until

    def authenticate(self, entry: AuthorizationEntry, address: Address) -> None:
        """Raise unless the entry's signature proves that its address allows it."""
        self._check_creations(entry)
        payload = entry.payload(self.environment.network_id)
        if address.kind == AddressKind.ACCOUNT:
            authenticate_account(self, address, payload, entry.signature)
            return
        contexts = authentication_contexts(entry.root)
        args = [bytes_val(payload), entry.signature, contexts]
        result = self._call(address, _CHECK_AUTH, args, Reentry.SELF)
        if result.kind is not Kind.VOID:
            raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)

    def _check_creations(self, entry: AuthorizationEntry) -> None:
        """Contracts of assets have no deployer, so nobody can be asked to allow them."""
        for function in entry.root.functions():
            if function.executable is not None and function.executable.wasm_hash is None:
                text = (
                    "StellarAsset executable is not allowed when authorizing create_contract "
                    "host fn"
                )
                raise self.error(ErrorType.AUTH, ErrorCode.INVALID_INPUT, text)

    def emulate_authentication(self) -> None:
        """After recording: read what checking the signatures will read, and count its cost."""
        for entry in self.authorization.recorded():
            address = entry.address
            if address is None:
                continue
            self.budget.charge(cost.ENTRY)
            if address.kind == AddressKind.ACCOUNT:
                self.budget.charge(cost.SIGNATURE)
            read_authenticator(self.storage, address)

    def consume_nonce(self, address: Address, nonce: int, live_until: int) -> None:
        """Use a nonce up; it stays used for as long as the signature is good."""
        name = nonce_key_val(nonce)
        key = contract_data_key(address, name, TEMPORARY)
        subject = [address_val(address)]
        try:
            used = self.storage.get(key) is not None
        except HostError:
            self._outside_footprint("nonce", [*subject, i64_val(nonce)])
            raise self.error(
                ErrorType.STORAGE,
                ErrorCode.EXCEEDED_LIMIT,
                "trying to access nonce outside of footprint for address",
                subject,
            ) from None
        if used:
            raise self.error(
                ErrorType.AUTH,
                ErrorCode.EXISTING_VALUE,
                "nonce already exists for address",
                subject,
            )
        entry = ContractData(contract=address, name=name, value=VOID, durability=TEMPORARY)
        until = max(live_until, self.storage.min_live_until(temporary=True))
        self.write(entry, "nonce", [*subject, i64_val(nonce)], until)

    def verify(self, public_key: bytes, text: bytes, signature: bytes) -> None:
        """Check an ed25519 signature; raises when it is not good."""
        self.budget.charge(cost.SIGNATURE)
        if not self.environment.verify(public_key, text, signature):
            if not is_curve_point(public_key):
                # The network means to show the key and fails to.
                args = [error_val(ErrorType.EVENTS, ErrorCode.INTERNAL_ERROR)]
                raise self.error(
                    ErrorType.CRYPTO, ErrorCode.INVALID_INPUT, "invalid ed25519 public key", args
                )
            raise self.error(
                ErrorType.CRYPTO, ErrorCode.INVALID_INPUT, "failed ED25519 verification"
            )

    # Ledger entries

    def find(self, key: bytes, kind: type[E], what: str, args: Sequence[Val]) -> E | None:
        """An entry within the footprint; the error for one outside it says ``what`` it was."""
        self.budget.charge(cost.ENTRY)
        try:
            slot = self.storage.get(key)
        except HostError:
            raise self._outside_footprint(what, args) from None
        return slot.entry if slot is not None and isinstance(slot.entry, kind) else None

    def write(self, entry: Entry, what: str, args: Sequence[Val], until: int | None = None) -> None:
        """Write an entry within the footprint; ``until`` is how long a new one lives."""
        self.budget.charge(cost.ENTRY)
        try:
            self.storage.put(entry, until)
        except HostError:
            raise self._outside_footprint(what, args) from None

    def _outside_footprint(self, what: str, args: Sequence[Val]) -> HostError:
        return self.error(
            ErrorType.STORAGE,
            ErrorCode.EXCEEDED_LIMIT,
            f"trying to access {what} outside of the footprint",
            args,
        )

    def _missing(self, what: str) -> HostError:
        return self.error(
            ErrorType.STORAGE,
            ErrorCode.MISSING_VALUE,
            f"trying to get non-existing value for {what}",
        )

    def load_account(self, address: Address) -> Account:
        """An account, which must exist."""
        key = account_key(address.key)
        account = self.find(key, Account, _ACCOUNT, [address_val(address)])
        if account is None:
            raise self._missing(_ACCOUNT)
        return account

    def contract_value(self, name: Val, durability: int = PERSISTENT) -> Val | None:
        """A value in the storage of the contract that runs."""
        key = contract_data_key(self.contract, name, durability)
        data = self.find(key, ContractData, _DATA, [address_val(self.contract), name])
        return None if data is None else data.value

    def put_contract_value(self, name: Val, value: Val, durability: int = PERSISTENT) -> None:
        is_new = self.contract_value(name, durability) is None
        entry = ContractData(contract=self.contract, name=name, value=value, durability=durability)
        minimum = self.storage.min_live_until(temporary=durability == TEMPORARY)
        args = [address_val(self.contract), name]
        self.write(entry, _DATA, args, minimum if is_new else None)

    def extend_contract_value(
        self, name: Val, threshold: int, extend_to: int, durability: int = PERSISTENT
    ) -> None:
        """Let a value live ``extend_to`` ledgers from now if at most ``threshold`` are left."""
        key = contract_data_key(self.contract, name, durability)
        self.storage.extend(key, threshold, extend_to)

    def load_code(self, wasm_hash: bytes) -> ContractCode:
        """A Wasm, which must be on the ledger."""
        args = [bytes_val(wasm_hash)]
        code = self.find(contract_code_key(wasm_hash), ContractCode, _CODE, args)
        if code is None:
            raise self._missing(_CODE)
        return code

    def instance_of(self, contract: Address) -> Instance:
        """The instance of a contract, which must exist."""
        key = contract_data_key(contract, INSTANCE_KEY, PERSISTENT)
        data = self.find(key, ContractData, _INSTANCE, [address_val(contract)])
        if data is None or not isinstance(data.value.value, Instance):
            raise self._missing(_INSTANCE)
        return data.value.value

    def has_instance(self, contract: Address) -> bool:
        key = contract_data_key(contract, INSTANCE_KEY, PERSISTENT)
        return self.find(key, ContractData, _INSTANCE, [address_val(contract)]) is not None

    def put_instance(self, contract: Address, instance: Instance) -> None:
        is_new = not self.has_instance(contract)
        entry = ContractData(contract=contract, name=INSTANCE_KEY, value=instance_val(instance))
        minimum = self.storage.min_live_until(temporary=False)
        self.write(entry, _INSTANCE, [address_val(contract)], minimum if is_new else None)

    def extend_instance(self, threshold: int, extend_to: int) -> None:
        """Let the instance of the contract that runs live on."""
        key = contract_data_key(self.contract, INSTANCE_KEY, PERSISTENT)
        self.storage.extend(key, threshold, extend_to)

    def instance_value(self, name: Val) -> Val:
        """A value in the instance storage of the contract that runs, which must be there."""
        value = self.calls[-1].storage.get(name)
        if value is None:
            raise HostError(ErrorType.STORAGE, ErrorCode.MISSING_VALUE)
        return value

    def has_instance_value(self, name: Val) -> bool:
        return name in self.calls[-1].storage

    def put_instance_value(self, name: Val, value: Val) -> None:
        self.calls[-1].storage[name] = value
        self.calls[-1].modified = True

    # Events and errors

    def emit(self, topics: Sequence[Val], data: Val) -> None:
        self.budget.charge(cost.EVENT)
        self.events.emit(self.contract, topics, data)

    def log(self, text: str, args: Sequence[Val]) -> None:
        """A note for whoever reads the diagnostics."""
        contract = self.calls[-1].contract if self.calls else None
        self.events.diagnose(contract, [symbol_val("log")], message(text, args))

    def error(
        self, error_type: ErrorType, code: int, text: str, args: Sequence[Val] = ()
    ) -> HostError:
        """An error to raise, noted in the diagnostics."""
        problem = HostError(error_type, code)
        contract = self.calls[-1].contract if self.calls else None
        topics = [symbol_val("error"), problem.value]
        self.events.diagnose(contract, topics, message(text, args))
        problem.log = self.events.describe()
        return problem
