"""What a call counts is in its last log line, and in the metrics of the daemon."""

import pytest

from relay.call.report.assistant_events import AssistantChanged, AssistantReconnected, ReconnectFailed
from relay.call.report.counts import Counts
from relay.call.report.events import (
    BrowserReattached,
    CallEnded,
    CallerNotBack,
    CallerReattached,
    CallEvent,
    CallStarted,
)
from relay.call.report.interruption_events import FalseAlarm, InterruptionSettled, PauseTakenBack, PlayoutHole
from relay.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_new_call_counts_nothing() -> None:
    assert Counts(Metrics()).totals() == {
        "frames_assistant_down": 0,
        "frames_assistant_up": 0,
        "frames_caller_down": 0,
        "frames_caller_up": 0,
        "frames_assistant_again": 0,
        "frames_stale": 0,
        "frames_dropped": {},
        "frames_invented": {},
        "notes_dropped": {},
        "reconnects": {},
        "planned_changes": 0,
        "protocol_errors": {},
        "vad_windows_skipped": 0,
        "echoes_found": 0,
        "interruptions_confirmed": 0,
        "interruptions_false": 0,
        "interruptions_resumed": 0,
    }


def test_everything_is_counted_in_both_places() -> None:
    metrics = Metrics()
    counts = Counts(metrics)
    counts.frame("caller", "up")
    counts.dropped("late", 2)
    counts.dropped("late", 0)
    counts.invented("gap", 3)
    counts.note(PlayoutHole(50))
    counts.stale_sent(1)
    counts.note(AssistantChanged("quiet", 100, 0, 0, "new", "old"))
    counts.vad_skipped()

    totals = counts.totals()
    assert totals["frames_caller_up"] == value(metrics, "relay_frames_total", leg="caller", direction="up") == 1
    assert totals["planned_changes"] == 1
    assert value(metrics, "relay_reconnects_total", leg="assistant", result="planned") == 1
    assert totals["frames_dropped"] == {"late": 2}
    assert value(metrics, "relay_frames_dropped_total", cause="late") == 2
    assert totals["frames_invented"] == {"gap": 3, "underrun": 2}
    assert value(metrics, "relay_frames_invented_total", cause="gap") == 3
    assert totals["frames_stale"] == value(metrics, "relay_frames_stale_total") == 1
    assert totals["vad_windows_skipped"] == value(metrics, "relay_vad_windows_skipped_total") == 1
    assert value(metrics, "relay_playout_holes_total") == 1


@pytest.mark.parametrize(
    ("event", "leg", "result"),
    [
        (CallerReattached(100, 0), "caller", "ok"),
        (BrowserReattached("polling", "websocket", 100), "caller", "ok"),
        (CallerNotBack(), "caller", "failed"),
        (AssistantReconnected(100, 0, 0, 1, "new", "old"), "assistant", "ok"),
        (ReconnectFailed(), "assistant", "failed"),
    ],
)
def test_each_attempt_to_get_a_leg_back_is_counted_by_its_result(event: CallEvent, leg: str, result: str) -> None:
    metrics = Metrics()
    counts = Counts(metrics)
    counts.note(event)

    assert value(metrics, "relay_reconnects_total", leg=leg, result=result) == 1
    assert counts.totals()["reconnects"] == ({leg: 1} if result == "ok" else {})


def test_interruptions_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    counts = Counts(metrics)
    for event in (
        InterruptionSettled(1, "new_turn", 810.0),
        FalseAlarm(2, "assistant"),
        FalseAlarm(3, "agreement"),
        PauseTakenBack(60),
    ):
        counts.note(event)
    counts.bargein(0.12)

    totals = counts.totals()
    assert totals["interruptions_confirmed"] == 1
    assert totals["interruptions_false"] == 2
    assert totals["interruptions_resumed"] == 1
    assert totals["frames_dropped"] == {"stale": 40}, "what a cut flushed is dropped once it stands"
    assert value(metrics, "relay_bargein_seconds_sum") == 0.12


def test_a_call_is_active_until_it_has_ended() -> None:
    metrics = Metrics()
    counts = Counts(metrics)
    counts.note(CallStarted("CA1"))
    assert value(metrics, "relay_calls_active") == 1
    counts.note(CallEnded("idle", 1.0, "CA1", None, {}))

    assert value(metrics, "relay_calls_active") == 0
    assert value(metrics, "relay_calls_total", end_reason="idle") == 1


def test_the_first_bad_message_of_a_kind_on_each_leg_is_worth_a_line() -> None:
    metrics = Metrics()
    counts = Counts(metrics)

    assert [counts.protocol_error("caller", "NOT_JSON") for _ in range(3)] == [True, False, False]
    assert counts.protocol_error("assistant", "NOT_JSON")
    assert counts.protocol_error("caller", "NOT_TEXT")
    assert counts.totals()["protocol_errors"] == {
        "caller.NOT_JSON": 3,
        "assistant.NOT_JSON": 1,
        "caller.NOT_TEXT": 1,
    }
    assert value(metrics, "relay_protocol_errors_total", leg="caller", code="NOT_JSON") == 3


def test_two_calls_share_the_metrics_and_nothing_else() -> None:
    metrics = Metrics()
    one, other = Counts(metrics), Counts(metrics)
    one.dropped("stale", 5)

    assert other.totals()["frames_dropped"] == {}
    other.dropped("stale", 1)
    assert value(metrics, "relay_frames_dropped_total", cause="stale") == 6
