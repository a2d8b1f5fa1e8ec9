"""Guessing a password ends after a few tries, and only for whoever guesses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from market.parties.throttle import MOST_FAILURES

PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def clean_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def person(db: None) -> str:
    get_user_model().objects.create_user(username="ada", password=PASSWORD)
    return "ada"


def sign_in(username: str, password: str, address: str = "192.0.2.1") -> int:
    data = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address).post("/login/", data).status_code


def test_after_too_many_wrong_passwords_the_right_one_must_wait(person: str) -> None:
    for _ in range(MOST_FAILURES):
        assert sign_in(person, "wrong") == 200
    assert sign_in(person, PASSWORD) == 429
    assert sign_in("ADA ", "wrong") == 429


def test_others_are_not_locked_out_by_it(person: str) -> None:
    for _ in range(MOST_FAILURES):
        sign_in(person, "wrong")
    assert sign_in(person, PASSWORD, address="192.0.2.2") == 302


def test_the_right_password_clears_the_count(person: str) -> None:
    for _ in range(MOST_FAILURES - 1):
        sign_in(person, "wrong")
    assert sign_in(person, PASSWORD) == 302
    assert sign_in(person, "wrong") == 200
