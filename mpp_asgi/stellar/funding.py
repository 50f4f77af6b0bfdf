"""The payer's side of a channel, as a server carries it out: opening it and adding to it.

The payer signs, we submit, with or without paying the fee; or the payer submitted, and names the
transaction. What comes of it is read off the ledger: a channel is what the ledger says it is, never
what a transaction or its payer said it would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stellar_sdk import StrKey

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.accounts import get_asset
from mpp_asgi.stellar.channel import (
    ChannelFacts,
    NotAChannelError,
    read_channel,
    require_acceptable,
    require_terms,
)
from mpp_asgi.stellar.channel_calls import NotTheCallError, read_opening, read_top_up
from mpp_asgi.stellar.commitment import Commitments
from mpp_asgi.stellar.deposits import Deposit
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.payload import HASH, TRANSACTION, ShownPayment
from mpp_asgi.stellar.remittance import Remittance, ShownDeposit
from mpp_asgi.stellar.rpc import get_transaction
from mpp_asgi.stellar.shown_hash import find_transaction
from mpp_asgi.stellar.terms import source_address
from mpp_asgi.stellar.token_events import EventError, ledger_events
from mpp_asgi.stellar.vouchers import read_amount
from mpp_asgi.stores.channels import ChannelStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from stellar_sdk import xdr

    from mpp_asgi.intents import Quote
    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.rpc import TransactionStatus
    from mpp_asgi.stores.channels import Channel

LAG_SECONDS: Final = 12
"""How long to wait for a node to show the ledger in which a deposit was made."""


@dataclass(frozen=True, slots=True)
class Funded:
    """A channel after money was put into it."""

    facts: ChannelFacts
    """As the ledger has it, with the deposit."""
    tx_hash: str | None
    """The transaction (64 hex digits) that we submitted; ``None`` if that was another's doing."""


@dataclass(frozen=True, slots=True)
class Voucher:
    """The first voucher of a channel that is being opened."""

    amount: int
    """Base units in total."""
    signature: bytes
    """64 bytes, not verified."""


class Funding:
    """Opens channels and adds to them, for payers who may be anybody.

    Args:
        counter: network, ledger, records and sponsor.
        factory: the contract (``C…``) by which payers open channels; ``None``: none, they deploy
            them themselves.
        wasm_hashes: the code of channels that is accepted, each 64 hex digits in lower case.
        recipient: who is paid (``G…``).
        min_waiting_period: the fewest ledgers between a ``close_start`` and its ``refund``.
    """

    def __init__(
        self,
        counter: Counter,
        *,
        factory: str | None,
        wasm_hashes: Collection[str],
        recipient: str,
        min_waiting_period: int,
    ) -> None:
        self._counter = counter
        self._factory = factory
        self._wasm_hashes = frozenset(wasm_hashes)
        self._recipient = recipient
        self._min_waiting_period = min_waiting_period
        self._assets = {token.address for token in counter.network.tokens.values()}
        """Tokens of which a channel's balance can be read."""

    async def open(
        self,
        payload: Mapping[str, Any],
        *,
        voucher: Voucher,
        quote: Quote,
        token: str,
        least: int,
        source: str | None,
        sponsored: bool,
    ) -> Funded:
        """Open a channel, or find that it is open. Idempotent.

        Args:
            payload: of an ``open`` credential: ``channelId``, ``type`` and ``transaction`` or
                ``hash`` are read.
            voucher: what the payload says besides. It is verified before we pay for anything, with
                the key that the transaction names; with the key that the ledger has in the end it
                is still to be verified.
            quote: the terms; nothing may begin once they have lapsed, and only what we have begun
                goes on.
            token: what the channel has to be of (``C…``).
            least: base units, the smallest first deposit.
            source: the credential's, if it names one.
            sponsored: the terms say that we pay the fee.

        Returns:
            What the ledger has, found acceptable as `require_acceptable` says.

        Raises:
            RefusalError: nothing was opened, or something else than a channel for us:
                ``invalid-payload``, ``verification-failed``, ``session/invalid-signature``,
                ``session/amount-exceeds-deposit``, ``session/transaction-reverted``,
                ``session/channel-finalized``.
            PendingError, FaultError: as `Intent.verify`. Show the same credential again.
        """
        shown, channel = _shown(payload), _channel_id(payload)
        _require_ours(shown, quote)
        payer = self._payer(source)
        await self._require_asset(token)

        def read(function: xdr.HostFunction) -> Deposit:
            return self._opening(function, channel, token=token, least=least, voucher=voucher)

        if shown.type == HASH:
            funded = await self._find_opened(shown.value, channel, token)
        else:
            deposit = ShownDeposit(shown.value, quote, payer, sponsored, read)
            funded = await self._open(deposit, channel, token)
        require_acceptable(
            funded.facts,
            token=token,
            recipient=self._recipient,
            wasm_hashes=self._wasm_hashes,
            min_waiting_period=self._min_waiting_period,
        )
        return funded

    async def top_up(
        self,
        payload: Mapping[str, Any],
        channel: Channel,
        *,
        quote: Quote,
        least: int,
        source: str | None,
        sponsored: bool,
    ) -> Funded:
        """Add to a channel, or find that it was done. Idempotent.

        Args:
            payload: of a ``topUp`` credential: ``type``, ``transaction`` or ``hash``, and
                ``additionalDeposit`` are read.
            channel: which one; it is open.
            quote, least, source, sponsored: as with `open`.

        Returns:
            What the ledger has afterwards: how much more that is, is for it to say.

        Raises:
            RefusalError, PendingError, FaultError: as `open`.
        """
        shown, amount = _shown(payload), _additional_deposit(payload)
        _require_ours(shown, quote)
        payer = self._payer(source)
        if channel.status is not ChannelStatus.OPEN or channel.closes_at is not None:
            raise RefusalError(
                problems.SESSION_CHANNEL_FINALIZED.because(
                    "The channel is being closed, or has been; open another."
                )
            )
        if shown.type == HASH:
            return Funded(await self._find_top_up(shown.value, channel, amount), None)

        def read(function: xdr.HostFunction) -> Deposit:
            return _top_up(function, channel, amount=amount, least=least)

        deposit = ShownDeposit(shown.value, quote, payer, sponsored, read)
        turn = await self._counter.book.turn(f"topup:{deposit.fingerprint}")
        try:
            remittance = Remittance(self._counter, turn, deposit)
            await remittance.require_begun()
            ledger = await remittance.carry_out()
            facts = await self._read_after(channel.id, channel.token, ledger)
            return Funded(facts, turn.charge.reference if turn.charge else None)
        finally:
            await turn.end()

    # What is to be done

    def _opening(
        self,
        function: xdr.HostFunction,
        channel: str,
        *,
        token: str,
        least: int,
        voucher: Voucher,
    ) -> Deposit:
        passphrase = self._counter.network.passphrase
        opening = read_opening(function)
        if opening.factory is not None and opening.factory != self._factory:
            raise NotTheCallError("it calls another contract than the channel factory")
        if opening.wasm_hash is not None and opening.wasm_hash not in self._wasm_hashes:
            raise _refusal("The channel's code is not among what is accepted here.")
        require_terms(
            opening,
            key=opening.key,
            token=token,
            recipient=self._recipient,
            min_waiting_period=self._min_waiting_period,
        )
        if opening.channel(passphrase) != channel:
            raise _refusal("The transaction opens another channel than channelId says.")
        _require_deposit(opening.amount, least)
        if voucher.amount > opening.amount:
            raise RefusalError(
                problems.SESSION_AMOUNT_EXCEEDS_DEPOSIT.because(
                    "The voucher is for more than is deposited."
                )
            )
        commitments = Commitments(network_id(passphrase), channel, opening.key)
        if not commitments.verify(voucher.amount, voucher.signature):
            raise RefusalError(
                problems.SESSION_INVALID_SIGNATURE.because(
                    "The voucher is not signed with the channel's commitment key."
                )
            )
        return Deposit(
            channel=channel,
            token=token,
            funder=opening.funder,
            amount=opening.amount,
            call=opening.call(passphrase),
            contracts={channel, opening.factory or channel},
        )

    def _payer(self, source: str | None) -> str | None:
        return source_address(source, self._counter.network.name) if source else None

    # Doing it

    async def _find_opened(self, transaction_hash: str, channel: str, token: str) -> Funded:
        """A channel that the payer opened. That it is there is the proof."""
        facts = await self._find(channel, token)
        if facts is None:
            ledger = await self._ledger_of(transaction_hash)
            facts = await self._read_after(channel, token, ledger, is_there=False)
        return Funded(facts, None)

    async def _open(self, shown: ShownDeposit, channel: str, token: str) -> Funded:
        book = self._counter.book
        record_id = f"open:{channel}"
        turn = await book.turn(record_id)
        try:
            remittance = Remittance(self._counter, turn, shown)
            await remittance.require_begun()
            facts = await self._find(channel, token)
            if facts is None:
                ledger = await remittance.carry_out()
                facts = await self._read_after(channel, token, ledger)
        finally:
            await turn.end()
        record = await book.store.get(record_id)
        return Funded(facts, record.reference if record else None)

    async def _require_asset(self, token: str) -> None:
        """Only assets' contracts keep balances where they can be read. A deposit of another token
        would not be seen, would buy nothing, and would be locked for the waiting period.

        Raises:
            RefusalError: it is another token.
            FaultError: the node cannot be asked.
        """
        if token in self._assets:
            return
        if await self._counter.ledger.ask(get_asset(token)) is None:
            raise _refusal("The token is no asset's contract, so it is not taken by channel.")
        self._assets.add(token)

    async def _find_top_up(self, transaction: str, channel: Channel, amount: int) -> ChannelFacts:
        """The channel with a deposit that its payer made. Whoever says so may be anybody, so this
        is looked for once and not waited for.

        Raises:
            RefusalError: there is no such deposit.
            FaultError: the node does not show it yet.
        """
        _require_deposit(amount, 1)
        facts = await self._find(channel.id, channel.token)
        if facts is None:
            raise FaultError("The payment network does not show the channel.")
        if facts.deposited >= channel.deposited + amount:
            return facts
        # It may have been noted before: then the transaction tells.
        status = await self._counter.ledger.ask(get_transaction(transaction))
        if status.status == "NOT_FOUND" or (status.ledger or 0) > facts.ledger:
            raise FaultError("The payment network does not show the deposit yet.")
        _require_success(status)
        if _deposited(status, channel) < amount:
            raise _refusal("The transaction did not deposit so much in the channel.")
        return facts

    async def _ledger_of(self, transaction_hash: str) -> int:
        """The ledger that has a transaction of the payer's.

        Raises:
            RefusalError: none has, or it failed there.
            FaultError: the node does not know yet.
        """
        status = await find_transaction(self._counter, transaction_hash)
        _require_success(status)
        return status.ledger or 0

    async def _read_after(
        self, channel: str, token: str, ledger: int, *, is_there: bool = True
    ) -> ChannelFacts:
        """The channel as it is with all that happened up to a ledger.

        Args:
            channel: its address.
            token: what it is of.
            ledger: the ledger; 0 if it is not known.
            is_there: the deposit is known to be made, whatever the node shows: nobody is to pay
                again because of that.

        Raises:
            RefusalError: there is none.
            FaultError: the node does not know yet.
        """
        give_up = self._counter.clock() + LAG_SECONDS
        while True:
            try:
                facts = await read_channel(self._counter.ledger, channel, [token])
            except NotAChannelError as error:
                if not is_there and (error.ledger or 0) > ledger:
                    raise _refusal(str(error)) from None
            else:
                if facts.ledger >= ledger:
                    return facts
            if self._counter.clock() >= give_up:
                raise FaultError("The payment network is behind; the channel is not seen yet.")
            await self._counter.sleep(0.5)

    async def _find(self, channel: str, token: str) -> ChannelFacts | None:
        try:
            return await read_channel(self._counter.ledger, channel, [token])
        except NotAChannelError:
            return None


# Reading


def require_top_up(payload: Mapping[str, Any]) -> None:
    """A payload shows a deposit, so far as its form goes.

    Raises:
        RefusalError: ``invalid-payload``.
    """
    _shown(payload)
    _additional_deposit(payload)


def _top_up(function: xdr.HostFunction, channel: Channel, *, amount: int, least: int) -> Deposit:
    top_up = read_top_up(function)
    if top_up.channel != channel.id:
        raise NotTheCallError("it tops up another contract")
    if top_up.amount != amount:
        raise _refusal("The transaction deposits another amount than additionalDeposit says.")
    _require_deposit(amount, least)
    return Deposit(
        channel=channel.id,
        token=channel.token,
        funder=channel.funder,
        amount=amount,
        call=top_up.call(token=channel.token, funder=channel.funder),
        contracts={channel.id},
    )


def _deposited(status: TransactionStatus, channel: Channel) -> int:
    """What a transaction brought into the channel, in base units."""
    try:
        events = ledger_events(status.contract_events)
    except EventError:
        raise FaultError("The payment network gave a senseless answer.") from None
    return sum(
        event.amount or 0
        for event in events
        if (event.contract, event.kind, event.recipient) == (channel.token, "transfer", channel.id)
    )


def _require_success(status: TransactionStatus) -> None:
    if status.status != "SUCCESS":
        raise RefusalError(
            problems.SESSION_TRANSACTION_REVERTED.because("The transaction failed on the ledger.")
        )


def _channel_id(payload: Mapping[str, Any]) -> str:
    channel = payload.get("channelId")
    if not isinstance(channel, str) or not StrKey.is_valid_contract(channel):
        raise _malformed("channelId must be the address of a contract.")
    return channel


def _shown(payload: Mapping[str, Any]) -> ShownPayment:
    shown = ShownPayment.in_payload(payload, None)
    if shown.type not in (TRANSACTION, HASH):
        raise _malformed("type must be 'transaction' or 'hash'.")
    return shown


def _additional_deposit(payload: Mapping[str, Any]) -> int:
    return read_amount(payload, "additionalDeposit")


def _require_ours(shown: ShownPayment, quote: Quote) -> None:
    """What the payer submitted itself needs nothing of us that fresh terms are not good for."""
    if quote.lapsed is not None and shown.type == HASH:
        raise RefusalError(quote.lapsed)


def _require_deposit(amount: int, least: int) -> None:
    if amount < max(least, 1):
        raise _refusal(f"The deposit must be {max(least, 1)} base units at least.")


def _malformed(detail: str) -> RefusalError:
    return RefusalError(problems.INVALID_PAYLOAD.because(f"The payload's {detail}"))


def _refusal(detail: str) -> RefusalError:
    return RefusalError(problems.VERIFICATION_FAILED.because(detail))
