"""Tickets of the history that are like this one. No model writes anything here."""

from enrichment.answers.answers import TaskWarning
from enrichment.answers.findings import Findings, SimilarTicket, SimilarTickets
from enrichment.calls.calls import Asker
from enrichment.case import Case, Found


async def run(case: Case, _: Asker) -> Found:
    near = case.neighbours
    if near.late:
        raise TimeoutError
    tickets = tuple(
        SimilarTicket(
            number=each.ticket.number,
            sys_id=each.ticket.sys_id,
            short_description=each.ticket.short_description,
            close_notes=each.ticket.close_notes,
            score=each.score,
        )
        for each in near.nearest
    )
    warnings: list[TaskWarning] = []
    if not case.request.history:
        warnings.append(TaskWarning(code="no_history", message="The request brought no history to look through."))
    if near.fell_back:
        message = "Embeddings were not to be had: tickets were compared by their words."
        warnings.append(TaskWarning(code="compared_by_words", message=message))
    return Found(Findings(similar=SimilarTickets(method=near.method, tickets=tickets)), tuple(warnings))
