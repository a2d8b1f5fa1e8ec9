"""HTTP requests that a party signs with the key the chain names for it: portal to node, SDK to node.

    Liutong-Party      party id
    Liutong-Timestamp  Unix seconds
    Liutong-Nonce      16 random bytes, hexadecimal
    Liutong-Signature  statement "http-request/1" over method, path and query, SHA-256 of the body,
                       timestamp, nonce, audience (party id of the node that is asked) and party

A request is good for one node, once, within `WINDOW_S`. The path is the one the node sees: a proxy in front
must not rewrite it. Responses are not signed; what matters in them carries signatures of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from compute.errors import BadInput, ComputeError
from compute.wire.identity import KeyDirectory, StatementSigner
from contracts import statement
from contracts.errors import BadSignature

PURPOSE = "http-request/1"
WINDOW_S = 120
_MAX_NONCES = 200_000

_PARTY = re.compile(r"0x[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9a-f]{32}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{130}")
_METHOD = re.compile(r"[A-Z]{1,16}")
_TARGET = re.compile(r"/[\x21-\x7e]{0,4000}")


class NotAuthenticated(ComputeError):
    """A request is not signed, not by an active key, too old, or a repeat: one error for all of them."""

    code = "http.not_authenticated"

    def __init__(self) -> None:
        super().__init__(
            "sign the request anew with the party's active key; its clock must be within "
            f"{WINDOW_S} s of the node's and each request is accepted once"
        )


@dataclass(frozen=True)
class Caller:
    """Who proved to have sent a request: party id and the address it signed with."""

    party: str
    address: str


class Nonces(Protocol):
    """Remembers which nonces a party used. A node keeps them on disk, so that a restart forgets none."""

    def use(self, party: str, nonce: str, now: int, expires_at: int) -> bool:
        """Record the nonce until ``expires_at``; False if it is known already or cannot be recorded."""


class MemoryNonces:
    """Nonces in memory: for tests and for processes whose requests may be repeated after a restart."""

    def __init__(self, capacity: int = _MAX_NONCES) -> None:
        self._capacity = capacity
        self._expiries: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def use(self, party: str, nonce: str, now: int, expires_at: int) -> bool:
        """See `Nonces.use`. When full of unexpired nonces nothing more is accepted."""
        with self._lock:
            if len(self._expiries) >= self._capacity:
                self._expiries = {key: expiry for key, expiry in self._expiries.items() if expiry >= now}
            if (party, nonce) in self._expiries or len(self._expiries) >= self._capacity:
                return False
            self._expiries[party, nonce] = expires_at
            return True


def sign_request(
    signer: StatementSigner,
    *,
    party: str,
    audience: str,
    method: str,
    target: str,
    body: bytes,
    now: int,
    rng: Callable[[int], bytes] = os.urandom,
) -> dict[str, str]:
    """The four headers of a signed request. ``target`` is path and query as sent, ``now`` Unix seconds.

    Raises BadInput for a method or target that no verifier would take.
    """
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        raise BadInput("a signed request needs an upper-case method and an encoded path that begins with /")
    nonce = rng(16).hex()
    payload = _payload(method, target, body, str(now), nonce, audience, party)
    return {
        "Liutong-Party": party,
        "Liutong-Timestamp": str(now),
        "Liutong-Nonce": nonce,
        "Liutong-Signature": "0x" + signer.sign_statement(PURPOSE, payload).hex(),
    }


def verify_request(
    *,
    audience: str,
    directory: KeyDirectory,
    nonces: Nonces,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    now: int,
) -> Caller:
    """Who signed this request; raises NotAuthenticated and never says which check failed.

    ``headers`` is looked up by lower-case name (Starlette's headers are; so is `httpx.Headers`).
    ``directory`` may block and may raise ChainUnreachable. A nonce is recorded only for a request that is
    otherwise good, so strangers cannot fill the record.
    """
    party = headers.get("liutong-party", "")
    timestamp = headers.get("liutong-timestamp", "")
    nonce = headers.get("liutong-nonce", "")
    signature = headers.get("liutong-signature", "")
    well_formed = (
        _PARTY.fullmatch(party)
        and _TIMESTAMP.fullmatch(timestamp)
        and _NONCE.fullmatch(nonce)
        and _SIGNATURE.fullmatch(signature)
        and _METHOD.fullmatch(method)
        and _TARGET.fullmatch(target)
    )
    if not well_formed or abs(int(timestamp) - now) > WINDOW_S:
        raise NotAuthenticated
    payload = _payload(method, target, body, timestamp, nonce, audience, party)
    try:
        address = statement.recover(PURPOSE, payload, bytes.fromhex(signature[2:]))
    except BadSignature:
        raise NotAuthenticated from None
    if address not in directory(party):
        raise NotAuthenticated
    if not nonces.use(party, nonce, now, int(timestamp) + WINDOW_S):
        raise NotAuthenticated
    return Caller(party, address)


def _payload(
    method: str, target: str, body: bytes, timestamp: str, nonce: str, audience: str, party: str
) -> bytes:
    # No field can hold a line break: method and target are checked, the rest is digits.
    fields = (method, target, hashlib.sha256(body).hexdigest(), timestamp, nonce, audience, party)
    return "\n".join(fields).encode()
