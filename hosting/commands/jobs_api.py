"""A running Tollgate's jobs, as the command line reads and requeues them."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlencode

from hosting.commands.tollgate_api import Json, TollgateApi

PAGE: Final = 200

_JOBS: Final = "/manage/jobs"
_LETTERS: Final = "/manage/jobdeadletters"
_JOB: Final = frozenset({"subscription", "id", "status", "attempts"})
_LETTER: Final = frozenset({"id", "reason", "at"})


class JobsApi:
    """Reads and requeues through `api`; every method raises what that does.

    A job is named `SUBSCRIPTION/ID`, a dead letter by its id, which has no slash.
    """

    def __init__(self, api: TollgateApi) -> None:
        self._api = api

    def jobs(self, status: str) -> Iterator[Json]:
        """Yield each job of this status once, those that are looked at next first."""
        seen: set[tuple[str, str]] = set()
        for job in self._pages(_JOBS, "jobs", status=status):
            name = (job["subscription"], job["id"])
            if name not in seen:
                seen.add(name)
                yield job

    def letters(self, days: int, *, waiting: bool) -> Iterator[Json]:
        """Yield the dead letters of so many days, the latest day first."""
        yield from self._pages(_LETTERS, "dead_letters", days=str(days), waiting=str(waiting).lower())

    def show(self, name: str) -> Json:
        """Return a job, or a dead letter with its `body`."""
        if "/" in name:
            return self._api.json(_JOB, "GET", _path(name))
        return self._api.json({"dead_letter", "body"}, "GET", _path(name))

    def requeue(self, name: str, mended: bytes = b"", *, force: bool = False) -> Json:
        """Run a job anew, or put a dead letter back; return it as it then is."""
        path = f"{_path(name)}/requeue?force={str(force).lower()}"
        return self._api.json(_JOB if "/" in name else _LETTER, "POST", path, content=mended)

    def _pages(self, path: str, field: str, **asked: str) -> Iterator[Json]:
        after: str | None = ""
        while after is not None:
            page = self._api.json(
                {field, "next"}, "GET", f"{path}?{urlencode({'limit': PAGE, 'after': after, **asked})}"
            )
            yield from page[field]
            after = page["next"]


def _path(name: str) -> str:
    subscription, slash, job = name.partition("/")
    if slash:
        return f"{_JOBS}/{quote(subscription, safe='')}/{quote(job, safe='')}"
    return f"{_LETTERS}/{quote(name, safe='')}"
