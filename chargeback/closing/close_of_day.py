"""What is done when a day is over: it is closed, and detail rows whose time is over are deleted."""

from chargeback.closing.closing import Closing
from chargeback.closing.retention import Retention


class CloseOfDay:
    def __init__(self, closing: Closing, retention: Retention) -> None:
        self._closing = closing
        self._retention = retention

    async def run(self) -> None:
        """Do both, each as far as it comes within its bounds; a day that cannot be closed keeps no rows alive.

        Raises TableUnavailable and StreamUnavailable; the next run takes up what was left.
        """
        try:
            await self._closing.run()
        finally:
            await self._retention.run()
