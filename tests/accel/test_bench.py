"""Measuring and choosing: the figures themselves are nobody's business here."""

import pytest

from accel import bench, thresholds
from accel.bench import Cost, crossovers
from accel.errors import DeviceOutOfMemory
from accel.registry import Op


@pytest.fixture(autouse=True)
def own_thresholds(monkeypatch, tmp_path):
    monkeypatch.setenv("LIUTONG_THRESHOLDS", str(tmp_path / "thresholds.json"))
    monkeypatch.setattr(bench, "BRIEF", bench.Effort(0.001, 0.5))
    thresholds.measured.cache_clear()
    yield
    thresholds.measured.cache_clear()


def costs(**by_backend):
    sizes = (1, 10, 100)
    return [
        Cost("op", name, size, seconds)
        for name, row in by_backend.items()
        for size, seconds in zip(sizes, row, strict=False)
    ]


def test_a_backend_pays_from_where_it_wins_for_good():
    found = crossovers(costs(ifma=[5, 5, 6], portable=[1, 10, 100]))
    assert found == {"ifma": 10}
    assert crossovers(costs(ifma=[1, 12, 6], portable=[2, 10, 100])) == {"ifma": 100}
    assert crossovers(costs(ifma=[1, 10.5, 6], portable=[2, 10, 100])) == {"ifma": 1}  # a tie at 10
    assert crossovers(costs(ifma=[5, 50, 500], portable=[1, 10, 100])) == {"ifma": None}


def test_a_backend_is_compared_with_all_that_would_run_instead():
    found = crossovers(costs(gpu=[50, 50, 50], ifma=[5, 6, 60], avx2=[9, 9, 90], portable=[1, 10, 100]))
    assert found == {"gpu": 100, "ifma": 10, "avx2": 10}


def test_a_size_at_which_a_backend_gave_up_is_lost_and_one_its_rival_gave_up_is_won():
    assert crossovers(costs(ifma=[1, 1], portable=[2, 2, 2])) == {"ifma": None}
    assert crossovers(costs(ifma=[5, 5, 5], portable=[1, 10])) == {"ifma": 10}


def make_op(backends):
    op = Op("test.bench", sample=lambda batch: (list(range(batch)),))
    for name, run in backends.items():
        op.backend(name)(run)
    return op


def test_a_sweep_measures_the_operation_itself_at_every_size():
    seen = []
    op = make_op({"portable": lambda numbers: seen.append(len(numbers))})
    found = list(bench.sweep(op, ["portable"], (1, 7)))
    assert [(cost.batch, cost.backend) for cost in found] == [(1, "portable"), (7, "portable")]
    assert set(seen) == {1, 7}
    assert all(cost.seconds > 0 for cost in found)


def test_a_sweep_ends_where_patience_or_memory_does():
    def full(numbers):
        if len(numbers) > 1:
            raise DeviceOutOfMemory("full")

    assert [c.batch for c in bench.sweep(make_op({"portable": full}), ["portable"], (1, 2, 3))] == [1]
    hasty = bench.Effort(0.001, 0.0)
    assert [c.batch for c in bench.sweep(make_op({"portable": len}), ["portable"], (1, 2), hasty)] == [1]


def test_calibration_keeps_what_it_measured_and_a_part_does_not_replace_the_whole(monkeypatch, capsys):
    slow = [0] * 20000
    op = make_op({"portable": len, "reference": len, "avx2": lambda numbers: sorted(slow)})
    monkeypatch.setattr(bench, "operations", lambda: [op])
    thresholds.save({"another.op": {"ifma": 4}})
    assert bench.main(["--calibrate"]) == 0
    assert thresholds.measured() == {"another.op": {"ifma": 4}, "test.bench": {"avx2": None}}
    assert "avx2 never, else portable" in capsys.readouterr().out


def test_the_table_has_a_line_for_every_backend_and_size(monkeypatch, capsys):
    monkeypatch.setattr(bench, "operations", lambda: [make_op({"portable": len, "reference": len})])
    assert bench.main(["--sizes", "1,10", "--only", "test."]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["--only", "nothing."], ["--sizes", "x"], ["--sizes", "0"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        bench.main(arguments)
    assert capsys.readouterr().err
