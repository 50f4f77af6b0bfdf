"""The demo from beginning to end. The exit status is 0 if every balance is exactly right."""

from __future__ import annotations

import os
import signal
import sys
import time

import httpx

from example_app.demo import purchases, refusals, session, walkthrough
from example_app.demo.books import MismatchError, whole
from example_app.demo.page import Page
from example_app.demo.processes import ProcessError
from example_app.demo.scene import Scene, scene
from mpp_asgi.cli.terminal import Terminal
from mpp_asgi.client import PaymentError
from mpp_asgi.stellar.rpc_call import RpcError

ROLES = {"agent": "buys", "seller": "is paid", "sponsor": "pays the fees"}


def main() -> int:
    """Play it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # no test replaces it here
    terminal = Terminal.standard()
    page = Page(terminal)
    started = time.monotonic()
    try:
        with scene(page) as everything:
            _play(everything)
    except KeyboardInterrupt:
        terminal.note("\nStopped. Nothing is left running.")
        return 130
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MismatchError, ProcessError) as error:
        terminal.note(f"\nThe demo failed. {error}", style="bad")
        return 1
    except (PaymentError, RpcError, httpx.HTTPError) as error:
        terminal.note(f"\nThe demo failed ({type(error).__name__}). {error}", style="bad")
        return 1
    seconds = round(time.monotonic() - started)
    page.line()
    page.line(f"Every balance is exactly what it should be. ({seconds} s)", style="good")
    return 0


def _play(everything: Scene) -> None:
    page = everything.page
    page.heading("An API that sells where the sun is, and an agent that buys")
    _introduce(everything)
    page.heading("1. One payment, step by step")
    walkthrough.perform(everything)
    page.heading("2. Everything there is, in three ways")
    purchases.perform(everything)
    page.heading("3. What is refused, and what is free")
    refusals.perform(everything)
    page.heading("4. Two hundred calls and a stream, paid from one deposit")
    session.perform(everything)
    page.heading("5. Who has what")
    _conclude(everything)


def _introduce(everything: Scene) -> None:
    page = everything.page
    page.entry("network", f"a Stellar network for itself, at {everything.network_url}")
    page.entry("API", f"uvicorn example_app.main:app, at {everything.api_url}")
    for name, role in ROLES.items():
        has = everything.books.due[name]
        page.line()
        page.entry(name, everything.books.addresses[name])
        page.entry("", f"{role}; has {whole(has.usdc)} USDC and {whole(has.xlm)} XLM")
    page.item("GET /", "free")
    answer = everything.http.get("/")
    answer.raise_for_status()
    for route, price in answer.json().items():
        page.entry(route, price, width=30)


def _conclude(everything: Scene) -> None:
    everything.books.balance("In the end")
    for name, due in everything.books.due.items():
        page_line = f"{whole(due.usdc):>14} USDC {whole(due.xlm):>20} XLM"
        everything.page.line(f"  {name:9}{page_line}")


if __name__ == "__main__":
    sys.exit(main())
