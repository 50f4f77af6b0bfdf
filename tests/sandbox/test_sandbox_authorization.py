"""Soroban authorization: what a signature must be to count, in simulation and on the ledger."""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Keypair, Network, Signer, TransactionEnvelope, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    Person = Callable[[str], Keypair]
    Tamper = Callable[[TransactionEnvelope, Any, Person], None]

Entry = sdk.SorobanAuthorizationEntry
PUBNET = Network.PUBLIC_NETWORK_PASSPHRASE


def entry_of(envelope: TransactionEnvelope) -> Entry:
    return envelope.transaction.operations[0].auth[0]


def address_credentials(entry: Entry) -> sdk.SorobanAddressCredentials:
    credentials = entry.credentials.address or entry.credentials.address_v2
    assert credentials is not None
    return credentials


def signature_of(entry: Entry, *signers: Keypair, network: str, typ: int = 9) -> sdk.SCVal:
    """The signature value, from a pre-image written out by hand rather than by the SDK."""
    credentials = address_credentials(entry)
    network_id = sha256(network.encode()).digest()
    address = credentials.address.to_xdr_bytes() if typ == 10 else b""
    preimage = (
        typ.to_bytes(4, "big")
        + network_id
        + credentials.nonce.int64.to_bytes(8, "big", signed=True)
        + credentials.signature_expiration_ledger.uint32.to_bytes(4, "big")
        + address
        + entry.root_invocation.to_xdr_bytes()
    )
    payload = sha256(preimage).digest()
    ordered = sorted(signers, key=lambda signer: signer.raw_public_key())
    return scval.to_vec(
        [
            scval.to_map(
                {
                    scval.to_symbol("public_key"): scval.to_bytes(signer.raw_public_key()),
                    scval.to_symbol("signature"): scval.to_bytes(signer.sign(payload)),
                }
            )
            for signer in ordered
        ]
    )


def sign_by_hand(envelope: TransactionEnvelope, stage: Any, *signers: Keypair) -> None:
    entry = entry_of(envelope)
    credentials = address_credentials(entry)
    until = sdk.Uint32(stage.sandbox.sequence + 20)
    credentials.signature_expiration_ledger = until
    credentials.signature = signature_of(entry, *signers, network=stage.passphrase)


def recorded(stage: Any, envelope: TransactionEnvelope, **params: Any) -> TransactionEnvelope:
    (result,) = stage.simulate(envelope, **params)["results"]
    envelope.transaction.operations[0].auth = [Entry.from_xdr(item) for item in result["auth"]]
    return envelope


def assert_fails(stage: Any, good: TransactionEnvelope, bad: TransactionEnvelope) -> str:
    """``bad`` fails in simulation, and on the ledger with the resources that ``good`` needs."""
    simulated = stage.simulate(bad)
    assert "results" not in simulated
    stage.prepare(good)
    tampered = deepcopy(good)
    tampered.transaction.operations[0].auth = bad.transaction.operations[0].auth
    tampered.transaction.operations[0].host_function = bad.transaction.operations[0].host_function
    tampered.sign(stage.sponsor)
    before = stage.usdc_of(stage.payer)
    outcome = stage.apply(tampered)
    assert outcome["status"] == "FAILED"
    (operation,) = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).result.results
    code = operation.tr.invoke_host_function_result.code
    assert code is sdk.InvokeHostFunctionResultCode.INVOKE_HOST_FUNCTION_TRAPPED
    assert stage.usdc_of(stage.payer) == before
    assert outcome["diagnosticEventsXdr"]
    return simulated["error"]


def test_a_signature_over_a_preimage_written_by_hand_counts(stage: Any) -> None:
    envelope = recorded(stage, stage.transfer(10))
    sign_by_hand(envelope, stage, stage.payer)
    stage.prepare(envelope).sign(stage.sponsor)
    stage.succeed(envelope)
    assert stage.usdc_of(stage.seller) == 1_0000000 + 10


def test_sdk_and_hand_sign_the_same(stage: Any) -> None:
    envelope = recorded(stage, stage.transfer(10))
    entry = entry_of(envelope)
    until = stage.sandbox.sequence + 20
    by_sdk = authorize_entry(entry, stage.payer, until, stage.passphrase)
    sign_by_hand(envelope, stage, stage.payer)
    assert by_sdk.to_xdr() == entry_of(envelope).to_xdr()


def resign(*signers: str, network: str | None = None) -> Tamper:
    def tamper(envelope: TransactionEnvelope, stage: Any, person: Person) -> None:
        people = [stage.payer if name == "payer" else person(name) for name in signers]
        entry = entry_of(envelope)
        signature = signature_of(entry, *people, network=network or stage.passphrase)
        address_credentials(entry).signature = signature

    return tamper


def flip_a_bit(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    signature = address_credentials(entry_of(envelope)).signature
    pair = signature.vec.sc_vec[0].map.sc_map[1].val
    raw = pair.bytes.sc_bytes
    pair.bytes.sc_bytes = bytes([raw[0] ^ 1]) + raw[1:]


def change_the_amount(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    function = envelope.transaction.operations[0].host_function
    function.invoke_contract.args[2] = scval.to_int128(11)


def drop_the_signature(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    address_credentials(entry_of(envelope)).signature = scval.to_void()


def change_the_nonce(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    credentials = address_credentials(entry_of(envelope))
    credentials.nonce = sdk.Int64(credentials.nonce.int64 ^ 1)


def change_the_expiry(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    credentials = address_credentials(entry_of(envelope))
    later = credentials.signature_expiration_ledger.uint32 + 1
    credentials.signature_expiration_ledger = sdk.Uint32(later)


def change_the_function(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    function = entry_of(envelope).root_invocation.function.contract_fn
    function.function_name = sdk.SCSymbol(b"mint")


def change_the_address(envelope: TransactionEnvelope, _stage: Any, person: Person) -> None:
    address = Address(person("stranger").public_key).to_xdr_sc_address()
    address_credentials(entry_of(envelope)).address = address


def sign_twice(envelope: TransactionEnvelope, _stage: Any, _person: Person) -> None:
    signatures = address_credentials(entry_of(envelope)).signature.vec.sc_vec
    signatures.append(signatures[0])


NOT_AUTHENTIC = "failed account authentication with error"
NOT_VERIFIED = "failed ED25519 verification"
NOT_ALLOWED = "Unauthorized function call for address"


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        pytest.param(resign("stranger"), NOT_AUTHENTIC, id="wrong key"),
        pytest.param(resign("payer", network=PUBNET), NOT_VERIFIED, id="wrong network"),
        pytest.param(resign(), "no account signatures found", id="no signature"),
        pytest.param(drop_the_signature, NOT_AUTHENTIC, id="no signature value"),
        pytest.param(flip_a_bit, NOT_VERIFIED, id="flipped bit"),
        pytest.param(change_the_nonce, NOT_VERIFIED, id="other nonce"),
        pytest.param(change_the_expiry, NOT_VERIFIED, id="other expiry"),
        pytest.param(change_the_amount, NOT_ALLOWED, id="other amount"),
        pytest.param(change_the_function, NOT_ALLOWED, id="other function"),
        pytest.param(change_the_address, NOT_ALLOWED, id="other address"),
        pytest.param(sign_twice, "public keys are not ordered", id="same signature twice"),
    ],
)
def test_what_is_not_signed_as_it_stands_is_refused(
    stage: Any, person: Person, tamper: Tamper, message: str
) -> None:
    good = stage.authorize(stage.transfer(10), stage.payer)
    bad = deepcopy(good)
    tamper(bad, stage, person)
    assert message in assert_fails(stage, good, bad)


def test_errors_have_the_networks_codes(stage: Any) -> None:
    envelope = recorded(stage, stage.transfer(10))
    error = stage.simulate(envelope)["error"]
    assert error.startswith("HostError: Error(Auth, InvalidAction)\n")
    assert "Event log (newest first):" in error
    assert f"contract:{stage.usdc}" in error
    assert f"topics:[fn_call, {stage.usdc}, transfer]" in error


def test_expiry_is_the_last_good_ledger(stage: Any) -> None:
    envelope = stage.authorize(stage.transfer(10), stage.payer, ledgers=3)
    stage.prepare(envelope).sign(stage.sponsor)
    stage.sandbox.close_ledger(2)
    stage.succeed(envelope)  # in the third ledger

    late = stage.authorize(stage.transfer(10), stage.payer, ledgers=3)
    stage.prepare(late).sign(stage.sponsor)
    stage.sandbox.close_ledger(3)
    assert stage.apply(late)["status"] == "FAILED"
    error = stage.simulate(stage.authorize(stage.transfer(10), stage.payer, ledgers=-1))["error"]
    assert "Error(Auth, InvalidInput)" in error
    assert "signature has expired" in error


def test_expiry_beyond_the_longest_lifetime_is_refused(stage: Any) -> None:
    longest = 3_110_400 - 1
    fine = stage.authorize(stage.transfer(10), stage.payer, ledgers=longest)
    assert "results" in stage.simulate(fine)
    beyond = stage.authorize(stage.transfer(10), stage.payer, ledgers=longest + 1)
    assert "signature expiration is too late" in stage.simulate(beyond)["error"]


def test_a_nonce_is_good_once(stage: Any) -> None:
    first = stage.ready_transfer(10)
    stage.succeed(first)
    again = stage.transfer(10)
    again.transaction.operations[0].auth = first.transaction.operations[0].auth
    error = stage.simulate(again)["error"]
    assert "Error(Auth, ExistingValue)" in error
    assert "nonce already exists for address" in error

    again.transaction.soroban_data = first.transaction.soroban_data
    again.transaction.fee = first.transaction.fee
    again.sign(stage.sponsor)
    assert stage.apply(again)["status"] == "FAILED"
    assert stage.usdc_of(stage.seller) == 1_0000000 + 10


def test_a_nonce_stays_used_until_its_signature_has_expired(stage: Any) -> None:
    first = stage.ready_transfer(10)
    stage.succeed(first)
    again = stage.transfer(10)
    again.transaction.operations[0].auth = first.transaction.operations[0].auth
    stage.sandbox.close_ledger(25)
    assert "nonce already exists" not in stage.simulate(again)["error"]
    assert "signature has expired" in stage.simulate(again)["error"]


def test_the_newer_credentials_sign_their_address(stage: Any) -> None:
    plain = recorded(stage, stage.transfer(10))
    kind = entry_of(plain).credentials.type
    assert kind is sdk.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS

    envelope = recorded(stage, stage.transfer(10), useUpgradedAuth=True)
    entry = entry_of(envelope)
    kind = entry.credentials.type
    assert kind is sdk.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_V2
    credentials = address_credentials(entry)
    until = stage.sandbox.sequence + 20
    credentials.signature_expiration_ledger = sdk.Uint32(until)
    credentials.signature = signature_of(entry, stage.payer, network=stage.passphrase, typ=9)
    assert "failed ED25519 verification" in stage.simulate(envelope)["error"]

    credentials.signature = signature_of(entry, stage.payer, network=stage.passphrase, typ=10)
    by_sdk = authorize_entry(entry, stage.payer, until, stage.passphrase)
    assert by_sdk.to_xdr() == entry.to_xdr()
    stage.prepare(envelope).sign(stage.sponsor)
    stage.succeed(envelope)


def test_surplus_entries_do_no_harm(stage: Any) -> None:
    envelope = stage.authorize(stage.transfer(10), stage.payer)
    other = stage.authorize(stage.transfer(11), stage.payer)
    envelope.transaction.operations[0].auth.append(entry_of(other))
    stage.prepare(envelope).sign(stage.sponsor)
    stage.succeed(envelope)
    assert stage.usdc_of(stage.seller) == 1_0000000 + 10


def test_an_entry_that_allows_more_calls_below_is_good_too(stage: Any) -> None:
    envelope = recorded(stage, stage.transfer(10))
    root = entry_of(envelope).root_invocation
    root.sub_invocations = [deepcopy(root)]
    root.sub_invocations[0].sub_invocations = []
    sign_by_hand(envelope, stage, stage.payer)
    stage.prepare(envelope).sign(stage.sponsor)
    stage.succeed(envelope)


@pytest.fixture
def shared(stage: Any, person: Callable[[str], Keypair]) -> Any:
    """The payer's account needs two of three keys: its own weighs 1, two more 1 each."""
    builder = stage.builder(stage.payer)
    for name in ("second", "third"):
        builder.append_set_options_op(signer=Signer.ed25519_public_key(person(name).public_key, 1))
    builder.append_set_options_op(
        master_weight=1, low_threshold=0, med_threshold=2, high_threshold=2
    )
    envelope = builder.build()
    envelope.sign(stage.payer)
    stage.succeed(envelope)
    return stage


def test_signers_together_reach_the_medium_threshold(
    shared: Any, person: Callable[[str], Keypair]
) -> None:
    envelope = recorded(shared, shared.transfer(10))
    sign_by_hand(envelope, shared, person("second"), person("third"))
    shared.prepare(envelope).sign(shared.sponsor)
    shared.succeed(envelope)


def test_too_little_weight_is_refused(shared: Any, person: Callable[[str], Keypair]) -> None:
    good = recorded(shared, shared.transfer(10))
    bad = deepcopy(good)
    sign_by_hand(good, shared, shared.payer, person("second"))
    sign_by_hand(bad, shared, person("second"))
    assert "signature weight is lower than threshold" in assert_fails(shared, good, bad)


def test_a_strangers_signature_beside_enough_good_ones_is_refused(
    shared: Any, person: Callable[[str], Keypair]
) -> None:
    good = recorded(shared, shared.transfer(10))
    bad = deepcopy(good)
    sign_by_hand(good, shared, shared.payer, person("second"))
    sign_by_hand(bad, shared, shared.payer, person("second"), person("stranger"))
    assert "signer does not belong to account" in assert_fails(shared, good, bad)


def test_a_contract_cannot_pay_without_code_that_says_so(stage: Any) -> None:
    holder = Address.from_raw_contract(b"\7" * 32).address
    stage.succeed(stage.ready_transfer(11, to=holder))
    envelope = stage.call(
        stage.sponsor,
        "transfer",
        scval.to_address(holder),
        scval.to_address(stage.seller.public_key),
        scval.to_int128(1),
    )
    envelope = recorded(stage, envelope)
    address_credentials(entry_of(envelope)).signature = scval.to_void()
    error = stage.simulate(envelope)["error"]
    assert "failed account authentication with error" in error


def test_authorization_not_tied_to_the_root_call_is_recorded_only_on_request(stage: Any) -> None:
    envelope = stage.transfer(10)
    assert "results" in stage.simulate(envelope, authMode="record_allow_nonroot")
    assert "results" in stage.simulate(envelope, authMode="record")
    error = stage.simulate(envelope, authMode="enforce")["error"]
    assert "Unauthorized function call for address" in error
    signed = stage.authorize(envelope, stage.payer)
    refused = stage.simulate(signed, authMode="record")
    assert refused["error"] == "cannot set authMode to 'record' with an auth footprint"
    assert "must be one of" in stage.simulate(envelope, authMode="sideways")["error"]
