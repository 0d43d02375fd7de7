"""A task while it runs, and what becomes of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from enrichment.answers.answers import TaskError, TaskOutcome, TaskWarning, Usage
from enrichment.calls.calls import Asker
from enrichment.errors import EnrichmentError, GatewayFailed, GatewayRefused
from enrichment.prompts.prompt import Prompt

TIMEOUT: Final = TaskError(code="timeout", message="The task was not done in time.")
_DEFECT: Final = TaskError(code="internal_error", message="The task failed; the log has the reason.")

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Run[T]:
    """One task: `result` where it succeeded, else `error`. What it used is known either way."""

    name: str
    prompt: Prompt | None
    asker: Asker
    result: T | None = None
    warnings: tuple[TaskWarning, ...] = ()
    error: TaskError | None = None
    cause: EnrichmentError | None = None

    @property
    def ended(self) -> bool:
        return self.result is not None or self.error is not None

    async def until(self, deadline: float, work: Callable[[], Awaitable[tuple[T, tuple[TaskWarning, ...]]]]) -> None:
        """Do the work, and note how it went, by the loop's time `deadline`; nothing is begun after it."""
        if asyncio.get_running_loop().time() >= deadline:
            self.error = TIMEOUT
            return
        try:
            async with asyncio.timeout_at(deadline):
                self.result, self.warnings = await work()
        except TimeoutError:
            self.error = TIMEOUT
        except EnrichmentError as error:
            self.cause = error
            self.error = TaskError(code=error.code or "failed", message=error.message, retry_after=error.retry_after)
        except Exception:  # noqa: BLE001 - a defect is the outcome of its task, and logged
            # What other tasks found, and what was used, is not lost to a defect in one of them.
            _log.exception("the task %s failed", self.name)
            self.error = _DEFECT

    def outcome(self) -> TaskOutcome:
        calls = self.asker.calls
        return TaskOutcome(
            name=self.name,
            status="failed" if self.error else "succeeded",
            error=self.error,
            warnings=self.warnings,
            prompt=self.prompt.label if self.prompt else None,
            model=calls[-1].model if calls else None,
            request_ids=tuple(call.request_id for call in calls),
            usage=total(call.usage() for call in calls),
        )


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum."""
    prompt = completion = 0
    for usage in usages:
        prompt += usage.prompt_tokens
        completion += usage.completion_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def raise_if_refused(runs: Sequence[Run[Any]], before: Run[Any]) -> None:
    """Raise the gateway's refusal where it is all that came: its status and Retry-After are what the caller needs.

    A call that was answered, `before` the tasks too, is something that came, unless it is a limit that all tasks met.
    """
    causes = [run.cause for run in runs if isinstance(run.cause, GatewayRefused | GatewayFailed)]
    if not causes or len(causes) < len(runs):
        return
    throttled = all(cause.status == HTTPStatus.TOO_MANY_REQUESTS for cause in causes)
    if throttled or not any(run.asker.calls for run in (*runs, before)):
        raise max(causes, key=lambda cause: cause.retry_after or 0)
