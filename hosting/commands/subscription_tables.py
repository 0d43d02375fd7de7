"""Subscriptions as a person reads them in a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

type Json = Mapping[str, Any]


def subscriptions_table(subscriptions: Iterable[Json]) -> Table:
    """Return one line a subscription."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("name", no_wrap=True, overflow="fold")
    for heading in ("source", "cost centre", "deployments", "limits", "quota", "budget"):
        table.add_column(heading, overflow="fold")
    for each in subscriptions:
        cells = (each["name"], each["source"], each["cost_centre"], _deployments(each), _limits(each))
        table.add_row(*(Text(cell) for cell in (*cells, _quota(each), _budget(each))))
    return table


def subscription_table(subscription: Json) -> Table:
    """Return one line a field; keys are left to `keys_text`."""
    table = Table("field", "value", box=box.SIMPLE_HEAD, show_header=False)
    written = {
        "limits": _limits(subscription),
        "quota": _quota(subscription),
        "budget": _budget(subscription),
        "deployments": _deployments(subscription),
        "deployment_limits": _deployment_limits(subscription),
        "keys_made_at": _pairs(subscription.get("keys_made_at")),
    }
    for name in sorted(subscription.keys() - {"keys", "name"}):
        table.add_row(name.replace("_", " "), Text(written.get(name) or _text(subscription[name])))
    table.title = Text(subscription["name"], style="bold")
    return table


def keys_text(keys: Mapping[str, str]) -> str:
    """Return the keys, each on a line of its own that can be copied."""
    lines = [f"{slot} key: {key}" for slot, key in keys.items()]
    return "\n".join([*lines, "Keep them now: they are shown this once."])


def _deployments(subscription: Json) -> str:
    return "all" if subscription["deployments"] is None else ", ".join(subscription["deployments"])


def _limits(subscription: Json) -> str:
    return _rates(subscription["limits"])


def _rates(limits: Json) -> str:
    words = {"requests_per_minute": "requests/min", "tokens_per_minute": "tokens/min", "concurrent": "at once"}
    return ", ".join(f"{limits[name]} {word}" for name, word in words.items() if limits.get(name) is not None)


def _deployment_limits(subscription: Json) -> str:
    """Return a line for each deployment that has limits of its own."""
    lines = []
    for deployment, limits in subscription["deployment_limits"].items():
        written = (_rates(limits), _quota(limits), _budget(limits))
        lines.append(f"{deployment}: {', '.join(filter(None, written)) or '-'}")
    return "\n".join(lines)


def _quota(subscription: Json) -> str:
    quota = subscription["quota"]
    return f"{quota['tokens']} tokens a {quota['per']}" if quota else ""


def _budget(subscription: Json) -> str:
    budget = subscription["budget"]
    if not budget:
        return ""
    return f"{budget['amount']} {budget['currency']} a {budget['per']}{', hard' if budget['hard'] else ''}"


def _pairs(values: Json | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _text(value: object) -> str:
    match value:
        case None | []:
            return "-"
        case list():
            return ", ".join(map(str, value))
        case dict():
            given = {name: each for name, each in value.items() if each not in (None, [], "")}
            return ", ".join(f"{name.replace('_', ' ')} {_text(each)}" for name, each in given.items()) or "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
