"""Imports what only some installations have, and says in one line which extra is missing from the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from relay.errors import ConfigError

PACKAGES = {"onnx": "onnxruntime", "otel": "opentelemetry", "plot": "matplotlib"}
"""What each extra of the wheel is imported as. The name of each of its distributions begins with that."""


@contextmanager
def extra(name: str, user: str) -> Iterator[None]:
    """Import a package of the extra `name` in here. Raises `ConfigError` if it is not installed; `user` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != PACKAGES[name]:
            raise
        raise ConfigError(
            f'{user} needs {PACKAGES[name]}, which is not installed: install relay with its extra "{name}"'
        ) from error
