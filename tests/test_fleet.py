"""The simulation of many machines: no call gets lost in it, its figures are those of its rules, and come again."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.fleet import (
    BEATS_PER_S,
    LONGEST_PAUSE_S,
    OUTAGES_S,
    REDIRECT_S,
    REQUEST_S,
    SAVES_PER_CALL_S,
    Deploy,
    Fleet,
    deploy_table,
    loss_of_redis,
    loss_table,
    operations_per_s,
    order,
    rolling_deploy,
)

SMALL = Fleet(machines=20, machines_per_cell=5, processes=2, calls_per_process=10, calls=200, mean_call_s=60.0)
DEPLOY = Deploy(at_once=4, drain_s=30.0)


def test_with_room_in_each_cell_nobody_is_refused_and_no_call_is_lost() -> None:
    result = rolling_deploy(SMALL, DEPLOY, 1)

    assert (result.refused, result.lost) == (0, 0)
    assert len(result.moves) > 0
    assert result.moves.total() == len(result.silences_s) == result.asked.total()


def test_every_call_dials_once_and_once_more_for_each_move() -> None:
    result = rolling_deploy(SMALL, DEPLOY, 1)

    assert result.dials.total() == result.rung + result.moves.total()


def test_of_the_calls_that_a_machine_has_as_many_outlive_the_drain_as_their_lengths_say() -> None:
    """Four of twenty are out at a time, so each other has a sixteenth of the calls; e^-0.5 of them last 30 s more."""
    moves = [rolling_deploy(SMALL, DEPLOY, seed).moves.total() for seed in range(20)]

    assert math.isclose(sum(moves) / len(moves), 20 / 16 * 200 * math.exp(-0.5), rel_tol=0.1)


def test_a_longer_drain_moves_fewer() -> None:
    moved = [len(rolling_deploy(SMALL, replace(DEPLOY, drain_s=drain_s), 1).moves) for drain_s in (0.0, 30.0, 300.0)]

    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 10 < moved[0]


def test_one_after_the_other_there_are_fewer_dials_at_once() -> None:
    together = rolling_deploy(SMALL, replace(DEPLOY, staggered=False), 1)

    assert rolling_deploy(SMALL, DEPLOY, 1).most_dials_per_s < together.most_dials_per_s


def test_a_call_is_silent_for_the_pause_two_requests_and_a_dial_at_least() -> None:
    result = rolling_deploy(SMALL, DEPLOY, 1)

    assert result.silence_s(0) > REDIRECT_S + 3 * REQUEST_S[0]
    assert result.silence_s(0) <= result.silence_s(0.5) <= result.silence_s(1)


def test_without_room_callers_are_refused_and_calls_go_on() -> None:
    result = rolling_deploy(replace(SMALL, calls=390), DEPLOY, 1)

    assert result.refused > 0
    assert result.lost == 0


def test_a_whole_cell_at_once_loses_its_calls() -> None:
    result = rolling_deploy(SMALL, Deploy(at_once=20, staggered=False), 1)

    assert result.lost > 0
    assert not result.moves


@given(st.integers(1, 6), st.integers(1, 6))
def test_each_machine_is_deployed_to_once_and_neighbours_are_of_different_cells(cells: int, each: int) -> None:
    fleet = replace(SMALL, machines=cells * each, machines_per_cell=each)
    machines = order(fleet)

    assert sorted(machines) == list(range(fleet.machines))
    for at in range(0, fleet.machines, cells):
        assert len({machine // each for machine in machines[at : at + cells]}) == cells


@settings(max_examples=20)
@given(st.floats(0, 600), st.integers(0, 1000))
def test_every_record_is_in_redis_again_within_a_pause_and_the_time_to_write(outage_s: float, seed: int) -> None:
    result = loss_of_redis(SMALL, outage_s, seed)

    assert result.calls == 50
    assert 0 < result.back_s < LONGEST_PAUSE_S + 0.1
    assert 1 <= result.most_saves_per_s <= result.calls


def test_the_work_of_redis_grows_with_calls_and_processes() -> None:
    assert operations_per_s(100, 10) == 100 * (SAVES_PER_CALL_S + BEATS_PER_S) + 10 * 2 * BEATS_PER_S


def test_the_same_seed_gives_the_same_tables() -> None:
    tables = [[*deploy_table([("small", SMALL, DEPLOY)], 1), *loss_table(SMALL, 1)] for _ in range(2)]

    assert tables[0] == tables[1]
    assert len(tables[0]) == 2 + 1 + 2 + len(OUTAGES_S)
