"""The text that Prometheus reads."""

from hosting.monitoring.exposition import Family, Histogram, exposition


def test_a_counter_and_its_labels() -> None:
    """A family is a help line, a type line and a line per series; quotes, backslashes and line ends are escaped."""
    family = Family("calls_total", "counter", "Calls.", ("who", "what"), [(("a", 'b"c'), 2), (("d\\e", "f\ng"), 3)])
    assert exposition([family]) == (
        "# HELP calls_total Calls.\n"
        "# TYPE calls_total counter\n"
        'calls_total{who="a",what="b\\"c"} 2\n'
        'calls_total{who="d\\\\e",what="f\\ng"} 3\n'
    )


def test_a_series_without_labels() -> None:
    """No labels, no braces."""
    assert exposition([Family("lost_total", "counter", "Lost.", (), [((), 0)])]).endswith("\nlost_total 0\n")


def test_a_histogram() -> None:
    """Buckets count everything up to their end, the end included; the last is +Inf and equals the count."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 5.0):
        histogram.observe(value)
    text = exposition([Family("lag_seconds", "histogram", "Lag.", ("x",), [(("y",), histogram)])])
    assert text.splitlines()[2:] == [
        'lag_seconds_bucket{x="y",le="0.1"} 2',
        'lag_seconds_bucket{x="y",le="1.0"} 3',
        'lag_seconds_bucket{x="y",le="+Inf"} 4',
        'lag_seconds_sum{x="y"} 5.65',
        'lag_seconds_count{x="y"} 4',
    ]
