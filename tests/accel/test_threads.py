import multiprocessing
import threading

import pytest

from accel.cpu import threads
from accel.errors import BadParameter


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 1000])
def test_ranges_cover_everything_once_and_start_on_steps(monkeypatch, workers, size):
    monkeypatch.setenv(threads.SWITCH, str(workers))
    seen = []
    lock = threading.Lock()

    def work(start, stop):
        with lock:
            seen.append((start, stop))

    threads.each_range(size, 8, work)
    seen.sort()
    assert [i for start, stop in seen for i in range(start, stop)] == list(range(size))
    assert all(start % 8 == 0 for start, _ in seen)


def test_an_error_of_one_range_is_raised_after_all_have_ended(monkeypatch):
    monkeypatch.setenv(threads.SWITCH, "2")
    ended = []

    def work(start, stop):
        ended.append(start)
        if start == 0:
            raise RuntimeError("first range")

    with pytest.raises(RuntimeError, match="first range"):
        threads.each_range(64, 8, work)
    assert len(ended) == 8


def test_a_forked_process_makes_threads_of_its_own(monkeypatch):
    monkeypatch.setenv(threads.SWITCH, "2")
    threads.each_range(64, 8, lambda start, stop: None)
    process = multiprocessing.get_context("fork").Process(
        target=threads.each_range, args=(64, 8, lambda start, stop: None)
    )
    process.start()
    process.join(timeout=30)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("wanted", ["0", "-1", "many", "1e3", "²"])
def test_a_thread_count_that_is_none_is_refused(monkeypatch, wanted):
    monkeypatch.setenv(threads.SWITCH, wanted)
    with pytest.raises(BadParameter):
        threads.count()
