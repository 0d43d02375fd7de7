"""A subscription's fields as options of the command line, and the JSON that they become.

What a field may hold is the gateway's to say: here only its shape is made.
"""

import json
import re
import sys
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Text = str | None
Texts = list[str] | None
Flag = bool | None

Count = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
CostCentre = Annotated[Text, typer.Option(help="Who pays.")]
Deployments = Annotated[
    Texts, typer.Option(help="A deployment it may use; may be repeated. None at all: every deployment.")
]
Identities = Annotated[
    Texts, typer.Option(help="Whose access tokens serve as its keys: azp:ID, oid:ID, group:ID, role:NAME; repeatable.")
]
Quota = Annotated[Text, typer.Option(metavar="TOKENS/PERIOD", help="Such as 50000000/month.")]
Budget = Annotated[Text, typer.Option(metavar="AMOUNT/PERIOD", help="In US dollars: 500.00/month.")]
Hard = Annotated[Flag, typer.Option("--hard/--soft", help="Refuse over the budget, or only warn.")]
MayChoose = Annotated[
    Flag, typer.Option("--may-choose-backend/--may-not-choose-backend", help="Callers may name a backend in a header.")
]
CacheKind = Annotated[Literal["exact", "semantic"] | None, typer.Option(help="Answer again what was answered before.")]
CacheSeconds = Annotated[int | None, typer.Option(min=1, metavar="SECONDS", help="How long answers are kept.")]
CacheDeployments = Annotated[
    Texts, typer.Option(help="A deployment whose answers are cached; may be repeated. None at all: all.")
]
Shield = Annotated[Flag, typer.Option("--prompt-shield/--no-prompt-shield", help="Check prompts by Content Safety.")]
Fail = Annotated[
    Literal["open", "closed"] | None, typer.Option(help="What a prompt without a verdict does: go on, or not.")
]
LogPrompts = Annotated[
    Flag, typer.Option("--log-prompts/--no-log-prompts", help="Keep prompts and completions, redacted.")
]
HidePersonalData = Annotated[
    Flag, typer.Option("--hide-personal-data/--show-personal-data", help="Whether models see it in tickets.")
]
File = Annotated[
    Path | None, typer.Option(help="JSON with any of the catalog's fields, - for standard input; options win over it.")
]

_QUOTA = re.compile(r"(?P<tokens>[0-9]{1,18})/(?P<per>[a-z]+)")
_BUDGET = re.compile(r"(?P<amount>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?P<currency>[A-Z]{3})?/(?P<per>[a-z]+)")


def given(
    *,
    cost_centre: CostCentre = None,
    deployment: Deployments = None,
    identity: Identities = None,
    requests_per_minute: Count = None,
    tokens_per_minute: Count = None,
    concurrent: Count = None,
    quota: Quota = None,
    budget: Budget = None,
    hard: Hard = None,
    may_choose_backend: MayChoose = None,
    cache: CacheKind = None,
    cache_ttl: CacheSeconds = None,
    cache_deployment: CacheDeployments = None,
    prompt_shield: Shield = None,
    fail: Fail = None,
    log_prompts: LogPrompts = None,
    hide_personal_data: HidePersonalData = None,
    file: File = None,
) -> dict[str, Any]:
    """Return the fields that were named. Raises typer.BadParameter."""
    plain = {
        "cost_centre": cost_centre,
        "deployments": deployment or None,
        "identities": identity or None,
        "may_choose_backend": may_choose_backend,
        "log_prompts": log_prompts,
        "hide_personal_data": hide_personal_data,
        "quota": _quota(quota) if quota is not None else None,
    }
    tables = {
        "limits": {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "concurrent": concurrent,
        },
        "budget": (_budget(budget) if budget is not None else {}) | {"hard": hard},
        "cache": {"kind": cache, "ttl_seconds": cache_ttl, "deployments": cache_deployment or None},
        "safety": {"prompt_shield": prompt_shield, "fail": fail},
    }
    content = (_read(file) if file is not None else {}) | _named(plain)
    for name, fields in tables.items():
        _merge(content, name, _named(fields))
    return content


def with_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with an option for each field, in place of its `**fields`: they are what `given` takes."""
    own = [each for each in signature(command).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    options = list(signature(given).parameters.values())

    @wraps(command)
    def run(**arguments: Any) -> None:
        command(**arguments)

    run.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]  # where inspect looks for it
    return run


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


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
