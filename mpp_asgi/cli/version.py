"""``mpp-asgi version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi import __version__

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal


TEXT = f"mpp-asgi {__version__}"


def run(_: Namespace, terminal: Terminal) -> int:
    """Print the version."""
    terminal.say(TEXT)
    return 0
