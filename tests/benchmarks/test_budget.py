"""Time to spend on a clock of the test."""

from benchmarks.budget import Budget, powers_of_two


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_does_not_fit_is_left_out_and_named_once():
    budget = Budget.of(10, Clock())
    assert budget.allows(10, "all of it")
    assert not budget.allows(11, "too much")
    assert not budget.allows(11, "too much")
    assert budget.left_out == ["too much (about 11 s)"]


def test_a_share_ends_by_its_own_time_and_tells_the_whole():
    clock = Clock()
    budget = Budget.of(10, clock)
    share = budget.share(0.4)
    assert share.left_s == 4
    clock.now += 5
    assert share.left_s == 0 and budget.left_s == 5
    assert not share.allows(1, "a part")
    assert budget.left_out == ["a part (about 1 s)"]


def test_powers_of_two():
    assert powers_of_two(64) == [1, 2, 4, 8, 16, 32, 64]
    assert powers_of_two(6) == [1, 2, 4]
    assert powers_of_two(1) == [1]
