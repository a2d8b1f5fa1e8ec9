"""Hints at the client: those that lie in its cache are not sent again."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np

from compute.errors import ProtocolAbort
from compute.protocols.participants import name_for
from compute.protocols.pir.simple.linear import DIMENSION, U32
from compute.protocols.pir.simple.plan import HINT_ROW_BYTES
from compute.protocols.pir.simple.shape import Need, Setup
from compute.protocols.protocol import Part, Send
from compute.protocols.stream import receive_array
from compute.protocols.workspace import Cache
from compute.wire.messages import JobSpec


def digests(setup: Setup) -> dict[bytes, int]:
    """The hints of a database with their rows, in the order in which they are sent."""
    due: dict[bytes, int] = {}
    for shape in setup.segments:
        if shape.data_digest:
            due[shape.data_digest] = shape.layout.data_rows
        due[shape.key_digest] = shape.layout.key_rows
    return due


def hints(cache: Cache, setup: Setup, spec: JobSpec) -> Part[tuple[list[U32], int]]:
    """Per segment its whole hint, (rows, 1024); and how many bytes were downloaded.

    Raises ProtocolAbort for a hint that is not the one announced.
    """
    due = digests(setup)
    names = {digest: f"pir-hint-{name_for(spec, 'server', digest)}" for digest in due}
    known = {digest: _held(cache, names[digest], digest, rows) for digest, rows in due.items()}
    missing = {digest: rows for digest, rows in due.items() if known[digest] is None}
    yield Send("server", Need(tuple(missing)))
    for digest, rows in missing.items():
        hint = yield from receive_array("server", rows, HINT_ROW_BYTES, "pir.hint")
        if not hmac.compare_digest(hashlib.sha256(hint).digest(), digest):
            raise ProtocolAbort("server sent a hint that is not the one it announced")
        cache.put(names[digest], hint)
        known[digest] = _words(hint)
    whole = [
        np.concatenate([known[digest] for digest in (shape.data_digest, shape.key_digest) if digest])
        for shape in setup.segments
    ]
    return whole, sum(missing.values()) * HINT_ROW_BYTES


def _held(cache: Cache, name: str, digest: bytes, rows: int) -> U32 | None:
    """A hint from the cache, if it is there and still the one with this digest."""
    found = cache.get(name)
    if found is None or len(found) != rows * HINT_ROW_BYTES:
        return None
    return _words(found) if hmac.compare_digest(hashlib.sha256(found).digest(), digest) else None


def _words(data: bytes | memoryview) -> U32:
    return np.frombuffer(data, "<u4").astype(np.uint32, copy=False).reshape(-1, DIMENSION)
