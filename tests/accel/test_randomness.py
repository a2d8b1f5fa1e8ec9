import random

import pytest

from accel.errors import BadParameter
from accel.randomness import draw, random_below, random_bits


def test_values_stay_below_the_bound_and_reach_all_of_it():
    rng = random.Random(1).randbytes
    for bound in (1, 2, 3, 5, 255, 256, 257):
        seen = {random_below(bound, rng) for _ in range(40 * bound)}
        assert seen == set(range(bound))


def test_bits_are_all_used():
    assert random_bits(13, lambda length: b"\xff" * length) == 2**13 - 1
    assert random_bits(0, lambda length: b"") == 0


def test_bound_of_zero_and_short_sources_are_refused():
    with pytest.raises(BadParameter):
        random_below(0, random.randbytes)
    with pytest.raises(BadParameter):
        draw(lambda length: b"x", 2)
