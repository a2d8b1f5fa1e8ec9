"""Meeting the other roles of a job: dialling some, being dialled by others, over authenticated channels.

A role dials every role before it in the kind's order and is dialled by every role after it; a consumer's role
comes last, so the SDK only dials. Whoever is dialled before its own submission arrived answers "not yet"
and the dialler tries again until its timeout; "refused" or "ended" ends the attempt at once. Addresses come
from the submission and were checked against the allow-list by policy; identity is proven by the handshake,
so a wrong address costs time and nothing else. Outsiders can learn whether a job id is open here; job ids
are public on chain.

A resumable job that was cut meets again at the same table. Who notices the cut first comes again while the
other still believes in the old channel: the new one replaces it, for it proved who it is. Who is dialled
would wait for ever for a peer that gave up, so it asks at that peer's door now and then whether the job is
over there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compute.errors import (
    CancelledElsewhere,
    ComputeError,
    HandshakeFailed,
    JobCancelled,
    PeerLost,
    PeerRefused,
)
from compute.wire.channel import Channel
from compute.wire.handshake import Meeting, accept, dial
from compute.wire.identity import KeyDirectory, StatementSigner
from compute.wire.records import ChannelLimits
from compute.wire.transport import Transport
from compute.wire.websocket import connect_websocket
from contracts.errors import ChainUnreachable, ContractError

_RETRY_S = 0.25
_ASK_S = 2.0
# Outsiders may hold so many unfinished handshakes at once, each for at most the handshake's timeout.
MAX_HANDSHAKES = 64


class PeerNotReady(PeerRefused):
    """The peer does not know the job yet, or is still letting go of an earlier connection: try again."""

    code = "peer.not_ready"


class PeerEnded(PeerRefused):
    """The peer's part of the job is over: refused, failed or completed."""

    code = "peer.ended"


class PeerCancelled(PeerRefused):
    """The peer's part of the job was cancelled."""

    code = "peer.cancelled"


class JobChannel:
    """A channel that tells when it closed (the socket's handler) and counts what was sent (the meter)."""

    def __init__(self, channel: Channel, on_sent: Callable[[], None] | None = None) -> None:
        self._channel = channel
        self._on_sent = on_sent
        self.closed = asyncio.Event()

    def count(self, on_sent: Callable[[], None] | None) -> None:
        """From now on call this for every message sent."""
        self._on_sent = on_sent

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
    """One job's meeting place. ``parties`` maps every role of the job to its party.

    ``arrived`` are channels that wait to be used, ``used`` those of the attempt that runs (``complete``).
    """

    job: str
    role: str
    parties: Mapping[str, str]
    roles: tuple[str, ...]
    resumable: bool = False
    arrived: dict[str, JobChannel] = field(default_factory=dict)
    used: dict[str, JobChannel] = field(default_factory=dict)
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
        ended_as: Callable[[str], str],
        *,
        connect_timeout_s: float,
        limits: ChannelLimits,
    ) -> None:
        """``ended_as`` gives the final state of a job, an empty text while it has none or is not known."""
        self._party = party
        self._signer = signer
        self._directory = directory
        self._ended_as = ended_as
        self._connect_timeout_s = connect_timeout_s
        self._limits = limits
        self._tables: dict[str, Table] = {}
        self._handshakes = 0

    def open(self, table: Table) -> None:
        """Let the peers of a job in from now on."""
        self._tables[table.job] = table

    async def close(self, job: str, code: str = PeerEnded.code) -> None:
        """Let nobody in any more; channels that nobody took are closed with this code."""
        table = self._tables.pop(job, None)
        if table is not None:
            for channel in table.arrived.values():
                await channel.close(code)

    async def connect(
        self, table: Table, peers: Mapping[str, str], again_s: float | None = None
    ) -> dict[str, JobChannel]:
        """Channels to all other roles.

        ``again_s``: how long to wait for the peers of a job that was cut, instead of the time for a first
        meeting. Raises PeerRefused if one does not take part, HandshakeFailed if one is not who the chain
        names, CancelledElsewhere if it was cancelled there, PeerLost naming those that did not come in time.
        """
        table.complete, table.used = False, {}
        patience_s = self._connect_timeout_s if again_s is None else again_s
        try:
            async with asyncio.timeout(patience_s):
                async with asyncio.TaskGroup() as group:
                    dialling = [
                        group.create_task(self._dial(table, role, peers.get(role, "")))
                        for role in table.dials
                    ]
                    asking = [
                        group.create_task(self._ask(table, role, peers[role]))
                        for role in table.awaits
                        if again_s is not None and peers.get(role)
                    ]
                    await asyncio.gather(self._all_arrived(table), *dialling)
                    for task in asking:
                        task.cancel()
        except TimeoutError:
            missing = [role for role in table.roles if role != table.role and role not in table.arrived]
            raise PeerLost(
                f"no connection to {', '.join(missing) or 'the peers'} within {patience_s:g} s: "
                "is the other party's node running, and was the job submitted to it?",
                peer_code="",
            ) from None
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        table.complete, table.used, table.arrived = True, table.arrived, {}
        return dict(table.used)

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
        if table is None or (table.complete and not table.resumable):
            await channel.close(PeerEnded.code)
        else:
            await self._seat(table, meeting.dialler_role, channel)
        await channel.closed.wait()

    async def _admit(self, meeting: Meeting) -> None:
        table = self._tables.get(meeting.job)
        if table is None:
            if state := self._ended_as(meeting.job):
                raise (PeerCancelled if state == "cancelled" else PeerEnded)("this job is over here")
            raise PeerNotReady("this job is not open here")
        expected = (
            meeting.acceptor_role == table.role
            and meeting.dialler_role in table.awaits
            and table.parties[meeting.dialler_role] == meeting.dialler
        )
        if not expected or (table.complete and not table.resumable):
            raise PeerRefused("nobody is expected in this role")

    async def _seat(self, table: Table, role: str, channel: JobChannel) -> None:
        async with table.changed:
            earlier = table.arrived.get(role)
            # A peer that lost its connection before the job began may come again: it proved who it is.
            table.arrived[role] = channel
            table.changed.notify_all()
            # It would not come if it still had the channel that our attempt uses.
            broken = table.used.get(role) if table.complete else None
        if earlier is not None:
            await earlier.close(PeerNotReady.code)
        if broken is not None:
            await broken.close(PeerLost.code)

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
                _raise_if_over(role, error)
                if error.detail.get("peer_code") != PeerNotReady.code:
                    raise PeerRefused(f"{role} does not take part in the job", **error.detail) from error
                await asyncio.sleep(_RETRY_S)

    async def _ask(self, table: Table, role: str, url: str) -> None:
        """Knock at the door of a role that should dial us: it lets nobody in, but says if the job is over."""
        meeting = Meeting(table.job, self._party, table.role, table.parties[role], role)
        while role not in table.arrived:
            await asyncio.sleep(_ASK_S)
            try:
                transport = await connect_websocket(url)
                channel = await dial(transport, meeting, self._signer, self._directory, limits=self._limits)
                await channel.close(PeerNotReady.code)
            except PeerRefused as error:
                _raise_if_over(role, error)
            except (PeerLost, HandshakeFailed, ContractError):
                continue


def _raise_if_over(role: str, error: PeerRefused) -> None:
    code = error.detail.get("peer_code")
    if code == PeerCancelled.code:
        raise CancelledElsewhere(
            f"{role} cancelled its part: no result is given out", peer_code=code
        ) from error
    if code == PeerEnded.code:
        raise PeerRefused(f"{role} does not take part in the job (any more)", **error.detail) from error


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that decides: a refusal or failed proof before whatever it dragged along."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    for kind in (JobCancelled, PeerRefused, HandshakeFailed, ComputeError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
