"""What strangers are refused is a bounded number of log lines, however often they try; the metrics count each."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.metrics import LIMITS, Metrics
from relay.refusals import KINDS_MAX, KINDS_OF_OTHERS_MAX, OTHERS, Refusals, asked_by

CLIENT, OTHER_CLIENT = "198.51.100.1", "2001:db8:1:2::/64"
ENDPOINT, REASON = "/twilio/voice", "signature wrong"


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def told(logs: list[Any]) -> list[tuple[str, int | None]]:
    return [(line["client"], line.get("repeated")) for line in logs]


async def test_a_thousand_wrong_signatures_are_one_line_at_once_and_one_a_minute(
    autojump_clock: MockClock, nursery: trio.Nursery, logs: list[Any]
) -> None:
    metrics = Metrics()
    refusals = Refusals(metrics)
    nursery.start_soon(refusals.run)
    with asked_by(CLIENT):
        for _ in range(1000):
            refusals.rejected(ENDPOINT, REASON)
    assert told(logs) == [(CLIENT, None)]

    await trio.sleep(66)

    assert told(logs) == [(CLIENT, None), (CLIENT, 999)]
    assert {(line["event"], line["log_level"], line["endpoint"], line["reason"]) for line in logs} == {
        ("auth.rejected", "warning", ENDPOINT, REASON)
    }
    assert metrics.registry.get_sample_value("relay_auth_rejected_total", {"endpoint": ENDPOINT}) == 1000


async def test_each_client_and_each_kind_has_a_line_of_its_own(logs: list[Any]) -> None:
    refusals = Refusals(Metrics())
    for client in (CLIENT, OTHER_CLIENT):
        with asked_by(client):
            for _ in range(3):
                refusals.rejected(ENDPOINT, REASON)
                refusals.rejected(ENDPOINT, "signature missing")

    assert [(line["client"], line["reason"]) for line in logs] == [
        (client, reason) for client in (CLIENT, OTHER_CLIENT) for reason in (REASON, "signature missing")
    ]


async def test_values_that_a_stranger_chooses_make_no_kind(logs: list[Any]) -> None:
    refusals = Refusals(Metrics())
    with asked_by(CLIENT):
        for number in range(10):
            refusals.warning("webhook.rejected", "other 404", endpoint=f"/{number}")

    assert [line["endpoint"] for line in logs] == ["/0"]


async def test_clients_beyond_the_table_share_a_line(
    autojump_clock: MockClock, nursery: trio.Nursery, logs: list[Any]
) -> None:
    refusals = Refusals(Metrics())
    nursery.start_soon(refusals.run)
    for number in range(KINDS_MAX + 200):
        with asked_by(f"client {number}"):
            refusals.rejected(ENDPOINT, REASON)
    assert len(logs) == KINDS_MAX + 1
    assert told(logs)[-1] == (OTHERS, None)

    await trio.sleep(66)

    assert told(logs)[KINDS_MAX + 1 :] == [(OTHERS, 199)]


async def test_not_even_kinds_without_end_fill_the_log(logs: list[Any]) -> None:
    refusals = Refusals(Metrics())
    for number in range(2 * KINDS_MAX):
        refusals.info("client.refused", f"kind {number}")

    assert len(logs) == KINDS_MAX + KINDS_OF_OTHERS_MAX


async def test_what_was_not_told_yet_is_told_at_the_end(logs: list[Any]) -> None:
    refusals = Refusals(Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refusals.run)
        await trio.testing.wait_all_tasks_blocked()
        refusals.rejected(ENDPOINT, REASON)
        refusals.rejected(ENDPOINT, REASON)
        nursery.cancel_scope.cancel()

    assert told(logs) == [("unknown", None), ("unknown", 1)]


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_limit_is_counted_told_and_raised(limit: str, logs: list[Any]) -> None:
    metrics = Metrics()

    refused = Refusals(metrics).limited(limit, 429, "TOO_MANY_REQUESTS", "wait")

    assert (refused.status, refused.code, str(refused)) == (429, "TOO_MANY_REQUESTS", "wait")
    assert [(line["event"], line["limit"]) for line in logs] == [("limit.reached", limit)]
    assert metrics.registry.get_sample_value("relay_limited_total", {"limit": limit}) == 1
