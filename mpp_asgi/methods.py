"""The ways to pay that the settings ask for, and who is paid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import Keypair

from mpp_asgi.config import ConfigError
from mpp_asgi.stellar.admissions import Counter
from mpp_asgi.stellar.cashier import Cashier
from mpp_asgi.stellar.channel_dialect import ChannelDialect
from mpp_asgi.stellar.charge import ChargeIntent
from mpp_asgi.stellar.funding import Funding
from mpp_asgi.stellar.guardian import Guardian
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.secret_key import key_from_secret
from mpp_asgi.stellar.session import SessionIntent, Till
from mpp_asgi.stellar.session_terms import SessionPolicy
from mpp_asgi.stellar.settlement import SettlementPolicy
from mpp_asgi.stellar.sponsor import Sponsor, SponsorTerms
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stellar.sponsor_budget import SponsorLimits
from mpp_asgi.stellar.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.config import EmbeddedNetwork, Settings
    from mpp_asgi.intents import Intent
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stellar.rpc_call import Rpc
    from mpp_asgi.stores.contract import Store

SANDBOX_POLL_SECONDS: Final = 0.05
NETWORK_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class World:
    """Time, as the outside gives it."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Methods:
    """What is sold for."""

    intents: list[Intent]
    till: Till | None
    """Where sessions are held, if they are; so is the next."""
    guardian: Guardian | None
    sponsor: Sponsor | None
    payers: tuple[Sponsor, ...]
    """Every account that pays fees: the sponsor, and the recipient where there is none."""
    ledger: Ledger
    """Where payments are looked up that somebody has begun and left."""

    def sponsors(self) -> bool:
        """Whether network fees can be paid for payers now."""
        return self.sponsor is not None and self.sponsor.funds.suffice()

    async def aclose(self) -> None:
        """Leave no question behind that is on its way."""
        for payer in self.payers:
            await payer.aclose()


def open_methods(
    settings: Settings,
    world: World,
    *,
    rpc: Rpc,
    book: ChargeBook,
    store: Store,
    sandbox: EmbeddedNetwork | None,
) -> Methods:
    """Every way to pay that the settings name, or that they allow for if they name none.

    Raises:
        ConfigError: they cannot be had; the message says what to change.
    """
    poll_seconds = NETWORK_POLL_SECONDS if sandbox is None else SANDBOX_POLL_SECONDS
    ledger = Ledger(
        rpc,
        clock=world.clock,
        sleep=world.sleep,
        poll_seconds=poll_seconds,
        patience_seconds=settings.settle_seconds,
        challenge_seconds=settings.challenge_seconds,
    )
    parties = _parties(settings, sandbox)
    sponsor = None
    if parties.sponsor is not None:
        sponsor = Sponsor(
            parties.sponsor,
            ledger,
            store,
            sponsor_terms(settings, poll_seconds=poll_seconds),
            clock=world.clock,
            sleep=world.sleep,
            channel_accounts=channel_accounts(parties.sponsor, settings.sponsor_accounts),
        )
        if sandbox is not None:
            for address in sponsor.addresses:
                sandbox.fund(address)
    counter = Counter(
        network=settings.stellar_network,
        ledger=ledger,
        book=book,
        sponsor=sponsor,
        own_addresses=frozenset({parties.recipient, *(sponsor.addresses if sponsor else ())}),
        clock=world.clock,
        sleep=world.sleep,
        redelivery_seconds=settings.redelivery_seconds,
    )
    known: dict[str, Intent] = {
        "charge": ChargeIntent(
            counter,
            recipient=parties.recipient,
            tokens=settings.accepted_tokens(),
            allow_hash=settings.allow_hash,
        )
    }
    guardian = None
    payer = sponsor or _paying_itself(settings, counter, parties)
    till = _till(settings, counter, parties, payer, sandbox)
    if till is not None:
        known["session"] = SessionIntent(till)
        known["channel"] = ChannelDialect(till, channel=settings.channel)
        guardian = Guardian(
            store,
            ledger,
            till.cashier,
            policy=settlement_policy(settings),
            interval_seconds=settings.guardian_interval,
            owner=book.owner,
            clock=world.clock,
            sleep=world.sleep,
        )
        till.teller.spending.when_spent(guardian.note)
    wanted = settings.intents or ("charge", "session")
    offered = [known[name] for name in wanted if name in known]
    if sponsor is not None and sandbox is None:
        sponsor.look()
    return Methods(offered, till, guardian, sponsor, (payer,) if payer else (), ledger)


def ways_to_pay(settings: Settings) -> tuple[str, ...]:
    """The names of what `open_methods` will offer, without opening anything."""
    has_key = settings.recipient_secret is not None
    if settings.network == "sandbox":
        has_sessions = has_key or settings.recipient is None
    else:
        has_sessions = has_key and bool(settings.channel_wasm_hashes)
    return settings.intents or (("charge", "session") if has_sessions else ("charge",))


@dataclass(frozen=True, slots=True)
class _Parties:
    """Who is paid and who signs for us."""

    recipient: str
    recipient_key: Keypair | None
    sponsor: Keypair | None


def _parties(settings: Settings, sandbox: EmbeddedNetwork | None) -> _Parties:
    sponsor = key_from_secret(settings.sponsor.get_secret_value()) if settings.sponsor else None
    key = settings.recipient_secret
    recipient_key = key_from_secret(key.get_secret_value()) if key else None
    recipient = settings.recipient
    if sandbox is not None:
        sponsor = sponsor or sandbox_key("sponsor")
        if recipient is None and recipient_key is None:
            recipient_key = sandbox_key("recipient")
    if recipient is None and recipient_key is not None:
        recipient = recipient_key.public_key
    if recipient is None:
        raise ConfigError("A recipient is needed.")
    if sandbox is not None and recipient.startswith("G"):
        sandbox.fund(recipient)
    if sponsor is not None and sponsor.public_key == recipient:
        raise ConfigError(
            "The sponsor and the recipient must be two accounts: the sponsor's key is in this "
            "process, the recipient's need not be."
        )
    return _Parties(recipient, recipient_key, sponsor)


def _paying_itself(settings: Settings, counter: Counter, parties: _Parties) -> Sponsor | None:
    """The recipient as the one who pays for what it takes out of channels; ``None`` without its
    key."""
    if parties.recipient_key is None:
        return None
    return Sponsor(
        parties.recipient_key,
        counter.ledger,
        counter.book.store,
        SponsorTerms(max_fee=settings.max_fee),
        clock=counter.clock,
        sleep=counter.sleep,
    )


def _till(
    settings: Settings,
    counter: Counter,
    parties: _Parties,
    payer: Sponsor | None,
    sandbox: EmbeddedNetwork | None,
) -> Till | None:
    """Where sessions are held; ``None`` where nobody asked for them and something is missing. Where
    they are not offered any more, channels may still be open, and have to be guarded.

    Raises:
        ConfigError: somebody asked for them.
    """
    wanted = settings.intents is not None and settings.intents != ("charge",)
    key = parties.recipient_key
    factory, hashes = settings.channel_factory, settings.channel_wasm_hashes
    if key is not None and sandbox is not None and not hashes:
        factory, hashes = sandbox.channel_factory, (sandbox.channel_wasm_hash,)
    if key is None or payer is None or not hashes:
        if wanted:
            raise ConfigError(
                "Sessions need recipient_secret and channel_wasm_hashes: the recipient signs for "
                "what it takes out of a channel, and only channels of code that is known to pay "
                "are accepted."
            )
        return None
    tokens = settings.accepted_tokens()
    policy = SessionPolicy(
        factory=factory,
        wasm_hashes=frozenset(hashes),
        min_waiting_period=settings.min_refund_waiting_period,
        seconds=settings.session_seconds,
        suggested_calls=settings.suggested_calls,
        min_voucher_delta=_base_units(settings.min_voucher_delta, tokens[None]),
    )
    return Till(
        teller=Teller(
            counter, counter.book.store, policy, tokens=[token.address for token in tokens.values()]
        ),
        funding=Funding(
            counter,
            factory=policy.factory,
            wasm_hashes=policy.wasm_hashes,
            recipient=parties.recipient,
            min_waiting_period=policy.min_waiting_period,
        ),
        cashier=Cashier(counter, key, payer=payer),
        policy=policy,
        recipient=parties.recipient,
        tokens=tokens,
    )


def sponsor_terms(
    settings: Settings, *, poll_seconds: float = NETWORK_POLL_SECONDS
) -> SponsorTerms:
    """What the settings have the sponsor do."""
    return SponsorTerms(
        max_fee=settings.max_fee,
        limits=SponsorLimits(
            total=_stroops(settings.sponsor_budget), payer=_stroops(settings.sponsor_payer_budget)
        ),
        alarm=_stroops(settings.sponsor_alarm) or 0,
        patience_seconds=settings.settle_seconds,
        poll_seconds=poll_seconds,
        most_waiting=settings.sponsor_queue,
    )


def settlement_policy(settings: Settings) -> SettlementPolicy:
    """When the settings want channels settled.

    Raises:
        ConfigError: the default currency is unknown.
    """
    token, wanted = settings.accepted_tokens()[None], settings.settle_amount
    return SettlementPolicy(
        amount=None if wanted is None else _base_units(wanted, token),
        units=settings.settle_units,
        age=settings.settle_age,
        at_shutdown=settings.settle_at_shutdown,
    )


def _base_units(wanted: Decimal, token: Token) -> int:
    """At least one, unless nothing is wanted."""
    return max(1, int(wanted.scaleb(token.decimals))) if wanted else 0


def _stroops(xlm: Decimal | None) -> int | None:
    return None if xlm is None else int(xlm.scaleb(7))


def sandbox_key(role: str) -> Keypair:
    """An account of the sandbox's; play money needs no secrecy, and a restart the same address."""
    seed = hashlib.sha256(f"mpp_asgi sandbox {role}".encode()).digest()
    return Keypair.from_raw_ed25519_seed(seed)
