"""The machine is described, and its cores are dealt out, from what this process may use."""

import json
import os
import platform

import pytest

from relay.bench.machine import cores, machine


@pytest.mark.parametrize(
    ("available", "dealt"), [({3}, (None, None)), ({5, 2}, (2, 5)), ({7, 1, 4}, (1, 4))], ids=["one", "two", "three"]
)
def test_relay_and_load_have_a_core_each_where_there_are_two(
    available: set[int], dealt: tuple[int | None, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: available)

    assert cores() == dealt
    assert (machine()["cores"], machine()["relay_core"]) == (len(available), dealt[0])


def test_the_description_is_json_and_says_what_ran_it() -> None:
    described = machine()

    assert json.loads(json.dumps(described)) == described
    assert described["python"] == platform.python_version()
    assert described["cpu"]
    assert described["load_average"] >= 0
