"""A subscription's fields as options of the command line, and the JSON that they become.

What a field may hold is the gateway's to say: here only its shape is made.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

CostCentre = Annotated[str | None, typer.Option(help="Who pays.")]
Deployments = Annotated[
    list[str] | None, typer.Option(help="A deployment it may use; may be repeated. None at all: every deployment.")
]
Identities = Annotated[
    list[str] | None,
    typer.Option(help="Whose access tokens serve as its keys: azp:ID, oid:ID, group:ID, role:NAME; may be repeated."),
]
Count = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
Quota = Annotated[str | None, typer.Option(metavar="TOKENS/PERIOD", help="Such as 50000000/month.")]
Budget = Annotated[str | None, typer.Option(metavar="AMOUNT/PERIOD", help="Such as 500.00/month or 500.00EUR/month.")]
Hard = Annotated[bool | None, typer.Option("--hard/--soft", help="Refuse calls over the budget, or only warn.")]
MayChoose = Annotated[
    bool | None,
    typer.Option("--may-choose-backend/--may-not-choose-backend", help="Callers may name a backend in a header."),
]
File = Annotated[
    Path | None,
    typer.Option(help="JSON with any of the catalog's fields, - for standard input; options win over it."),
]

_QUOTA = re.compile(r"(?P<tokens>[0-9]{1,18})/(?P<per>[a-z]+)")
_BUDGET = re.compile(r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?P<currency>[A-Z]{3})?/(?P<per>[a-z]+)")


def given(
    *,
    cost_centre: str | None,
    deployments: list[str] | None,
    identities: list[str] | None,
    limits: tuple[int | None, int | None, int | None],
    quota: str | None,
    budget: str | None,
    hard: bool | None,
    may_choose_backend: bool | None,
    file: Path | None,
) -> dict[str, Any]:
    """Return the fields that were named; `limits` are requests and tokens per minute and concurrent requests.

    Raises typer.BadParameter.
    """
    content = _read(file) if file is not None else {}
    named = {
        "cost_centre": cost_centre,
        "deployments": deployments or None,
        "identities": identities or None,
        "may_choose_backend": may_choose_backend,
        "quota": _quota(quota) if quota is not None else None,
    }
    content |= {name: value for name, value in named.items() if value is not None}
    counts = dict(zip(("requests_per_minute", "tokens_per_minute", "concurrent"), limits, strict=True))
    _merge(content, "limits", {name: count for name, count in counts.items() if count is not None})
    _merge(content, "budget", _budget(budget) if budget is not None else {})
    _merge(content, "budget", {"hard": hard} if hard is not None else {})
    return content


def _merge(content: dict[str, Any], name: str, fields: dict[str, Any]) -> None:
    if fields:
        there = content.get(name)
        content[name] = (there if isinstance(there, dict) else {}) | fields


def _read(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {error}", param_hint="--file") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{file} holds no JSON object.", param_hint="--file")
    return content


def _quota(text: str) -> dict[str, Any]:
    match = _QUOTA.fullmatch(text)
    if match is None:
        raise typer.BadParameter("Write TOKENS/PERIOD, such as 50000000/month.", param_hint="--quota")
    return {"tokens": int(match["tokens"]), "per": match["per"]}


def _budget(text: str) -> dict[str, Any]:
    match = _BUDGET.fullmatch(text)
    if match is None:
        raise typer.BadParameter("Write AMOUNT/PERIOD, such as 500.00/month.", param_hint="--budget")
    return {name: value for name, value in match.groupdict().items() if value is not None}
