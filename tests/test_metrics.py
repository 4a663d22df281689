"""The series that operators rely on, from the start."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.logic.end_reason import EndReason
from relay.metrics import CONTENT_TYPE, END_REASONS, Metrics

# Every series that operators may rely on, with the values of each label.
SERIES = {
    "relay_calls_active": {},
    "relay_calls_total": {
        "end_reason": "caller_hangup assistant_ended transferred idle max_duration caller_lost "
        "assistant_unavailable protocol_error admin drain refused error"
    },
    "relay_bargein_seconds_count": {},
    "relay_frame_delay_seconds_count": {"direction": "up down"},
    "relay_playout_buffer_seconds": {},
    "relay_playout_holes_total": {},
    "relay_frames_total": {"leg": "caller assistant", "direction": "up down"},
    "relay_frames_dropped_total": {"cause": "overflow stale late duplicate malformed trimmed pause"},
    "relay_notes_dropped_total": {"code": "NOTES_FULL NOTES_LEFT"},
    "relay_frames_invented_total": {"cause": "gap underrun reconnect keepalive"},
    "relay_frames_stale_total": {},
    "relay_reconnects_total": {"leg": "caller assistant", "result": "ok failed planned"},
    "relay_vad_delay_seconds_count": {},
    "relay_vad_windows_skipped_total": {},
    "relay_loop_lag_seconds_count": {},
    "relay_tasks": {},
    "relay_log_lines_dropped_total": {},
    "relay_state_errors_total": {"operation": "save load take delete beat retire read note whose post letters"},
    "relay_state_pending": {},
    "relay_state_dropped_total": {},
}


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_there_from_the_start_at_zero_with_every_label_value(name: str) -> None:
    found = {labels: value for (sample, labels), value in samples(Metrics()).items() if sample == name}

    combinations = 1
    for label, values in SERIES[name].items():
        assert {dict(labels)[label] for labels in found} == set(values.split())
        combinations *= len(values.split())
    assert len(found) == combinations
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize(
    ("name", "label", "value"),
    [
        ("relay_auth_rejected_total", "endpoint", "/twilio/voice"),
        ("relay_auth_rejected_total", "endpoint", "/twilio/media"),
        ("relay_webhook_events_total", "type", "status-update"),
        ("relay_webhook_events_total", "type", "other"),
    ],
)
def test_endpoints_and_webhook_types_are_there_from_the_start(name: str, label: str, value: str) -> None:
    assert samples(Metrics())[name, frozenset({(label, value)})] == 0


def test_the_reasons_are_those_a_call_can_end_with() -> None:
    assert set(END_REASONS) == {reason.value for reason in EndReason}


def test_what_is_counted_stands_in_the_rendered_text() -> None:
    metrics = Metrics()
    metrics.calls_active.inc()
    metrics.calls.labels("drain").inc()
    metrics.frames["caller", "up"] += 3
    metrics.frame_delay["down",].observe(0.2)
    metrics.bargein.observe(0.12)
    metrics.protocol_errors.labels("caller", "NOT_JSON").inc()

    found = samples(metrics)
    assert found["relay_calls_active", frozenset()] == 1
    assert found["relay_calls_total", frozenset({("end_reason", "drain")})] == 1
    assert found["relay_frames_total", frozenset({("leg", "caller"), ("direction", "up")})] == 3
    assert found["relay_frame_delay_seconds_sum", frozenset({("direction", "down")})] == 0.2
    assert found["relay_bargein_seconds_bucket", frozenset({("le", "0.1")})] == 0
    assert found["relay_bargein_seconds_bucket", frozenset({("le", "0.125")})] == 1
    assert found["relay_protocol_errors_total", frozenset({("leg", "caller"), ("code", "NOT_JSON")})] == 1


def test_two_daemons_in_one_process_share_nothing() -> None:
    one, two = Metrics(), Metrics()
    one.calls_active.inc()

    assert samples(two)["relay_calls_active", frozenset()] == 0


def test_the_content_type_names_the_format_that_is_rendered() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert Metrics().render().startswith(b"# HELP ")
