"""Who may log what, in one place.

What the SDKs print below WARNING (URLs, headers, frames; prompts, in some versions) is theirs to choose, so LOG_LEVEL
governs our own packages alone, and theirs stay at WARNING whatever OPENAI_LOG, the host or LOG_LEVEL ask for.
"""

import logging
from typing import Final

OWN: Final = ("gateway", "enrichment", "chargeback", "hosting", "local", "tollgate")
OTHERS: Final = ("openai", "httpx2", "httpcore2", "azure", "aiohttp", "asyncio", "opentelemetry")


def set_log_levels(level: str) -> None:
    """Set the level of our own loggers, by its name, and hold the SDKs' loggers at WARNING."""
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    for name in OTHERS:
        logging.getLogger(name).setLevel(logging.WARNING)
