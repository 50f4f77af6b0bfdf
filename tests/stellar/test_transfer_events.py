"""What moved, read from the events of simulations and ledgers."""

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Address, Keypair, MuxedAccount, scval, xdr

from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.token_events import (
    EventError,
    TokenEvent,
    ledger_events,
    meta_events,
    simulated_events,
)

USDC = TESTNET.tokens["USDC"].address
PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32).public_key
RECIPIENT = Keypair.from_raw_ed25519_seed(b"r" * 32).public_key
ASSET = scval.to_string("USDC:GISSUER")

Topics = list[xdr.SCVal]


def topics(kind: str, *addresses: str) -> Topics:
    return [scval.to_symbol(kind), *(scval.to_address(each) for each in addresses), ASSET]


def event(
    of: Topics,
    data: xdr.SCVal | None = None,
    *,
    contract: str | None = USDC,
    kind: xdr.ContractEventType = xdr.ContractEventType.CONTRACT,
) -> xdr.ContractEvent:
    body = xdr.ContractEventV0(of, scval.to_int128(100_000) if data is None else data)
    return xdr.ContractEvent(
        xdr.ExtensionPoint(0),
        Address(contract).to_xdr_sc_address().contract_id if contract else None,
        kind,
        xdr.ContractEventBody(0, body),
    )


def simulated(*events: xdr.ContractEvent, succeeded: bool = True) -> tuple[TokenEvent, ...]:
    return simulated_events(xdr.DiagnosticEvent(succeeded, each).to_xdr() for each in events)


TRANSFER = event(topics("transfer", PAYER, RECIPIENT))
SEEN = TokenEvent(contract=USDC, kind="transfer", sender=PAYER, recipient=RECIPIENT, amount=100_000)
FN_CALL = event([scval.to_symbol("fn_call")], contract=None, kind=xdr.ContractEventType.DIAGNOSTIC)
FN_RETURN = event(
    [scval.to_symbol("fn_return")], contract=USDC, kind=xdr.ContractEventType.DIAGNOSTIC
)


def test_transfer_among_diagnostics() -> None:
    assert simulated(FN_CALL, TRANSFER, FN_RETURN) == (SEEN,)


def test_transfer_in_the_ledger() -> None:
    assert ledger_events([TRANSFER.to_xdr(), FN_RETURN.to_xdr()]) == (SEEN,)


def test_what_was_rolled_back_did_not_move() -> None:
    assert simulated(TRANSFER, succeeded=False) == ()


def test_every_contract_event_is_seen() -> None:
    """Whoever demands one transfer and nothing else must see what else there is."""
    odd = event([], scval.to_void())
    unnamed = event([scval.to_uint32(7), scval.to_uint32(8), scval.to_uint32(9)])
    assert simulated(TRANSFER, TRANSFER) == (SEEN, SEEN)
    assert simulated(odd, TRANSFER, unnamed) == (
        TokenEvent(contract=USDC, kind="", sender=None, recipient=None, amount=None),
        SEEN,
        TokenEvent(contract=USDC, kind="", sender=None, recipient=None, amount=100_000),
    )


@pytest.mark.parametrize(
    ("kind", "addresses", "sender", "recipient"),
    [
        ("mint", [RECIPIENT], None, RECIPIENT),
        ("mint", [PAYER, RECIPIENT], None, RECIPIENT),
        ("burn", [PAYER], PAYER, None),
        ("clawback", [PAYER], PAYER, None),
        ("approve", [PAYER, RECIPIENT], PAYER, None),
    ],
)
def test_other_kinds(
    kind: str, addresses: list[str], sender: str | None, recipient: str | None
) -> None:
    assert simulated(event(topics(kind, *addresses))) == (
        TokenEvent(contract=USDC, kind=kind, sender=sender, recipient=recipient, amount=100_000),
    )


def test_amount_beside_a_multiplexed_recipient() -> None:
    data = scval.to_map(
        {
            scval.to_symbol("amount"): scval.to_int128(100_000),
            scval.to_symbol("to_muxed_id"): scval.to_uint64(7),
        }
    )
    assert simulated(event(topics("transfer", PAYER, RECIPIENT), data)) == (SEEN,)


@pytest.mark.parametrize(
    "data",
    [
        scval.to_void(),
        scval.to_uint64(5),
        scval.to_map({scval.to_symbol("amount"): scval.to_uint64(5)}),
        scval.to_map({scval.to_symbol("total"): scval.to_int128(5)}),
    ],
)
def test_an_amount_that_is_none(data: xdr.SCVal) -> None:
    [seen] = simulated(event(topics("transfer", PAYER, RECIPIENT), data))
    assert (seen.kind, seen.amount) == ("transfer", None)


def test_addresses_of_every_kind() -> None:
    muxed = MuxedAccount(RECIPIENT, 7).account_muxed
    assert muxed is not None
    [seen] = simulated(event(topics("transfer", USDC, muxed)))
    assert (seen.sender, seen.recipient) == (USDC, muxed)


def meta_v4(*events: xdr.ContractEvent) -> str:
    none = xdr.LedgerEntryChanges([])
    operation = xdr.OperationMetaV2(xdr.ExtensionPoint(0), none, list(events))
    v4 = xdr.TransactionMetaV4(xdr.ExtensionPoint(0), none, [operation], none, None, [], [])
    return xdr.TransactionMeta(4, v4=v4).to_xdr()


def meta_v3(*events: xdr.ContractEvent) -> str:
    none = xdr.LedgerEntryChanges([])
    ext = xdr.SorobanTransactionMetaExt(0)
    soroban = xdr.SorobanTransactionMeta(ext, list(events), scval.to_void(), [])
    v3 = xdr.TransactionMetaV3(xdr.ExtensionPoint(0), none, [], none, soroban)
    return xdr.TransactionMeta(3, v3=v3).to_xdr()


def test_events_of_metadata() -> None:
    assert meta_events(meta_v4(TRANSFER, FN_RETURN)) == (SEEN,)
    assert meta_events(meta_v3(FN_RETURN, TRANSFER)) == (SEEN,)
    assert meta_events(meta_v4()) == ()


def test_metadata_of_classic_transactions_has_no_events() -> None:
    none = xdr.LedgerEntryChanges([])
    v3 = xdr.TransactionMetaV3(xdr.ExtensionPoint(0), none, [], none, None)
    assert meta_events(xdr.TransactionMeta(3, v3=v3).to_xdr()) == ()
    with pytest.raises(EventError, match="version without events"):
        meta_events(xdr.TransactionMeta(0, operations=[]).to_xdr())


@pytest.mark.parametrize("garbage", ["", "AAAA", "!", "é", "AAAAAQ=="])
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(EventError):
        simulated_events([garbage])
    with pytest.raises(EventError):
        ledger_events([garbage])
    with pytest.raises(EventError):
        meta_events(garbage)


@settings(deadline=None)
@given(raw=st.binary(max_size=60), cut=st.integers(0, 200))
def test_random_bytes_are_refused_or_read(raw: bytes, cut: int) -> None:
    genuine = xdr.DiagnosticEvent(True, TRANSFER).to_xdr_bytes()
    for garbage in (raw, genuine[:cut] + raw, genuine[:cut] + raw + genuine[cut + len(raw) :]):
        text = base64.b64encode(garbage).decode()
        for read in (lambda t: simulated_events([t]), lambda t: ledger_events([t]), meta_events):
            with contextlib.suppress(EventError):
                read(text)
