"""A call to one party's service that only it can read, and an answer that only it can have given.

The caller seals its call to the party's box key, as the chain names it, together with a fresh key to seal the
answer to. Nobody but the party learns that key, so an answer that opens is the party's: whoever stands in
between, or gave out a false address, reads nothing and forges nothing. Who calls is told by the signed
request around the call (`compute.wire.signed_http`). Leaks the lengths of call and answer.
"""

from __future__ import annotations

from compute.errors import BadInput
from compute.keys.sealing import new_box_key, open_sealed, seal

_CALL = b"call/v1\x00"
_ANSWER = b"answer/v1\x00"
_KEY_BYTES = 32


def seal_call(box_public: bytes, body: bytes, context: bytes) -> tuple[bytes, bytes]:
    """(sealed call, private key that opens its answer). Run by the caller; raises BadInput for a bad key."""
    reply_private, reply_public = new_box_key()
    return seal(box_public, reply_public + body, _CALL + context), reply_private


def open_call(box_private: bytes, sealed: bytes, context: bytes) -> tuple[bytes, bytes]:
    """(key to seal the answer to, body). Run by the service; raises BadInput if it does not open."""
    opened = open_sealed(box_private, sealed, _CALL + context)
    if len(opened) < _KEY_BYTES:
        raise BadInput("a sealed call begins with the key for its answer")
    return opened[:_KEY_BYTES], opened[_KEY_BYTES:]


def seal_answer(reply_public: bytes, answer: bytes, context: bytes) -> bytes:
    """The answer, for the caller alone."""
    return seal(reply_public, answer, _ANSWER + context)


def open_answer(reply_private: bytes, sealed: bytes, context: bytes) -> bytes:
    """The answer to one call; raises BadInput if the party that was called did not give it."""
    return open_sealed(reply_private, sealed, _ANSWER + context)
