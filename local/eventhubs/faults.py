"""What goes wrong on purpose, and when: shares of batches, drawn from a generator that a test seeds."""

import asyncio
import random
from typing import Annotated, Final

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`drop_acks`: stored, but the connection is cut before the acknowledgement. `busy`: refused as throttled.

    `deaths`: stored, then the stand-in dies as by SIGKILL. `latency_seconds` passes before each acknowledgement.
    `silent`: connections are taken, and nothing is read or said until it ends.
    """

    drop_acks: Share = 0.0
    busy: Share = 0.0
    deaths: Share = 0.0
    latency_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    silent: bool = False


NO_FAULTS: Final = Faults()


class Trouble:
    """The faults of the moment."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._audible = asyncio.Event()
        self.faults = NO_FAULTS
        self.change(NO_FAULTS)

    def change(self, faults: Faults) -> None:
        self.faults = faults
        if faults.silent:
            self._audible.clear()
        else:
            self._audible.set()

    def hits(self, share: float) -> bool:
        """Tell whether a fault that strikes this share of batches strikes now."""
        return share > 0 and self._dice.random() < share

    async def silence_over(self) -> None:
        await self._audible.wait()
