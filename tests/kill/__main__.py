"""``python -m tests.kill``: sell under fire, and count."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.kill.battle import Plan, fight
from tests.servers import running_network


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--store", help="URL of an empty store (default: a new SQLite file)")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--buyers", type=int, default=8, help="customers who pay each item")
    parser.add_argument("--members", type=int, default=4, help="customers with a channel")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--accounts", type=int, default=20, help="that lend sequence numbers")
    parser.add_argument("--seed", type=int, default=0)
    wanted = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder, running_network(close_interval=1) as network:
        store = wanted.pop("store") or f"sqlite:///{folder}/payments.db"
        account = asyncio.run(fight(network, store, Path(folder), Plan(**wanted)))
    print("\n".join(account.lines()))
    return 1 if account.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
