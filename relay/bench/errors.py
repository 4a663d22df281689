"""What can keep the benchmark from measuring."""


class BenchFailed(Exception):
    """The relay or the load did not do its part; the text says which, and ends with what it said last."""
