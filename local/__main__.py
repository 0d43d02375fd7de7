"""`python -m local`, which is `make run`: the app on this machine, with demo backends unless a catalog is given.

It takes no arguments. The environment: PORT (7071; 0 takes a free one), STATE (.local), EVENTS (files, or eventhub for
the stand-in), GATEWAY_CATALOG and the app's other settings. Exit codes: 0 stopped by Ctrl-C or SIGTERM; 1 the app or
the demo did not start; 2 the port or the configuration is wrong.
"""

import argparse
import errno
import os
import signal
import socket
import sys
from typing import Final

from local.port import listen

_ADDRESS: Final = "127.0.0.1"


def main() -> int:
    # SIGINT, too: a shell starts what runs in the background with that ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        form = argparse.RawDescriptionHelpFormatter
        argparse.ArgumentParser(prog="python -m local", description=__doc__, formatter_class=form).parse_args()
        listener = _listener(os.environ.get("PORT") or "7071")
        if listener is None:
            return 2
        # A taken port is told at once, not after a second of imports.
        from local.session import run  # noqa: PLC0415

        with listener:
            return run(listener)
    except KeyboardInterrupt:
        return 0


def _listener(port: str) -> socket.socket | None:
    """Take the port, or say on stderr why not."""
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        print(f"PORT must be a number from 0 to 65535, not {port!r}.", file=sys.stderr)
        return None
    try:
        return listen(_ADDRESS, int(port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken; Tollgate may be running there already" if taken else f"cannot be used: {error.strerror}"
        advice = f"Stop what runs there, or take another port: make run PORT={min(int(port) + 1, 65535)}"
        print(f"Port {port} {reason}. {advice}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
