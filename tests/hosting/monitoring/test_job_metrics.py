"""Counts of jobs as a scrape sees them."""

from hosting.monitoring.exposition import exposition
from hosting.monitoring.job_metrics import JobMetrics


def test_each_step_is_counted() -> None:
    """What was told is in the scrape; what never happened reads 0, so that an alarm finds its series."""
    metrics = JobMetrics()
    metrics.job_queued()
    metrics.job_started()
    metrics.job_started()
    metrics.job_left()
    metrics.job_ended(succeeded=True)
    metrics.callback_attempted("again")
    metrics.callback_attempted("delivered")
    metrics.dead_letter_added("event")
    told = exposition(metrics.families()).splitlines()
    assert [line for line in told if not line.startswith("#")] == [
        "tollgate_jobs_running 1",
        'tollgate_jobs_total{status="queued"} 1',
        'tollgate_jobs_total{status="succeeded"} 1',
        'tollgate_jobs_total{status="failed"} 0',
        'tollgate_job_callbacks_total{outcome="delivered"} 1',
        'tollgate_job_callbacks_total{outcome="failed"} 0',
        'tollgate_job_callbacks_total{outcome="again"} 1',
        'tollgate_job_dead_letters_total{kind="job"} 0',
        'tollgate_job_dead_letters_total{kind="event"} 1',
    ]
