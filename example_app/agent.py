"""An agent that needs to know when it gets dark, with ten cents to spend.

    uvicorn example_app.main:app      # in one terminal
    python -m example_app.agent       # in another

It plays with play money, unless STELLAR_SECRET has the key of a funded account (and MPP_RPC_URL the
network's RPC).
"""

import asyncio
import os
from datetime import UTC, datetime

import httpx
from stellar_sdk import Keypair

from mpp_asgi.client import BudgetExceededError, PaymentAuth

API = os.environ.get("DAYLIGHT_URL", "http://127.0.0.1:8000")
SANDBOX = f"{API}/.mpp/sandbox"


async def wallet() -> PaymentAuth:
    """What pays: a key, and a budget that it never exceeds."""
    if secret := os.environ.get("STELLAR_SECRET"):
        return PaymentAuth(secret, budget="0.10")
    key = Keypair.random()
    async with httpx.AsyncClient() as faucet:
        query = {"addr": key.public_key, "usdc": "1"}
        (await faucet.post(f"{SANDBOX}/faucet", params=query)).raise_for_status()
    return PaymentAuth(key, budget="0.10", rpc=SANDBOX)


async def errands(client: httpx.AsyncClient) -> None:
    """Ordinary requests. What costs something is paid for on the way."""
    today = (await client.get("/sun/paris")).raise_for_status().json()
    print(f"The sun sets in Paris at {today['sunset']:.16} UTC.")

    now = datetime.now(UTC).isoformat()
    stops = [{"latitude": lat, "longitude": 2.35, "at": now} for lat in (0, 45, 89)]
    journey = (await client.post("/journeys", json={"stops": stops})).raise_for_status().json()
    print(f"Going north along its meridian: {', '.join(journey['lights'])}.")

    async with client.stream("GET", "/live/paris") as live:
        lines = [line async for line in live.raise_for_status().aiter_lines() if line]
    print(f"Within a second it moved from {lines[0][6:]} to {lines[-1][6:]} degrees.")

    try:
        await client.get("/calendars/year/paris")
    except BudgetExceededError as error:
        print(f"No calendar of the year. {error}")


async def main() -> None:
    auth = await wallet()
    async with httpx.AsyncClient(base_url=API, auth=auth, timeout=60) as client:
        await errands(client)
    for paid in auth.paid:
        print(f"{paid.human_amount} {paid.currency} for {paid.url}")
    print(f"Spent {auth.spent['USDC']} USDC, {auth.left['USDC']} left.")


if __name__ == "__main__":
    asyncio.run(main())
