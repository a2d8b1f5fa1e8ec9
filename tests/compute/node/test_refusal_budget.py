"""Refusals are receipts, and receipts cost: one caller gets so many an hour and no more."""

from compute.node.refusal_budget import RefusalBudget


def test_a_callers_hour_ends_and_begins_again() -> None:
    now = [1000.0]
    budget = RefusalBudget(2, lambda: now[0])
    assert [budget.spend("mallory") for _ in range(3)] == [True, True, False]
    assert budget.spend("bob")
    now[0] += 3599
    assert not budget.spend("mallory")
    now[0] += 1
    assert budget.spend("mallory")
