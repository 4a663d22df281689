"""The same fault twice in a row is told from two faults, and from what says nothing."""

import pytest

from relay.logic.assistant.recurrence import SOON_S, Recurrence

Loss = tuple[int, str | None, float]
TOO_BIG = "closed with 1009"
DIED = "call.in-progress.error-vapifault-worker-died"


@pytest.mark.parametrize(
    ("losses", "again"),
    [
        ([(0, TOO_BIG, 1.0)], [False]),
        ([(0, TOO_BIG, 1.0), (0, TOO_BIG, 9.0)], [False, True]),
        ([(0, TOO_BIG, 1.0), (0, TOO_BIG, 1.0), (0, TOO_BIG, 1.0)], [False, True, True]),
        ([(0, TOO_BIG, 1.0), (1, TOO_BIG, 1.0), (1, TOO_BIG, 1.0)], [False, False, True]),
        ([(0, TOO_BIG, 1.0), (0, DIED, 1.0), (0, TOO_BIG, 1.0)], [False, False, False]),
        ([(0, TOO_BIG, 1.0), (0, None, 1.0), (0, TOO_BIG, 1.0)], [False, False, False]),
        ([(0, None, 1.0), (0, None, 1.0)], [False, False]),
        ([(0, TOO_BIG, SOON_S), (0, TOO_BIG, 1.0)], [False, False]),
        ([(0, TOO_BIG, 1.0), (0, TOO_BIG, SOON_S), (0, TOO_BIG, 1.0)], [False, False, False]),
    ],
)
def test_only_the_same_fault_of_the_same_assistant_twice_in_a_row_and_soon_is_one_that_comes_again(
    losses: list[Loss], again: list[bool]
) -> None:
    subject = Recurrence()

    assert [subject.again(*loss) for loss in losses] == again
