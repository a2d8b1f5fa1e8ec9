"""What each chain event means for the portal's tables. A function of events alone, so it can be replayed.

Rows that the portal should have and has not (a rebuilt or damaged database) are made with what the chain
knows; names and documents come back from the nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db.models import F

from contracts.eip712 import DatasetKind, Operation, Outcome
from market.catalog.models import Dataset, DatasetVersion
from market.fields import ZERO
from market.grants.models import Grant
from market.jobs.models import Job
from market.ledger.models import Batch, ChainEvent, Receipt, Reservation
from market.parties.models import Party

Args = dict[str, Any]
# The bound of every count in a document (`compute.wire.messages.Count`); leaves room for sums in 64 bits.
_MOST = 2**53 - 1


def plain(value: Any) -> Any:
    """Event arguments as JSON: bytes become 0x hexadecimal, enums their number."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return int(value)


def reset() -> None:
    """Take everything back that events say, so that replaying them gives the same tables again."""
    Party.objects.exclude(enrolled_block=None).update(
        state=Party.State.PROPOSED, enrolled_block=None, key_index=0
    )
    Dataset.objects.update(state=Dataset.State.PROPOSED, current_version=0)
    DatasetVersion.objects.update(registered_at=None, block_number=None, tx_hash="")
    Grant.objects.filter(state__in=Grant.ON_CHAIN).update(state=Grant.State.SIGNED)
    Grant.objects.update(
        used=0, reserved=0, epsilon_used=0, epsilon_reserved=0, block_number=None, tx_hash=""
    )
    Reservation.objects.all().delete()
    Receipt.objects.update(
        state=Receipt.State.SIGNED, charged_units=0, block_number=None, block_hash="", tx_hash=""
    )
    Batch.objects.update(state=Batch.State.SIGNED, block_number=None, block_hash="", tx_hash="")


class Projector:
    """Applies events in chain order. ``jobs`` collects the ids of jobs whose state may have changed."""

    def __init__(self, timestamps: dict[int, int]) -> None:
        self._timestamps = timestamps
        self._deadlines: dict[str, int] = {}
        self.jobs: set[str] = set()
        self._handlers: dict[str, Callable[[Args, ChainEvent], None]] = {
            "PartyEnrolled": self._party_enrolled,
            "RolesAdded": self._roles_added,
            "KeyChanged": self._key_changed,
            "SuspensionLaid": self._suspension,
            "SuspensionLifted": self._suspension,
            "DatasetRegistered": self._dataset_registered,
            "FreezeLaid": self._freeze,
            "FreezeLifted": self._freeze,
            "GrantActivated": self._grant_activated,
            "GrantWithdrawn": self._grant_withdrawn,
            "JobReserved": self._job_reserved,
            "LineReserved": self._line_reserved,
            "LineSettled": self._line_settled,
            "LineReleased": self._line_released,
            "BatchAnchored": self._batch_anchored,
            "ReceiptAnchored": self._receipt_anchored,
        }

    def apply(self, event: ChainEvent) -> None:
        """Project one stored event; names without a projection (address book) are kept as rows only."""
        handler = self._handlers.get(event.name)
        if handler is not None:
            handler(_bounded(event.args), event)

    # ---- parties --------------------------------------------------------------------------------------

    def _party_enrolled(self, args: Args, event: ChainEvent) -> None:
        party = _party(args["party"])
        party.roles, party.address = args["roles"], args["key"]
        party.state, party.enrolled_block, party.refusal = Party.State.ENROLLED, event.block_number, None
        party.save()

    def _roles_added(self, args: Args, event: ChainEvent) -> None:
        party = _party(args["party"])
        party.roles |= args["roles"]
        party.save(update_fields=["roles"])

    def _key_changed(self, args: Args, event: ChainEvent) -> None:
        party = _party(args["party"])  # the first key's event precedes the enrolment's
        party.key_index, party.address = args["index"], args["key"]
        party.box_key, party.he_key_digest = args["boxKey"], args["heKeyDigest"]
        party.save(update_fields=["key_index", "address", "box_key", "he_key_digest"])

    def _suspension(self, args: Args, event: ChainEvent) -> None:
        # Several may suspend; the party is free when everyone who did has lifted it.
        laid = _count("SuspensionLaid", "party", args["party"], event)
        lifted = _count("SuspensionLifted", "party", args["party"], event)
        state = Party.State.SUSPENDED if laid > lifted else Party.State.ENROLLED
        Party.objects.filter(pk=args["party"]).update(state=state)

    # ---- datasets -------------------------------------------------------------------------------------

    def _dataset_registered(self, args: Args, event: ChainEvent) -> None:
        provider = _party(args["provider"])
        dataset, _created = Dataset.objects.get_or_create(
            dataset_id=args["dataset"],
            defaults={
                "provider": provider,
                "name": _short(args["dataset"]),
                "kind": DatasetKind(args["kind"]).name.lower(),
            },
        )
        DatasetVersion.objects.update_or_create(
            dataset=dataset,
            version=args["version"],
            defaults={
                "commitment": args["commitment"],
                "schema_hash": args["schemaHash"],
                "registered_at": self._time(event),
                "block_number": event.block_number,
                "tx_hash": event.tx_hash,
            },
        )
        dataset.provider = provider
        dataset.current_version = args["version"]
        if dataset.state == Dataset.State.PROPOSED:
            dataset.state = Dataset.State.REGISTERED
        dataset.save(update_fields=["provider", "current_version", "state"])

    def _freeze(self, args: Args, event: ChainEvent) -> None:
        laid = _count("FreezeLaid", "dataset", args["dataset"], event)
        lifted = _count("FreezeLifted", "dataset", args["dataset"], event)
        state = Dataset.State.FROZEN if laid > lifted else Dataset.State.REGISTERED
        Dataset.objects.filter(pk=args["dataset"]).update(state=state)

    # ---- grants ---------------------------------------------------------------------------------------

    def _grant_activated(self, args: Args, event: ChainEvent) -> None:
        terms = args["terms"]
        grant = Grant.objects.filter(grant_id=args["grant"]).first() or Grant(grant_id=args["grant"])
        # A row that a reorganisation or a refusal left behind is overruled by the chain.
        grant.provider = _party(args["provider"])
        grant.consumer = _party(args["consumer"])
        grant.dataset = Dataset.objects.get_or_create(
            dataset_id=terms["dataset"],
            defaults={"provider": grant.provider, "name": _short(terms["dataset"])},
        )[0]
        grant.terms_hash = terms["termsHash"]
        grant.operations = operation_names(terms["operations"])
        grant.quota = terms["quota"]
        grant.epsilon_micro = terms["epsilonMicro"]
        grant.not_before, grant.expiry = terms["notBefore"], terms["expiry"]
        grant.state, grant.refusal = Grant.State.ACTIVE, None
        grant.block_number, grant.tx_hash = event.block_number, event.tx_hash
        grant.save()

    def _grant_withdrawn(self, args: Args, event: ChainEvent) -> None:
        Grant.objects.filter(grant_id=args["grant"]).update(state=Grant.State.REVOKED)

    # ---- jobs -----------------------------------------------------------------------------------------

    def _job_reserved(self, args: Args, event: ChainEvent) -> None:
        self._deadlines[args["job"]] = args["deadline"]
        self.jobs.add(args["job"])
        Job.objects.get_or_create(
            job_id=args["job"],
            defaults={
                "consumer": _party(args["consumer"]),
                "kind": "unknown",
                "spec": {},
                "request": {"job": args["job"], "spec_hash": args["specHash"]},
                "deadline": args["deadline"],
            },
        )

    def _line_reserved(self, args: Args, event: ChainEvent) -> None:
        self.jobs.add(args["job"])
        Reservation.objects.create(
            job_id=args["job"],
            grant_id=args["grant"],
            units=args["units"],
            epsilon_micro=args["epsilonMicro"],
            deadline=self._deadlines.get(args["job"], 0),
            block_number=event.block_number,
        )
        Grant.objects.filter(grant_id=args["grant"]).update(
            reserved=F("reserved") + args["units"],
            epsilon_reserved=F("epsilon_reserved") + args["epsilonMicro"],
        )

    def _line_settled(self, args: Args, event: ChainEvent) -> None:
        self.jobs.add(args["job"])
        reservation = Reservation.objects.get(job_id=args["job"], grant_id=args["grant"])
        # A receipt that comes after the release is still charged, but holds nothing any more.
        if reservation.state == Reservation.State.HELD:
            self._give_back(reservation)
        reservation.state = Reservation.State.SETTLED
        reservation.units_used, reservation.epsilon_used = args["units"], args["epsilonMicro"]
        reservation.save()
        Grant.objects.filter(grant_id=args["grant"]).update(
            used=F("used") + args["units"], epsilon_used=F("epsilon_used") + args["epsilonMicro"]
        )
        Receipt.objects.filter(pk=args["receipt"]).update(charged_units=args["units"])

    def _line_released(self, args: Args, event: ChainEvent) -> None:
        self.jobs.add(args["job"])
        reservation = Reservation.objects.get(job_id=args["job"], grant_id=args["grant"])
        self._give_back(reservation)
        reservation.state = Reservation.State.RELEASED
        reservation.save()

    def _give_back(self, reservation: Reservation) -> None:
        Grant.objects.filter(grant_id=reservation.grant_id).update(
            reserved=F("reserved") - reservation.units,
            epsilon_reserved=F("epsilon_reserved") - reservation.epsilon_micro,
        )

    # ---- receipts -------------------------------------------------------------------------------------

    def _batch_anchored(self, args: Args, event: ChainEvent) -> None:
        Batch.objects.update_or_create(
            node=args["node"],
            first_sequence=args["firstSequence"],
            defaults={
                "count": args["count"],
                "root": args["root"],
                "state": Batch.State.ANCHORED,
                "block_number": event.block_number,
                "block_hash": event.block_hash,
                "tx_hash": event.tx_hash,
            },
        )

    def _receipt_anchored(self, args: Args, event: ChainEvent) -> None:
        self.jobs.add(args["job"])
        batch = (
            Batch.objects.filter(node=args["node"], first_sequence__lte=args["sequence"])
            .order_by("-first_sequence")
            .first()
        )
        Receipt.objects.update_or_create(
            digest=args["digest"],
            defaults={
                "state": Receipt.State.ANCHORED,
                "batch": batch,
                "block_number": event.block_number,
                "block_hash": event.block_hash,
                "tx_hash": event.tx_hash,
            },
            create_defaults={
                "node": args["node"],
                "sequence": args["sequence"],
                "previous": ZERO,
                "job_id": args["job"],
                "grant_id": args["grant"],
                "spec_hash": ZERO,
                "commitment": ZERO,
                "transcript": ZERO,
                "units": args["units"],
                "epsilon_micro": args["epsilonMicro"],
                "outcome": outcome_name(args["outcome"]),
                "settles": args["settles"],
                "issued_at": self._timestamps.get(event.block_number, 0),
                "state": Receipt.State.ANCHORED,
                "batch": batch,
                "block_number": event.block_number,
                "block_hash": event.block_hash,
                "tx_hash": event.tx_hash,
            },
        )

    def _time(self, event: ChainEvent) -> datetime | None:
        timestamp = self._timestamps.get(event.block_number)
        return datetime.fromtimestamp(timestamp, UTC) if timestamp else None


def _bounded(value: Any) -> Any:
    """Counts as a table can hold them: a uint64 that no portal would sign must not stop the index.

    Reconcile compares with the chain itself, so a grant that was cut here shows there.
    """
    if isinstance(value, dict):
        return {key: _bounded(item) for key, item in value.items()}
    return min(value, _MOST) if isinstance(value, int) else value


def _party(party_id: str) -> Party:
    return Party.objects.get_or_create(party_id=party_id, defaults={"name": _short(party_id)})[0]


def _short(identifier: str) -> str:
    """A stand-in for a name that only a node or the operator knows."""
    return f"{identifier[:8]}…{identifier[-4:]}"


def _count(name: str, field: str, value: str, upto: ChainEvent) -> int:
    events = ChainEvent.objects.filter(name=name, **{f"args__{field}": value})
    earlier = events.filter(block_number__lt=upto.block_number)
    same = events.filter(block_number=upto.block_number, log_index__lte=upto.log_index)
    return earlier.count() + same.count()


def operation_names(mask: int) -> list[str]:
    """The operations of an on-chain bit mask, lowest bit first."""
    return [operation.name.lower() for operation in Operation if mask & operation and operation.name]


def outcome_name(code: int) -> str:
    """The outcome of an on-chain code; an unknown code keeps its number."""
    try:
        return Outcome(code).name.lower()
    except ValueError:
        return f"unknown-{code}"[:12]
