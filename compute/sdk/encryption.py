"""Encryption as a service from the consumer's side: a session is a job, each call is one unit.

Calls go straight to the provider's node, signed with the consumer's key and sealed to the node's box key from
the chain: whoever gave out the address or stands in between sees neither keys nor values. Binary values are
bytes here and base64 on the wire; Paillier numbers are text or int.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, cast

from compute.client import NodeClient
from compute.errors import BadInput
from compute.sdk.chain_view import ChainView
from compute.sdk.errors import JobEnded, WaitedTooLong
from compute.sdk.identity import Identity
from compute.sdk.jobs import Jobs
from compute.sdk.objects import Grant, Job
from compute.wire.eaas import (
    AddCall,
    Algorithm,
    DecryptCall,
    EaasAnswer,
    EaasKey,
    EaasKeyRequest,
    EncryptCall,
    MultiplyCall,
    SignCall,
    VerifyCall,
)

_POLL_S = 0.3


class Encryption:
    """``client.eaas``."""

    def __init__(self, jobs: Jobs, identity: Identity, chain: ChainView) -> None:
        self._jobs = jobs
        self._chain = chain
        self._identity = identity

    def open(
        self,
        grant: Grant | str,
        *,
        purpose: str,
        calls: int,
        duration_s: int = 600,
        deadline_s: int | None = None,
        timeout_s: float = 60.0,
    ) -> EaasSession:
        """Reserve ``calls`` units and open a session; raises JobEnded if the node refuses."""
        order = self._jobs.prepare(
            "eaas",
            purpose=purpose,
            grants={"service": grant},
            params={"calls": calls, "duration_s": duration_s},
            deadline_s=deadline_s or duration_s,
        )
        self._jobs.submit(order)
        end = time.monotonic() + timeout_s
        while True:
            job = self._jobs.get(order.job)
            if job.is_final:
                reason = job.reason
                raise JobEnded(
                    f"the session was {job.state}" + (f": {reason.message or reason.code}" if reason else ""),
                    job=job.job,
                    state=job.state,
                    code=reason.code if reason else "",
                    rule=reason.rule if reason else "",
                )
            if any(part.state == "running" for part in job.parts):
                break
            if time.monotonic() > end:
                raise WaitedTooLong(f"the session is still {job.state}", job=job.job)
            time.sleep(_POLL_S)
        service = next(item for item in order.spec.participants if item.role == "service")
        # The portal names the address: the box key from the chain makes sure of who reads and answers.
        client = NodeClient(
            job.peers["service"],
            service.party,
            self._identity.signer,
            party=self._identity.party,
            box_key=self._chain.box_key_of(service.party),
        )
        return EaasSession(client, self._jobs, order.job)


class EaasSession:
    """An open session; ``with client.eaas.open(…) as session``. Leaving it closes the job."""

    def __init__(self, node: NodeClient, jobs: Jobs, job: str) -> None:
        self._node = node
        self._jobs = jobs
        self.job = job
        self.calls_left: int | None = None

    def __enter__(self) -> EaasSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, *, wait: bool = True) -> Job:
        """End the session; the receipt charges the calls made. Waits until that is on chain."""
        self._node.eaas_close(self.job)
        self._node.close()
        return self._jobs.wait(self.job) if wait else self._jobs.get(self.job)

    def create_key(self, algorithm: str, *, bits: int = 3072) -> EaasKey:
        """A new Paillier, SM2 or SM4 key in the node's store; ``bits`` counts for Paillier."""
        if algorithm not in ("paillier", "sm2", "sm4") or bits not in (2048, 3072, 4096):
            raise BadInput("a key is paillier (2048, 3072 or 4096 bits), sm2 or sm4")
        request = EaasKeyRequest(
            algorithm=cast(Algorithm, algorithm), bits=cast(Literal[2048, 3072, 4096], bits)
        )
        return self._node.eaas_create_key(self.job, request)

    def keys(self) -> list[EaasKey]:
        """The keys of this grant. Not metered."""
        return self._node.eaas_keys(self.job)

    def encrypt(self, key: EaasKey, items: Sequence[Any]) -> list[bytes]:
        """Paillier: numbers (int or decimal text); SM2, SM4: bytes."""
        if key.algorithm == "paillier":
            call = EncryptCall(key=key.key, values=tuple(str(item) for item in items))
        else:
            call = EncryptCall(key=key.key, plaintexts=tuple(_encode(item) for item in items))
        return [_decode(item) for item in self._note(self._node.eaas_encrypt(self.job, call)).ciphertexts]

    def decrypt(self, key: EaasKey, ciphertexts: Sequence[bytes]) -> list[Any]:
        """Decimal text for Paillier, bytes otherwise."""
        call = DecryptCall(key=key.key, ciphertexts=tuple(_encode(item) for item in ciphertexts))
        answer = self._note(self._node.eaas_decrypt(self.job, call))
        if key.algorithm == "paillier":
            return list(answer.values)
        return [_decode(item) for item in answer.plaintexts]

    def add(self, key: EaasKey, left: Sequence[bytes], right: Sequence[bytes]) -> list[bytes]:
        """Paillier: sums, pair by pair."""
        call = AddCall(
            key=key.key,
            left=tuple(_encode(item) for item in left),
            right=tuple(_encode(item) for item in right),
        )
        return [_decode(item) for item in self._note(self._node.eaas_add(self.job, call)).ciphertexts]

    def multiply(self, key: EaasKey, ciphertexts: Sequence[bytes], factors: Sequence[int]) -> list[bytes]:
        """Paillier: products with plaintext whole numbers, pair by pair."""
        call = MultiplyCall(
            key=key.key,
            ciphertexts=tuple(_encode(item) for item in ciphertexts),
            factors=tuple(str(factor) for factor in factors),
        )
        return [_decode(item) for item in self._note(self._node.eaas_multiply(self.job, call)).ciphertexts]

    def sign(self, key: EaasKey, messages: Sequence[bytes]) -> list[bytes]:
        """SM2 with SM3."""
        call = SignCall(key=key.key, messages=tuple(_encode(item) for item in messages))
        return [_decode(item) for item in self._note(self._node.eaas_sign(self.job, call)).signatures]

    def verify(self, key: EaasKey, messages: Sequence[bytes], signatures: Sequence[bytes]) -> list[bool]:
        """SM2 with SM3."""
        call = VerifyCall(
            key=key.key,
            messages=tuple(_encode(item) for item in messages),
            signatures=tuple(_encode(item) for item in signatures),
        )
        return list(self._note(self._node.eaas_verify(self.job, call)).valid)

    def _note(self, answer: EaasAnswer) -> EaasAnswer:
        self.calls_left = answer.calls_left
        return answer


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
