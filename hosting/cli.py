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
    tollgate.add_typer(subscriptions.build(), name="subscriptions")
    tollgate.command("enrich", help=enrich.HELP, epilog=enrich.EXAMPLES)(enrich.enrich)
    tollgate.add_typer(deadletters.build(), name="deadletters")
    tollgate.add_typer(jobs.build(), name="jobs")
    tollgate.add_typer(proofs.build(), name="proofs")
    return tollgate


def main() -> None:
    build()()
