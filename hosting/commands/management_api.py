"""A running Tollgate's subscriptions, as the command line manages them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from hosting.commands.tollgate_api import Json, TollgateApi

PAGE: Final = 500


class ManagementApi:
    """Manages subscriptions through `api`; every method raises what that does."""

    def __init__(self, api: TollgateApi) -> None:
        self._api = api

    def subscriptions(self, after: str = "") -> Iterator[Json]:
        """Yield all subscriptions whose names come after this one, in order."""
        place: str | None = after
        while place is not None:
            page = self._api.json({"subscriptions", "next"}, "GET", f"{_PATH}?limit={PAGE}&after={quote(place)}")
            yield from page["subscriptions"]
            place = page["next"]

    def show(self, name: str) -> Json:
        return self._api.json(_SHOWN, "GET", _path(name))

    def create(self, fields: Mapping[str, Any]) -> Json:
        """Return the subscription with `keys`: nobody can show them again."""
        return self._api.json(_SHOWN | {"keys"}, "POST", _PATH, fields)

    def change(self, name: str, patch: Mapping[str, Any]) -> Json:
        """Change fields by a JSON merge patch."""
        return self._api.json(_SHOWN, "PATCH", _path(name), patch)

    def rotate(self, name: str, slot: str) -> Json:
        return self._api.json({"keys"}, "POST", f"{_path(name)}/keys/{slot}")

    def revoke(self, name: str) -> None:
        self._api.answer("DELETE", _path(name))


_PATH: Final = "/manage/subscriptions"
_SHOWN: Final = frozenset({"name", "source", "cost_centre", "deployments", "limits", "quota", "budget"})


def _path(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"
