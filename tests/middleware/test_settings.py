"""Settings: what is wrong is said in one sentence, before anything is sold."""

import re
import traceback
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from stellar_sdk import Keypair, MuxedAccount

from mpp_asgi import ConfigError, PaymentMiddleware, Settings, Token, price
from mpp_asgi.config import read_settings
from mpp_asgi.stellar.network import PUBNET, TESTNET
from tests.methods.stall import Selling, StartupFailedError, Visitor, running

KEY = Keypair.from_raw_ed25519_seed(bytes(31) + b"k")
CONTRACT = "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"
MUXED = MuxedAccount(KEY.public_key, 7).account_muxed
SECRET = "thirty-two bytes are the least of it"
TESTNET_SHOP = {"network": "stellar:testnet", "recipient": KEY.public_key}


def refusal(given: dict[str, Any], environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        read_settings(given, environment or {})
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    assert sentence[0].isupper() or sentence.startswith("network=")
    return sentence


ADVICE = (
    'network="sandbox" to try it out, or network="stellar:testnet" '
    '("stellar:pubnet" for real money) and recipient="G...".'
)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, f"PaymentMiddleware needs a network: add {ADVICE}"),
        ({"network": None}, f"PaymentMiddleware needs a network: add {ADVICE}"),
        ({"network": "testnet"}, f"There is no such network: write {ADVICE}"),
        ({"network": ""}, f"There is no such network: write {ADVICE}"),
        ({"network": 7}, f"There is no such network: write {ADVICE}"),
        (
            {"network": "stellar:testnet"},
            'network="stellar:testnet" needs a recipient, the account that is paid: '
            'add recipient="G...".',
        ),
        (
            {**TESTNET_SHOP, "network": "stellar:pubnet"},
            'network="stellar:pubnet" needs an RPC provider: add rpc_url="https://...".',
        ),
        (
            {"network": "sandbox", "rpc_url": "http://127.0.0.1:8000"},
            'network="sandbox" is inside this process and has no RPC URL: for a sandbox that is '
            'served write network="stellar:testnet".',
        ),
        (
            {**TESTNET_SHOP, "rpc_url": "ws://rpc.example"},
            "The setting 'rpc_url' is wrong: the URL of the RPC must be an http:// or https:// "
            "URL.",
        ),
        (
            {**TESTNET_SHOP, "rpc_url": ["https://a.example", "b.example"]},
            "The setting 'rpc_url' is wrong: the URL of the RPC must be an http:// or https:// "
            "URL.",
        ),
        (
            {**TESTNET_SHOP, "rpc_url": "https://a.example, https://a.example"},
            "The setting 'rpc_url' is wrong: an RPC is named twice.",
        ),
        (
            {"network": "sandbox", "recipient": "somebody"},
            "The setting 'recipient' is wrong: must be a Stellar address, 'G...' or 'C...'.",
        ),
        (
            {"network": "sandbox", "recipient": KEY.secret},
            "The setting 'recipient' is wrong: must be a Stellar address, 'G...' or 'C...'.",
        ),
        (
            {"network": "sandbox", "recipient": MUXED},
            "The setting 'recipient' is wrong: must be a Stellar address, 'G...' or 'C...'.",
        ),
        (
            {"network": "sandbox", "sponsor": KEY.public_key},
            "The setting 'sponsor' is wrong: must be a Stellar secret key, 'S...'.",
        ),
        (
            {"network": "sandbox", "sponsor": "S" * 56},
            "The setting 'sponsor' is wrong: must be a Stellar secret key, 'S...'.",
        ),
        (
            {"network": "sandbox", "secret": "short"},
            "The setting 'secret' is wrong: must have 32 bytes at least; "
            "`openssl rand -base64 32` makes one.",
        ),
        (
            {"network": "sandbox", "previous_secret": ""},
            "The setting 'previous_secret' is wrong: must have 32 bytes at least; "
            "`openssl rand -base64 32` makes one.",
        ),
        (
            {"network": "sandbox", "max_fee": 1},
            "The setting 'max_fee' is wrong: input should be greater than or equal to 1000.",
        ),
        (
            {"network": "sandbox", "max_fee": "lots"},
            "The setting 'max_fee' is wrong: input should be a valid integer, unable to parse "
            "string as an integer.",
        ),
        *(
            (
                {"network": "sandbox", name: 0.5},
                f'The setting {name!r} is wrong: must be exact, and a float is not: write "0.5".',
            )
            for name in (
                *("settle_amount", "min_voucher_delta", "sponsor_alarm"),
                *("sponsor_budget", "sponsor_payer_budget"),
            )
        ),
        (
            {"network": "sandbox", "challenge_seconds": 29},
            "The setting 'challenge_seconds' is wrong: input should be greater than or equal "
            "to 30.",
        ),
        (
            {"network": "sandbox", "settle_seconds": 601},
            "The setting 'settle_seconds' is wrong: input should be less than or equal to 600.",
        ),
        (
            {"network": "sandbox", "allow_http": "perhaps"},
            "The setting 'allow_http' is wrong: input should be a valid boolean, unable to "
            "interpret input.",
        ),
        (
            {"network": "sandbox", "body_limit": -1},
            "The setting 'body_limit' is wrong: input should be greater than or equal to 0.",
        ),
        (
            {"network": "sandbox", "recipient_secret": "S" * 56},
            "The setting 'recipient_secret' is wrong: must be a Stellar secret key, 'S...'.",
        ),
        (
            {
                "network": "sandbox",
                "recipient": KEY.public_key,
                "recipient_secret": Keypair.from_raw_ed25519_seed(bytes(32)).secret,
            },
            "The recipient_secret must be the key of the recipient.",
        ),
        (
            {"network": "sandbox", "intents": []},
            "The setting 'intents' is wrong: must name 'charge', 'session' or 'channel', "
            "each once.",
        ),
        (
            {"network": "sandbox", "intents": ["charge", "charge"]},
            "The setting 'intents' is wrong: must name 'charge', 'session' or 'channel', "
            "each once.",
        ),
        (
            {"network": "sandbox", "channel_factory": KEY.public_key},
            "The setting 'channel_factory' is wrong: must be a contract's address, 'C...'.",
        ),
        (
            {"network": "sandbox", "channel_wasm_hashes": "ab,cd"},
            "The setting 'channel_wasm_hashes' is wrong: must be SHA-256 hashes of 64 hex digits "
            "each.",
        ),
        (
            {"network": "sandbox", "tokens": {"EURC": "C..."}},
            "The setting 'tokens' is wrong: ",
        ),
        (
            {"network": "sandbox", "recipent": KEY.public_key},
            "There is no setting 'recipent'; did you mean 'recipient'?",
        ),
        (
            {"network": "sandbox", "rpc": "x"},
            "There is no setting 'rpc'; did you mean 'rpc_url'?",
        ),
        ({"network": "sandbox", "xyzzy": 1}, "There is no setting 'xyzzy'; known are "),
        ({"Network": "sandbox"}, "There is no setting 'Network'; did you mean 'network'?"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_said_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    assert refusal(given).startswith(sentence)


@pytest.mark.parametrize(
    "given",
    [
        {"network": "sandbox"},
        TESTNET_SHOP,
        {**TESTNET_SHOP, "recipient": CONTRACT},
        {**TESTNET_SHOP, "network": "stellar:pubnet", "rpc_url": "https://rpc.example"},
        {**TESTNET_SHOP, "rpc_url": None},
        {"network": "stellar:testnet", "recipient_secret": KEY.secret},
        {**TESTNET_SHOP, "sponsor": KEY.secret, "secret": SECRET, "previous_secret": SECRET},
        {**TESTNET_SHOP, "tokens": {"EURC": Token(CONTRACT, "EURC")}, "currency": "EURC"},
    ],
)
def test_right_ones_are_taken(given: dict[str, Any]) -> None:
    settings = read_settings(given, {})
    assert settings.network == given["network"]


def test_secrets_may_come_out_of_files() -> None:
    names = ("sponsor", "recipient_secret", "secret", "previous_secret")
    given = dict.fromkeys(names[:2], KEY.secret) | dict.fromkeys(names[2:], SECRET)
    for ending in ("\n", " \r\n"):
        settings = read_settings(
            {"network": "sandbox"}, {f"MPP_{k.upper()}": v + ending for k, v in given.items()}
        )
        read = {name: getattr(settings, name).get_secret_value() for name in names}
        assert read == given


@pytest.mark.parametrize(
    "name", ["sponsor", "recipient_secret", "secret", "previous_secret", "recipient", "store"]
)
@pytest.mark.parametrize("kind", [str, str.encode, lambda secret: [secret], lambda s: {s: s}])
def test_no_secret_is_repeated(name: str, kind: Any) -> None:
    wrong = KEY.secret[:26]
    with pytest.raises(ConfigError) as refused:
        read_settings({"network": "stellar:testnet", name: kind(wrong)}, {})
    told = "".join(traceback.format_exception(refused.value))
    assert wrong not in told
    with pytest.raises(ValueError) as raw:  # noqa: PT011 # pydantic's own
        Settings(network="stellar:testnet", **{name: kind(wrong)})
    assert wrong not in str(raw.value)


def test_rpcs_are_one_or_several() -> None:
    def urls(given: Any) -> tuple[str, ...]:
        return read_settings({**TESTNET_SHOP, "rpc_url": given}, {}).rpc_urls

    assert urls("https://a.example") == ("https://a.example",)
    assert urls("https://a.example, https://b.example") == urls(
        ["https://a.example", "https://b.example"]
    )
    assert urls(None) == (TESTNET.rpc_url,)
    listed = {"MPP_RPC_URL": "https://a.example,https://b.example"}
    assert len(read_settings(TESTNET_SHOP, listed).rpc_urls) == 2


def test_what_is_not_said_is_what_is_safe() -> None:
    settings = read_settings(TESTNET_SHOP, {})
    assert settings.store_url == "sqlite:///mpp-asgi.db"
    assert (settings.allow_http, settings.allow_hash) == (False, False)
    assert (settings.challenge_seconds, settings.currency) == (300, "USDC")
    assert settings.stellar_network is TESTNET
    assert read_settings({"network": "sandbox"}, {}).store_url == "memory://"
    pubnet = read_settings(
        {**TESTNET_SHOP, "network": "stellar:pubnet", "rpc_url": "https://rpc.example"}, {}
    )
    assert pubnet.stellar_network is PUBNET


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = read_settings({"network": "sandbox"}, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.network = "stellar:testnet"  # type: ignore[misc]


# The environment


def test_every_setting_may_come_from_the_environment() -> None:
    environment = {
        "MPP_NETWORK": "stellar:pubnet",
        "MPP_RECIPIENT": KEY.public_key,
        "MPP_CURRENCY": "XLM",
        "MPP_RPC_URL": "https://rpc.example",
        "MPP_SPONSOR": KEY.secret,
        "MPP_MAX_FEE": "1000",
        "MPP_SPONSOR_ACCOUNTS": "20",
        "MPP_SPONSOR_QUEUE": "50",
        "MPP_SPONSOR_BUDGET": "none",
        "MPP_SPONSOR_PAYER_BUDGET": "2.5",
        "MPP_SPONSOR_ALARM": "3",
        "MPP_SECRET": SECRET,
        "MPP_PREVIOUS_SECRET": SECRET,
        "MPP_STORE": "memory://",
        "MPP_REALM": "shop",
        "MPP_CHALLENGE_SECONDS": "60",
        "MPP_SETTLE_SECONDS": "5",
        "MPP_REDELIVERY_SECONDS": "7200",
        "MPP_IDEMPOTENCY_SECONDS": "600",
        "MPP_IDEMPOTENCY_LIMIT": "1000",
        "MPP_ALLOW_HTTP": "true",
        "MPP_ALLOW_HASH": "1",
        "MPP_BODY_LIMIT": "10",
        "MPP_HOLD_LIMIT": "20",
        "MPP_RECIPIENT_SECRET": KEY.secret,
        "MPP_INTENTS": "session, charge",
        "MPP_SESSION_SECONDS": "600",
        "MPP_CHANNEL_FACTORY": CONTRACT,
        "MPP_CHANNEL": CONTRACT,
        "MPP_CHANNEL_WASM_HASHES": f"{'Ab' * 32},{'0' * 64}",
        "MPP_MIN_REFUND_WAITING_PERIOD": "100",
        "MPP_SUGGESTED_CALLS": "7",
        "MPP_MIN_VOUCHER_DELTA": "0.001",
        "MPP_SETTLE_AMOUNT": "0.5",
        "MPP_SETTLE_UNITS": "100",
        "MPP_SETTLE_AGE": "3600",
        "MPP_SETTLE_AT_SHUTDOWN": "true",
        "MPP_GUARDIAN_INTERVAL": "10",
        "HOME": "/root",
    }
    settings = read_settings({}, environment)
    named = {f"MPP_{name.upper()}" for name in Settings.model_fields}
    assert named - environment.keys() == {"MPP_TOKENS"}
    assert (settings.max_fee, settings.allow_http, settings.allow_hash) == (1000, True, True)
    assert (settings.body_limit, settings.hold_limit) == (10, 20)
    assert settings.redelivery_seconds == 7200
    assert (settings.idempotency_seconds, settings.idempotency_limit) == (600, 1000)
    assert settings.intents == ("session", "charge")
    assert (settings.settle_amount, settings.settle_age) == (Decimal("0.5"), 3600)
    assert settings.channel_wasm_hashes == ("ab" * 32, "0" * 64)
    assert (settings.sponsor_accounts, settings.sponsor_budget) == (20, None)
    assert settings.sponsor_payer_budget == Decimal("2.5")
    assert settings.sponsor is not None
    assert settings.sponsor.get_secret_value() == KEY.secret


def test_arguments_count_before_it() -> None:
    environment = {"MPP_NETWORK": "stellar:testnet", "MPP_REALM": "outside", "MPP_STORE": ""}
    settings = read_settings({"network": "sandbox", "realm": "inside"}, environment)
    assert (settings.network, settings.realm, settings.store) == ("sandbox", "inside", "")


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("MPP_RECIPENT", "There is no setting 'MPP_RECIPENT'; did you mean 'MPP_RECIPIENT'?"),
        ("MPP_SECRET_KEY", "There is no setting 'MPP_SECRET_KEY'; did you mean 'MPP_SECRET'?"),
        ("MPP_TOKENS", "There is no setting 'MPP_TOKENS'; "),
        ("MPP_", "There is no setting 'MPP_'; "),
    ],
)
def test_an_unknown_variable_is_a_mistake_too(variable: str, sentence: str) -> None:
    said = refusal({"network": "sandbox"}, {variable: "a planted value"})
    assert said.startswith(sentence)
    assert "planted" not in said


def test_a_wrong_value_in_it_is_not_shown() -> None:
    said = refusal({"network": "sandbox"}, {"MPP_SPONSOR": "S a planted value"})
    assert said == "The setting 'MPP_SPONSOR' is wrong: must be a Stellar secret key, 'S...'."


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"MPP_REALM": "shop"},
            "PaymentMiddleware needs a network: set MPP_NETWORK=sandbox to try it out, or "
            "MPP_NETWORK=stellar:testnet "
            '("stellar:pubnet" for real money) and MPP_RECIPIENT=G....',
        ),
        (
            {"MPP_NETWORK": "stellar:testnet"},
            "MPP_NETWORK=stellar:testnet needs a recipient, the account that is paid: "
            "set MPP_RECIPIENT=G....",
        ),
        (
            {"MPP_NETWORK": "stellar:pubnet", "MPP_RECIPIENT": KEY.public_key},
            "MPP_NETWORK=stellar:pubnet needs an RPC provider: set MPP_RPC_URL=https://....",
        ),
        (
            {"MPP_NETWORK": "sandbox", "MPP_MAX_FEE": "1"},
            "The setting 'MPP_MAX_FEE' is wrong: input should be greater than or equal to 1000.",
        ),
    ],
)
def test_whoever_sets_variables_is_told_variables(
    environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({}, environment)
    assert str(refused.value) == sentence


async def test_the_middleware_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPP_REALM", "from outside")
    app = FastAPI()
    app.get("/")(price("1")(lambda: "content"))
    assert (await Visitor(Selling().to(app)).challenge("GET", "/")).realm == "from outside"


# At the start


def middleware(**settings: Any) -> PaymentMiddleware:
    app = FastAPI()
    app.get("/")(price("1")(lambda: "content"))
    return PaymentMiddleware(app, **settings)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "PaymentMiddleware needs a network"),
    ({"network": "sandbox", "store": "mysql://u:pw@h/d"}, "There is no store for 'mysql' URLs"),
    ({"network": "sandbox", "store": "charges.db"}, "The store's URL has no scheme"),
    (
        {"network": "sandbox", "store": "sqlite:////nowhere/at/all.db"},
        "Cannot open the SQLite store /nowhere/at/all.db: its directory does not exist",
    ),
    ({"network": "sandbox", "currency": "EURC"}, "currency 'EURC' is unknown: write one of "),
    (
        {"network": "sandbox", "sponsor": KEY.secret, "recipient": KEY.public_key},
        "The sponsor and the recipient must be two accounts",
    ),
    ({"network": "sandbox", "prices": {"nonsense": "1"}}, "prices={'nonsense': ...}: a key is"),
    ({"network": "sandbox", "prices": {"/": 0.1}}, "0.1 is a float"),
    (
        {"network": "sandbox", "prices": {"/": "0.00000001"}},
        "The price of / cannot be charged: 1E-8 has more than 7 decimal places",
    ),
    (
        {"network": "sandbox", "intents": ["channel"]},
        'intents=["channel"] needs to know whose channel pays, or nobody can: add channel="C...", '
        "or channel_of=",
    ),
    (
        {"network": "sandbox", "prices": ["GET /x"]},
        'prices= maps paths to prices: write prices={"GET /path": "0.01"}.',
    ),
    ({"network": "sandbox", "prices": "GET /x"}, "prices= maps paths to prices"),
    ({"network": "sandbox", "prices": {1: "1"}}, "prices= maps paths to prices"),
    ({"network": "sandbox", "prices": {"/x": object}}, "a price function takes the request"),
    ({"network": "sandbox", "prices": {"/x": ["1", "2"]}}, "a price is a decimal string"),
    ({"network": "sandbox", "prices": {"/x": b"1"}}, "a price is a decimal string"),
    ({"network": "sandbox", "intents": "charge"}, 'intents= is a list: write intents=["charge"].'),
    ({"network": "sandbox", "intents": 7}, "intents= is a list of ways to pay: write intents="),
    ({"network": "sandbox", "intents": lambda book: None}, "intents= is a list of ways to pay"),
    ({"network": "sandbox", "intents": [lambda book: None, "charge"]}, "intents= has names of"),
    (
        {"network": "sandbox", "intents": ["charges"]},
        "The setting 'intents' is wrong: input should be 'charge', 'session' or 'channel'",
    ),
    ({"network": "sandbox", "channel_of": "C..."}, "channel_of= is a function, not 'C...'."),
    ({"network": "sandbox", "clock": 7}, "clock= is a function, not 7."),
    ({"network": "sandbox", "sleep": 7}, "sleep= is a function, not 7."),
    ({"network": "sandbox", "sandbox": True}, "sandbox= is a Sandbox: write sandbox=Sandbox()"),
    ({"network": "sandbox", "rpc_url": 7}, "The setting 'rpc_url' is wrong: "),
    ({"network": "sandbox", "tokens": ["EURC"]}, "The setting 'tokens' is wrong: "),
    ({"network": ["sandbox"]}, "There is no such network"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG, ids=lambda value: str(value)[:50])
async def test_what_is_wrong_stops_the_start(settings: dict[str, Any], sentence: str) -> None:
    app = middleware(**settings)  # it says nothing yet: servers would take it for "no lifespan"
    with pytest.raises(StartupFailedError) as failed:
        async with running(app):
            raise AssertionError("it started")
    assert str(failed.value).startswith(sentence)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(("settings", "sentence"), WRONG, ids=lambda value: str(value)[:50])
async def test_without_a_lifespan_it_is_said_at_every_request(
    settings: dict[str, Any], sentence: str
) -> None:
    visitor = Visitor(middleware(**settings))
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
            await visitor.get("/")


def open_files() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
@pytest.mark.parametrize("wrong", [{"currency": "EURC"}, {"prices": {"/": "0.00000001"}}, {}])
async def test_a_start_that_failed_leaves_no_store_open(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert any("charges.db" in file for file in open_files())
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    store = f"sqlite:///{tmp_path}/charges.db"
    with pytest.raises(StartupFailedError):
        async with running(PaymentMiddleware(app, network="sandbox", store=store, **wrong)):
            raise AssertionError("it started")
    assert not any("charges.db" in file for file in open_files())


async def test_a_start_may_be_followed_by_another() -> None:
    """As in tests, and with a server that reloads in place."""
    app = FastAPI()
    app.get("/")(price("1")(lambda: "content"))
    selling = Selling()
    selling.to(app)
    visitor = Visitor(app)
    for _ in range(2):
        async with running(app):
            assert (await visitor.get("/")).status == 402
    assert (await visitor.get("/")).status == 402


async def test_the_applications_own_lifespan_runs_in_between() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        events.append("start")
        yield {"from": "lifespan"}
        events.append("end")

    app = FastAPI(lifespan=lifespan)
    app.get("/")(price("1")(lambda: "content"))
    Selling().to(app)
    async with running(app):
        assert (await Visitor(app).get("/")).status == 402
        assert events == ["start"]
    assert events == ["start", "end"]


# Secrets stay secret


PLANTED = "planted-secret-of-more-than-32-bytes"


def test_no_repr_shows_a_secret() -> None:
    settings = read_settings(
        {**TESTNET_SHOP, "sponsor": KEY.secret, "secret": PLANTED, "previous_secret": PLANTED}, {}
    )
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert PLANTED not in shown
    assert KEY.secret not in shown


@pytest.mark.parametrize(
    "settings",
    [
        {"secret": PLANTED, "recipient": "wrong"},
        {"secret": PLANTED[:20]},
        {"sponsor": KEY.secret + "X"},
        {"sponsor": KEY.secret, "network": "nonsense"},
        {"secret": PLANTED, "tokens": {"X": PLANTED}},
        {"recipient": KEY.secret},
        {"secret": [PLANTED]},
        {"sponsor": KEY},
    ],
    ids=", ".join,
)
def test_no_error_shows_a_secret(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({"network": "sandbox", **settings}, {})
    errors: list[BaseException | None] = [refused.value]
    shown = ""
    while errors and errors[0] is not None:
        error = errors.pop()
        assert error is not None
        shown += f"{error!r} {error} {vars(error)}"
        errors.append(error.__cause__ if error.__suppress_context__ else error.__context__)
    assert PLANTED[:20] not in shown
    assert KEY.secret not in shown
