"""What ties values to one job, the same on every side: protocol sessions and sealed results.

Source: none; both are plain domain-separated concatenations of fixed-length parts.
"""

from __future__ import annotations

import hashlib

_RESULT = b"liutong/result/v1\x00"
_EAAS = b"liutong/eaas/v1\x00"


def session_binding(job: bytes, spec_hash: bytes) -> bytes:
    """`Session.binding`: SHA-256 over job id and spec hash (32 bytes each)."""
    return hashlib.sha256(job + spec_hash).digest()


def eaas_context(job: str, operation: str) -> bytes:
    """The context that a call to the encryption service and its answer are sealed under."""
    return _EAAS + job.encode() + b" " + operation.encode()


def result_context(job: bytes, role: str) -> bytes:
    """The context that a role's result is sealed under: it opens for this job and role only."""
    return _RESULT + job + role.encode()
