"""A small FastAPI app with everything that a bridge can get wrong."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

routes = APIRouter()


def create_bridged() -> FastAPI:
    """Make the app; what its routes saw is in `app.state.seen`."""
    seen: dict[str, Any] = {"starts": 0, "disconnects": [], "finished": 0}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        seen["starts"] += 1
        await asyncio.sleep(float(os.environ.get("SLOW_START", "0")))
        if seen["starts"] <= int(os.environ.get("FAILING_STARTS", "0")):
            raise RuntimeError("the pool could not be opened")
        yield {"pool": "POOL", "seen": seen}

    app = FastAPI(title="The bridged app", lifespan=lifespan)
    app.state.seen = seen
    app.include_router(routes)
    return app


@routes.get("/scope")
async def scope(request: Request) -> dict[str, Any]:
    return {
        "starts": request.state.seen["starts"],
        "pool": request.state.pool,
        "invocation_id": request.scope["azure_functions.invocation_id"],
        "root_path": request.scope["root_path"],
        "asgi": request.scope["asgi"]["version"],
        "headers": sorted(request.headers.keys()),
    }


@routes.get("/seen")
async def what_was_seen(request: Request) -> dict[str, Any]:
    seen: dict[str, Any] = request.state.seen
    return seen


@routes.get("/stream")
async def stream(request: Request, count: int = 5, delay: float = 0.15) -> Response:
    async def chunks() -> AsyncIterator[str]:
        try:
            for number in range(count):
                yield f"data: {number} {time.time()}\n\n"
                await asyncio.sleep(delay)
        except (asyncio.CancelledError, GeneratorExit) as error:
            request.state.seen["disconnects"].append(type(error).__name__)
            raise

    return StreamingResponse(chunks(), media_type="text/event-stream")


@routes.get("/repeated")
async def repeated() -> Response:
    response = JSONResponse({})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    response.headers.append("link", "<a>; rel=x")
    response.headers.append("link", "<b>; rel=y")
    return response


@routes.get("/error")
async def error() -> None:
    raise RuntimeError("broken on purpose")


@routes.get("/error-midway")
async def error_midway() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.05)
        raise RuntimeError("broken on purpose, midway")

    return StreamingResponse(chunks())


@routes.get("/empty", status_code=204)
async def empty() -> None:
    return None


@routes.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    sizes = [len(chunk) async for chunk in request.stream() if chunk]
    return {"bytes": sum(sizes), "chunks": len(sizes)}


@routes.api_route("/echo/{rest:path}", methods=METHODS)
async def echo(rest: str, request: Request) -> dict[str, str]:
    return {
        "rest": rest,
        "raw_path": request.scope["raw_path"].decode(),
        "method": request.method,
        "query": request.url.query,
        "body": (await request.body()).decode(),
    }


class Durable(Response):
    """Has something to finish after its last byte, as an answer has whose usage event is not acknowledged yet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        await asyncio.sleep(0.3)
        scope["state"]["seen"]["finished"] += 1


@routes.get("/after")
async def after() -> Response:
    return Durable("answered")
