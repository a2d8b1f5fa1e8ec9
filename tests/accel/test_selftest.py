import json
from importlib import resources

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

import accel.sm3
from accel import info, selftest
from accel.errors import AccelError, BackendUnavailable, SelfTestFailed


@pytest.fixture
def forgotten(monkeypatch):
    """Self-tests run again in this test."""
    monkeypatch.setattr(selftest, "_passed", set())


def test_every_facade_has_a_passing_self_test(forgotten, capsys):
    assert info.main() == 0
    output = capsys.readouterr().out
    for facade in selftest.facades():
        assert f"self-test {facade}" in output


def test_wrong_answer_stops_the_first_use_and_every_later_one(forgotten, monkeypatch):
    monkeypatch.setitem(accel.sm3.DIGEST._backends, "portable", accel.sm3.DIGEST._backends["reference"])
    monkeypatch.setattr("accel.selftest.vectors", lambda name: {"digest": [{"message": "", "digest": "00"}]})
    for _ in range(2):
        with pytest.raises(SelfTestFailed):
            accel.sm3.digest(b"")


def test_crash_inside_a_self_test_is_a_failed_self_test(forgotten, monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setitem(selftest._checks, "sm3", broken)
    with pytest.raises(SelfTestFailed, match="ZeroDivisionError"):
        accel.sm3.digest(b"")


def test_a_machine_without_the_cipher_is_told_so_and_not_that_it_computes_wrongly(forgotten, monkeypatch):
    def refuse(*unused):
        raise UnsupportedAlgorithm("no SM3 here")

    monkeypatch.setattr("accel.sm3.hashes.Hash", refuse)
    for use in (lambda: accel.sm3.digest(b""), lambda: accel.sm3.hmac(b"key", b"")):
        with pytest.raises(BackendUnavailable, match="SM3"):
            use()


def test_every_vector_file_names_its_source_and_comments_its_cases():
    for path in resources.files("accel").joinpath("vectors").iterdir():
        document = json.loads(path.read_text())
        assert document["source"], path.name
        for cases in document.values():
            if isinstance(cases, list):
                assert all(case["comment"] for case in cases), path.name
    assert issubclass(SelfTestFailed, AccelError)


def test_error_codes_are_unique():
    classes = [AccelError, *AccelError.__subclasses__()]
    assert len({error.code for error in classes}) == len(classes)
