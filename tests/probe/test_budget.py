"""The budget: what it covers, and that it never covers more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.probe.budget import Budget, BudgetSpent


@given(
    max_cost_usd=st.floats(0, 100),
    price_usd_per_min=st.floats(0.01, 10),
    seconds=st.lists(st.floats(0, 1000), max_size=30),
)
def test_what_is_spent_never_costs_more_than_the_cap(
    max_cost_usd: float, price_usd_per_min: float, seconds: list[float]
) -> None:
    budget = Budget(max_cost_usd, price_usd_per_min)
    cost_usd = 0.0
    for each_s in seconds:
        try:
            budget.spend(each_s)
        except BudgetSpent:
            assert not budget.affords(each_s)
        else:
            cost_usd += budget.cost_usd(each_s)

    assert cost_usd <= max_cost_usd * (1 + 1e-9) + 1e-9


def test_a_call_that_is_refused_takes_nothing() -> None:
    budget = Budget(1.0, 1.0)
    with pytest.raises(BudgetSpent, match="--max-cost"):
        budget.spend(61)
    budget.spend(60)

    assert budget.affords(0)
    assert not budget.affords(1)


def test_calls_without_a_price_are_always_covered() -> None:
    budget = Budget(0.0, 0.0)
    budget.spend(1e6)

    assert budget.affords(1e6)
    assert budget.cost_usd(1e6) == 0
