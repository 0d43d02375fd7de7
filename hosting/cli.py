"""The command `tollgate`: what operators do from a shell, against a running Tollgate.

Exit codes: 0 done, 1 refused or a day that is broken, 2 not called correctly, 3 no answer or one that says to come
back.
"""

import typer

from hosting import deadletter_commands, enrich_command, proof_commands, subscription_commands

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
    tollgate.add_typer(subscription_commands.build(), name="subscriptions")
    tollgate.command("enrich", help=enrich_command.HELP, epilog=enrich_command.EXAMPLES)(enrich_command.enrich)
    tollgate.add_typer(deadletter_commands.build(), name="deadletters")
    tollgate.add_typer(proof_commands.build(), name="proofs")
    return tollgate


def main() -> None:
    build()()
