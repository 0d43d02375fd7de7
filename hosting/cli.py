"""The command `tollgate`: what operators do from a shell, against a running Tollgate.

Exit codes: 0 done, 1 refused or a day that is broken, 2 not called correctly, 3 no answer or one that says to come
back.
"""

import typer

from hosting.commands import deadletters, enrich, jobs, proofs, subscriptions

HELP = """Operate a running Tollgate.

Set TOLLGATE_URL to its address and TOLLGATE_KEY to an operator key, or for `enrich` to a subscription's; without
TOLLGATE_KEY you are asked for the key. It is never an argument, where others on this machine could read it.

Exit codes: 0 done, 1 refused or a day that is broken, 2 not called correctly, 3 no answer or one that says to come
back.
"""


def build() -> typer.Typer:
    """Return the command with its groups."""
    tollgate = typer.Typer(
        name="tollgate", help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    # With a callback the name of a group is always given, however few groups there are.
    tollgate.callback()(lambda: None)
    tollgate.command(
        "enrich", help=enrich.HELP, short_help="Print what Tollgate suggests for tickets.", epilog=enrich.EXAMPLES
    )(enrich.enrich)
    for name, group, short in (
        ("subscriptions", subscriptions, "Manage subscriptions and their keys."),
        ("jobs", jobs, "Look at jobs, and run again what was given up."),
        ("deadletters", deadletters, "Look at usage events that cannot be billed."),
        ("proofs", proofs, "Read the proofs of days, and prove a day anew."),
    ):
        tollgate.add_typer(group.build(), name=name, short_help=short)
    return tollgate


def main() -> None:
    build()()
