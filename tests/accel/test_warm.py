from accel import registry, warm


def test_every_operation_runs_on_its_sample(capsys):
    assert warm.main() == 0
    assert f"{len(registry.operations())} operations ready" in capsys.readouterr().out


def test_every_operation_has_a_sample_to_measure_and_warm_with():
    without = [op.name for op in registry.operations() if op.sample is None]
    assert without == []
