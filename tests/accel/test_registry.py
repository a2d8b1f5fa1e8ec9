import json

import pytest

from accel import features, selftest, thresholds
from accel.errors import BackendUnavailable, BadParameter, DeviceOutOfMemory, SelfTestFailed
from accel.registry import Op


def make_op():
    op = Op("test.op")
    op.backend("reference")(lambda x: ("reference", x))
    op.backend("portable", min_batch=10)(lambda x: ("portable", x))
    op.backend("gpu", needs="no_such_module_here")(lambda x: ("gpu", x))
    return op


@pytest.fixture(autouse=True)
def no_measured_thresholds(monkeypatch, tmp_path):
    monkeypatch.setenv("LIUTONG_THRESHOLDS", str(tmp_path / "thresholds.json"))
    thresholds.measured.cache_clear()
    yield
    thresholds.measured.cache_clear()


def test_auto_takes_the_best_backend_that_is_here_and_worth_it():
    op = make_op()
    assert op.available() == ("portable", "reference")
    assert op.select("auto", batch=10)(1) == ("portable", 1)
    assert op.select("auto", batch=9)(1) == ("reference", 1)


def test_named_backend_never_falls_back():
    op = make_op()
    assert op.select("portable", batch=1)(1) == ("portable", 1)  # below its threshold, but asked for
    assert op.select("cpu", batch=1)(1) == ("portable", 1)
    with pytest.raises(BackendUnavailable, match="no_such_module_here"):
        op.select("gpu", batch=1000)
    with pytest.raises(BackendUnavailable, match="quantum"):
        op.select("quantum", batch=1)


def test_operation_without_a_backend_says_so():
    with pytest.raises(BackendUnavailable):
        Op("empty").select("auto", batch=1)
    with pytest.raises(BackendUnavailable):
        Op("empty").select("cpu", batch=1)


def test_unknown_backend_name_is_a_programming_error():
    with pytest.raises(ValueError):
        Op("test.op").backend("fpga")


def make_levelled_op():
    op = Op("test.levels")
    for name in ("reference", *features.LEVELS):
        op.backend(name)(lambda name=name: name)
    return op


def test_the_switch_limits_every_operation_to_a_cpu_level(monkeypatch):
    op = make_levelled_op()
    monkeypatch.setenv(features.SWITCH, "portable")
    assert op.available() == ("portable", "reference")
    assert op.select("cpu", batch=1)() == "portable"
    with pytest.raises(BackendUnavailable, match="'portable' is in force"):
        op.select("ifma", batch=1)


def test_a_level_that_is_unknown_or_not_here_is_an_error(monkeypatch):
    monkeypatch.setenv(features.SWITCH, "turbo")
    with pytest.raises(BackendUnavailable, match="turbo"):
        features.level()
    monkeypatch.setenv(features.SWITCH, "ifma")
    monkeypatch.setattr(features, "processor", lambda: frozenset({"avx2"}))
    with pytest.raises(BackendUnavailable, match="avx512f"):
        features.level()


def test_level_of_a_processor_without_vectors(monkeypatch):
    monkeypatch.delenv(features.SWITCH, raising=False)
    monkeypatch.setattr(features, "processor", frozenset)
    assert features.level() == "portable"
    assert make_levelled_op().available() == ("portable", "reference")


def test_a_backend_may_need_more_than_its_level():
    op = Op("test.instructions")
    op.backend("portable", instructions="no-such-instruction")(lambda: None)
    assert op.available() == ()
    with pytest.raises(BackendUnavailable, match="no-such-instruction"):
        op.select("portable", batch=1)


def test_measured_thresholds_replace_the_registered_ones():
    op = make_op()
    thresholds.save({"test.op": {"portable": 3}})
    assert op.select("auto", batch=3)(1) == ("portable", 1)
    assert op.select("auto", batch=2)(1) == ("reference", 1)
    thresholds.save({"test.op": {"portable": None}})
    assert op.select("auto", batch=10**6)(1) == ("reference", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"operations": 3, "machine": ""}',
        '{"operations": {"test.op": {"portable": "x"}}}',
        '{"operations": {"test.op": {"portable": 1e400}}}',
    ],
    ids=range(7),
)
def test_unreadable_thresholds_are_left_out_with_a_line_in_the_log(text, caplog):
    thresholds.path().write_text(text)
    assert make_op().select("auto", batch=10)(1) == ("portable", 1)
    assert "left out" in caplog.text


def test_thresholds_of_another_machine_are_not_used():
    path = thresholds.save({"test.op": {"portable": 3}})
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "machine": "another"}))
    thresholds.measured.cache_clear()
    assert make_op().select("auto", batch=3)(1) == ("reference", 1)


def test_auto_leaves_a_full_gpu_with_a_reason_and_a_named_gpu_does_not(monkeypatch, caplog):
    monkeypatch.setattr(features, "gpu_missing", lambda: None)
    op = make_op()

    def full(x):
        raise DeviceOutOfMemory("3 bytes are free")

    op.backend("gpu")(full)
    assert op.select("auto", batch=10)(1) == ("portable", 1)
    assert "3 bytes are free" in caplog.text
    with pytest.raises(DeviceOutOfMemory):
        op.select("gpu", batch=10)(1)


def test_auto_leaves_a_gpu_that_is_full_at_its_known_answer(monkeypatch):
    monkeypatch.setattr(features, "gpu_missing", lambda: None)
    op = make_op()

    def full(x):
        raise DeviceOutOfMemory("3 bytes are free")

    op.backend("gpu")(full)
    op.known_answer(lambda run: selftest.expect(run(7)[1] == 7, "seven"))
    assert op.select("auto", batch=10)(1) == ("portable", 1)


def test_every_backend_answers_the_known_answer_once_before_use():
    op = make_op()
    asked = []

    @op.known_answer
    def check(run):
        asked.append(run(7))
        selftest.expect(run(7)[1] == 7, "seven")

    for _ in range(2):
        op.select("auto", batch=10)
        op.select("portable", batch=1)
        op.select("reference", batch=1)
    assert asked == [("portable", 7)]


@pytest.mark.parametrize("broken", [lambda x: ("portable", x + 1), lambda x: 1 // 0])
def test_a_backend_with_a_wrong_answer_is_not_handed_out(broken):
    op = make_op()
    op.backend("portable")(broken)
    op.known_answer(lambda run: selftest.expect(run(7)[1] == 7, "seven"))
    for _ in range(2):
        with pytest.raises(SelfTestFailed):
            op.select("portable", batch=1)


def test_a_wrong_number_of_threads_is_named_and_not_taken_for_a_broken_kernel(monkeypatch):
    monkeypatch.setenv("LIUTONG_THREADS", "many")
    op = make_op()
    op.known_answer(lambda run: None)
    with pytest.raises(BadParameter, match="LIUTONG_THREADS"):
        op.select("portable", batch=1)
