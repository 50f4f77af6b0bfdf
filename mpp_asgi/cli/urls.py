"""URLs as people type them."""

from __future__ import annotations

import httpx

from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.rpc_drivers import has_possible_host


def url_typed(text: str) -> httpx.URL:
    """A URL that a request can be sent to.

    Raises:
        CommandError: it is none.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):  # ValueError: it is no text, but bytes of some kind
        raise CommandError("That is no URL.") from None
    if url.scheme not in {"http", "https"}:
        raise CommandError("A URL begins with http:// or https://.")
    if not has_possible_host(url):
        raise CommandError("No host can have the name in that URL.")
    return url
