"""`tollgate subscriptions`: list, show, create, change, rotate, revoke."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from hosting.commands.management_api import ManagementApi
from hosting.commands.shell import LOCAL, AsJson, Url, connected, print_json, print_table
from hosting.commands.subscription_fields import given, with_fields
from hosting.commands.subscription_tables import keys_text, subscription_table, subscriptions_table

HELP = """Manage subscriptions: who may call which deployments, within what limits, by which keys."""

Name = Annotated[str, typer.Argument(help="The subscription's name.")]

_EXAMPLES = {
    "list": "--json | jq '.[].name'",
    "show": "service-desk",
    "create": "service-desk --deployment gpt-4o --budget 500.00/month --hard",
    "change": "service-desk --requests-per-minute 900 --clear quota",
    "rotate": "service-desk secondary",
    "revoke": "service-desk --yes",
}


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    commands: dict[str, Callable[..., None]] = {
        "list": list_subscriptions,
        "show": show,
        "create": create,
        "change": change,
        "rotate": rotate,
        "revoke": revoke,
    }
    for name, command in commands.items():
        group.command(name, epilog=f"Example: tollgate subscriptions {name} {_EXAMPLES[name]}")(command)
    return group


def list_subscriptions(
    url: Url = LOCAL,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1000,
    after: Annotated[str, typer.Option(help="Only names after this one.")] = "",
    as_json: AsJson = False,
) -> None:
    """List subscriptions by name, those of the catalog included."""
    with _api(url) as api:
        found = list(islice(api.subscriptions(after), limit + 1))
    if as_json:
        print_json(found[:limit])
        return
    print_table(subscriptions_table(found[:limit]))
    if len(found) > limit:
        Console(stderr=True).print(f"There are more: --after {found[limit - 1]['name']}", markup=False)


def show(name: Name, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Show a subscription; its keys are not kept anywhere and cannot be shown."""
    with _api(url) as api:
        _show(api.show(name), as_json=as_json)


@with_fields
def create(name: Name, *, url: Url = LOCAL, as_json: AsJson = False, **fields: Any) -> None:
    """Create a subscription and print its two keys, this once."""
    content = given(**fields) | {"name": name}
    with _api(url) as api:
        created = api.create(content)
    if as_json:
        print_json(created)
        return
    print_table(subscription_table(created))
    print(keys_text(created["keys"]))  # noqa: T201 - a key is neither wrapped nor coloured


@with_fields
def change(
    name: Name,
    *,
    url: Url = LOCAL,
    clear: Annotated[
        list[str] | None, typer.Option(help="Take this field back to its default; may be repeated.")
    ] = None,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Change fields of a subscription; what is not named stays. Lists are replaced whole."""
    patch: dict[str, Any] = dict.fromkeys(clear or ()) | given(**fields)
    if not patch:
        raise typer.BadParameter("Name a field to change.")
    with _api(url) as api:
        _show(api.change(name, patch), as_json=as_json)


def rotate(
    name: Name,
    slot: Annotated[Literal["primary", "secondary"], typer.Argument(help="Which of the two keys.")],
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Replace one key by a new one and print it, this once; the other key goes on.

    Move callers to the other key first.
    """
    with _api(url) as api:
        rotated = api.rotate(name, slot)
    if as_json:
        print_json(rotated)
    else:
        print(keys_text(rotated["keys"]))  # noqa: T201 - a key is neither wrapped nor coloured


def revoke(
    name: Name,
    url: Url = LOCAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a subscription and both of its keys; its statements stay."""
    if not yes:
        typer.confirm(f"Revoke {name} and both of its keys?", abort=True, err=True)
    with _api(url) as api:
        api.revoke(name)
    if as_json:
        print_json({"name": name, "revoked": True})
    else:
        Console().print(f"Revoked {name}.", markup=False)


@contextmanager
def _api(url: str) -> Iterator[ManagementApi]:
    with connected(url) as api:
        yield ManagementApi(api)


def _show(subscription: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(subscription)
    else:
        print_table(subscription_table(subscription))
