"""Writes structured logs: one JSON object a line, with the call's id on every line of a call, and never a secret.

Anywhere in the program: `structlog.get_logger().info("noun.verb", key=value)`. A call binds its id once with
`structlog.contextvars.bind_contextvars(call_id=...)`; tasks and threads started from there inherit it.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from relay.log_sampler import LogSampler
from relay.log_writer import LogWriter
from relay.redaction import Redactor

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_OWN_KEYS = ("timestamp", "level")  # made here, so never masked
_FIRST_KEYS = ("timestamp", "level", "event", "call_id")
_MAX_FRAMES = 20  # of a traceback: a recursion without end must not fill the log
STANDARD_ERROR = 2


@contextlib.contextmanager
def open_log(
    redactor: Redactor,
    *,
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["json", "console"],
    on_drop: Callable[[], None],
    fd: int = STANDARD_ERROR,
) -> Iterator[None]:
    """Send everything that is logged to the open file `fd` while the context is open.

    What libraries log through `logging` at warning and above, and Python warnings, take the same way, as the event
    `library.message`. What repeats is sampled, see `relay.log_sampler`. Logging never blocks and never raises: a file
    that is slow or broken loses lines, and `on_drop` is called for each. On leaving, waiting lines are written and the
    former set-up is put back.
    """
    sampler = LogSampler()
    writer = LogWriter(fd, on_drop, now_and_then=sampler.say_counts)
    former = structlog.get_config()
    structlog.configure(
        processors=[sampler, *_processors(redactor, form, colors=os.isatty(fd))],
        wrapper_class=_wrapper(level),
        logger_factory=lambda *_: _Lines(writer),
        cache_logger_on_first_use=False,
    )
    try:
        with _library_messages():
            yield
    finally:
        sampler.say_counts(of_all=True)
        structlog.configure(**former)
        writer.close()


def set_level(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Write lines of this level and above from now on."""
    structlog.configure(**{**structlog.get_config(), "wrapper_class": _wrapper(level)})


def _wrapper(level: Literal["debug", "info", "warning", "error"]) -> type[structlog.typing.FilteringBoundLogger]:
    return structlog.make_filtering_bound_logger(_LEVELS[level])


class _Lines:
    """Takes finished lines from structlog, which calls a method named for the level: here all are the same."""

    def __init__(self, writer: LogWriter) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = writer.write


def _processors(redactor: Redactor, form: Literal["json", "console"], *, colors: bool) -> list[Processor]:
    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**redactor.clean_event(event), **{name: event[name] for name in _OWN_KEYS if name in event}}

    first: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _timestamp]
    if form == "console":
        console = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
        )
        return [*first, structlog.processors.format_exc_info, redact, console]
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=_MAX_FRAMES)
    return [*first, structlog.processors.ExceptionRenderer(transformer), redact, _json_line]


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event["timestamp"] = now.replace("+00:00", "Z")
    return event


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in _FIRST_KEYS if key in event}
    return json.dumps({**first, **event})


@contextlib.contextmanager
def _library_messages() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(level)


class _LibraryHandler(logging.Handler):
    """Passes what a library has logged on, as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        message = _message(record)
        # What a library says with other values is the same; a Python warning is all value.
        kind = message if record.msg == "%s" else record.msg
        values: dict[str, Any] = {"logger": record.name, "message": message}
        if record.exc_info:
            values["exc_info"] = record.exc_info
        if error := getattr(record, "error", None):  # of relay/net, which logs as a library does
            values["error"] = error
        # Libraries may use levels in between, for which structlog has no method.
        level = max(logging.WARNING, min(record.levelno // 10 * 10, logging.CRITICAL))
        structlog.get_logger().log(level, "library.message", **values, repeats=(record.name, str(kind)))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong format string must not end the call that met it
        return str(record.msg)
