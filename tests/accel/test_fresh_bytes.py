import gc

import numpy as np
import pytest

from accel.fresh_bytes import filled


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 14) - 1, 1 << 14, (1 << 22) + 5])
def test_what_is_written_is_what_comes_out(size):
    expected = (np.arange(size) * 7).astype(np.uint8)

    def fill(output):
        assert output.shape == (size,)
        output[:] = expected

    result = filled(size, fill)
    assert type(result) is bytes
    assert result == expected.tobytes()
    assert hash(result) == hash(expected.tobytes())
    assert result + b"" == result


@pytest.mark.parametrize("size", [10, 1 << 15])
def test_a_failure_while_filling_passes_through(size):
    def fill(output):
        raise ValueError("no result")

    with pytest.raises(ValueError, match="no result"):
        filled(size, fill)


def test_results_do_not_share_memory():
    results = []
    for value in range(4):
        results.append(filled(1 << 15, lambda output, value=value: output.fill(value)))
        gc.collect()
    assert [set(result) for result in results] == [{value} for value in range(4)]
