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

from collections.abc import Callable
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from compute.errors import BadInput, DataError, ProtocolAbort
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi.buckets import Facts, Source
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.oprf import answer, ask, number
from compute.protocols.psi.oprf import Items
from compute.protocols.psi.unbalanced.tags import MOST_QUERIES, TagTable, digest, table_bytes
from compute.protocols.psi.unbalanced.version import MADE, Prepared, Version, function, held_table, keep_table
from compute.protocols.sets import MAX_ELEMENTS
from compute.protocols.stream import receive_blocks, send_array

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
    version: Version,
    peer: str,
    keys: Facts,
    rows: int,
    peer_count: int,
    read: Callable[[], Part[Source]],
) -> Part[None]:
    """The server's part: has its table, or prepares it, then answers ``peer_count`` items.

    ``keys`` are `Prepared` if an earlier job did that, else the `Source` that ``read`` gives as well: then
    the ``rows`` rows of ours are read only if the peer wants the table and the cache has lost it. Learns
    whether the client had the table. Raises ProtocolAbort for what the client may not send.
    """
    check_queries(peer_count)
    table: memoryview | None = None
    if isinstance(keys, Prepared):
        prepared = keys
    else:
        prepared, table = yield from version.prepare((yield from read()), rows)
    yield Send(peer, Announce(version.identity, prepared.count, prepared.digest))
    if (yield from receive(peer, Wanted)).table:
        table = table or version.table(prepared)
        if table is None:
            again, table = yield from version.prepare((yield from read()), rows)
            if again.digest != prepared.digest:
                raise DataError("the keys are not those that were prepared for this version")
        produce = lambda first, last: bytes(table[first:last])  # noqa: E731
        yield from send_array(peer, len(table), 1, produce, "psi.tags")
    yield from answer(version.session, peer, version.function.curve, version.key, peer_count)


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
    table = held_table(session, peer, announced.digest)
    yield Send(peer, Wanted(table is None))
    if table is None:
        table = yield from _download(session, peer, announced)
    tags = TagTable.decode(table, peer_count, peer)
    outputs = yield from ask(session, peer, function(curve, announced.identity), number([digests]))
    return tags.contains(outputs)


def _download(session: Session, peer: str, announced: Announce) -> Part[memoryview]:
    """The table as it is kept; raises ProtocolAbort unless it is the one that was announced."""
    workspace = session.workspace
    workspace.remove(MADE)
    take = lambda data: workspace.append(MADE, data)  # noqa: E731
    yield from receive_blocks(peer, table_bytes(announced.count), 1, "psi.tags", take)
    if digest(workspace.read(MADE)) != announced.digest:
        raise ProtocolAbort(f"{peer} sent another tag table than it announced")
    return keep_table(session, peer, announced.digest)


def check_queries(count: int) -> None:
    """Raise BadInput beyond the number of items for which false matches stay below 2^-40."""
    if count > MOST_QUERIES:
        raise BadInput(f"{count} keys are too many for a lookup: at most {MOST_QUERIES}", count=count)
