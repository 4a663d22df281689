"""The table of what runs, at 80 columns, with no call, one, and fifty."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from relay.watch.top_table import CallRate, picture


def call(number: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "id": f"{number:032x}"[::-1],
        "duration_s": 754.2,
        "state": "reconnecting",
        "turn": 123,
        "caller_attached": True,
        "caller_speaking": False,
        "caller_dbfs": -64.2,
        "assistant_speaking": True,
        "assistant_dbfs": -90.0,
        "queued_ms": 12340,
        "target_ms": 400,
        "reconnects": {"caller": 1, "assistant": 2},
        "interruptions_confirmed": 17,
        **values,
    }


def relay(**values: Any) -> dict[str, Any]:
    told = {"version": "1.2.3", "uptime_s": 90061.0, "max_calls": 100, "refusal_cause": None, "loop_lag_ms": 1.24}
    return {**told, **values}


def shown(calls: list[dict[str, Any]], *, rows_max: int | None = None, **values: Any) -> list[str]:
    out = StringIO()
    answer = {"calls": calls, "relay": relay(**values)}
    Console(file=out, width=80).print(picture(answer, begun_lately=12, rows_max=rows_max))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_no_call_is_said_in_words() -> None:
    assert shown([]) == [
        "relay 1.2.3  up 25:01:01  0 of 100 calls  12 new in a minute  loop 1.2 ms late",
        "",
        "No call runs.",
    ]


def test_a_call_has_a_line_that_fits_with_its_greatest_values() -> None:
    _, _, head, line = shown([call(duration_s=36_754)])

    titles = ["call", "age", "state", "turn", "speaks", "caller", "assist.", "buffer", "ms", "lost", "cuts"]
    assert head.split() == titles
    assert line.split() == [
        *("10000000", "10:12:34", "reconnecting", "123", "assistant", "-64", "dB", "-90", "dB"),
        *("12340/400", "3", "17"),
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"caller_speaking": True}, "both"),
        ({"caller_speaking": True, "assistant_speaking": False}, "caller"),
        ({"caller_attached": False, "caller_dbfs": None, "assistant_dbfs": None}, "no caller"),
        ({"state": None}, "dialling"),
    ],
)
def test_who_speaks_and_who_is_missing_is_said(values: dict[str, Any], told: str) -> None:
    assert told in shown([call(**values)])[3]


def test_calls_that_do_not_fit_are_counted_and_without_a_terminal_all_are_shown() -> None:
    fifty = [call(number) for number in range(50)]

    assert len(shown(fifty)) == 53
    short = shown(fifty, rows_max=20)
    assert len(short) == 3 + 20
    assert short[-1] == "and 31 more"


def test_a_relay_that_takes_no_calls_says_why() -> None:
    assert "no new ones: late" in " ".join(shown([], refusal_cause="late"))


def test_the_rate_of_new_calls_looks_back_a_minute_and_begins_anew_with_another_process() -> None:
    rate = CallRate()

    assert [rate.note(at_s, begun) for at_s, begun in ((0, 10), (30, 14), (60, 15), (61, 16), (90, 20), (91, 3))] == [
        *(0, 4, 5, 2, 6, 0)
    ]
