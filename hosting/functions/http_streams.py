"""Turns the worker's HTTP streams on, and its server's own pages off."""

from functools import partial

from fastapi import FastAPI


def turn_on_http_streams() -> None:
    """Import the extension, which makes the worker serve every HTTP function of the app as streams.

    The worker's server is a FastAPI app that is made after indexing. Left as it is, it answers /docs, /redoc and
    /openapi.json with its own pages, which hide ours, and the invocations that belong to those requests wait for them
    until the function's time-out.
    """
    # Imported here alone: the import by itself switches the whole process.
    from azurefunctions.extensions.http.fastapi import web  # noqa: PLC0415

    web.FastAPI = partial(FastAPI, openapi_url=None)
