"""Each row of the tables of faults in the page of operating is held by tests."""

import ast
import re

import pytest

from tests.support.reference import ROOT, section

OPERATE = ROOT / "docs" / "operate.md"
SERVE, STORE = "tests/commands/test_serve.py::", "tests/endurance/test_stores_down.py::"
STANDSTILL, DESCRIPTORS = "tests/call/whole/test_standstill.py::", "tests/daemon/test_descriptors.py::"
PROCESS, DAEMON = "tests/daemon/test_process.py::", "tests/daemon/test_daemon.py::"

HELD_BY = {
    "a wrong configuration, a secret that is missing, an apology that cannot be played": [
        "tests/cli/test_daemon.py::test_a_wrong_configuration_is_status_2_and_one_line",
        "tests/cli/test_daemon.py::test_a_missing_secret_is_status_2_and_one_line",
        SERVE + "test_an_apology_that_cannot_be_played_is_status_2_and_one_line",
    ],
    "the port is in use, the address is not there yet, or no name server answers": [
        SERVE + "test_a_port_that_is_taken_is_status_1_and_one_log_line",
        SERVE + "test_an_address_that_is_not_there_yet_is_status_1_and_one_log_line",
        SERVE + "test_only_an_address_that_an_operator_has_to_mend_is_status_2",
    ],
    "the store's file is locked or read-only, its disk is full, or a folder has its name": [
        STORE + "test_a_store_that_cannot_be_used_keeps_no_daemon_from_its_calls",
    ],
    "the store's file is broken": [STORE + "test_a_file_that_was_broken_before_the_start_is_set_aside"],
    "the store's file is another program's database": [
        STORE + "test_a_store_that_cannot_be_used_keeps_no_daemon_from_its_calls",
        "tests/state/test_sqlite.py::test_the_database_of_another_program_is_not_touched",
    ],
    "Redis does not answer": ["tests/state/test_opening.py::test_a_server_that_is_down_is_said_and_asked_again"],
    "standard input, output or error is closed": [
        PROCESS + "test_a_daemon_without_standard_descriptors_serves_and_writes_to_no_socket",
    ],
    "SIGTERM, which systemd takes for a good end, or SIGINT": [
        PROCESS + "test_a_signal_while_the_daemon_starts_ends_it_before_anything_was_begun",
    ],
    "the store's file is locked": [STORE + "test_a_file_that_another_program_keeps_locked"],
    "the disk of the store is full": [STORE + "test_a_disk_that_fills_up"],
    "the store's file, or its folder, is removed": [STORE + "test_a_file_and_a_folder_that_are_removed"],
    "the receiver of traces is down, slow or refuses": [
        "tests/daemon/test_tracing.py::test_a_receiver_that_hangs_costs_no_call_anything_and_what_it_misses_is_counted",
        "tests/daemon/test_tracing.py::test_a_row_of_failures_is_told_once_and_each_span_is_counted",
        "tests/daemon/test_span_exporter.py::test_a_receiver_that_is_down_is_tried_again_and_then_given_up",
    ],
    "Redis hangs, is killed, is empty, or fails over": [
        STORE + "test_a_redis_that_hangs_and_one_that_is_killed_and_started_again",
        STORE + "test_a_failover_to_a_replica_behind_an_address_that_stays",
    ],
    "the clock of the store, or of the machine, is set by hours": [
        "tests/state/test_clocks.py::test_a_call_is_taken_over_after_the_clock_of_the_place_was_set",
        "tests/state/test_clocks.py::test_a_clock_that_is_set_ends_no_lease_and_no_record",
    ],
    "SIGTERM or SIGINT": [
        DAEMON + "test_an_idle_daemon_ends_soon_with_status_0",
        DAEMON + "test_a_live_call_goes_on_while_new_ones_are_asked_to_wait_and_the_daemon_ends_with_it",
        "tests/call/whole/test_takeover.py::test_drained_with_a_store_a_call_is_handed_over_before_its_caller_is_let_go",
    ],
    "SIGTERM or SIGINT again": [DAEMON + "test_a_second_signal_ends_everything_at_once"],
    "SIGHUP": [
        "tests/daemon/test_reload.py::test_a_caller_hears_every_byte_over_reloads_good_and_bad_and_the_next_call_has_the_new_configuration",
    ],
    "SIGUSR1 or SIGUSR2": [PROCESS + "test_a_signal_that_changes_nothing_is_said_and_the_calls_go_on"],
    "SIGPIPE, SIGALRM and others that a daemon has no use for": [
        PROCESS + "test_every_signal_is_ignored_that_means_nothing_to_the_daemon",
    ],
    "SIGKILL": [
        "tests/endurance/test_handovers.py::test_a_killed_process_is_followed_on_its_socket_with_what_was_heard"
    ],
    "SIGQUIT, SIGABRT, SIGSEGV and others that stand for a crash": [
        PROCESS + "test_a_signal_that_stands_for_a_crash_ends_the_daemon_at_once_and_says_nothing",
        "tests/endurance/test_handovers.py::test_a_killed_process_is_followed_on_its_socket_with_what_was_heard",
    ],
    "SIGSTOP and SIGCONT, or a machine that is suspended": [
        "tests/daemon/test_loop_lag.py::test_a_daemon_that_was_stopped_says_so_and_its_call_goes_on_and_catches_up",
        "tests/daemon/test_loop_lag.py::test_a_machine_that_was_suspended_is_a_standstill_too",
        STANDSTILL + "test_after_a_standstill_every_word_comes_once_and_the_assistant_catches_up",
    ],
    "all descriptors but the reserve are used": [
        DESCRIPTORS + "test_an_assistant_that_was_lost_is_dialled_again_while_strangers_hold_all_they_can",
    ],
    "a crash of the program": [SERVE + "test_a_crash_is_status_1_and_the_last_log_line_says_why"],
}


def faults() -> list[str]:
    """The first cells of the tables, without their headings and rules."""
    rows = re.findall(r"^\| (.*?) \|", section("Faults, and what they do", OPERATE), re.MULTILINE)
    return [row for row in rows if row not in {"at the start", "while it runs"}]


def test_every_fault_is_held_by_tests() -> None:
    assert faults() == list(HELD_BY)


@pytest.mark.parametrize("test", sorted({test for tests in HELD_BY.values() for test in tests}))
def test_every_test_that_holds_a_fault_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())

    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
