"""Settings: keyword arguments of the middleware, or ``MPP_*`` in the environment.

Read and checked once, at the start. A wrong one stops the start with one sentence that says what
to change; an unknown one is refused, with the name that was probably meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003 # pydantic reads it at run time
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from stellar_sdk import StrKey

from mpp_asgi.protocol import ChallengeTemplate, ProtocolError, encode_object
from mpp_asgi.stellar.admissions import REDELIVERY_SECONDS
from mpp_asgi.stellar.network import PUBNET, TESTNET, Network, Token
from mpp_asgi.stellar.rpc_endpoints import checked_urls
from mpp_asgi.stellar.secret_key import key_from_secret

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp

ENVIRONMENT_PREFIX = "MPP_"
SANDBOX_STORE = "memory://"
_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_ARGUMENT = re.compile(r'\b([a-z_]+)="([^"]*)"')
INTENTS = ("charge", "session", "channel")
NETWORK_STORE = "sqlite:///mpp-asgi.db"

_NETWORK_ADVICE = (
    'network="sandbox" to try it out, or network="stellar:testnet" '
    '("stellar:pubnet" for real money) and recipient="G..."'
)


def _split(value: object) -> object:
    """Lists in the environment are words between commas."""
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value


def _none_is_empty(value: object) -> object:
    return () if value is None else value


def _unlimited(value: object) -> object:
    """``none`` in the environment is no limit."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f'must be exact, and a float is not: write "{value}"')  # noqa: TRY004 # pydantic's way
    return value


_LIST = BeforeValidator(_split)
_EXACT = BeforeValidator(_no_float)
_LIMIT = BeforeValidator(_unlimited)


class ConfigError(ValueError):
    """A setting is missing or wrong; the message is one sentence that says what to change."""


class EmbeddedNetwork(Protocol):
    """A Stellar network inside this process, as far as the server side knows it."""

    @property
    def app(self) -> ASGIApp:
        """Its RPC and faucet over HTTP."""
        ...

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one JSON-RPC request."""
        ...

    @property
    def channel_factory(self) -> str:
        """The contract that deploys payment channels."""
        ...

    @property
    def channel_wasm_hash(self) -> str:
        """The hash of their code, hex."""
        ...

    def fund(self, address: str) -> None:
        """Create an account (``G...``) with XLM and a trustline for USDC."""
        ...


class Settings(BaseModel):
    """Everything that can be set. Amounts of time are seconds, sizes bytes, fees stroops."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    network: Literal["sandbox", "stellar:testnet", "stellar:pubnet"]
    """The network that money moves on. There is no default: play money is a choice."""
    recipient: str | None = None
    """Who is paid: ``G...`` or ``C...``. The sandbox brings its own."""
    recipient_secret: SecretStr | None = None
    """Secret key (``S...``) of the recipient: sessions need it to take what is owed out of their
    channels. The sandbox brings its own."""
    intents: Annotated[tuple[Literal["charge", "session", "channel"], ...] | None, _LIST] = None
    """Ways to pay, the seller's favourite first. Default: ``charge``, and ``session`` where all
    that it needs is set. ``channel`` is sessions for clients of the deployed TypeScript SDK."""
    currency: str = "USDC"
    """Of prices that name none: a symbol or a contract address."""
    tokens: Mapping[str, Token] = Field(default_factory=dict)
    """Further tokens by symbol, beside XLM and USDC."""
    rpc_url: Annotated[tuple[str, ...], _LIST, BeforeValidator(_none_is_empty)] = ()
    """Stellar RPCs, the preferred one first: one URL or several. Pubnet has none to rely on, so it
    must be given there."""
    sponsor: SecretStr | None = None
    """Secret key (``S...``) of the account that pays network fees for payers; without one they pay
    their own. The sandbox brings its own."""
    max_fee: Annotated[int, Field(ge=1_000, le=100_000_000)] = 500_000
    """The most a sponsored transaction may cost."""
    sponsor_accounts: Annotated[int, Field(ge=0, le=200)] = 0
    """How many channel accounts lend sequence numbers to sponsored transactions: so many can be
    under way at a time. Their keys are made from the sponsor's; `mpp-asgi sponsor create` puts them
    on the ledger. 0: the sponsor lends its own, and one is under way at a time."""
    sponsor_queue: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """How many payments may wait for an account in one process, of one payer 100 of
    them. Whoever comes then is answered 503 at once."""
    sponsor_budget: Annotated[Annotated[Decimal, Field(gt=0, le=10**9)] | None, _LIMIT, _EXACT] = (
        Decimal(250)
    )
    """The most fees, in XLM, that are paid for payers in a day (UTC), on all hosts with the same
    store. When it is spent, payers pay their own. Default in the sandbox: no limit."""
    sponsor_payer_budget: Annotated[
        Annotated[Decimal, Field(gt=0, le=10**9)] | None, _LIMIT, _EXACT
    ] = Decimal(25)
    """The same, for any one payer."""
    sponsor_alarm: Annotated[Decimal, Field(ge=0, le=10**9), _EXACT] = Decimal(10)
    """With fewer XLM left than that, a warning is logged, and again every hour."""
    secret: SecretStr | None = None
    """Binds challenges; 32 bytes at least, the same for every worker. Default: one that the store
    makes and keeps."""
    previous_secret: SecretStr | None = None
    """Still accepted after a change of ``secret``, until its challenges have expired."""
    store: Annotated[str, Field(repr=False)] = ""
    """Where records are kept: a URL as in docs/stores.md (memory, sqlite, postgresql, redis).
    Default: ``sqlite:///mpp-asgi.db``, in the sandbox ``memory://``."""
    realm: str | None = None
    """Protection space named in challenges. Default: the request's host."""
    challenge_seconds: Annotated[int, Field(ge=30, le=86_400)] = 300
    """How long a challenge may be paid."""
    session_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3_600
    """How long a session's challenge is good, for any number of requests."""
    channel_factory: str | None = None
    """The contract (``C...``) that deploys payment channels, if there is one. The sandbox brings
    its own."""
    channel: str | None = None
    """With ``intents=["channel"]``, the one channel (``C...``) that is paid from. Default: the one
    that a request names."""
    channel_wasm_hashes: Annotated[tuple[str, ...], _LIST] = ()
    """SHA-256 of the channel code that is accepted, hex. The sandbox brings its own."""
    min_refund_waiting_period: Annotated[int, Field(ge=1, le=2_000_000)] = 17_280
    """Ledgers between a payer's wish to close a channel and its refund; less is not accepted. What
    is owed is settled within them: they must outlast any time the servers are down."""
    suggested_calls: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """For how many requests the deposit is enough that is suggested to payers."""
    min_voucher_delta: Annotated[Decimal, Field(ge=0), _EXACT] = Decimal(0)
    """By how much a voucher that is higher than the last one has to be higher, in whole tokens of
    the default currency. With a price that is less, payers sign for several requests at once."""
    settle_amount: Annotated[Annotated[Decimal, Field(gt=0)] | None, _EXACT] = Decimal(1)
    """Take what is earned out of a channel when it is so much, in whole tokens. Each settlement
    costs the network's fee, so it should be well below that."""
    settle_units: Annotated[int, Field(ge=1)] | None = None
    """Take it when so many requests were served since the last time."""
    settle_age: Annotated[int, Field(ge=60)] | None = None
    """Take it when the last time is so long ago."""
    settle_at_shutdown: bool = False
    """Take whatever is earned when the server ends, as far as 20 seconds allow."""
    guardian_interval: Annotated[int, Field(ge=5, le=3_600)] = 60
    """How often all channels are looked at, whether their payers want to close them: 100 to a call
    of the RPC."""
    settle_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """How long a request waits for its payment to be final before it answers 503."""
    redelivery_seconds: Annotated[int, Field(ge=3_600, le=31_536_000)] = REDELIVERY_SECONDS
    """How long a payment that was settled stays good for its resource, if that did not arrive. Its
    record is kept as long, and a record of a payment that was shown by its hash a day at least."""
    idempotency_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 86_400
    """How long the response to a request with an ``Idempotency-Key`` is kept, and given again; 0:
    not at all."""
    idempotency_limit: Annotated[int, Field(ge=0, le=16_777_216)] = 65_536
    """The largest response that is kept."""
    allow_http: bool = False
    """Take payments over plain HTTP from beyond this machine."""
    allow_hash: bool = False
    """Take the draft's bare ``hash`` credentials, which whoever reads the ledger can show."""
    body_limit: Annotated[int, Field(ge=0)] = 1_048_576
    """The largest request body of a priced route; it is read before the payment is."""
    hold_limit: Annotated[int, Field(ge=0)] = 16_777_216
    """The largest response of a route with ``settle="after"``; it is held until the payment is."""

    @field_validator("recipient")
    @classmethod
    def _is_address(cls, recipient: str | None) -> str | None:
        if recipient is not None and not (
            StrKey.is_valid_ed25519_public_key(recipient) or StrKey.is_valid_contract(recipient)
        ):
            raise ValueError("must be a Stellar address, 'G...' or 'C...'")
        return recipient

    @field_validator("realm")
    @classmethod
    def _can_be_named(cls, realm: str | None) -> str | None:
        if realm is not None:
            try:
                ChallengeTemplate(realm, "method", "intent", encode_object({}))
            except ProtocolError as error:
                raise ValueError(str(error).rstrip(".")) from None
        return realm

    @field_validator("rpc_url")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return checked_urls(urls)
        except ValueError as error:
            raise ValueError(str(error).rstrip(".")) from None

    @field_validator("sponsor", "recipient_secret", "secret", "previous_secret", mode="before")
    @classmethod
    def _is_bare(cls, secret: object) -> object:
        """Secrets come out of files that end with a line break."""
        if isinstance(secret, SecretStr):
            secret = secret.get_secret_value()
        return secret.strip() if isinstance(secret, str) else secret

    @field_validator("sponsor", "recipient_secret")
    @classmethod
    def _is_secret_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            try:
                key_from_secret(secret.get_secret_value())
            except ValueError:
                raise ValueError("must be a Stellar secret key, 'S...'") from None
        return secret

    @field_validator("intents")
    @classmethod
    def _names_some(cls, intents: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if intents is not None and (not intents or len(set(intents)) != len(intents)):
            raise ValueError("must name 'charge', 'session' or 'channel', each once")
        return intents

    @field_validator("channel_factory", "channel")
    @classmethod
    def _is_contract(cls, factory: str | None) -> str | None:
        if factory is not None and not StrKey.is_valid_contract(factory):
            raise ValueError("must be a contract's address, 'C...'")
        return factory

    @field_validator("channel_wasm_hashes")
    @classmethod
    def _are_hashes(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        for each in hashes:
            if not _HASH.fullmatch(each):
                raise ValueError("must be SHA-256 hashes of 64 hex digits each")
        return tuple(each.lower() for each in hashes)

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < 32:
            raise ValueError("must have 32 bytes at least; `openssl rand -base64 32` makes one")
        return secret

    @model_validator(mode="after")
    def _is_one_recipient(self) -> Settings:
        if self.recipient is not None and self.recipient_secret is not None:
            key = key_from_secret(self.recipient_secret.get_secret_value())
            if key.public_key != self.recipient:
                raise ValueError("The recipient_secret must be the key of the recipient")
        return self

    @model_validator(mode="before")
    @classmethod
    def _plays_without_limits(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        if values.get("network") == "sandbox":
            return {"sponsor_budget": None, "sponsor_payer_budget": None, **values}
        return values

    @model_validator(mode="after")
    def _is_complete(self) -> Settings:
        if self.network == "sandbox":
            if self.rpc_url:
                raise ValueError(
                    'network="sandbox" is inside this process and has no RPC URL: '
                    'for a sandbox that is served write network="stellar:testnet"'
                )
            return self
        if self.recipient is None and self.recipient_secret is None:
            raise ValueError(
                f'network="{self.network}" needs a recipient, the account that is paid: '
                'add recipient="G..."'
            )
        if not self.rpc_urls:
            raise ValueError(
                f'network="{self.network}" needs an RPC provider: add rpc_url="https://..."'
            )
        return self

    @property
    def stellar_network(self) -> Network:
        """The network whose passphrase and tokens count. The sandbox answers to testnet's."""
        return PUBNET if self.network == "stellar:pubnet" else TESTNET

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """The RPCs to ask, the preferred one first; none in the sandbox."""
        if self.rpc_url or self.network == "sandbox":
            return self.rpc_url
        public = self.stellar_network.rpc_url
        return () if public is None else (public,)

    @property
    def store_url(self) -> str:
        return self.store or (SANDBOX_STORE if self.network == "sandbox" else NETWORK_STORE)

    def accepted_tokens(self) -> Mapping[str | None, Token]:
        """What can be charged, by symbol, by address, and under ``None`` the default currency.

        Raises:
            ConfigError: the default currency is unknown.
        """
        known = {**self.stellar_network.tokens, **self.tokens}
        accepted: dict[str | None, Token] = dict(known.items())
        accepted.update({token.address: token for token in known.values()})
        if self.currency not in accepted:
            raise ConfigError(
                f"currency {self.currency!r} is unknown: write one of {', '.join(sorted(known))}, "
                "or name its contract in tokens={'...': Token('C...', ...)}."
            )
        accepted[None] = accepted[self.currency]
        return accepted


def read_settings(
    given: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Arguments first, then the environment.

    Raises:
        ConfigError: a setting is missing, wrong or unknown.
    """
    found = _from_environment(environment)
    values = {**found, **given}
    for name in values:
        if name not in Settings.model_fields:
            raise ConfigError(_unknown(name, Settings.model_fields))
    told = f"PaymentMiddleware needs a network: add {_NETWORK_ADVICE}."
    if values.get("network") is not None:
        try:
            return Settings.model_validate(values)
        except ValidationError as error:
            told = _sentence(error, {*found} - {*given})
    raise ConfigError(_as_variables(told) if found and not given else told)


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {
        ENVIRONMENT_PREFIX + name.upper(): name
        for name in Settings.model_fields
        if name != "tokens"
    }
    found = {}
    for variable, value in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and value:
            if variable not in names:
                raise ConfigError(_unknown(variable, names))
            found[names[variable]] = value
    return found


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}."
    return f"There is no setting {name!r}; {advice}"


def _sentence(error: ValidationError, from_environment: Collection[str]) -> str:
    """The first thing to change, without the value: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{message}."
    name = first["loc"][0]
    if name == "network":
        return f"There is no such network: write {_NETWORK_ADVICE}."
    if name in from_environment:
        name = f"{ENVIRONMENT_PREFIX}{str(name).upper()}"
    return f"The setting {name!r} is wrong: {message[0].lower()}{message[1:]}."


def _as_variables(sentence: str) -> str:
    """What names arguments, for whoever sets variables alone."""

    def variable(argument: re.Match[str]) -> str:
        name, value = argument.groups()
        return f"{ENVIRONMENT_PREFIX}{name.upper()}={value}"

    return _ARGUMENT.sub(variable, sentence).replace(": add ", ": set ")


def embedded_sandbox() -> EmbeddedNetwork:
    """The network inside this process: the one place where the server side knows the sandbox."""
    from mpp_asgi.sandbox import Sandbox  # noqa: PLC0415 # who sells for money never loads it

    return Sandbox()
