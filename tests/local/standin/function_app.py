"""An app that publishes what it is sent and shows what it collected and closed; HOLD=1 keeps it from collecting."""

import asyncio
import importlib
import os
from typing import Any

import azure.functions as func
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from hosting.functions.asgi import StreamingAsgiMiddleware
from hosting.functions.http_streams import turn_on_http_streams
from hosting.functions.triggers import received_events
from hosting.settings import Settings

turn_on_http_streams()
api = FastAPI()
collected: list[str] = []
closed: list[bool] = []
module, _, opens = Settings().seams.partition(":")
stream = getattr(importlib.import_module(module), opens)(Settings()).stream("usage")


@api.post("/publish")
async def publish(request: Request) -> dict[str, str]:
    body = await request.body()
    await stream.publish([body], "service-desk")
    return {"published": body.decode()}


@api.get("/collected")
async def show() -> list[str]:
    return collected


@api.get("/closed")
async def show_closed() -> list[bool]:
    return closed


@api.get("/endless")
async def endless() -> StreamingResponse:
    async def chunks() -> Any:
        while True:
            yield b"x\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(chunks())


http = StreamingAsgiMiddleware(api)
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{*path}")
async def http_app(req, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as in function_app.py
    return await http.handle_async(req, context)


@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="usage", connection="EVENTHUB", cardinality="many", data_type="binary"
)
async def collect_usage(events: Any) -> None:
    if os.environ.get("HOLD"):
        await asyncio.Event().wait()
    collected.extend(event.body.decode() for event in received_events(events))


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
async def close_day(timer: Any) -> None:
    closed.append(timer.past_due)


@app.queue_trigger(arg_name="message", queue_name="letters", connection="QUEUES")
async def read_letter(message: Any) -> None: ...
