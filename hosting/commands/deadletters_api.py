"""A running Tollgate's dead letters, as the command line reads and requeues them."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlencode

from hosting.commands.tollgate_api import Json, TollgateApi

PAGE: Final = 500

_PATH: Final = "/chargeback/deadletters"
_SHOWN: Final = frozenset({"id", "reason", "size", "requeues"})


class DeadLettersApi:
    """Reads and requeues through `api`; every method raises what that does."""

    def __init__(self, api: TollgateApi) -> None:
        self._api = api

    def letters(self, after: str = "", *, waiting: bool = False) -> Iterator[Json]:
        """Yield dead letters, the latest first, that come after the one of this id; `waiting`: never requeued."""
        place: str | None = after
        while place is not None:
            asked = urlencode({"limit": PAGE, "after": place, "waiting": str(waiting).lower()})
            page = self._api.json({"dead_letters", "next"}, "GET", f"{_PATH}?{asked}")
            yield from page["dead_letters"]
            place = page["next"]

    def show(self, letter: str) -> Json:
        """Return the dead letter with `body` and its `encoding`."""
        return self._api.json({"dead_letter", "encoding", "body"}, "GET", _path(letter))

    def requeue(self, name: str, mended: bytes = b"", *, force: bool = False) -> Json:
        """Publish the event again, or `mended` in its place; return the dead letter as it then is."""
        path = f"{_path(name)}/requeue?force={str(force).lower()}"
        return self._api.json(_SHOWN, "POST", path, content=mended)


def _path(letter: str) -> str:
    return f"{_PATH}/{quote(letter, safe='')}"
