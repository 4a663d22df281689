"""The benchmark ends with this error when there is nothing to measure."""


class BenchFailed(Exception):
    """The relay or the load did not do its part; the text says which, and ends with what it said last."""
