import pytest

from accel.errors import BackendUnavailable
from accel.registry import Op


def make_op():
    op = Op("test.op")
    op.backend("reference")(lambda x: ("reference", x))
    op.backend("cpu", when=lambda batch: batch >= 10)(lambda x: ("cpu", x))
    op.backend("gpu", needs="no_such_module_here")(lambda x: ("gpu", x))
    return op


def test_auto_takes_the_best_backend_that_is_here_and_worth_it():
    op = make_op()
    assert op.available() == ("cpu", "reference")
    assert op.select("auto", batch=10)(1) == ("cpu", 1)
    assert op.select("auto", batch=9)(1) == ("reference", 1)


def test_named_backend_never_falls_back():
    op = make_op()
    assert op.select("cpu", batch=1)(1) == ("cpu", 1)  # below its threshold, but asked for
    with pytest.raises(BackendUnavailable, match="no_such_module_here"):
        op.select("gpu", batch=1000)
    with pytest.raises(BackendUnavailable, match="quantum"):
        op.select("quantum", batch=1)


def test_operation_without_a_backend_says_so():
    with pytest.raises(BackendUnavailable):
        Op("empty").select("auto", batch=1)


def test_unknown_backend_name_is_a_programming_error():
    with pytest.raises(ValueError):
        Op("test.op").backend("fpga")
