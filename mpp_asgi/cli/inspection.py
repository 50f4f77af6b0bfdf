"""``mpp-asgi inspect``: header fields in words."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.cli.reading import Finding, challenge_rows, read_text
from mpp_asgi.cli.terminal import CommandError, printable
from mpp_asgi.cli.urls import url_typed
from mpp_asgi.protocol import Challenge, ProtocolError
from mpp_asgi.protocol.headers import WWW_AUTHENTICATE

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.reading import Rows
    from mpp_asgi.cli.terminal import Terminal

_PAYMENT_REQUIRED = 402


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say what the text, the lines of the input, or the answer of a URL mean."""
    text = arguments.text
    now = time.time()
    try:
        if text == "-":
            lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
            findings = [each for line in lines for each in read_text(line, now=now)]
        elif text.lower().startswith(("http://", "https://")):
            findings = _asked_by(text, now)
        else:
            findings = read_text(text, now=now)
    except ProtocolError as error:
        raise CommandError(printable(str(error))) from None
    for number, finding in enumerate(findings):
        if number:
            terminal.say()
        show(finding, terminal)
    return 0


def show(finding: Finding, terminal: Terminal) -> None:
    """One finding as a table."""
    terminal.say(finding.title, style="bold")
    for line in table(finding.rows):
        terminal.say(line)


def table(rows: Rows) -> list[str]:
    """Rows with their labels in a column."""
    width = max((len(label) for label, _ in rows), default=0)
    return [f"  {printable(label):{width}}  {printable(value)}" for label, value in rows]


def _asked_by(url: str, now: float) -> list[Finding]:
    try:
        answer = httpx.get(url_typed(url))
    except httpx.HTTPError as error:
        raise CommandError(f"The URL does not answer ({type(error).__name__}).") from None
    if answer.status_code != _PAYMENT_REQUIRED:
        raise CommandError(f"The URL asks for no payment: it answers HTTP {answer.status_code}.")
    challenges = Challenge.all_from_headers(answer.headers.get_list(WWW_AUTHENTICATE))
    if not challenges:
        raise CommandError("The URL answers 402 and does not say how to pay.")
    return [Finding("Challenge", challenge_rows(each, now=now)) for each in challenges]
