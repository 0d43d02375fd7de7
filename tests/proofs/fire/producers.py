"""The producers: they publish by the real SDK, begin anew after every failure, and repeat themselves."""

import asyncio
import contextlib

from hosting.eventhubs.events import EventHubStream
from seams.events import StreamUnavailable
from tests.proofs.fire.plan import Batch, Plan

PRODUCERS = 4


class Producers:
    """Several at once, until they are stopped. `pace` is seconds between batches, over all of them."""

    def __init__(self, plan: Plan, stream: EventHubStream, pace: float) -> None:
        self._plan = plan
        self._stream = stream
        self._pace = pace
        self._burning = True
        self.republished = 0
        self._tasks = [asyncio.create_task(self._produce()) for _ in range(PRODUCERS)]

    async def stop(self) -> None:
        """Let each publish what it has begun."""
        self._burning = False
        await asyncio.gather(*self._tasks)

    async def _produce(self) -> None:
        while self._burning:
            batch = self._plan.batch()
            await self._publish(batch)
            if self._plan.repeated(batch):
                await self._publish(batch)
            await asyncio.sleep(self._pace * PRODUCERS)

    async def _publish(self, batch: Batch) -> None:
        while True:
            with contextlib.suppress(StreamUnavailable):
                return await self._stream.publish(batch.bodies, batch.key)
            self.republished += 1
