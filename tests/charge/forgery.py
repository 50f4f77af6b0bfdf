"""Transactions that no honest payer would send."""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

from stellar_sdk import Keypair, TransactionBuilder, scval, xdr

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.address import account_from_xdr, address_to_xdr
from mpp_asgi.stellar.envelope import transaction_hash
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer, signed_authorization, source_authorization
from tests.shop import Payer

THIEF = Keypair.from_raw_ed25519_seed(bytes(31) + b"t")
"""Somebody who is none of the parties."""

TransactionChange = Callable[[xdr.Transaction], None]


def changed(envelope: str, *changes: TransactionChange, signer: Keypair | None = None) -> str:
    """The transaction with something else in it, signed anew by ``signer`` if there is one."""
    decoded = xdr.TransactionEnvelope.from_xdr(envelope)
    assert decoded.v1 is not None
    for change in changes:
        change(decoded.v1.tx)
    if signer is not None:
        tagged = xdr.EnvelopeType.ENVELOPE_TYPE_TX.to_xdr_bytes() + decoded.v1.tx.to_xdr_bytes()
        digest = transaction_hash(tagged, TESTNET.passphrase)
        decoded.v1.signatures = [
            xdr.DecoratedSignature(
                hint=xdr.SignatureHint(signer.signature_hint()),
                signature=xdr.Signature(signer.sign(digest)),
            )
        ]
    return decoded.to_xdr()


def without_signatures(envelope: str) -> str:
    decoded = xdr.TransactionEnvelope.from_xdr(envelope)
    assert decoded.v1 is not None
    decoded.v1.signatures = []
    return decoded.to_xdr()


def fee_bumped(envelope: str, payer: Keypair, *, fee: int = 2_000_000) -> str:
    """The transaction inside a fee bump that ``payer`` signed."""
    inner = xdr.TransactionEnvelope.from_xdr(envelope).v1
    assert inner is not None
    bump = xdr.FeeBumpTransaction(
        fee_source=payer.xdr_muxed_account(),
        fee=xdr.Int64(fee),
        inner_tx=xdr.FeeBumpTransactionInnerTx(xdr.EnvelopeType.ENVELOPE_TYPE_TX, inner),
        ext=xdr.FeeBumpTransactionExt(0),
    )
    tagged = xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP.to_xdr_bytes() + bump.to_xdr_bytes()
    signature = xdr.DecoratedSignature(
        hint=xdr.SignatureHint(payer.signature_hint()),
        signature=xdr.Signature(payer.sign(transaction_hash(tagged, TESTNET.passphrase))),
    )
    return xdr.TransactionEnvelope(
        xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP,
        fee_bump=xdr.FeeBumpTransactionEnvelope(bump, [signature]),
    ).to_xdr()


def hash_of(envelope: str) -> str:
    return TransactionBuilder.from_xdr(envelope, TESTNET.passphrase).hash_hex()


# --- credentials ----------------------------------------------------------------------------------


def transaction_in(credential: Credential) -> str:
    text = credential.payload["transaction"]
    assert isinstance(text, str)
    return text


def showing(credential: Credential, transaction: str) -> Credential:
    """The credential with another transaction, and no word about its source."""
    return replace(
        credential, payload={**credential.payload, "transaction": transaction}, source=None
    )


def forged(payer: Payer, challenge: Challenge, *changes: TransactionChange) -> Credential:
    """A sponsored credential with a changed transaction."""
    honest = payer.sponsored(challenge)
    return showing(honest, changed(transaction_in(honest), *changes))


def forged_own(
    payer: Payer, challenge: Challenge, *changes: TransactionChange, signer: Keypair | None = None
) -> Credential:
    """An unsponsored credential with a changed transaction, signed as it is."""
    honest = payer.unsponsored(challenge)
    transaction = changed(transaction_in(honest), *changes, signer=signer or payer.keypair)
    return showing(honest, transaction)


# --- changes --------------------------------------------------------------------------------------


def operation_twice(transaction: xdr.Transaction) -> None:
    transaction.operations = transaction.operations * 2


def payment_operation(transaction: xdr.Transaction) -> None:
    """A classic payment of the same amount, instead."""
    transfer = _call(transaction).args
    recipient = transfer[1].address
    assert recipient is not None
    assert recipient.account_id is not None
    transaction.operations = [
        xdr.Operation(
            source_account=None,
            body=xdr.OperationBody(
                xdr.OperationType.PAYMENT,
                payment_op=xdr.PaymentOp(
                    destination=Keypair.from_public_key(
                        account_from_xdr(_muxed(recipient.account_id))
                    ).xdr_muxed_account(),
                    asset=xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE),
                    amount=xdr.Int64(100_000),
                ),
            ),
        )
    ]


def _muxed(account: xdr.AccountID) -> xdr.MuxedAccount:
    return xdr.MuxedAccount(xdr.CryptoKeyType.KEY_TYPE_ED25519, ed25519=account.account_id.ed25519)


def upload_of_code(transaction: xdr.Transaction) -> None:
    """Another host function in the same kind of operation."""
    _invocation(transaction).host_function = xdr.HostFunction(
        xdr.HostFunctionType.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=b"\0asm"
    )


def function(name: str, *args: xdr.SCVal | None) -> TransactionChange:
    """Another function of the token, in the operation and its authorization; for ``None`` the
    transfer's own argument, and without any arguments all of them."""

    def change(transaction: xdr.Transaction) -> None:
        calls: list[xdr.InvokeContractArgs | None] = [_call(transaction)]
        calls += [entry.root_invocation.function.contract_fn for entry in _auth(transaction)]
        for call in calls:
            assert call is not None
            call.function_name = xdr.SCSymbol(name.encode())
            if args:
                call.args = [
                    given or own for given, own in zip_longest(args, call.args[: len(args)])
                ]

    return change


def amount(value: int) -> TransactionChange:
    """Another amount in the transfer and its authorization."""
    return function("transfer", None, None, scval.to_int128(value))


def sender(address: str) -> TransactionChange:
    """Another sender of the transfer, and in its authorization."""
    return function("transfer", scval.to_address(address), None, None)


def source(address: str) -> TransactionChange:
    """Another source account of the transaction."""

    def change(transaction: xdr.Transaction) -> None:
        transaction.source_account = Keypair.from_public_key(address).xdr_muxed_account()

    return change


def operation_source(address: str) -> TransactionChange:
    """A source account of the operation's own."""

    def change(transaction: xdr.Transaction) -> None:
        transaction.operations[0].source_account = Keypair.from_public_key(
            address
        ).xdr_muxed_account()

    return change


def preconditions(conditions: xdr.PreconditionsV2) -> TransactionChange:
    """Conditions beyond the time bounds; those stay."""

    def change(transaction: xdr.Transaction) -> None:
        conditions.time_bounds = transaction.cond.time_bounds
        transaction.cond = xdr.Preconditions(xdr.PreconditionType.PRECOND_V2, v2=conditions)

    return change


def time_bounds(*, least: int = 0, most: int = 0) -> TransactionChange:
    def change(transaction: xdr.Transaction) -> None:
        transaction.cond = xdr.Preconditions(
            xdr.PreconditionType.PRECOND_TIME,
            time_bounds=xdr.TimeBounds(
                xdr.TimePoint(xdr.Uint64(least)), xdr.TimePoint(xdr.Uint64(most))
            ),
        )

    return change


def no_time_bounds(transaction: xdr.Transaction) -> None:
    transaction.cond = xdr.Preconditions(xdr.PreconditionType.PRECOND_NONE)


# --- authorization --------------------------------------------------------------------------------


def authorized_by(*entries: xdr.SorobanAuthorizationEntry) -> TransactionChange:
    """With these authorization entries and no others."""

    def change(transaction: xdr.Transaction) -> None:
        _invocation(transaction).auth = list(entries)

    return change


EntryChange = Callable[[xdr.SorobanAuthorizationEntry], None]


def entry(change_entry: EntryChange) -> TransactionChange:
    """With a change to the one authorization entry."""

    def change(transaction: xdr.Transaction) -> None:
        change_entry(_auth(transaction)[0])

    return change


def authorization(
    transfer: Transfer,
    signer: Keypair,
    *,
    nonce: int = 7,
    expiration_ledger: int = 1_000,
) -> xdr.SorobanAuthorizationEntry:
    return signed_authorization(
        transfer,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        signer=signer,
        passphrase=TESTNET.passphrase,
    )


def source_account_entry(transfer: Transfer) -> xdr.SorobanAuthorizationEntry:
    return source_authorization(transfer)


def unsigned(entry: xdr.SorobanAuthorizationEntry) -> None:
    _address_credentials(entry).signature = scval.to_void()


def in_the_name_of(address: str) -> EntryChange:
    """The same signature under another address."""

    def change(entry: xdr.SorobanAuthorizationEntry) -> None:
        _address_credentials(entry).address = address_to_xdr(address)

    return change


def of_version_2(entry: xdr.SorobanAuthorizationEntry) -> None:
    entry.credentials = xdr.SorobanCredentials(
        xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_V2,
        address_v2=_address_credentials(entry),
    )


def with_delegates(entry: xdr.SorobanAuthorizationEntry) -> None:
    entry.credentials = xdr.SorobanCredentials(
        xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_WITH_DELEGATES,
        address_with_delegates=xdr.SorobanAddressCredentialsWithDelegates(
            address_credentials=_address_credentials(entry), delegates=[]
        ),
    )


def with_sub_invocation(entry: xdr.SorobanAuthorizationEntry) -> None:
    root = entry.root_invocation
    root.sub_invocations = [xdr.SorobanAuthorizedInvocation(root.function, [])]


def for_other_arguments(entry: xdr.SorobanAuthorizationEntry) -> None:
    call = entry.root_invocation.function.contract_fn
    assert call is not None
    entry.root_invocation = xdr.SorobanAuthorizedInvocation(
        xdr.SorobanAuthorizedFunction(
            xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
            contract_fn=xdr.InvokeContractArgs(
                call.contract_address,
                call.function_name,
                [*call.args[:2], scval.to_int128(10**12)],
            ),
        ),
        [],
    )


def _invocation(transaction: xdr.Transaction) -> xdr.InvokeHostFunctionOp:
    invocation = transaction.operations[0].body.invoke_host_function_op
    assert invocation is not None
    return invocation


def _call(transaction: xdr.Transaction) -> xdr.InvokeContractArgs:
    call = _invocation(transaction).host_function.invoke_contract
    assert call is not None
    return call


def _auth(transaction: xdr.Transaction) -> list[xdr.SorobanAuthorizationEntry]:
    return _invocation(transaction).auth


def _address_credentials(
    entry: xdr.SorobanAuthorizationEntry,
) -> xdr.SorobanAddressCredentials:
    credentials = entry.credentials.address
    assert credentials is not None
    return credentials
