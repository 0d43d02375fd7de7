"""One instance as an OS process of its own: takes what it can get of shared limits, and prints how much that was.

Run as `python -m tests.gateway.sharing_instance STORE FIELDS RESERVED USED`: STORE is `sqlite:<path>` or a connection
string, FIELDS a subscription's JSON, RESERVED and USED the tokens of each request. It says `ready`, begins when a line
comes on stdin, stops when it was refused for a while, and prints the requests that passed and whether storage was up.
"""

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

from gateway.errors import GatewayError
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import Sharing
from hosting.tables import AzureTables
from local.tables import SQLiteTables
from seams.clock import SystemClock
from seams.tables import Tables
from tests.gateway.limited_calls import CentPerToken, NothingCharged, call_of, subscription_of, used

WORKERS = 8
PATIENCE = 2.5
"""Seconds of nothing but refusals: longer than an instance that is near a limit goes without word from the others."""


def opened(store: str) -> Tables:
    if store.startswith("sqlite:"):
        return SQLiteTables(Path(store.removeprefix("sqlite:")))
    return AzureTables.by_connection_string(store)


async def take(limiter: Limiter, fields: str, reserved: int, settled: int) -> int:
    """Return how many requests passed."""
    subscription = subscription_of(json.loads(fields))
    passed, last = 0, time.monotonic()
    while time.monotonic() - last < PATIENCE:
        call = call_of(subscription, reserved)
        try:
            await limiter.reserve(call)
        except GatewayError:
            await asyncio.sleep(0.02)
            continue
        passed, last = passed + 1, time.monotonic()
        await asyncio.sleep(random.random() * 0.004)
        if call.claim is not None:
            call.claim.settle([used(settled)])
    return passed


async def main(store: str, fields: str, reserved: str, settled: str) -> None:
    tables, clock = opened(store), SystemClock()
    sharing = Sharing(tables, clock, NothingCharged(), instance=os.urandom(6).hex(), random=random.random)
    limiter = Limiter(clock, CentPerToken(), sharing)
    await tables.table("limits")
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    await asyncio.to_thread(sys.stdin.readline)
    work = [take(limiter, fields, int(reserved), int(settled)) for _ in range(WORKERS)]
    passed = sum(await asyncio.gather(*work))
    print(json.dumps({"passed": passed, "reachable": sharing.reachable}), flush=True)  # noqa: T201 - the result
    await limiter.close()
    await tables.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
