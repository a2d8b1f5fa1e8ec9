"""Everything that goes wrong inside a party's side, with a stable code that is never reused.

A peer is told a code at most; it is never told why a decryption or a verification failed.
"""

from __future__ import annotations


class ComputeError(Exception):
    """Root of the tree. ``message`` says what to do about it; ``detail`` holds public facts only."""

    code = "compute.error"

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class BadInput(ComputeError):
    """A value from a user, a file or a configuration cannot be used."""

    code = "input.invalid"


class BadMessage(ComputeError):
    """A peer sent something that does not decode to the expected type, or breaks a limit."""

    code = "wire.bad_message"


class PeerLost(ComputeError):
    """The channel to a peer closed or stayed silent past the timeout."""

    code = "wire.peer_lost"


class PeerRefused(ComputeError):
    """The peer does not take part in this job."""

    code = "wire.peer_refused"


class HandshakeFailed(ComputeError):
    """The other side could not prove that it holds the key that the chain names."""

    code = "wire.handshake_failed"


class KeyStoreLocked(ComputeError):
    """Wrong passphrase or key file, or a damaged store: the same error for all three."""

    code = "keys.locked"


class DataError(ComputeError):
    """A dataset source cannot be read as declared; the message names file, line and reason."""

    code = "data.invalid"


class DiskFull(DataError):
    """There is no room for what a job must keep; nothing half-written counts."""

    code = "data.disk_full"


class OutOfMemory(ComputeError):
    """The computation needs more memory than there is: lower the node's ``memory_bytes``, or give it more."""

    code = "compute.out_of_memory"


class ProtocolAbort(ComputeError):
    """A protocol stopped because a peer or an input broke one of its rules."""

    code = "protocol.abort"


class CohortTooSmall(ProtocolAbort):
    """A group is smaller than the floor of the grant: nothing is released."""

    code = "protocol.cohort_too_small"


class JobCancelled(ComputeError):
    """A party or the consumer cancelled the job."""

    code = "job.cancelled"


class CancelledElsewhere(JobCancelled):
    """Another party's part of the job was cancelled, so ours ended too."""

    code = "job.cancelled_elsewhere"


class Refused(ComputeError):
    """A node's policy does not allow the request. ``rule`` names the rule, ``remedy`` what would pass."""

    code = "policy.refused"

    def __init__(self, rule: str, message: str, *, remedy: str = "", **detail: object) -> None:
        super().__init__(message, rule=rule, remedy=remedy, **detail)
        self.rule = rule
        self.remedy = remedy
