"""What `make run` prints once the app answers: where to look, which keys there are, a command to paste."""

from collections.abc import Sequence
from datetime import datetime

from local.demonstration import KEYS, Demo
from local.eventhubs.server import connection_string


def ready_text(
    url: str,
    now: datetime,
    *,
    demo: Demo | None,
    catalog: str,
    not_served: Sequence[str],
    hub_port: int | None = None,
) -> str:
    """Return the text; its first line is exactly `Tollgate is ready at URL`, on which scripts may wait.

    `catalog` names the user's own where there is no demo: then no backends run and no keys are known. `hub_port` is
    that of the stand-in for Event Hubs, where events go through it.
    """
    lines = [f"Tollgate is ready at {url}", "", f"  API         {url}/docs"]
    if demo is None:
        lines += [f"  Catalog     {catalog if len(catalog) < 200 else 'from GATEWAY_CATALOG'}"]
    else:
        lines += _demo_lines(url, now, demo)
    if hub_port is not None:
        lines += _hub_lines(hub_port)
    if not_served:
        lines += ["", f"  Not served by this host: {', '.join(not_served)}"]
    return "\n".join([*lines, "", "  Ctrl-C stops everything.", ""])


def _demo_lines(url: str, now: datetime, demo: Demo) -> list[str]:
    statement = f"{url}/chargeback/statements/service-desk/{now:%Y-%m}"
    first = next(iter(demo.endpoints.values()))
    return [
        f"  Statement   {statement}  (header api-key: {KEYS['service-desk']})",
        "",
        "  Demo keys   " + ", ".join(f"{name}: {key}" for name, key in KEYS.items()),
        "  Backends    " + ", ".join(f"{name} {endpoint}" for name, endpoint in demo.endpoints.items()),
        "",
        "  What goes wrong there is up to you; each backend takes faults and shows its invoice:",
        "",
        f'    curl {first}/simulator/faults -d \'[{{"kind": "status", "status": 429, "times": 3}}]\'',
        f"    curl {first}/simulator/invoice",
        "",
        "  A stream to begin with:",
        "",
        f"    curl -N '{url}/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21' \\",
        f"      -H 'api-key: {KEYS['service-desk']}' -H 'Content-Type: application/json' \\",
        """      -d '{"stream": true, "messages": [{"role": "user", "content": "Why did the VPN drop at noon?"}]}'""",
        "",
        "  A ticket to enrich, with its choices; local/demo/tickets has more:",
        "",
        f"    curl {url}/enrich -H 'api-key: {KEYS['service-desk']}' -H 'Content-Type: application/json' \\",
        "      -d @local/demo/tickets/vpn-drops.json",
    ]


def _hub_lines(port: int) -> list[str]:
    return [
        "",
        f"  Event Hubs  a stand-in at {connection_string(port)}",
        "",
        "  It fails on request, too, and counts what it does:",
        "",
        f'    curl http://127.0.0.1:{port}/faults -d \'{{"drop_acks": 0.2, "latency_seconds": 0.5}}\'',
        f"    curl http://127.0.0.1:{port}/counts",
    ]
