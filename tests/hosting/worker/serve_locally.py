"""Our local host over an app's folder: `python serve_locally.py FOLDER STATE`; prints its port as JSON."""

import asyncio
import json
import sys
from pathlib import Path

from local.events.event_source import LocalSource
from local.events.events import LocalStreams
from local.host.host import Host, HttpServer
from local.port import listen


async def _main(directory: str, state: str) -> None:
    sys.path.insert(0, directory)
    streams = LocalStreams(Path(state))
    host = Host(Path(directory), lambda hub: LocalSource(streams.stream(hub)), Path(state) / "timers")
    server = HttpServer(host.http())
    listener = listen("127.0.0.1", 0)
    async with host.triggers():
        serving = asyncio.create_task(server.serve([listener]))
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)  # noqa: T201 - the ready line
        await asyncio.to_thread(sys.stdin.read)
        server.stop()
        await serving
    await streams.stream("usage").close()
    listener.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
