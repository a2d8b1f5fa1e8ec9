"""Guessing passwords takes time: after some wrong ones in a row, a name cannot sign in from that address.

Counted in Django's cache, so per process unless the cache is shared; an API key has 256 random bits and needs
none of this. Locking a name for everyone would let a stranger lock people out, hence name and address.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache

MOST_FAILURES = 10
PAUSE_S = 15 * 60


def blocked(username: str, address: str) -> bool:
    """Whether to refuse without looking at the password."""
    return int(cache.get(_key(username, address), 0)) >= MOST_FAILURES


def note_failure(username: str, address: str) -> None:
    """Count a wrong password; the pause begins anew with each."""
    key = _key(username, address)
    cache.add(key, 0, PAUSE_S)
    try:
        cache.incr(key)
    except ValueError:  # it expired in between
        cache.set(key, 1, PAUSE_S)
    cache.touch(key, PAUSE_S)


def forget(username: str, address: str) -> None:
    """The right password clears the count."""
    cache.delete(_key(username, address))


def _key(username: str, address: str) -> str:
    return "sign-in:" + hashlib.sha256(f"{username.strip().lower()}\n{address}".encode()).hexdigest()
