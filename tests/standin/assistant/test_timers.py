"""A call ends by itself for three reasons, each after its own time."""

import pytest

from relay.media.frames import TELEPHONE
from relay.standin.assistant.order import Order
from relay.standin.assistant.timers import EndOfCall, Timers

OPENED_S = 50.0
ORDER = Order(TELEPHONE, {"maxDurationSeconds": 100, "silenceTimeoutSeconds": 30}, "a")
TOO_LONG = EndOfCall("exceeded-max-duration", "normal")
NO_AUDIO = EndOfCall("call.in-progress.error-assistant-did-not-receive-customer-audio", "bare")
SILENT = EndOfCall("silence-timed-out", "normal")


@pytest.mark.parametrize(
    ("after_s", "active_s", "uplink_s", "ending"),
    [
        (99.9, 90, 99.9, None),
        (100, 90, 100, TOO_LONG),
        (19.9, 19, 0, None),
        (20, 19, 0, NO_AUDIO),
        (60, 59, 40, NO_AUDIO),
        (29.9, 0, 29.9, None),
        (30, 0, 30, SILENT),
        (70, 40, 70, SILENT),
        (100, 0, 0, TOO_LONG),
    ],
)
def test_it_is_over_when_one_of_its_times_is(
    after_s: float, active_s: float, uplink_s: float, ending: EndOfCall | None
) -> None:
    """All times are counted from the connection: now, when somebody last spoke, when audio last came."""
    timers = Timers(ORDER, OPENED_S)
    timers.active(OPENED_S + active_s)

    assert timers.check(OPENED_S + after_s, OPENED_S + uplink_s) == ending


def test_silence_is_counted_from_the_connection_until_somebody_speaks() -> None:
    assert Timers(ORDER, OPENED_S).check(OPENED_S + 30, OPENED_S + 30) == SILENT
