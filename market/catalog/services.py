"""The only writers of datasets and offers."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from compute.wire import structs
from compute.wire.messages import DatasetManifest
from contracts import eip712
from market.audit import services as audit
from market.catalog.models import Dataset, DatasetVersion, Offer
from market.errors import BadRequest, BadSignature, NotFound, WrongState
from market.ledger import outbox
from market.ledger.chain import chain
from market.ledger.signers import signed_by
from market.parties.actor import Actor
from market.parties.models import Party

OPERATION_NAMES = tuple(operation.name.lower() for operation in eip712.Operation if operation.name)
# Columns of this grade never leave their provider, not even as a statistic.
CLOSED_GRADE = "L4"
_MOST_CREDITS = 2**53 - 1


def propose_dataset(*, manifest: DatasetManifest, actor: Actor) -> Dataset:
    """Record what a provider's node publishes and queue its registration on chain.

    Repeating it changes nothing; a higher version adds a version. Raises NotFound for an unknown provider,
    BadSignature unless the provider's active key signed the version, WrongState if the dataset belongs to
    another provider, ChainUnavailable. The drive worker runs this for every manifest a node shows.
    """
    provider = Party.objects.filter(pk=manifest.provider).first()
    if provider is None:
        raise NotFound("the provider is not a party of this market")
    version = structs.dataset_version(manifest)
    signature = bytes.fromhex(manifest.signature[2:])
    if not signed_by(provider.address, "DatasetRegistry", version, signature):
        raise BadSignature("the manifest is not signed by the provider's active key")
    known = (
        DatasetVersion.objects.select_related("dataset")
        .filter(dataset_id=manifest.dataset, version=manifest.version, signature=manifest.signature)
        .first()
    )
    if known is not None and _same_words(known.dataset, manifest):
        return known.dataset  # the usual case: the node shows what it showed before
    call = chain().register_call(version, signature)
    with transaction.atomic():
        dataset, _created = Dataset.objects.select_for_update().get_or_create(
            dataset_id=manifest.dataset,
            defaults={"provider": provider, "name": manifest.name, "kind": manifest.kind},
        )
        if dataset.provider_id != provider.party_id:
            raise WrongState("this dataset id belongs to another provider")
        known = DatasetVersion.objects.filter(dataset=dataset, version=manifest.version).first()
        if known is not None and known.registered_at and known.commitment != manifest.commitment:
            raise WrongState("this version is registered with another commitment")
        if manifest.version >= dataset.current_version:
            dataset.name = manifest.name
            dataset.description = manifest.description
            dataset.operations = list(manifest.operations)
            dataset.save(update_fields=["name", "description", "operations"])
        if known is None or not known.signature:
            DatasetVersion.objects.update_or_create(
                dataset=dataset,
                version=manifest.version,
                defaults={
                    "columns": [_column(column) for column in manifest.columns],
                    "row_count": manifest.row_count,
                    "commitment": manifest.commitment,
                    "schema_hash": manifest.schema_hash,
                    "signature": manifest.signature,
                },
            )
            subject = f"{manifest.dataset}:{manifest.version}"
            audit.append("dataset.proposed", actor=actor, subject=manifest.dataset, version=manifest.version)
            if known is None or not known.registered_at:
                outbox.queue(
                    purpose="register", subject=subject, key=f"register:{subject}", call=call, actor=actor
                )
    return dataset


@transaction.atomic
def publish_offer(
    *,
    dataset_id: str,
    title: str,
    operations: list[str],
    purposes: list[str],
    columns: list[str],
    min_cohort: int,
    max_quota: int,
    max_days: int,
    price_credits: int,
    actor: Actor,
    description: str = "",
) -> Offer:
    """Open an offer on one of the actor's registered datasets.

    Raises NotFound for others' datasets, WrongState before registration, BadRequest naming the field. The
    offer binds the portal only: the node's own ceiling decides what is signed.
    """
    actor.require("catalog")
    dataset = Dataset.objects.select_for_update().select_related("provider").filter(pk=dataset_id).first()
    if dataset is None:
        raise NotFound()
    actor.require_party(dataset.provider)
    if dataset.state != Dataset.State.REGISTERED:
        raise WrongState("the dataset is not registered on chain yet", remedy="wait for its registration")
    _check_policy(dataset, operations, purposes, columns, min_cohort, max_quota, max_days, price_credits)
    if not title.strip() or len(title) > 200:
        raise BadRequest("a title has 1 to 200 characters", field="title")
    if len(description) > 4000:
        raise BadRequest("a description has at most 4000 characters", field="description")
    offer = Offer.objects.create(
        dataset=dataset,
        title=title.strip(),
        description=description,
        operations=[name for name in OPERATION_NAMES if name in operations],
        purposes=[purpose.strip() for purpose in purposes],
        columns=columns,
        min_cohort=min_cohort,
        max_quota=max_quota,
        max_days=max_days,
        price_credits=price_credits,
    )
    audit.append("offer.published", actor=actor, subject=str(offer.id), policy=offer.policy)
    return offer


@transaction.atomic
def close_offer(*, offer_id: Any, actor: Actor) -> Offer:
    """Take no further applications; grants that stand are untouched. Repeating it changes nothing."""
    actor.require("catalog")
    offer = (
        Offer.objects.select_for_update(of=("self",))
        .select_related("dataset__provider")
        .filter(pk=offer_id)
        .first()
    )
    if offer is None:
        raise NotFound()
    actor.require_party(offer.dataset.provider)
    if offer.state != Offer.State.CLOSED:
        offer.state = Offer.State.CLOSED
        offer.save(update_fields=["state"])
        audit.append("offer.closed", actor=actor, subject=str(offer.id))
    return offer


@transaction.atomic
def request_freeze(*, dataset_id: str, frozen: bool, actor: Actor) -> Dataset:
    """The owner's staff want their dataset frozen (or thawed): the drive worker asks the node to sign it.

    Repeating it changes nothing. Raises NotFound for others' datasets, WrongState before registration.
    """
    actor.require("catalog")
    dataset = (
        Dataset.objects.select_for_update(of=("self",))
        .select_related("provider")
        .filter(pk=dataset_id)
        .first()
    )
    if dataset is None:
        raise NotFound()
    actor.require_party(dataset.provider)
    if dataset.state == Dataset.State.PROPOSED:
        raise WrongState("the dataset is not registered on chain yet")
    wish = "freeze" if frozen else "unfreeze"
    if dataset.wish != wish:
        dataset.wish = wish
        dataset.save(update_fields=["wish"])
        audit.append(f"dataset.{wish}.requested", actor=actor, subject=dataset_id)
    return dataset


def relay_freeze(*, action: eip712.Action, signature: bytes, actor: Actor) -> Dataset:
    """Queue a signed freeze (verb 1) or unfreeze (verb 2) of a dataset.

    The owner's comes from its node, a regulator's from its own key: the contract checks which. Raises
    NotFound, BadSignature, BadRequest for another verb.
    """
    purposes = {1: "freeze", 2: "unfreeze"}
    if action.verb not in purposes:
        raise BadRequest("verb is 1 (freeze) or 2 (unfreeze)", field="verb")
    dataset = Dataset.objects.filter(pk="0x" + action.subject.hex()).first()
    party = Party.objects.filter(pk="0x" + action.party.hex()).first()
    if dataset is None or party is None:
        raise NotFound()
    actor.require_party(party)
    if not signed_by(party.address, "DatasetRegistry", action, signature):
        raise BadSignature()
    purpose = purposes[action.verb]
    call = chain().freeze_call(action, signature)
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk, wish=purpose).update(wish="")
        outbox.queue(
            purpose=purpose,
            subject=dataset.dataset_id,
            key=f"{purpose}:{party.party_id}:{action.nonce}",
            call=call,
            actor=actor,
        )
    return dataset


def visible_datasets(actor: Actor, query: str = "") -> QuerySet[Dataset]:
    """The catalogue: everything on chain, and the actor's own that is not yet. ``query`` searches words."""
    datasets = Dataset.objects.select_related("provider").prefetch_related("versions", "offers")
    if not actor.sees_everything:
        datasets = datasets.filter(~Q(state=Dataset.State.PROPOSED) | Q(provider_id=actor.party_id))
    for word in query.split()[:8]:
        datasets = datasets.filter(
            Q(name__icontains=word)
            | Q(description__icontains=word)
            | Q(provider__name__icontains=word)
            | Q(provider__name_zh__icontains=word)
            | Q(offers__title__icontains=word)
            | Q(versions__columns__icontains=word)
            | Q(dataset_id__startswith=word.lower())
        )
    return datasets.distinct() if query else datasets


def visible_offers(actor: Actor) -> QuerySet[Offer]:
    """Open offers of everyone, closed ones of the actor's own party (all, for a regulator)."""
    offers = Offer.objects.select_related("dataset__provider")
    if actor.sees_everything:
        return offers
    return offers.filter(Q(state=Offer.State.OPEN) | Q(dataset__provider_id=actor.party_id))


def column_names(dataset: Dataset) -> set[str]:
    """Columns of the current version that may be offered at all."""
    current = dataset.current
    if current is None:
        return set()
    return {column["name"] for column in current.columns if column.get("grade") != CLOSED_GRADE}


def _same_words(dataset: Dataset, manifest: DatasetManifest) -> bool:
    return (
        dataset.provider_id == manifest.provider
        and (dataset.name, dataset.description) == (manifest.name, manifest.description)
        and list(dataset.operations) == list(manifest.operations)
    )


def _check_policy(
    dataset: Dataset,
    operations: list[str],
    purposes: list[str],
    columns: list[str],
    min_cohort: int,
    max_quota: int,
    max_days: int,
    price_credits: int,
) -> None:
    unknown = sorted(set(operations) - set(dataset.operations or OPERATION_NAMES))
    if unknown or not operations:
        raise BadRequest(
            f"operations of this dataset are: {', '.join(dataset.operations or OPERATION_NAMES)}",
            field="operations",
        )
    if not purposes or any(not purpose.strip() or len(purpose) > 4000 for purpose in purposes):
        raise BadRequest('name at least one purpose, or "*" for any', field="purposes")
    unknown = sorted(set(columns) - column_names(dataset))
    if unknown:
        raise BadRequest(
            f"these columns do not exist or are graded {CLOSED_GRADE}: {', '.join(unknown[:10])}",
            field="columns",
        )
    if not columns and dataset.kind == Dataset.Kind.TABLE:
        raise BadRequest("offer at least one column", field="columns")
    for field, value, low, high in (
        ("min_cohort", min_cohort, 1, 1_000_000),
        ("max_quota", max_quota, 1, 2**53 - 1),
        ("max_days", max_days, 1, 36_500),
        ("price_credits", price_credits, 0, 10**12),
    ):
        if not low <= value <= high:
            raise BadRequest(f"{field} is between {low} and {high}", field=field)
    if max_quota * price_credits > _MOST_CREDITS:
        raise BadRequest(
            f"max_quota times price_credits is at most {_MOST_CREDITS}: no invoice holds more",
            field="price_credits",
        )


def _column(column: Any) -> dict[str, str]:
    return {
        "name": column.name,
        "type": column.type,
        "grade": column.grade,
        "description": column.description,
    }
