"""The lines of a live call: the age of the call, the milliseconds since the event before, and the values."""

from relay.watch.admin_client import ServerEvent
from relay.watch.event_line import EventLines


def test_each_line_has_the_time_and_the_milliseconds_since_the_one_before() -> None:
    lines = EventLines()
    call = {"id": "ab12", "call_sid": "CA1", "duration_s": 62.5, "state": "live", "turn": 3, "frames_stale": 0}
    events = [
        ServerEvent("call", {**call, "assistant_call_id": None, "queued_ms": 180}),
        ServerEvent("speech", {"at_s": 62.71, "role": "user", "status": "started"}),
        ServerEvent("lost", {"events": 7}),
        ServerEvent("final", {"at_s": 63.0, "role": "user", "text": "an order, please"}),
    ]

    assert [lines.line(event).plain for event in events] == [
        (
            "    62.500              call                    id=ab12  call_sid=CA1  assistant_call_id=null  state=live"
            "  turn=3  queued_ms=180"
        ),
        "    62.710     +210 ms  speech                  role=user  status=started",
        "                        lost                    events=7",
        '    63.000     +290 ms  final                   role=user  text="an order, please"',
    ]


def test_what_others_have_written_moves_no_cursor() -> None:
    line = EventLines().line(ServerEvent("final", {"at_s": 1.0, "role": "user", "text": "\x1b[2J\u202e\r\n"}))

    assert line.plain.isprintable()
