"""What this node agrees to: one pure function per decision, over typed chain records and what was submitted.

Nothing here reads a clock, a file or the network. Each check raises `Refused` with a stable rule name and a
remedy; the first that fails decides. The order matters: who asks comes before what is asked, so that a
stranger learns nothing about a grant. `authenticate` needs no chain; `admit` is the whole check of a job
before its first row is read; `recheck` is made again while it runs and before anything is released.

What the portal says is believed nowhere: terms count because the chain has their digest, the request because
the consumer signed it, the price and the rest because this node signed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from compute.errors import BadInput, Refused
from compute.node.ceiling import covers, readable_columns
from compute.node.config import DatasetSettings, NodeConfig
from compute.protocols.protocol import JobKind, job_kind
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import (
    DatasetManifest,
    GrantTerms,
    JobSpec,
    JobSubmission,
    Participant,
    RequestLine,
    SignedRequest,
)
from contracts import eip712
from contracts.eip712 import Operation, Role
from contracts.errors import BadSignature, BadStruct
from contracts.records import (
    BlockRef,
    DatasetRecord,
    GrantRecord,
    PartyRecord,
    ReservationRecord,
    ReservationState,
)


@dataclass(frozen=True)
class ChainView:
    """What the chain says about one job at one block. ``grants`` has an entry for every grant it names."""

    block: BlockRef
    node: PartyRecord | None
    consumer: PartyRecord | None
    grants: Mapping[str, GrantRecord | None]
    dataset: DatasetRecord | None
    reservation: ReservationRecord | None


@dataclass(frozen=True)
class Admission:
    """A job that may run: this node's part in it. ``min_cohort`` is the strictest floor of all its grants."""

    role: str
    participant: Participant
    grant: str
    line: RequestLine
    terms: GrantTerms
    dataset: DatasetSettings
    kind: JobKind
    params: Any
    units: int
    min_cohort: int


def part_of(party: str, spec: JobSpec) -> Participant | None:
    """The first role that a job gives to a party; whether it is the only one, `admit` asks."""
    return next((participant for participant in spec.participants if participant.party == party), None)


def authenticate(submission: JobSubmission, domain: eip712.Domain) -> str:
    """The address that signed this very submission; everything in it hangs on that signature."""
    request, spec = submission.request, submission.spec
    try:
        spec_hash = to_hex(canonical.digest(spec))
        struct = structs.job_request(request)
        job = to_hex(eip712.struct_hash(struct))
    except (BadInput, BadStruct) as error:
        raise Refused("request.malformed", str(error), remedy="sign a request whose fields fit") from error
    if spec_hash != request.spec_hash:
        raise Refused(
            "spec.hash",
            "the request was signed for another job specification",
            remedy="submit the specification that was signed, or sign this one under a new nonce",
        )
    if job != request.job:
        raise Refused("request.job", "the job id is not the request's hash", remedy="compute the id anew")
    if spec.consumer != request.consumer:
        raise Refused(
            "request.consumer",
            "specification and request name different consumers",
            remedy="sign the request as the consumer of the specification",
        )
    try:
        return eip712.recover(domain, struct, bytes.fromhex(request.signature[2:]))
    except BadSignature as error:
        raise Refused(
            "request.signature", "the request carries no valid signature", remedy="sign it again"
        ) from error


def identify(consumer: PartyRecord | None, signer: str) -> None:
    """Whether the request is the consumer's own: what fails here must not touch the job it claims to be."""
    if consumer is None:
        raise Refused("consumer.unknown", "the chain does not know the consumer", remedy="enrol it first")
    if consumer.address != signer:
        raise Refused(
            "request.signature",
            "the request is not signed by the consumer's active key",
            remedy="sign it with the key that the chain names",
        )


def admit(
    submission: JobSubmission,
    signer: str,
    view: ChainView,
    config: NodeConfig,
    published: DatasetManifest | None,
    now: int,
    *,
    withdrawn: bool = False,
) -> Admission:
    """Everything that must hold before the first row is read; ``now``: the later of clock and chain time.

    ``withdrawn`` says that this node signed a revocation of the grant, on chain already or not: who relays
    it must not decide when it counts.
    """
    request, spec = submission.request, submission.spec
    identify(view.consumer, signer)
    _consumer(view.consumer)
    if now >= request.deadline:
        raise Refused(
            "request.deadline", "the request's deadline has passed", remedy="sign a request with a later one"
        )
    _standing(view.node)
    kind, params = _kind(spec)
    participant = _participant(spec, config.party)
    _peers(submission, config)
    grant_id, line = _line(participant, request)
    record = _grant(view, grant_id, participant, spec, now, withdrawn)
    terms = _terms(submission, view, grant_id)
    _allowed(spec, kind, params, participant, record, terms)
    dataset = _dataset(view.dataset, participant, config, published)
    _ceiling(dataset, kind, participant, terms)
    units = _units(kind, spec, params, participant.role, line)
    _reservation(view.reservation, record, request, line)
    min_cohort = _floor(submission, view, dataset, published)
    return Admission(
        role=participant.role,
        participant=participant,
        grant=grant_id,
        line=line,
        terms=terms,
        dataset=dataset,
        kind=kind,
        params=params,
        units=units,
        min_cohort=min_cohort,
    )


def recheck(
    grant: GrantRecord | None,
    dataset: DatasetRecord | None,
    consumer: PartyRecord | None,
    node: PartyRecord | None,
    commitment: str,
    *,
    withdrawn: bool = False,
) -> None:
    """What may have changed since a job began: asked while it runs and once more before its release.

    A grant that expires meanwhile does not stop a job that was reserved in time: its deadline does.
    """
    if grant is None or grant.revoked or withdrawn:
        raise Refused(
            "grant.revoked", "the grant was revoked while the job ran", remedy="ask for a new grant"
        )
    if dataset is None or dataset.frozen:
        raise Refused("dataset.frozen", "the dataset was frozen while the job ran", remedy="ask who froze it")
    if to_hex(dataset.commitment) != commitment:
        raise Refused(
            "dataset.version",
            "a newer version of the dataset was registered while the job ran",
            remedy="run the job on the newest version",
        )
    if consumer is None or consumer.suspended:
        raise Refused("consumer.suspended", "the consumer was suspended", remedy="ask the operator")
    _standing(node)


def may_dial(url: str, patterns: tuple[str, ...]) -> bool:
    """Whether a peer's base URL is one the configuration allows; ``host:port`` against fnmatch patterns."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "wss": 443}.get(parts.scheme, 80)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        return False
    if parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        return False
    # The host is compared as written: a name that resolves elsewhere is the peer handshake's concern.
    return any(fnmatchcase(f"{parts.hostname}:{port}", pattern.lower()) for pattern in patterns)


def _consumer(consumer: PartyRecord | None) -> None:
    if consumer is None or consumer.suspended:
        raise Refused("consumer.suspended", "the consumer is suspended", remedy="ask the operator")
    if not consumer.roles & Role.CONSUMER:
        raise Refused("consumer.role", "the party is no consumer", remedy="ask the operator for the role")


def _standing(node: PartyRecord | None) -> None:
    if node is None or node.suspended:
        raise Refused("node.suspended", "this node's party is not active on chain", remedy="ask the operator")


def _kind(spec: JobSpec) -> tuple[JobKind, Any]:
    try:
        kind = job_kind(spec.kind)
    except BadInput as error:
        raise Refused("spec.kind", error.message, remedy="use a kind this node knows") from error
    try:
        params = kind.parse(spec)
        # Validates that exactly the kind's roles are filled.
        kind.roles(spec, params)
    except BadInput as error:
        raise Refused("spec.params", error.message, remedy="correct the specification") from error
    return kind, params


def _participant(spec: JobSpec, party: str) -> Participant:
    ours = [participant for participant in spec.participants if participant.party == party]
    if len(ours) != 1:
        raise Refused(
            "spec.participants", "this node takes exactly one role of a job", remedy="name it in one role"
        )
    return ours[0]


def _peers(submission: JobSubmission, config: NodeConfig) -> None:
    roles = {participant.role for participant in submission.spec.participants}
    for role, url in submission.peers.items():
        if role not in roles:
            raise Refused(
                "spec.peers", "a peer address is given for no role of the job", remedy="leave it out"
            )
        if url and not may_dial(url, config.peers.allow):
            raise Refused(
                "spec.peers",
                f"the address of {role} is not one this node dials",
                remedy="ask the node's staff to allow it under [peers] allow",
            )


def _line(participant: Participant, request: SignedRequest) -> tuple[str, RequestLine]:
    if participant.grant is None or participant.dataset is None or participant.commitment is None:
        raise Refused(
            "grant.missing",
            "a node takes part under a grant, on a dataset version",
            remedy="name grant, dataset and commitment in the specification",
        )
    lines = [line for line in request.lines if line.grant == participant.grant]
    if len(lines) != 1:
        raise Refused("grant.missing", "the request has no line for this grant", remedy="add one line")
    return participant.grant, lines[0]


def _grant(
    view: ChainView, grant: str, participant: Participant, spec: JobSpec, now: int, withdrawn: bool
) -> GrantRecord:
    record = view.grants.get(grant)
    if record is None:
        raise Refused("grant.unknown", "the grant is not active on chain", remedy="have it activated first")
    if to_hex(record.provider) != participant.party:
        raise Refused("grant.provider", "the grant is not by this node's party", remedy="use one that is")
    if to_hex(record.consumer) != spec.consumer:
        raise Refused("grant.consumer", "the grant is another consumer's", remedy="use one of your own")
    if record.revoked or withdrawn:
        raise Refused("grant.revoked", "the grant was revoked", remedy="ask for a new grant")
    if now < record.not_before:
        raise Refused("grant.not_started", "the grant is not in force yet", remedy="wait until it is")
    if now >= record.expiry:
        raise Refused("grant.expired", "the grant has expired", remedy="ask for a new grant")
    if to_hex(record.dataset) != participant.dataset:
        raise Refused(
            "grant.dataset", "the grant is for another dataset", remedy="use the dataset's own grant"
        )
    return record


def _terms(submission: JobSubmission, view: ChainView, grant: str) -> GrantTerms:
    """The terms of our grant. Those of the other grants are checked too: their floors bind this job."""
    for participant in submission.spec.participants:
        if participant.grant is None:
            continue
        terms, record = submission.terms.get(participant.grant), view.grants.get(participant.grant)
        if terms is None or record is None or canonical.digest(terms) != record.terms_hash:
            raise Refused(
                "grant.terms",
                "the terms are not those behind the digest on chain",
                remedy="submit the terms that were signed, for every grant of the job",
            )
    return submission.terms[grant]


def _allowed(
    spec: JobSpec,
    kind: JobKind,
    params: Any,
    participant: Participant,
    record: GrantRecord,
    terms: GrantTerms,
) -> None:
    if not record.operations & Operation[kind.operation.upper()] or kind.operation not in terms.operations:
        raise Refused(
            "operation",
            f"the grant does not allow {kind.operation}",
            remedy=f"it allows: {', '.join(terms.operations)}",
        )
    if spec.purpose != terms.purpose:
        raise Refused(
            "purpose",
            "the job's purpose is not the one granted",
            remedy=f"the granted purpose: {terms.purpose}",
        )
    needed = set(kind.columns(spec, params, participant.role))
    if extra := sorted(needed - set(participant.columns)):
        raise Refused(
            "columns",
            f"the role reads columns that it does not declare: {', '.join(extra)}",
            remedy="declare them",
        )
    if extra := sorted((needed | set(participant.columns)) - set(terms.columns)):
        raise Refused(
            "columns",
            f"the grant does not cover the columns {', '.join(extra)}",
            remedy="ask for a grant with them",
        )


def _dataset(
    record: DatasetRecord | None,
    participant: Participant,
    config: NodeConfig,
    published: DatasetManifest | None,
) -> DatasetSettings:
    settings = config.find_dataset(participant.dataset or "")
    if settings is None or published is None:
        raise Refused("dataset.unknown", "this node does not offer the dataset", remedy="see the catalogue")
    if record is None or to_hex(record.owner) != config.party:
        raise Refused("dataset.owner", "the chain does not name us as its owner", remedy="register it first")
    if record.frozen:
        raise Refused("dataset.frozen", "the dataset is frozen", remedy="wait until it is unfrozen")
    if to_hex(record.commitment) != participant.commitment or published.commitment != participant.commitment:
        raise Refused(
            "dataset.version",
            "the specification does not pin the version that is registered now",
            remedy=f"pin commitment {to_hex(record.commitment)} (version {record.latest})",
        )
    return settings


def _ceiling(dataset: DatasetSettings, kind: JobKind, participant: Participant, terms: GrantTerms) -> None:
    # The ceiling may have been lowered since the grant was signed: the lower one counts.
    if kind.operation not in dataset.ceiling.operations:
        raise Refused(
            "ceiling.operations", f"the node no longer allows {kind.operation}", remedy="ask its provider"
        )
    if not covers(dataset.ceiling.purposes, (terms.purpose,)):
        raise Refused("ceiling.purposes", "the node no longer allows this purpose", remedy="ask its provider")
    readable_columns(dataset, participant.columns)


def _units(kind: JobKind, spec: JobSpec, params: Any, role: str, line: RequestLine) -> int:
    units = kind.units(spec, params, role)
    if line.units < units:
        raise Refused(
            "units",
            f"the request reserves {line.units} units where the job may use {units}",
            remedy=f"sign a request for {units} units",
        )
    return units


def _reservation(
    reservation: ReservationRecord | None, grant: GrantRecord, request: SignedRequest, line: RequestLine
) -> None:
    if reservation is None:
        if line.units > grant.left:
            raise Refused(
                "quota",
                f"{line.units} units are asked for and {grant.left} of {grant.quota} are left",
                remedy="ask for fewer, or for a grant with a larger quota",
            )
        if line.epsilon_micro > grant.epsilon_left:
            raise Refused("epsilon", "the grant's ε does not suffice", remedy=f"left: {grant.epsilon_left}")
        raise Refused("reservation", "the chain holds no reservation for this job", remedy="reserve it first")
    if reservation.state != ReservationState.OPEN:
        raise Refused(
            "request.replayed",
            "this request was already settled or released",
            remedy="sign a new request with a new nonce",
        )
    if reservation.spec_hash != from_hex(request.spec_hash):
        raise Refused(
            "spec.hash", "the reservation is for another specification", remedy="sign a new request"
        )
    if reservation.units < line.units or reservation.epsilon_micro < line.epsilon_micro:
        raise Refused("reservation", "the reservation is smaller than the request", remedy="reserve it again")


def _floor(
    submission: JobSubmission, view: ChainView, dataset: DatasetSettings, published: DatasetManifest | None
) -> int:
    floors = [
        submission.terms[p.grant].min_cohort for p in submission.spec.participants if p.grant is not None
    ]
    if dataset.kind == "service":
        return max(floors)
    floor = max(*floors, dataset.ceiling.min_cohort)
    if published is not None and published.row_count < floor:
        raise Refused(
            "cohort", f"the dataset has fewer rows than the floor of {floor}", remedy="use a larger dataset"
        )
    return floor
