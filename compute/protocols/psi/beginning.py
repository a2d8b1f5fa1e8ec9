"""What a job of several waves began with: its later attempts are held to the same inputs and the same plan.

Each party commits to its input under a salt that it draws once per job and keeps, so that an equal input has
an equal commitment in every attempt, and the commitment tells nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from accel import sm3
from compute.errors import DataError, ProtocolAbort
from compute.protocols.protocol import Session

_NAME = "psi.first"


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party said of its input."""

    commitment: bytes
    count: int


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    salt: bytes
    inputs: dict[str, Input]
    plan: str


@dataclass(frozen=True, repr=False)
class Beginning:
    """Our commitment, and what was kept by the attempt that this one goes on from."""

    session: Session
    salt: bytes
    commitment: bytes
    kept: _Kept | None

    @classmethod
    def of(cls, session: Session, checksum: bytes) -> Beginning:
        """``checksum`` tells two inputs apart (`buckets.checksum`).

        Raises ProtocolAbort if our own input is another than when the job began.
        """
        kept = _read(session) if session.resumed else None
        salt = kept.salt if kept else session.rng(32)
        commitment = sm3.digest(b"liutong/psi/input/v1" + session.binding + salt + checksum)
        if kept and not hmac.compare_digest(kept.inputs[session.role].commitment, commitment):
            raise ProtocolAbort("our input is another than when the job began: start a new job")
        return cls(session, salt, commitment, kept)

    def hold(self, inputs: Mapping[str, Input]) -> None:
        """Raise ProtocolAbort if any party names another input than when the job began."""
        if self.kept and self.kept.inputs != inputs:
            changed = [role for role, said in inputs.items() if self.kept.inputs.get(role) != said]
            raise ProtocolAbort(f"the input of {', '.join(changed)} is another than when the job began")

    def settle(self, inputs: Mapping[str, Input], plan: str, waves: int) -> None:
        """Keep what a job of several waves begins with, or hold one that goes on to its plan.

        Raises ProtocolAbort if the plan is another.
        """
        if self.kept:
            if self.kept.plan != plan or self.session.resumed > waves:
                raise ProtocolAbort("memory or processors changed since the job began: start a new job")
        elif waves > 1:
            kept = _Kept(self.salt, dict(inputs), plan)
            self.session.workspace.write(_NAME, msgspec.msgpack.encode(kept))


def _read(session: Session) -> _Kept:
    try:
        kept = msgspec.msgpack.decode(session.workspace.read(_NAME), type=_Kept)
    except msgspec.MsgspecError as error:
        raise DataError(f"{_NAME} in the workspace is damaged") from error
    if session.role not in kept.inputs:
        raise DataError(f"{_NAME} in the workspace is of another role")
    return kept
