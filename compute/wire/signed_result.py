"""A result carries the signature of the node that computed it, inside the seal.

Sealing hides a result from whoever keeps it, but anyone can seal to a public key: without a signature the
portal could hand a consumer a result of its own making. The signature is inside, so that whoever keeps the
sealed bytes learns nothing more from it.

    payload to seal = 65-byte signature of statement "result/1" over (job, role, SHA-256 of payload) + payload
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from compute.errors import BadInput
from compute.wire.binding import result_context
from compute.wire.identity import StatementSigner
from contracts import statement
from contracts.errors import BadSignature

PURPOSE = "result/1"
_SIGNATURE_BYTES = 65


def sign_result(signer: StatementSigner, job: bytes, role: str, payload: bytes) -> bytes:
    """What a node seals to the consumer: its signature, then the payload. Run by the node."""
    return signer.sign_statement(PURPOSE, _statement(job, role, payload)) + payload


def verify_result(signed: bytes, job: bytes, role: str, addresses: Collection[str]) -> bytes:
    """The payload, if one of ``addresses`` (keys of the role's party) signed it; raises BadInput.

    Run by the consumer. ``addresses`` holds the party's former keys too: a result may be opened after its
    node changed its key.
    """
    signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    try:
        signer = statement.recover(PURPOSE, _statement(job, role, payload), signature)
    except BadSignature:
        signer = ""
    if signer not in addresses:
        raise BadInput(
            f"the result of {role} is not signed by the node that the chain names: do not use it, "
            "and ask whoever delivered it where it comes from"
        )
    return payload


def _statement(job: bytes, role: str, payload: bytes) -> bytes:
    # The context ends in the role, which has no fixed length: the digest before it keeps the parts apart.
    return hashlib.sha256(payload).digest() + result_context(job, role)
