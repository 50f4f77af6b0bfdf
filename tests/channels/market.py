"""A market of channels: a ledger, payers who open channels by hand, and processes of a seller."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair, xdr

from mpp_asgi.charges import ChargeBook
from mpp_asgi.intents import Quote
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.admissions import Counter
from mpp_asgi.stellar.cashier import Cashier
from mpp_asgi.stellar.channel import ChannelFacts, read_channel, record_of
from mpp_asgi.stellar.channel_calls import Opening, TopUp, close_start_call, refund_call
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import network_id, signed_envelope, unsigned_envelope
from mpp_asgi.stellar.funding import Funded, Funding, Voucher
from mpp_asgi.stellar.invocation import Call, call_operation, leave_of_source, sponsored_call
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.sponsor import Sponsor, SponsorTerms
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stores.channels import Channel, ChannelStatus
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.bad_line import BadLine
from tests.shop import RECIPIENT, SPONSOR, Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mpp_asgi.stellar.rpc_call import Rpc
    from mpp_asgi.stores.contract import Store

FUNDER = Keypair.from_raw_ed25519_seed(bytes(31) + b"f")
KEY = Keypair.from_raw_ed25519_seed(bytes(31) + b"k")
DEPOSIT = 1_000_000
WAITING_PERIOD = 100
PATIENCE_SECONDS = 30
MAX_FEE = 10_000_000
CHALLENGE_SECONDS = 3_600
LEAVE_LEDGERS = 600
LEAST = 1_000
"""The smallest deposit that is taken."""


@dataclass
class Market:
    """The ledger and what all processes of the seller share."""

    time: Time = field(default_factory=Time)
    sandbox: Sandbox = field(init=False)
    line: BadLine = field(init=False)
    store: Store = field(default_factory=MemoryStore)
    settings: dict[str, Any] = field(default_factory=dict)
    """For the sandbox."""
    sponsored: bool = True
    accounts: int = 0
    """Channel accounts of the sponsor's."""

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(clock=self.time, **{"close_interval": 1.0, **self.settings})
        self.line = BadLine(self.sandbox)
        self.sandbox.fund(FUNDER.public_key, usdc=100)
        self.sandbox.fund(RECIPIENT.public_key)
        for key in (SPONSOR, *channel_accounts(SPONSOR, self.accounts)):
            self.sandbox.fund(key.public_key)
        self._owners = itertools.count(1)
        self._salts = itertools.count(1)
        self._nonces = itertools.count(1)

    # The seller

    @asynccontextmanager
    async def process(self, *, store: Any = None, rpc: Rpc | None = None) -> AsyncIterator[Process]:
        """A process of the seller, which ends as it should."""
        process = self.doomed_process(store=store, rpc=rpc)
        try:
            yield process
        finally:
            await process.counter.book.close()

    def doomed_process(self, *, store: Any = None, rpc: Rpc | None = None) -> Process:
        """A process of the seller that nobody ends."""
        ledger = Ledger(
            rpc or InProcessRpc(self.line.rpc),
            clock=self.time,
            sleep=self.time.sleep,
            poll_seconds=0.5,
            patience_seconds=PATIENCE_SECONDS,
        )
        book = ChargeBook(
            store or self.store,
            owner=f"process {next(self._owners)}",
            clock=self.time,
            sleep=self.time.sleep,
        )
        sponsor = None
        if self.sponsored:
            sponsor = Sponsor(
                SPONSOR,
                ledger,
                book.store,
                SponsorTerms(max_fee=MAX_FEE),
                clock=self.time,
                sleep=self.time.sleep,
                channel_accounts=channel_accounts(SPONSOR, self.accounts),
            )
        counter = Counter(
            network=TESTNET,
            ledger=ledger,
            book=book,
            sponsor=sponsor,
            own_addresses=frozenset({RECIPIENT.public_key, SPONSOR.public_key}),
            clock=self.time,
            sleep=self.time.sleep,
        )
        payer = sponsor or Sponsor(
            RECIPIENT,
            ledger,
            book.store,
            SponsorTerms(max_fee=MAX_FEE),
            clock=self.time,
            sleep=self.time.sleep,
        )
        funding = Funding(
            counter,
            factory=self.sandbox.channel_factory,
            wasm_hashes=[self.sandbox.channel_wasm_hash],
            recipient=RECIPIENT.public_key,
            min_waiting_period=WAITING_PERIOD,
        )
        return Process(self, counter, Cashier(counter, RECIPIENT, payer=payer), funding)

    def earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)

    def funder_has(self) -> int:
        return self.sandbox.balance(FUNDER.public_key, self.sandbox.usdc)

    def fees_left(self) -> int:
        """Stroops that sponsor and recipient have."""
        return sum(
            self.sandbox.balance(who.public_key, self.sandbox.xlm) for who in (SPONSOR, RECIPIENT)
        )

    # The payer

    def opening(self, **terms: Any) -> Opening:
        values: dict[str, Any] = {
            "factory": self.sandbox.channel_factory,
            "wasm_hash": None,
            "salt": next(self._salts).to_bytes(32, "big"),
            "token": self.sandbox.usdc,
            "funder": FUNDER.public_key,
            "key": KEY.raw_public_key(),
            "recipient": RECIPIENT.public_key,
            "amount": DEPOSIT,
            "waiting_period": WAITING_PERIOD,
        }
        return Opening(**{**values, **terms})

    def open(self, **terms: Any) -> str:
        """Open a channel by a transaction of the funder's own; its address."""
        opening = self.opening(**terms)
        self.perform(opening.call(TESTNET.passphrase))
        return opening.channel(TESTNET.passphrase)

    def top_up(self, channel: str, amount: int) -> None:
        self.perform(
            TopUp(channel=channel, amount=amount).call(
                token=self.sandbox.usdc, funder=FUNDER.public_key
            )
        )

    def close_start(self, channel: str) -> None:
        self.perform(close_start_call(channel))

    def refund(self, channel: str) -> None:
        self.perform(refund_call(channel))

    def open_payload(
        self, opening: Opening | None = None, *, amount: int = 100, **changes: Any
    ) -> dict[str, Any]:
        """The payload of an ``open`` credential, as it should be but for the changes."""
        opening = opening or self.opening()
        channel = opening.channel(TESTNET.passphrase)
        return {
            "action": "open",
            "channelId": channel,
            "type": "transaction",
            "transaction": self.funding_envelope(opening.call(TESTNET.passphrase)),
            "cumulativeAmount": str(amount),
            "signature": self.voucher(channel, amount),
            **changes,
        }

    def top_up_payload(self, channel: str, amount: int, **changes: Any) -> dict[str, Any]:
        """The payload of a ``topUp`` credential, as it should be but for the changes."""
        call = TopUp(channel=channel, amount=amount).call(
            token=self.sandbox.usdc, funder=FUNDER.public_key
        )
        return {
            "action": "topUp",
            "channelId": channel,
            "type": "transaction",
            "transaction": self.funding_envelope(call),
            "additionalDeposit": str(amount),
            **changes,
        }

    def funding_envelope(self, call: Call, *, nonce: int | None = None) -> str:
        """What the funder sends: for the sponsor, or complete."""
        max_time = int(self.time()) + CHALLENGE_SECONDS
        if not self.sponsored:
            return self.transaction(call, max_time=max_time)[0]
        return sponsored_call(
            call,
            address=FUNDER.public_key,
            nonce=next(self._nonces) if nonce is None else nonce,
            expiration_ledger=self.sandbox.sequence + LEAVE_LEDGERS,
            max_time=max_time,
            signer=FUNDER,
            passphrase=TESTNET.passphrase,
        )

    def voucher(self, channel: str, amount: int, *, key: Keypair = KEY) -> str:
        """Its signature, hex."""
        return sign_commitment(key, network_id(TESTNET.passphrase), channel, amount).hex()

    def perform(self, call: Call, *, signer: Keypair = FUNDER) -> str:
        """Bring a call onto the ledger in a transaction of the caller's own; its hash."""
        envelope, hash_ = self.transaction(call, signer=signer)
        sent = self.ask("sendTransaction", transaction=envelope)
        assert sent["status"] == "PENDING", sent
        self.sandbox.close_ledger()
        assert self.ask("getTransaction", hash=hash_)["status"] == "SUCCESS"
        return hash_

    def transaction(
        self,
        call: Call,
        *,
        signer: Keypair = FUNDER,
        max_time: int | None = None,
        auth: list[xdr.SorobanAuthorizationEntry] | None = None,
    ) -> tuple[str, str]:
        """A whole transaction, simulated and signed: envelope and hash."""
        entries = [leave_of_source(call)] if auth is None else auth
        operation = call_operation(call, entries)
        draft = unsigned_envelope(operation, source=signer.public_key)
        simulated = self.ask("simulateTransaction", transaction=draft)
        empty = xdr.SorobanTransactionData(
            xdr.SorobanTransactionDataExt(0),
            xdr.SorobanResources(
                xdr.LedgerFootprint([], []), xdr.Uint32(0), xdr.Uint32(0), xdr.Uint32(0)
            ),
            xdr.Int64(0),
        )
        signed = signed_envelope(
            operation,
            source=signer.public_key,
            sequence=self.sequence(signer) + 1,
            fee=1_000 + int(simulated.get("minResourceFee", 0)),
            max_time=max_time,
            soroban_data=simulated.get("transactionData") or empty.to_xdr(),
            signer=signer,
            passphrase=TESTNET.passphrase,
        )
        return signed.xdr, signed.hash

    def sequence(self, who: Keypair) -> int:
        key = xdr.LedgerKey(
            xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(who.xdr_account_id())
        )
        (found,) = self.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]
        account = xdr.LedgerEntryData.from_xdr(found["xdr"]).account
        assert account is not None
        return account.seq_num.sequence_number.int64

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What the ledger says, past the line that may be bad."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        result: dict[str, Any] = self.sandbox.rpc(request)["result"]
        return result


@dataclass
class Process:
    """One process of the seller."""

    market: Market
    counter: Counter
    cashier: Cashier
    funding: Funding

    def quote(self) -> Quote:
        """Terms that are good for an hour from now."""
        return Quote("challenge", {}, expires=int(self.market.time()) + CHALLENGE_SECONDS)

    async def open(self, payload: Mapping[str, Any], **changes: Any) -> Funded:
        """Show the payload of an ``open`` credential, to terms that may be changed."""
        arguments: dict[str, Any] = {
            "voucher": Voucher(
                int(payload["cumulativeAmount"]), bytes.fromhex(payload["signature"])
            ),
            "quote": self.quote(),
            "token": self.market.sandbox.usdc,
            "least": LEAST,
            "source": None,
            "sponsored": self.market.sponsored,
        }
        return await self.funding.open(payload, **{**arguments, **changes})

    async def top_up(self, payload: Mapping[str, Any], channel: Channel, **changes: Any) -> Funded:
        """Show the payload of a ``topUp`` credential, to terms that may be changed."""
        arguments: dict[str, Any] = {
            "quote": self.quote(),
            "least": LEAST,
            "source": None,
            "sponsored": self.market.sponsored,
        }
        return await self.funding.top_up(payload, channel, **{**arguments, **changes})

    async def facts(self, channel: str) -> ChannelFacts:
        return await read_channel(self.counter.ledger, channel, [self.market.sandbox.usdc])

    async def hold(
        self, channel: str, amount: int, *, spent: int | None = None, units: int = 1
    ) -> Channel:
        """Have the record of a channel with a voucher for an amount, all of it spent or less."""
        facts = await self.facts(channel)
        now = int(self.market.time())
        await self.counter.book.store.add_channel(record_of(facts, now=now))
        await self.counter.book.store.spend(
            channel,
            amount=amount,
            signature=self.market.voucher(channel, amount),
            cost=amount if spent is None else spent,
            units=units,
            min_delta=0,
            now=now,
        )
        return await self.kept(channel)

    async def closing(self, channel: str, amount: int) -> Channel:
        """Have the record of a channel that is being closed with a voucher for what was spent."""
        held = await self.hold(channel, amount)
        closing = await self.counter.book.store.begin_close(
            channel,
            amount=amount,
            signature=self.market.voucher(channel, amount),
            now=int(self.market.time()),
        )
        assert closing.channel is not None
        assert closing.channel.status is ChannelStatus.CLOSING, held
        return closing.channel

    async def kept(self, channel: str) -> Channel:
        found = await self.counter.book.store.channel(channel)
        assert found is not None
        return found
