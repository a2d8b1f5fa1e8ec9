"""Checks that a spec's participants are those that a job kind needs."""

from __future__ import annotations

import hashlib

from compute.errors import BadInput
from compute.wire.messages import JobSpec

MAX_STACKED_PARTIES = 32


def require_roles(spec: JobSpec, roles: tuple[str, ...], consumer_role: str | None = None) -> tuple[str, ...]:
    """The roles in dialling order if the spec fills each exactly once; raises BadInput saying what is wrong.

    A data role needs a grant, a dataset and its commitment, and a party of its own: a party that held two
    roles would see both sides of what the protocol keeps apart. The consumer's role is the consumer's.
    """
    given = sorted(participant.role for participant in spec.participants)
    if given != sorted(roles):
        raise BadInput(
            f"{spec.kind} needs the roles {', '.join(roles)}; the job has {', '.join(given) or 'none'}"
        )
    if len({participant.party for participant in spec.participants}) != len(roles):
        raise BadInput(f"every role of {spec.kind} needs a party of its own")
    for participant in spec.participants:
        if participant.role == consumer_role:
            if participant.party != spec.consumer:
                raise BadInput(f"the role {consumer_role} of {spec.kind} is the consumer's own")
            if participant.grant or participant.dataset or participant.commitment:
                raise BadInput(f"the role {consumer_role} brings no dataset, so it has no grant")
        elif not (participant.grant and participant.dataset and participant.commitment):
            raise BadInput(f"the role {participant.role} needs a grant, a dataset and its commitment")
    return roles


def name_for(spec: JobSpec, role: str, digest: bytes) -> str:
    """What a cache calls something with this digest that comes from the data of ``role``.

    Whose data it is goes into the name: a party that was told the digest of another's could else announce it
    as its own, and would see whether we have it.
    """
    whose = [(item.party, item.dataset) for item in spec.participants if item.role == role]
    return hashlib.sha256(repr(whose).encode() + digest).hexdigest()


def require_consumer_apart(spec: JobSpec) -> None:
    """Raise BadInput if the consumer fills a role: it holds the key that the others' values are under."""
    if any(participant.party == spec.consumer for participant in spec.participants):
        raise BadInput(f"the consumer of {spec.kind} may hold no role: it would see the others' values")


def stacked_roles(spec: JobSpec, consumer_role: str | None = None) -> tuple[str, ...]:
    """The roles p1…pN of parties with the same columns, N ≥ 2, and last the consumer's role if any."""
    count = len(spec.participants) - (consumer_role is not None)
    if not 2 <= count <= MAX_STACKED_PARTIES:
        raise BadInput(
            f"{spec.kind} needs 2 to {MAX_STACKED_PARTIES} parties p1, p2, …; the job has {max(count, 0)}"
        )
    roles = tuple(f"p{index}" for index in range(1, count + 1))
    return require_roles(spec, roles + ((consumer_role,) if consumer_role else ()), consumer_role)
