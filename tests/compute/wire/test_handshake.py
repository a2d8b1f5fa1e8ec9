"""The handshake opens a channel between the right parties for the right job, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from compute.errors import BadMessage, ComputeError, HandshakeFailed, PeerLost, PeerRefused
from compute.wire import codec
from compute.wire.handshake import Finish, Hello, Meeting, Welcome, accept, dial
from compute.wire.transport import memory_transports
from contracts.errors import ChainUnreachable
from tests.compute.wire.parties import ALICE, BOB, CHARLIE, directory

JOB = "0x" + "11" * 32
MEETING = Meeting(JOB, ALICE.id, "left", BOB.id, "right")


async def admit_all(meeting):
    return None


async def meet(
    *,
    meeting=MEETING,
    dialler=ALICE,
    acceptor=BOB,
    admit=admit_all,
    know=directory,
    wrap=lambda transport: transport,
    timeout_s=2.0,
):
    """Both sides' outcome: a channel or the error, dialler first."""
    left, right = memory_transports()
    return await asyncio.gather(
        dial(wrap(left), meeting, dialler, know, timeout_s=timeout_s),
        accept(right, acceptor.id, acceptor, know, admit, timeout_s=timeout_s),
        return_exceptions=True,
    )


async def closing(dialled, accepted):
    await asyncio.gather(dialled.close(), accepted[1].close())


class Meddler:
    """A transport whose frames somebody in between may change."""

    def __init__(self, transport, *, outgoing=None, incoming=None):
        self.transport = transport
        self.outgoing = outgoing or (lambda frame: frame)
        self.incoming = incoming or (lambda frame: frame)

    async def send_frame(self, frame):
        await self.transport.send_frame(self.outgoing(frame))

    async def receive_frame(self):
        return self.incoming(await self.transport.receive_frame())

    async def close(self):
        await self.transport.close()


async def test_both_sides_learn_who_the_other_is_and_can_talk():
    dialled, accepted = await meet()
    meeting, channel = accepted
    assert meeting == MEETING
    assert (dialled.peer_party, dialled.peer_role) == (BOB.id, "right")
    assert (channel.peer_party, channel.peer_role) == (ALICE.id, "left")
    await dialled.send(b"hello")
    assert await channel.receive() == b"hello"
    await channel.send(b"good day")
    assert await dialled.receive() == b"good day"
    await closing(dialled, accepted)


async def test_who_holds_another_key_than_the_chain_names_cannot_dial():
    dialled, accepted = await meet(dialler=CHARLIE)
    assert isinstance(dialled, HandshakeFailed)
    assert isinstance(accepted, HandshakeFailed)


async def test_who_holds_another_key_than_the_chain_names_cannot_answer():
    left, right = memory_transports()

    class Impostor:
        id, address, sign_statement = BOB.id, CHARLIE.address, CHARLIE.sign_statement

    dialled, accepted = await asyncio.gather(
        dial(left, MEETING, ALICE, directory, timeout_s=2),
        accept(right, BOB.id, Impostor, directory, admit_all, timeout_s=2),
        return_exceptions=True,
    )
    assert isinstance(dialled, HandshakeFailed)
    assert isinstance(accepted, PeerLost)


async def test_a_suspended_or_unknown_party_cannot_meet():
    def without_alice(party):
        return set() if party == ALICE.id else directory(party)

    dialled, accepted = await meet(know=without_alice)
    assert isinstance(dialled, HandshakeFailed)
    assert isinstance(accepted, HandshakeFailed)


async def test_a_refused_meeting_gives_the_dialler_the_code():
    async def no_such_job(meeting):
        raise PeerRefused("no such job here")

    dialled, accepted = await meet(admit=no_such_job)
    assert isinstance(dialled, PeerRefused)
    assert dialled.detail["peer_code"] == "wire.peer_refused"
    assert "no such job" in str(dialled)
    assert isinstance(accepted, PeerRefused)


async def test_another_party_or_the_same_role_twice_is_refused():
    for meeting in (replace(MEETING, acceptor=CHARLIE.id), replace(MEETING, acceptor_role="left")):
        dialled, accepted = await meet(meeting=meeting)
        assert isinstance(dialled, PeerRefused), meeting
        assert isinstance(accepted, PeerRefused), meeting


async def test_an_unreachable_chain_is_not_taken_for_a_bad_peer():
    def unreachable(party):
        raise ChainUnreachable("no answer")

    dialled, _ = await meet(know=unreachable)
    assert isinstance(dialled, ChainUnreachable)


def rewriting(message_type, **changes):
    """Change fields of one kind of message on its way and leave the rest."""

    def rewrite(frame):
        try:
            message = codec.decode(message_type, frame)
        except BadMessage:
            return frame
        return codec.encode(
            type(message)(
                **{name: getattr(message, name) for name in message.__struct_fields__}
                | {name: change(getattr(message, name)) for name, change in changes.items()}
            )
        )

    return rewrite


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1])


OTHER_JOB = "0x" + "22" * 32
TAMPERINGS = {
    "another job": {"outgoing": rewriting(Hello, job=lambda _: OTHER_JOB)},
    "another dialler": {"outgoing": rewriting(Hello, dialler=lambda _: CHARLIE.id)},
    "another role of the dialler": {"outgoing": rewriting(Hello, dialler_role=lambda _: "middle")},
    "another role of the acceptor": {"outgoing": rewriting(Hello, acceptor_role=lambda _: "middle")},
    "dialler's ephemeral key": {"outgoing": rewriting(Hello, ephemeral=flip)},
    "dialler's low-order key": {"outgoing": rewriting(Hello, ephemeral=lambda _: bytes(32))},
    "dialler's nonce": {"outgoing": rewriting(Hello, nonce=flip)},
    "dialler's proof": {"outgoing": rewriting(Finish, proof=flip)},
    "acceptor's ephemeral key": {"incoming": rewriting(Welcome, ephemeral=flip)},
    "acceptor's low-order key": {"incoming": rewriting(Welcome, ephemeral=lambda _: bytes(32))},
    "acceptor's nonce": {"incoming": rewriting(Welcome, nonce=flip)},
    "acceptor's proof": {"incoming": rewriting(Welcome, proof=flip)},
    "garbage to the acceptor": {"outgoing": lambda _: b"\xff" * 100},
    "garbage to the dialler": {"incoming": lambda _: b"\xff" * 100},
    "a bomb to the acceptor": {"outgoing": lambda _: b"\x91" * 1_000_000},
    "a cut message": {"outgoing": lambda frame: frame[:-1]},
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_whatever_is_changed_on_the_way_no_channel_opens(tampering):
    dialled, accepted = await meet(wrap=lambda transport: Meddler(transport, **tampering), timeout_s=1.0)
    assert isinstance(dialled, ComputeError)
    assert isinstance(accepted, ComputeError)


async def test_a_recorded_dialler_cannot_be_replayed():
    recorded = []

    def record(frame):
        recorded.append(frame)
        return frame

    dialled, accepted = await meet(wrap=lambda transport: Meddler(transport, outgoing=record))
    await closing(dialled, accepted)

    left, right = memory_transports()
    for frame in recorded[:2]:
        await left.send_frame(frame)
    with pytest.raises(HandshakeFailed):
        await accept(right, BOB.id, BOB, directory, admit_all, timeout_s=1)


async def test_a_recorded_acceptor_cannot_be_replayed():
    recorded = []

    def record(frame):
        recorded.append(frame)
        return frame

    dialled, accepted = await meet(wrap=lambda transport: Meddler(transport, incoming=record))
    await closing(dialled, accepted)

    left, right = memory_transports()
    await right.send_frame(recorded[0])
    with pytest.raises(HandshakeFailed):
        await dial(left, MEETING, ALICE, directory, timeout_s=1)


async def test_a_dialler_that_is_sent_its_own_words_back_stops():
    left, right = memory_transports()

    async def mirror():
        for _ in range(2):
            await right.send_frame(await right.receive_frame())

    mirroring = asyncio.create_task(mirror())
    with pytest.raises(ComputeError):
        await dial(left, replace(MEETING, acceptor=ALICE.id), ALICE, directory, timeout_s=1)
    mirroring.cancel()


async def test_a_dialler_cannot_use_the_acceptors_proof_as_its_own():
    """The side is part of what is signed: Bob's word as acceptor is none as dialler, even to himself."""
    left, right = memory_transports()
    meeting = replace(MEETING, dialler=BOB.id)

    class Thief:
        address = BOB.address

        def sign_statement(self, purpose, payload):
            assert payload.startswith(b"dialler")
            return BOB.sign_statement(purpose, b"acceptor" + payload.removeprefix(b"dialler"))

    dialled, accepted = await asyncio.gather(
        dial(left, meeting, Thief(), directory, timeout_s=1),
        accept(right, BOB.id, BOB, directory, admit_all, timeout_s=1),
        return_exceptions=True,
    )
    assert isinstance(dialled, HandshakeFailed)
    assert isinstance(accepted, HandshakeFailed)


async def test_a_silent_peer_is_given_up_on():
    left, right = memory_transports()
    with pytest.raises(PeerLost, match="handshake"):
        await dial(left, MEETING, ALICE, directory, timeout_s=0.05)
    left, right = memory_transports()
    with pytest.raises(PeerLost, match="handshake"):
        await accept(right, BOB.id, BOB, directory, admit_all, timeout_s=0.05)


async def test_the_keys_of_two_sessions_differ():
    """Same parties, same job: a record of one session does not open in the other."""
    frames = []

    def record(frame):
        frames.append(frame)
        return frame

    for _ in range(2):
        dialled, accepted = await meet(wrap=lambda transport: Meddler(transport, outgoing=record))
        await dialled.send(b"the same message")
        await closing(dialled, accepted)
    records = [frame for frame in frames if len(frame) == 9 + len(b"the same message") + 16]
    assert len(records) == 2
    assert records[0] != records[1]
