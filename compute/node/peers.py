"""Meeting the other roles of a job: dialling some, being dialled by others, over authenticated channels.

A role dials every role before it in the kind's order and is dialled by every role after it; a consumer's role
comes last, so the SDK only dials. Whoever is dialled before its own submission arrived answers "not yet"
and the dialler tries again until its timeout; "refused" or "ended" ends the attempt at once. Addresses come
from the submission and were checked against the allow-list by policy; identity is proven by the handshake,
so a wrong address costs time and nothing else. Outsiders can learn whether a job id is open here; job ids
are public on chain.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compute.errors import ComputeError, HandshakeFailed, PeerLost, PeerRefused
from compute.wire.channel import Channel
from compute.wire.handshake import Meeting, accept, dial
from compute.wire.identity import KeyDirectory, StatementSigner
from compute.wire.records import ChannelLimits
from compute.wire.transport import Transport
from compute.wire.websocket import connect_websocket
from contracts.errors import ChainUnreachable, ContractError

_RETRY_S = 0.25
# Outsiders may hold so many unfinished handshakes at once, each for at most the handshake's timeout.
MAX_HANDSHAKES = 64


class PeerNotReady(PeerRefused):
    """The peer does not know the job yet, or is still letting go of an earlier connection: try again."""

    code = "peer.not_ready"


class PeerEnded(PeerRefused):
    """The peer's part of the job is over: refused, failed or cancelled."""

    code = "peer.ended"


class JobChannel:
    """A channel that tells when it closed (the socket's handler) and counts what was sent (the meter)."""

    def __init__(self, channel: Channel, on_sent: Callable[[], None] | None = None) -> None:
        self._channel = channel
        self._on_sent = on_sent
        self.closed = asyncio.Event()

    async def send(self, message: bytes) -> None:
        """See `Channel.send`. Counted before it leaves: what may have arrived is charged."""
        if self._on_sent is not None:
            self._on_sent()
        await self._channel.send(message)

    async def receive(self) -> bytes:
        """See `Channel.receive`."""
        return await self._channel.receive()

    async def close(self, code: str = "", reason: str = "") -> None:
        """See `Channel.close`."""
        try:
            await self._channel.close(code, reason)
        finally:
            self.closed.set()


@dataclass
class Table:
    """One job's meeting place. ``parties`` maps every role of the job to its party."""

    job: str
    role: str
    parties: Mapping[str, str]
    roles: tuple[str, ...]
    arrived: dict[str, JobChannel] = field(default_factory=dict)
    complete: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def dials(self) -> tuple[str, ...]:
        """The roles that we dial: those before ours."""
        return self.roles[: self.roles.index(self.role)]

    @property
    def awaits(self) -> tuple[str, ...]:
        """The roles that dial us: those after ours."""
        return self.roles[self.roles.index(self.role) + 1 :]


class PeerDesk:
    """All jobs of a node that are meeting their peers. One event loop uses it."""

    def __init__(
        self,
        party: str,
        signer: StatementSigner,
        directory: KeyDirectory,
        is_over: Callable[[str], bool],
        *,
        connect_timeout_s: float,
        limits: ChannelLimits,
    ) -> None:
        self._party = party
        self._signer = signer
        self._directory = directory
        self._is_over = is_over
        self._connect_timeout_s = connect_timeout_s
        self._limits = limits
        self._tables: dict[str, Table] = {}
        self._handshakes = 0

    def open(self, table: Table) -> None:
        """Let the peers of a job in from now on."""
        self._tables[table.job] = table

    async def close(self, job: str) -> None:
        """Let nobody in any more; channels that nobody took are closed."""
        table = self._tables.pop(job, None)
        if table is not None:
            for channel in table.arrived.values():
                await channel.close(PeerEnded.code)

    async def connect(
        self, table: Table, peers: Mapping[str, str], on_sent: Mapping[str, Callable[[], None]]
    ) -> dict[str, Channel]:
        """Channels to all other roles.

        Raises PeerRefused if one does not take part, HandshakeFailed if one is not who the chain names,
        PeerLost naming those that did not come in time. ``on_sent`` maps roles to a counter of messages.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                async with asyncio.TaskGroup() as group:
                    for role in table.dials:
                        group.create_task(self._dial(table, role, peers.get(role, "")))
                    group.create_task(self._all_arrived(table))
        except TimeoutError:
            missing = [role for role in table.roles if role != table.role and role not in table.arrived]
            raise PeerLost(
                f"no connection to {', '.join(missing) or 'the peers'} within {self._connect_timeout_s:g} s: "
                "is the other party's node running, and was the job submitted to it?",
                peer_code="",
            ) from None
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        table.complete = True
        channels: dict[str, Channel] = {}
        for role, channel in table.arrived.items():
            channel._on_sent = on_sent.get(role)
            channels[role] = channel
        table.arrived = {}
        return channels

    async def serve(self, transport: Transport) -> None:
        """Answer one incoming connection; returns when it is over. Never raises ComputeError."""
        if self._handshakes >= MAX_HANDSHAKES:
            with contextlib.suppress(ComputeError):
                await transport.close()
            return
        self._handshakes += 1
        try:
            meeting, secure = await accept(
                transport, self._party, self._signer, self._directory, self._admit, limits=self._limits
            )
        except (ComputeError, ContractError):
            # The dialler was told what it may know; it tries again if the chain was away.
            return
        finally:
            self._handshakes -= 1
        channel = JobChannel(secure)
        table = self._tables.get(meeting.job)
        if table is None or table.complete:
            await channel.close(PeerEnded.code)
        else:
            await self._seat(table, meeting.dialler_role, channel)
        await channel.closed.wait()

    async def _admit(self, meeting: Meeting) -> None:
        table = self._tables.get(meeting.job)
        if table is None:
            if self._is_over(meeting.job):
                raise PeerEnded("this job is over here")
            raise PeerNotReady("this job is not open here")
        expected = (
            meeting.acceptor_role == table.role
            and meeting.dialler_role in table.awaits
            and table.parties[meeting.dialler_role] == meeting.dialler
        )
        if not expected or table.complete:
            raise PeerRefused("nobody is expected in this role")

    async def _seat(self, table: Table, role: str, channel: JobChannel) -> None:
        async with table.changed:
            earlier = table.arrived.get(role)
            # A peer that lost its connection before the job began may come again: it proved who it is.
            table.arrived[role] = channel
            table.changed.notify_all()
        if earlier is not None:
            await earlier.close(PeerNotReady.code)

    async def _all_arrived(self, table: Table) -> None:
        async with table.changed:
            await table.changed.wait_for(lambda: all(role in table.arrived for role in table.awaits))

    async def _dial(self, table: Table, role: str, url: str) -> None:
        if not url:
            raise PeerLost(f"the submission gives no address for {role}", peer_code="")
        meeting = Meeting(table.job, self._party, table.role, table.parties[role], role)
        while True:
            # A node that starts, or has not got the job yet, is met a moment later.
            try:
                transport = await connect_websocket(url)
                secure = await dial(transport, meeting, self._signer, self._directory, limits=self._limits)
                return await self._seat(table, role, JobChannel(secure))
            except (PeerLost, ChainUnreachable):
                await asyncio.sleep(_RETRY_S)
            except PeerRefused as error:
                if error.detail.get("peer_code") != PeerNotReady.code:
                    raise PeerRefused(f"{role} does not take part in the job", **error.detail) from error
                await asyncio.sleep(_RETRY_S)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that decides: a refusal or failed proof before whatever it dragged along."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    for kind in (PeerRefused, HandshakeFailed, ComputeError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
