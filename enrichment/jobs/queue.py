"""The hub on which jobs wait to be run: this end hands over names, producers of their own send whole jobs."""

import json
import logging
from typing import Final

from enrichment.jobs.job import JobName
from seams.events import EventStream, StreamUnavailable

_log: Final = logging.getLogger(__name__)


class JobQueue:
    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    async def put_back(self, body: bytes, key: str) -> None:
        """Publish a whole job as its producer would have. Raises StreamUnavailable."""
        await self._stream.publish([body], key)

    async def hand_over(self, name: JobName, again: str = "") -> bool:
        """Publish `{"job": ID, "subscription": NAME}`; tell whether the hub took it, within a bounded time.

        One that it did not take is handed over again by the job's reminder. `again` leads to another partition, past a
        slow job that the others of its partition wait for.
        """
        body = json.dumps({"job": name.id, "subscription": name.subscription}).encode()
        try:
            await self._stream.publish([body], name.key() + again)
        except StreamUnavailable as error:
            _log.warning("job %s waits for the next sweep: %s", name.key(), error)
            return False
        return True
