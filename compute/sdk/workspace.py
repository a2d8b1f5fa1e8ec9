"""What the SDK keeps of its jobs: the secrets to open results with, and results it computed itself.

One file per job beside the key file, sealed to the consumer's own box key: losing the folder loses the
ability to open those results, reading it gives nothing away.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from compute.errors import BadInput
from compute.keys import sealing
from compute.protocols.directory_cache import DirectoryCache
from compute.sdk.identity import Identity
from compute.wire import canonical

_CONTEXT = b"liutong/sdk/job/1 "


class JobRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job: its spec as sent, the secrets of `JobKind.prepare`, and the consumer's own output if any.

    ``own_metrics`` are the public quantities that the consumer's own role counted.
    """

    job: str
    spec: bytes
    secrets: dict[str, bytes]
    own_payload: bytes | None = None
    own_metrics: dict[str, int] = {}


class Workspace:
    """A folder of sealed job records."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self._folder = folder
        self._identity = identity

    def cache(self, max_bytes: int) -> DirectoryCache:
        """What outlives jobs: hints of dataset versions, so that a lookup does not download them again.

        Nothing in it tells what was asked; it lies open, and may be deleted at any time.
        """
        return DirectoryCache(self._folder / "cache", max_bytes)

    def save(self, record: JobRecord) -> None:
        """On disk when this returns: a job must not be sent whose result could not be opened."""
        path = self._path(record.job)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sealed = sealing.seal(
            self._identity.box_public, msgspec.msgpack.encode(record), _CONTEXT + record.job.encode()
        )
        temporary = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def load(self, job: str) -> JobRecord:
        """A job's record; raises BadInput if this workspace has none or cannot open it."""
        try:
            sealed = self._path(job).read_bytes()
        except OSError:
            raise BadInput(
                f"job {job} was not started from {self._folder}: its secrets are not here"
            ) from None
        plain = sealing.open_sealed(self._identity.box_private, sealed, _CONTEXT + job.encode())
        try:
            return msgspec.msgpack.decode(plain, type=JobRecord)
        except msgspec.MsgspecError as error:
            raise BadInput(f"the record of job {job} is damaged") from error

    def _path(self, job: str) -> Path:
        canonical.from_hex(job)  # an id, not a path
        return self._folder / f"{job[2:]}.job"
