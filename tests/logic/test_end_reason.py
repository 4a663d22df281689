from relay.logic.end_reason import EndReason


def test_the_reasons_are_the_words_that_logs_and_metrics_promise() -> None:
    assert {str(reason) for reason in EndReason} == {
        "caller_hangup",
        "assistant_ended",
        "transferred",
        "idle",
        "max_duration",
        "caller_lost",
        "protocol_error",
        "assistant_unavailable",
        "admin",
        "drain",
        "refused",
        "error",
    }
