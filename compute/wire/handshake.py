"""How two nodes become sure of each other before a job: authenticated key agreement bound to the chain.

    dialler → acceptor   Hello     job, both parties and roles, ephemeral X25519 key, nonce
    acceptor → dialler   Welcome   ephemeral key, nonce, AEAD(signature of the acceptor)
    dialler → acceptor   Finish    AEAD(signature of the dialler)
    acceptor → dialler   Ready     AEAD(nothing): both sides know that both sides know

Each signature is by the secp256k1 key that the chain names for the party and covers everything said before
(so job, parties, roles and both fresh keys), labelled by side: a recorded handshake, one of another job or
party, or our own words sent back to us do not verify. The signatures travel under keys from the exchange,
which binds identity to session as in SIGMA (Krawczyk, CRYPTO 2003). Past sessions stay secret if a signing
key leaks later. Leaks to whoever listens: job id, party ids, role names, sizes. A peer is never told why a
proof was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from compute.errors import BadMessage, ComputeError, HandshakeFailed, PeerLost, PeerRefused
from compute.wire import codec
from compute.wire.identity import KeyDirectory, StatementSigner
from compute.wire.messages import Hex32
from compute.wire.records import ChannelLimits, RecordKey, SecureChannel
from compute.wire.transport import Transport
from contracts import statement
from contracts.errors import BadSignature

PURPOSE = "peer-handshake/1"
HANDSHAKE_TIMEOUT_S = 30.0
_MAX_HANDSHAKE_BYTES = 4096

_RoleName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
_Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
# A sealed 65-byte signature; a sealed nothing.
_Proof = Annotated[bytes, Meta(min_length=81, max_length=81)]
_Tag = Annotated[bytes, Meta(min_length=16, max_length=16)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t"):
    pass


M = TypeVar("M", bound=_Message)


class Hello(_Message, frozen=True, tag="handshake.hello"):
    """The dialler's opening: which job, who to whom. Nothing of it is believed until `Finish`."""

    job: Hex32
    dialler: Hex32
    dialler_role: _RoleName
    acceptor: Hex32
    acceptor_role: _RoleName
    ephemeral: _Bytes32
    nonce: _Bytes32
    version: Literal[1] = 1


class Welcome(_Message, frozen=True, tag="handshake.welcome"):
    """The acceptor's fresh key and proof."""

    ephemeral: _Bytes32
    nonce: _Bytes32
    proof: _Proof


class Finish(_Message, frozen=True, tag="handshake.finish"):
    """The dialler's proof."""

    proof: _Proof


class Ready(_Message, frozen=True, tag="handshake.ready"):
    """The acceptor has verified the dialler."""

    proof: _Tag


class Refusal(_Message, frozen=True, tag="handshake.refusal"):
    """Sent instead of `Welcome` or `Ready`. Not authenticated: it can only end the attempt."""

    code: Annotated[str, Meta(max_length=100)]
    message: Annotated[str, Meta(max_length=400)] = ""


@dataclass(frozen=True)
class Meeting:
    """Which job two parties meet for, and as what. Ids are 0x and 64 hexadecimal digits."""

    job: str
    dialler: str
    dialler_role: str
    acceptor: str
    acceptor_role: str


# Raises PeerRefused (or any ComputeError, whose code the dialler is told) if the meeting must not happen;
# may wait for the job to arrive. Gets claims only: identity is proven afterwards.
Admit = Callable[[Meeting], Awaitable[None]]


async def dial(
    transport: Transport,
    meeting: Meeting,
    signer: StatementSigner,
    directory: KeyDirectory,
    *,
    limits: ChannelLimits = ChannelLimits(),  # noqa: B008 - frozen
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> SecureChannel:
    """Open a channel to ``meeting.acceptor``; run by the role that dials.

    Raises PeerRefused (``detail["peer_code"]``), HandshakeFailed if the other side is not who the chain
    names, PeerLost if it is gone or slow. Closes the transport on failure. ``directory`` runs in a thread.
    """
    ephemeral = X25519PrivateKey.generate()
    hello = Hello(
        job=meeting.job,
        dialler=meeting.dialler,
        dialler_role=meeting.dialler_role,
        acceptor=meeting.acceptor,
        acceptor_role=meeting.acceptor_role,
        ephemeral=ephemeral.public_key().public_bytes_raw(),
        nonce=os.urandom(32),
    )
    async with _attempt(transport, timeout_s):
        await transport.send_frame(codec.encode(hello))
        welcome = await _expect(transport, Welcome)
        keys = _Keys.agree(ephemeral, welcome.ephemeral, hello, welcome)
        _check(
            keys.open("acceptor", welcome.proof),
            "acceptor",
            keys.said,
            await _keys_of(directory, meeting.acceptor),
        )
        said = keys.said_after(welcome)
        proof = signer.sign_statement(PURPOSE, b"dialler" + said)
        await transport.send_frame(codec.encode(Finish(keys.seal("dialler", proof))))
        ready = await _expect(transport, Ready)
        keys.open("ready", ready.proof)
    return SecureChannel(
        transport,
        sending=RecordKey(keys.derive("records dialler")),
        receiving=RecordKey(keys.derive("records acceptor")),
        peer_party=meeting.acceptor,
        peer_role=meeting.acceptor_role,
        limits=limits,
    )


async def accept(
    transport: Transport,
    party: str,
    signer: StatementSigner,
    directory: KeyDirectory,
    admit: Admit,
    *,
    limits: ChannelLimits = ChannelLimits(),  # noqa: B008 - frozen
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> tuple[Meeting, SecureChannel]:
    """Answer whoever dials ``party``; run by the role that is dialled. See `dial` for errors.

    ``admit`` decides whether the claimed meeting fits a job we know; what it raises reaches our caller, and
    its code the dialler.
    """
    async with _attempt(transport, timeout_s):
        hello = await _expect(transport, Hello)
        meeting = Meeting(hello.job, hello.dialler, hello.dialler_role, hello.acceptor, hello.acceptor_role)
        try:
            if meeting.acceptor != party:
                raise PeerRefused("the peer wants to reach another party", peer_code="")
            if meeting.dialler_role == meeting.acceptor_role:
                raise PeerRefused("both sides claim the same role", peer_code="")
            await admit(meeting)
        except ComputeError as error:
            await _refuse(transport, error.code, error.message)
            raise
        ephemeral, nonce = X25519PrivateKey.generate(), os.urandom(32)
        public = ephemeral.public_key().public_bytes_raw()
        try:
            keys = _Keys.agree(ephemeral, hello.ephemeral, hello, Welcome(public, nonce, b""))
            proof = keys.seal("acceptor", signer.sign_statement(PURPOSE, b"acceptor" + keys.said))
            welcome = Welcome(public, nonce, proof)
            await transport.send_frame(codec.encode(welcome))
            finish = await _expect(transport, Finish)
            signature = keys.open("dialler", finish.proof)
            valid = await _keys_of(directory, meeting.dialler)
            _check(signature, "dialler", keys.said_after(welcome), valid)
        except HandshakeFailed as error:
            await _refuse(transport, error.code, "")
            raise
        await transport.send_frame(codec.encode(Ready(keys.seal("ready", b""))))
    channel = SecureChannel(
        transport,
        sending=RecordKey(keys.derive("records acceptor")),
        receiving=RecordKey(keys.derive("records dialler")),
        peer_party=meeting.dialler,
        peer_role=meeting.dialler_role,
        limits=limits,
    )
    return meeting, channel


class _Keys:
    """What both sides derive from the exchange and everything said in it. Holds secrets: no repr."""

    def __init__(self, shared: bytes, said: bytes) -> None:
        self._shared = shared
        self.said = said

    @classmethod
    def agree(cls, ours: X25519PrivateKey, theirs: bytes, hello: Hello, welcome: Welcome) -> _Keys:
        try:
            shared = ours.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:  # a point of low order gives an all-zero secret (RFC 7748, section 6.1)
            raise HandshakeFailed("the peer's ephemeral key is not usable") from None
        opening = codec.encode(hello)
        said = hashlib.sha256(
            b"liutong/handshake/v1\x00"
            + len(opening).to_bytes(4, "big")
            + opening
            + welcome.ephemeral
            + welcome.nonce
        ).digest()
        return cls(shared, said)

    def said_after(self, welcome: Welcome) -> bytes:
        return hashlib.sha256(self.said + welcome.proof).digest()

    def derive(self, label: str) -> bytes:
        kdf = HKDF(hashes.SHA256(), 32, salt=self.said, info=b"liutong/handshake/v1 " + label.encode())
        return kdf.derive(self._shared)

    # Each label's key seals exactly one message, so the nonce may be constant.
    def seal(self, label: str, plaintext: bytes) -> bytes:
        return AESGCM(self.derive("proof " + label)).encrypt(bytes(12), plaintext, None)

    def open(self, label: str, sealed: bytes) -> bytes:
        try:
            return AESGCM(self.derive("proof " + label)).decrypt(bytes(12), sealed, None)
        except InvalidTag:
            raise HandshakeFailed(_UNPROVEN) from None


_UNPROVEN = (
    "the peer did not prove a key that the chain names for its party: check its address and key on chain"
)


def _check(signature: bytes, side: str, said: bytes, valid: frozenset[str]) -> None:
    try:
        address = statement.recover(PURPOSE, side.encode() + said, signature)
    except BadSignature:
        raise HandshakeFailed(_UNPROVEN) from None
    if address not in valid:
        raise HandshakeFailed(_UNPROVEN)


async def _keys_of(directory: KeyDirectory, party: str) -> frozenset[str]:
    return frozenset(await asyncio.to_thread(directory, party))


async def _expect(transport: Transport, message_type: type[M]) -> M:
    frame = await transport.receive_frame()
    if len(frame) > _MAX_HANDSHAKE_BYTES:
        raise BadMessage("the peer's handshake message is too long")
    with contextlib.suppress(BadMessage):
        refusal = codec.decode(Refusal, frame)
        if refusal.code == HandshakeFailed.code:
            raise HandshakeFailed("the peer does not accept our proof: is our key the active one on chain?")
        raise PeerRefused(f"the peer refuses: {refusal.message or refusal.code}", peer_code=refusal.code)
    return codec.decode(message_type, frame)


async def _refuse(transport: Transport, code: str, message: str) -> None:
    with contextlib.suppress(PeerLost):
        await transport.send_frame(codec.encode(Refusal(code[:100], message[:400])))


@contextlib.asynccontextmanager
async def _attempt(transport: Transport, timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except BaseException as error:
        with contextlib.suppress(ComputeError):
            await transport.close()
        if isinstance(error, TimeoutError):
            raise PeerLost(f"no handshake within {timeout_s:g} s", peer_code="") from None
        raise
