"""A big set is prepared once per version: its tag table, and what a later job must know without its rows.

Made by the server alone, in the order of its key digests:

    part i of the keys   F of `PART_KEYS` keys, kept in the cache as soon as it is there
    table                the tags of all parts, bin by bin (`tags`); named by its digest
    note                 size and checksum of the set, digest of the table, under a MAC of the version

The note comes last, so it vouches for a whole table; only then the parts go. Whoever is killed before finds
the parts again and does the rest. Nothing here grows with the set but files: they are mapped, never loaded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from compute.errors import BadInput
from compute.protocols.keyset import Digests
from compute.protocols.participants import name_for
from compute.protocols.protocol import Call, Part, Progress, Session, compute
from compute.protocols.psi.buckets import Facts, Source
from compute.protocols.psi.ecdh.curves import GROUPS, CurveName, Rows
from compute.protocols.psi.ecdh.oprf import BLOCK, MOST_AT_ONCE, Function, context, evaluate, number
from compute.protocols.psi.unbalanced import tags
from compute.protocols.psi.unbalanced.tags import Words
from compute.protocols.sets import MAX_ELEMENTS

PART_KEYS = 1 << 18
_MAC_BYTES = 32
# What sorting takes for a key of those that are sorted at once.
_SORT_BYTES = 64
# A table that is being made, in the workspace of either side.
MADE = "psi.unbalanced.table"

_Count = Annotated[int, Meta(ge=0, le=1 << 62)]
_Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


@dataclass(frozen=True)
class Prepared(Facts):
    """A set whose table was made: ``digest`` names it."""

    digest: bytes


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Prepared` as it lies in the cache, with the number of ``rows`` that the keys came from."""

    rows: _Count
    count: Annotated[int, Meta(ge=0, le=MAX_ELEMENTS)]
    repeated: _Count
    without_key: _Count
    unfit: _Count
    checksum: Annotated[bytes, Meta(max_length=64)]
    digest: _Digest


class Version:
    """F of one version of a set, and what its party keeps of it.

    ``description`` says what the set is besides the dataset's version: columns and normalisation. The key of
    F is secret, its ``identity`` is public; neither says anything about the other. Raises BadInput if the
    session has no version secret.
    """

    def __init__(self, session: Session, description: bytes, curve: CurveName) -> None:
        if not session.version_secret:
            raise BadInput("a set is preprocessed per dataset version, and this role has none")
        info = b"liutong/psi/unbalanced/v1 " + curve.encode() + b" " + description
        okm = HKDF(algorithm=SHA256(), length=112, salt=None, info=info).derive(session.version_secret)
        self.session = session
        self.key, self.identity, self._mac_key = GROUPS[curve].scalar_from(okm[:48]), okm[48:80], okm[80:]
        self.function = function(curve, self.identity)

    def recall(self, rows: int) -> Prepared | None:
        """What is known of a set of ``rows`` rows that an earlier job prepared: no row is read for it."""
        found = self.session.cache.get(self._note_name)
        if found is None:
            return None
        mac, body = bytes(found[:_MAC_BYTES]), bytes(found[_MAC_BYTES:])
        if not hmac.compare_digest(mac, self._mac(body)):
            return None
        try:
            note = msgspec.msgpack.decode(body, type=_Note)
        except msgspec.MsgspecError:
            return None
        if note.rows != rows:
            return None
        return Prepared(note.count, note.repeated, note.without_key, note.unfit, note.checksum, note.digest)

    def prepare(self, source: Source, rows: int) -> Part[tuple[Prepared, memoryview]]:
        """Make the table of the keys of ``rows`` rows, or what an attempt that was cut left to be made."""
        session = self.session
        made_of = hashlib.sha256(self.identity + PART_KEYS.to_bytes(8, "big") + source.checksum).hexdigest()
        names: list[str] = []
        parts: list[Words] = []
        for digests in _by_parts(source):
            yield Progress("psi.prepare", len(names) * PART_KEYS, source.count)
            name = f"psi.unbalanced.part.{made_of}.{len(names)}"
            parts.append((yield from self._part(name, digests)))
            names.append(name)
        yield Progress("psi.prepare", source.count, source.count)

        session.workspace.remove(MADE)
        at_once = session.memory_bytes // (4 * _SORT_BYTES)
        tags.write_table(parts, at_once, lambda data: session.workspace.append(MADE, data))
        digest = tags.digest(session.workspace.read(MADE))
        table = keep_table(session, session.role, digest)
        facts = (source.count, source.repeated, source.without_key, source.unfit, source.checksum, digest)
        body = msgspec.msgpack.encode(_Note(rows, *facts))
        session.cache.put(self._note_name, self._mac(body) + body)
        for name in names:
            session.cache.remove(name)
        return Prepared(*facts), table

    def _part(self, name: str, digests: Digests) -> Part[Words]:
        """F of a part of the keys, (2, n): two words of each output, in ascending order of the first."""
        session = self.session
        held = session.cache.get(name)
        if held is None or len(held) != 16 * len(digests):
            words = np.empty((len(digests), 2), np.uint64)
            step = BLOCK * max(1, min(session.parallel, MOST_AT_ONCE))
            for start in range(0, len(digests), step):
                starts = range(start, min(start + step, len(digests)), BLOCK)
                calls = [
                    Call(evaluate_words, (self.function, digests[at : at + BLOCK], self.key)) for at in starts
                ]
                for at, result in zip(starts, (yield from compute(calls)), strict=True):
                    words[at : at + len(result)] = result
            columns = np.ascontiguousarray(words[np.argsort(words[:, 0])].T).astype("<u8", copy=False)
            session.cache.put(name, columns.data)
            held = session.cache.get(name)
            if held is None:
                session.workspace.write(name, columns.data)
                held = session.workspace.read(name)
        return np.frombuffer(held, "<u8").reshape(2, -1)

    def table(self, prepared: Prepared) -> memoryview | None:
        """The table of a set that was prepared, unless the cache lost or damaged it."""
        return held_table(self.session, self.session.role, prepared.digest)

    @property
    def _note_name(self) -> str:
        return f"psi.unbalanced.note.{self.identity.hex()}"

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._mac_key, body, "sha256")


def function(curve: CurveName, identity: bytes) -> Function:
    """The public half of F, which both sides know."""
    return Function(curve, context(curve, b"unbalanced", identity))


def table_name(session: Session, role: str, digest: bytes) -> str:
    """How the table of ``role`` is called in the cache of either side."""
    return f"psi.unbalanced.tags.{name_for(session.spec, role, digest)}"


def keep_table(session: Session, role: str, digest: bytes) -> memoryview:
    """Move the table that was made to the cache; one that the cache has no room for stays with the job."""
    made = session.workspace.read(MADE)
    name = table_name(session, role, digest)
    session.cache.put(name, made)
    kept = session.cache.get(name)
    if kept is None:
        return made
    session.workspace.remove(MADE)
    return kept


def held_table(session: Session, role: str, digest: bytes) -> memoryview | None:
    """The table of ``role`` from our cache: our own disk is trusted to be ours, not to be whole."""
    table = session.cache.get(table_name(session, role, digest))
    return table if table is not None and tags.digest(table) == digest else None


def evaluate_words(function: Function, digests: Rows, key: bytes) -> Words:
    """A `Call`: what the table keeps of F."""
    return tags.halves(evaluate(function, number([digests]), key))


def _by_parts(source: Source) -> Iterator[Digests]:
    """All digests, ascending, in parts that do not depend on how the source cuts them."""
    held: list[Digests] = []
    room = PART_KEYS
    for keys in source.pieces():
        rest = keys.digests
        while len(rest):
            held.append(rest[:room])
            rest, room = rest[room:], room - len(held[-1])
            if not room:
                yield np.concatenate(held)
                held, room = [], PART_KEYS
    if held:
        yield np.concatenate(held)
