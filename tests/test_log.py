"""The log as it is written: its lines, its levels, its libraries, and no secret."""

import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
import trio

from relay.log import open_log, set_level
from relay.redaction import Redactor
from relay.secrets import Secrets

SECRETS = Secrets(
    twilio_auth_tokens=("twilio-old-s3cret", "twilio-new-s3cret"),
    twilio_shared_keys={"id": "shared+s3cret/=="},
    vapi_api_keys={"vapi": "vapi-s3cret", "spare": "spare-s3cret"},
    vapi_webhook_secrets=("webhook-s3cret",),
    admin_token="admin-s3cret",
    client_key="client-s3cret",
)


class Log:
    """What was logged, read when the context has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@contextmanager
def logged(
    path: Path,
    *,
    redactor: Redactor | None = None,
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["json", "console"] = "json",
) -> Iterator[Log]:
    with (path / "log").open("wb") as file:
        fd = file.fileno()
        with open_log(redactor or Redactor(), level=level, form=form, on_drop=pytest.fail, fd=fd):
            yield Log(path / "log")


def fail(secret: str) -> None:
    try:
        raise ValueError(f"inner {secret}")
    except ValueError as error:
        raise ExceptionGroup(f"outer {secret}", [RuntimeError(secret), error]) from error


def test_a_line_has_time_level_event_and_values_in_this_order(tmp_path: Path) -> None:
    with logged(tmp_path) as log:
        structlog.get_logger().info("call.started", leg="caller", n=1)

    (event,) = log.events
    assert list(event) == ["timestamp", "level", "event", "leg", "n"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
    assert (event["level"], event["event"], event["leg"], event["n"]) == ("info", "call.started", "caller", 1)


async def test_the_call_id_is_on_every_line_of_a_call_and_of_no_other(tmp_path: Path) -> None:
    async def call(call_id: str) -> None:
        structlog.contextvars.bind_contextvars(call_id=call_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, call_id)
        await trio.to_thread.run_sync(lambda: structlog.get_logger().info("from.thread", of=call_id))

    async def task(call_id: str) -> None:
        await trio.lowlevel.checkpoint()
        structlog.get_logger().info("from.task", of=call_id)

    with logged(tmp_path) as log:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "one")
            nursery.start_soon(call, "two")
        structlog.get_logger().info("from.outside")

    assert sorted((event["event"], event["call_id"]) for event in log.events[:-1]) == [
        ("from.task", "one"),
        ("from.task", "two"),
        ("from.thread", "one"),
        ("from.thread", "two"),
    ]
    assert all(event["call_id"] == event["of"] for event in log.events[:-1])
    assert "call_id" not in log.events[-1]


@pytest.mark.parametrize(
    ("level", "seen"),
    [("debug", ["d", "i", "w", "e"]), ("info", ["i", "w", "e"]), ("warning", ["w", "e"]), ("error", ["e"])],
)
def test_lines_under_the_level_are_not_written(
    tmp_path: Path, level: Literal["debug", "info", "warning", "error"], seen: list[str]
) -> None:
    with logged(tmp_path, level=level) as log:
        logger = structlog.get_logger()
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")

    assert [event["event"] for event in log.events] == seen


@pytest.mark.parametrize("secret", sorted(SECRETS.values()))
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_seen_whatever_carries_it(tmp_path: Path, secret: str, form: Literal["json", "console"]) -> None:
    with logged(tmp_path, redactor=Redactor(SECRETS.values()), form=form) as log:
        logger = structlog.get_logger().bind(bound=secret)
        logger.info(f"event {secret}", text=f"<{secret}>", nested={"a": [{secret: secret.encode()}]}, object=Secrets)
        logger.info("headers", headers=[(b"authorization", f"Bearer {secret}".encode())])
        try:
            fail(secret)
        except ExceptionGroup as error:
            logger.exception("call.failed")
            logger.error("call.failed", exc_info=error)
            logger.error("call.failed", error=error, errors=[error])
            logging.getLogger("httpx").exception("failed with %s", secret)

    assert log.text.count("\n") >= 6
    assert secret not in log.text
    assert "s3cret" not in log.text


def test_an_exception_is_one_line_with_its_type_its_place_and_its_causes_but_no_locals(tmp_path: Path) -> None:
    def crash() -> None:
        try:
            raise ValueError("the cause")
        except ValueError as error:
            raise RuntimeError("the effect") from error

    with logged(tmp_path) as log:
        try:
            crash()
        except RuntimeError:
            structlog.get_logger().exception("call.failed")

    (event,) = log.events
    effect, cause = event["exception"]
    assert (effect["exc_type"], effect["exc_value"]) == ("RuntimeError", "the effect")
    assert (cause["exc_type"], cause["exc_value"]) == ("ValueError", "the cause")
    assert effect["frames"][-1]["name"] == "crash"
    assert "locals" not in effect["frames"][-1]


def test_every_exception_of_a_group_is_told(tmp_path: Path) -> None:
    with logged(tmp_path) as log:
        try:
            fail("x")
        except ExceptionGroup:
            structlog.get_logger().exception("call.failed")

    (group,) = log.events[0]["exception"]
    assert [part[0]["exc_type"] for part in group["exceptions"]] == ["RuntimeError", "ValueError"]


def test_what_libraries_log_takes_the_same_way_from_warning_on(tmp_path: Path) -> None:
    library = logging.getLogger("some.library")
    with logged(tmp_path, redactor=Redactor(frozenset({"s3cret"}))) as log:
        library.info("not seen")
        library.warning("seen %s", "s3cret")
        library.log(35, "between two levels")
        library.log(90, "beyond all levels")
        library.error("wrong %d format", "text")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old s3cret", UserWarning, stacklevel=1)

    *shown, warning = [(event["level"], event["event"], event["logger"], event["message"]) for event in log.events]
    assert warning[:3] == ("warning", "library.message", "py.warnings")
    assert "UserWarning: old ***" in warning[3]
    assert shown == [
        ("warning", "library.message", "some.library", "seen ***"),
        ("warning", "library.message", "some.library", "between two levels"),
        ("critical", "library.message", "some.library", "beyond all levels"),
        ("error", "library.message", "some.library", "wrong %d format"),
    ]


def test_a_library_that_repeats_itself_is_two_lines_of_which_the_second_says_how_often(tmp_path: Path) -> None:
    library = logging.getLogger("some.library")
    with logged(tmp_path) as log:
        for number in range(100):
            library.warning("lost peer %d", number)

    assert [(line["message"], line.get("repeated")) for line in log.events] == [
        ("lost peer 0", None),
        ("lost peer 0", 99),
    ]


def test_the_console_form_is_for_people(tmp_path: Path) -> None:
    with logged(tmp_path, form="console") as log:
        structlog.get_logger().info("call.started", leg="caller")

    assert "call.started" in log.text
    assert "leg=caller" in log.text
    assert "\x1b" not in log.text


def test_the_former_set_up_is_put_back(tmp_path: Path) -> None:
    before = (structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level)
    with logged(tmp_path):
        pass

    assert (structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level) == before


def test_lines_that_cannot_be_written_are_counted_and_nobody_is_told_by_an_exception() -> None:
    lost = threading.Semaphore(0)
    with (
        open("/dev/full", "wb", buffering=0) as full,  # noqa: PTH123 - a device, not a path of ours
        open_log(Redactor(), level="info", form="json", on_drop=lost.release, fd=full.fileno()),
    ):
        structlog.get_logger().info("a")
        structlog.get_logger().info("b")
    assert lost.acquire(blocking=False)
    assert lost.acquire(blocking=False)


def test_a_new_level_holds_for_every_logger_also_one_with_values_of_its_own(tmp_path: Path) -> None:
    with logged(tmp_path) as log:
        loggers = [structlog.get_logger(), structlog.get_logger(call_id="the-call")]
        for level in ("warning", "debug"):
            set_level(level)
            for logger in loggers:
                logger.info("call.started", under=level)

    assert [line["under"] for line in log.events] == ["debug", "debug"]
