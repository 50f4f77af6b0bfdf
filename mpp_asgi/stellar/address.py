"""Addresses between the text that people and JSON use and the XDR that the network uses."""

from __future__ import annotations

from stellar_sdk import Address, MuxedAccount, StrKey, xdr


def address_to_xdr(address: str) -> xdr.SCAddress:
    """The address of an account (``G…``, ``M…``), a contract (``C…``) or the like.

    Raises:
        ValueError: it is none.
    """
    return Address(address).to_xdr_sc_address()


def address_from_xdr(address: xdr.SCAddress) -> str:
    """The text of an address. Accounts and contracts take a short cut round the general classes."""
    if address.account_id is not None:
        key = address.account_id.account_id.ed25519
        assert key is not None  # noqa: S101 - XDR knows no other kind of account key
        return StrKey.encode_ed25519_public_key(key.uint256)
    if address.contract_id is not None:
        return StrKey.encode_contract(address.contract_id.contract_id.hash)
    return Address.from_xdr_sc_address(address).address


def account_from_xdr(account: xdr.MuxedAccount) -> str:
    """The text of a transaction's or operation's source: ``G…``, or ``M…`` if multiplexed."""
    if account.ed25519 is not None:
        return StrKey.encode_ed25519_public_key(account.ed25519.uint256)
    return MuxedAccount.from_xdr_object(account).universal_account_id
