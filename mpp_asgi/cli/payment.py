"""``mpp-asgi pay``: a request that is paid for, after a look at its price."""

from __future__ import annotations

import os
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from stellar_sdk import Keypair

from mpp_asgi.cli.chain import Chain
from mpp_asgi.cli.inspection import table
from mpp_asgi.cli.reading import amount_text, price_text, receipt_rows, terms_of, token_of
from mpp_asgi.cli.signer import signer
from mpp_asgi.cli.terminal import CommandError, printable
from mpp_asgi.cli.urls import url_typed
from mpp_asgi.client import (
    Patience,
    PaymentAuth,
    PaymentError,
    PaymentOutcomeUnknownError,
    payment_receipt,
)
from mpp_asgi.middleware import SANDBOX_PATH
from mpp_asgi.protocol import Challenge, ProtocolError
from mpp_asgi.protocol.headers import WWW_AUTHENTICATE

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stellar.terms import Terms

SECONDS = 60.0
"""For one answer: a server waits for the ledger before it sends one."""
ATTEMPTS = 10
"""To get an answer for one payment: the first after a crash comes half a minute later."""
PLAY_MONEY = {"xlm": "100", "usdc": "100"}

_PAYMENT_REQUIRED = 402
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, section 5.6.2)."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Request the URL; if it costs something, show the price, ask, and pay."""
    with httpx.Client(timeout=SECONDS) as http:
        request = _request(arguments, http)
        try:
            answer = http.send(request, stream=True)
            if answer.status_code != _PAYMENT_REQUIRED:
                terminal.note("Nothing to pay.")
                return _give(answer, terminal)
            answer.read()
        except httpx.HTTPError as error:
            raise _silence(error) from None
        terms = _acceptable(answer, arguments.currency)
        _show_price(terms, terminal)
        chain = _chain(arguments, terms)
        if not arguments.yes:
            _require_consent(terminal)
        auth = _payer(arguments, terminal, chain, terms)
        return _pay(http, request, auth, terminal)


def _request(arguments: Namespace, http: httpx.Client) -> httpx.Request:
    body = _body(arguments.data)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    for field in arguments.header:
        name, colon, value = field.partition(":")
        if not colon:
            raise CommandError("A header is written 'Name: value'.")
        headers[name.strip()] = value.strip()
    method = arguments.method or ("GET" if body is None else "POST")
    if not _METHOD.fullmatch(method):
        raise CommandError("A method is a word such as POST.")
    url = url_typed(arguments.url)
    try:
        return http.build_request(method.upper(), url, content=body, headers=headers)
    except ValueError:
        raise CommandError("That request cannot be sent: see to its headers.") from None


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return os.fsencode(data)  # the bytes that were typed, whatever they are
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"The file with the data cannot be read: {error.strerror}.") from None


def _acceptable(answer: httpx.Response, currency: str) -> Terms:
    """The first offer in the currency."""
    try:
        challenges = Challenge.all_from_headers(answer.headers.get_list(WWW_AUTHENTICATE))
    except ProtocolError as error:
        raise CommandError(f"The price cannot be read: {printable(str(error))}") from None
    offers = [terms for each in challenges if (terms := terms_of(each)) is not None]
    if not offers:
        raise CommandError("The URL costs something, and cannot be paid on Stellar.")
    for terms in offers:
        token = token_of(terms)
        if token is not None and token.symbol == currency:
            return terms
    prices = " or ".join(dict.fromkeys(printable(price_text(terms)) for terms in offers))
    raise CommandError(f"The price is {prices}: choose with --currency.")


def _show_price(terms: Terms, terminal: Terminal) -> None:
    terminal.note(f"Price: {price_text(terms)}", style="bold")
    for line in table([("to", terms.recipient), ("on", terms.network)]):
        terminal.note(line)


def _require_consent(terminal: Terminal) -> None:
    if not terminal.asks:
        raise CommandError("Nobody is here to say yes: add --yes to pay without being asked.")
    if not terminal.confirm("Pay?"):
        raise CommandError("Nothing was paid.")


def _chain(arguments: Namespace, terms: Terms) -> Chain:
    if not arguments.sandbox:
        chain = Chain.chosen(arguments)
        if chain.network.name != terms.network:
            raise CommandError(
                f"The price is on {printable(terms.network)}, and this would pay on "
                f"{chain.network.name}: choose with --network."
            )
        return chain
    url = httpx.URL(arguments.url).copy_with(raw_path=SANDBOX_PATH.encode(), fragment=None)
    arguments.rpc_url = arguments.rpc_url or str(url)
    return Chain.chosen(arguments, {})


def _payer(arguments: Namespace, terminal: Terminal, chain: Chain, terms: Terms) -> PaymentAuth:
    key = _funded(chain) if arguments.sandbox else signer(arguments, terminal, os.environ)
    token = token_of(terms)
    if token is None:
        raise CommandError("The price is in a token that is not known here.")
    price = amount_text(terms.amount, token.decimals)
    _require_budget(arguments.budget, price, token)
    try:
        return PaymentAuth(
            key,
            budget={token.symbol: price},
            max_per_request={token.symbol: price},
            network=chain.network.name,
            rpc=chain.rpc_url,
            recipients=[terms.recipient],
            mode=arguments.mode,
            sponsored=not arguments.own_fee,
            patience=Patience(attempts=ATTEMPTS),
        )
    except ValueError as error:
        raise CommandError(printable(str(error))) from None


def _require_budget(budget: str, price: str, token: Token) -> None:
    try:
        enough = Decimal(price) <= Decimal(budget)
    except ArithmeticError:
        raise CommandError("A budget is an amount such as 0.50.") from None
    if not enough:
        raise CommandError(
            f"The price of {price} {token.symbol} is over the budget of {budget}: nothing was "
            "paid, raise --budget if it is worth it."
        )


def _funded(chain: Chain) -> Keypair:
    """A new account of a sandbox's."""
    key = Keypair.random()
    faucet = url_typed(f"{chain.rpc_url.rstrip('/')}/faucet")
    try:
        answer = httpx.post(faucet, params={"addr": key.public_key, **PLAY_MONEY})
    except httpx.HTTPError:
        answer = None
    if answer is None or answer.is_error:
        raise CommandError(
            'There is no sandbox at that URL: the app must have network="sandbox" and run on this '
            "machine, or --rpc-url must name a `mpp-asgi sandbox`."
        )
    return key


def _pay(http: httpx.Client, request: httpx.Request, auth: PaymentAuth, terminal: Terminal) -> int:
    try:
        while True:
            try:
                status = _give(http.send(request, auth=auth, stream=True), terminal)
                if status:
                    terminal.note(f"mpp-asgi: {_where_the_money_is(auth)}")
                return status  # noqa: TRY300 # what is given may break off as well
            except PaymentOutcomeUnknownError as error:
                trouble = str(error)
            except PaymentError as error:
                raise CommandError(printable(str(error))) from None
            except httpx.HTTPError as error:
                if not auth.unresolved:
                    raise _silence(error) from None
                trouble = "The answer broke off after it was paid."
            _require_another_try(trouble, auth, terminal)
    except KeyboardInterrupt:
        if not auth.unresolved:
            raise
        raise KeyboardInterrupt(_perhaps_paid(auth)) from None


def _where_the_money_is(auth: PaymentAuth) -> str:
    """For whoever got an error for it."""
    auth.reconcile()
    if any(auth.in_doubt.values()):
        return (
            "nothing was paid so far; the server could still take it, until its challenge expires."
        )
    spent = [f"{amount.normalize():f} {symbol}" for symbol, amount in auth.spent.items() if amount]
    return f"{spent[0]} was paid all the same." if spent else "nothing was paid."


def _require_another_try(trouble: str, auth: PaymentAuth, terminal: Terminal) -> None:
    """The payment is good for the answer as long as this process remembers it."""
    terminal.note(printable(trouble))
    if terminal.asks and terminal.confirm("Send the same payment again?"):
        return
    raise CommandError(_perhaps_paid(auth))


def _perhaps_paid(auth: PaymentAuth) -> str:
    (payment, *_) = auth.unresolved
    known = f"transaction {payment.transaction_hash}, " if payment.transaction_hash else ""
    return (
        f"The payment may have been made ({known}challenge {printable(payment.challenge_id)}): ask "
        "the server before you pay again."
    )


def _give(answer: httpx.Response, terminal: Terminal) -> int:
    """Hand out what comes back, as it comes."""
    last = b""
    for piece in answer.iter_bytes():
        terminal.bytes_out.write(piece)
        terminal.bytes_out.flush()
        last = piece
    if terminal.asks and not last.endswith(b"\n"):
        terminal.say()
    receipt = payment_receipt(answer)
    if receipt is not None:
        terminal.note("Receipt", style="bold")
        for line in table(receipt_rows(receipt)):
            terminal.note(line)
    if answer.is_error:
        terminal.note(f"mpp-asgi: the answer is HTTP {answer.status_code}.")
    return int(answer.is_error)


def _silence(error: httpx.HTTPError) -> CommandError:
    return CommandError(f"The URL does not answer ({type(error).__name__}).")
