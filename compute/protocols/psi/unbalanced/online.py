"""Few keys of a client against a big set of a server, which is evaluated once per version and then reused.

    server → client   Announce(what F is for, how many tags, digest of their table)
    client → server   Wanted(is the table not in my cache?)
    server → client   the table, if it is wanted
    client ↔ server   the ECDH OPRF of the client's keys (`compute.protocols.psi.ecdh.oprf`)
    client            looks up the tags of its outputs: its part of the intersection

The server's key is derived from `Session.version_secret` and what the caller says the set is, so F, the
tags and their digest stay the same for a version, and no longer. Source: Kiss, Liu, Schneider, Asokan,
Pinkas, "Private Set Intersection for Unequal Set Sizes with Mobile Applications", PoPETs 2017 (precomputed
ECDH). Leakage: README.md.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.protocol import Call, Message, Part, Progress, Send, Session, compute, receive
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName, Rows
from compute.protocols.psi.ecdh.oprf import (
    BLOCK,
    MOST_AT_ONCE,
    Function,
    answer,
    ask,
    context,
    evaluate,
    number,
)
from compute.protocols.psi.oprf import Items
from compute.protocols.psi.unbalanced.tags import (
    MOST_QUERIES,
    TagTable,
    Words,
    digest,
    encode,
    halves,
    table_bytes,
)
from compute.protocols.sets import MAX_ELEMENTS
from compute.protocols.stream import receive_array, send_array

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Announce(Message, frozen=True, tag="unbalanced.announce"):
    """``identity`` says what F is for, nothing of its key; ``digest`` names the table of ``count`` tags."""

    identity: Digest
    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]
    digest: Digest


class Wanted(Message, frozen=True, tag="unbalanced.wanted"):
    """Does the client need the table?"""

    table: bool


def serve(
    session: Session,
    peer: str,
    digests: Items,
    peer_count: int,
    version: bytes,
    curve: CurveName = "curve25519",
) -> Part[None]:
    """The server's part: prepare the tag table or find it in the cache, then answer ``peer_count`` items.

    ``version`` says what ``digests`` (n, 32) are besides the dataset's version: columns and normalisation.
    Learns whether the client had the table. Raises BadInput if the session has no version secret,
    ProtocolAbort for what the client may not send.
    """
    check_queries(peer_count)
    key, identity = _derived(session, version, curve)
    table = yield from _table(session, digests, key, identity, curve)
    yield Send(peer, Announce(identity, len(digests), digest(table)))
    if (yield from receive(peer, Wanted)).table:
        yield from send_array(peer, len(table), 1, lambda first, last: bytes(table[first:last]), "psi.tags")
    yield from answer(session, peer, curve, key, peer_count)


def lookup(
    session: Session, peer: str, digests: Items, peer_count: int, curve: CurveName = "curve25519"
) -> Part[npt.NDArray[np.bool_]]:
    """The client's part: which of ``digests`` (n, 32) are in the server's set of ``peer_count`` keys.

    Raises ProtocolAbort for another count, a table that is not what was announced, and bad points.
    """
    check_queries(len(digests))
    announced = yield from receive(peer, Announce)
    if announced.count != peer_count:
        raise ProtocolAbort(f"{peer} announces tags of another number of keys")
    name = f"psi.unbalanced.tags.{announced.digest.hex()}"
    table = session.cache.get(name)
    # Our own disk is trusted to be ours, not to be whole.
    known = table is not None and digest(table) == announced.digest
    yield Send(peer, Wanted(not known))
    if table is None or not known:
        data = yield from receive_array(peer, table_bytes(peer_count), 1, "psi.tags")
        if digest(data) != announced.digest:
            raise ProtocolAbort(f"{peer} sent another tag table than it announced")
        table = memoryview(data)
        tags = TagTable.decode(table, peer_count, peer)
        session.cache.put(name, table)
    else:
        tags = TagTable.decode(table, peer_count, peer)
    outputs = yield from ask(session, peer, _function(curve, announced.identity), number([digests]))
    return tags.contains(outputs)


def check_queries(count: int) -> None:
    """Raise BadInput beyond the number of items for which false matches stay below 2^-40."""
    if count > MOST_QUERIES:
        raise BadInput(f"{count} keys are too many for a lookup: at most {MOST_QUERIES}", count=count)


def _derived(session: Session, version: bytes, curve: CurveName) -> tuple[bytes, bytes]:
    """Key of F, which is secret, and its identity, which is public; neither says anything about the other."""
    if not session.version_secret:
        raise BadInput("a set is preprocessed per dataset version, and this role has none")
    info = b"liutong/psi/unbalanced/v1 " + curve.encode() + b" " + version
    okm = HKDF(algorithm=SHA256(), length=80, salt=None, info=info).derive(session.version_secret)
    return GROUPS[curve].scalar_from(okm[:48]), okm[48:]


def _function(curve: CurveName, identity: bytes) -> Function:
    return Function(curve, context(curve, b"unbalanced", identity))


def _table(
    session: Session, digests: Items, key: bytes, identity: bytes, curve: CurveName
) -> Part[memoryview]:
    # The sum tells that the set is the one the table was made of, in any order; a caller that names two sets
    # by one version would otherwise answer for the other.
    made_of = len(digests).to_bytes(8, "big") + digests.view("<u8").sum(axis=0, dtype=np.uint64).tobytes()
    name = f"psi.unbalanced.set.{hashlib.sha256(identity + made_of).hexdigest()}"
    cached = session.cache.get(name)
    if cached is not None and cached[:32] == digest(cached[32:]):
        return cached[32:]
    words: Words = np.empty((len(digests), 2), np.uint64)
    function = _function(curve, identity)
    step = BLOCK * max(1, min(session.parallel, MOST_AT_ONCE))
    for start in range(0, len(digests), step):
        yield Progress("psi.prepare", start, len(digests))
        starts = range(start, min(start + step, len(digests)), BLOCK)
        calls = [Call(evaluate_words, (function, digests[at : at + BLOCK], key)) for at in starts]
        for at, result in zip(starts, (yield from compute(calls)), strict=True):
            words[at : at + len(result)] = result
    yield Progress("psi.prepare", len(digests), len(digests))
    table = encode(words)
    session.cache.put(name, digest(table) + table)
    return memoryview(table)


def evaluate_words(function: Function, digests: Rows, key: bytes) -> Words:
    """A `Call`: what the table keeps of F."""
    return halves(evaluate(function, number([digests]), key))
