"""The ceiling: the most that this node's own configuration allows, whatever the portal proposes.

Pure functions like those of `compute.node.policy`, which asks them again for every job: a ceiling that was
lowered since a grant was signed binds from then on.
"""

from __future__ import annotations

from compute.errors import Refused
from compute.node.config import DatasetSettings, NodeConfig
from compute.wire.messages import GrantProposal
from contracts.eip712 import Role
from contracts.records import DatasetRecord, PartyRecord

DAY_S = 86_400


def sign_grant(
    proposal: GrantProposal,
    consumer: PartyRecord | None,
    dataset: DatasetRecord | None,
    config: NodeConfig,
    now: int,
) -> DatasetSettings:
    """Whether the node may sign a proposal under the ceiling of its own configuration."""
    settings = config.find_dataset(proposal.dataset)
    if settings is None or proposal.provider != config.party:
        raise Refused("dataset.unknown", "this node does not offer that dataset", remedy="ask its provider")
    terms, ceiling = proposal.terms, settings.ceiling
    if consumer is None or not consumer.roles & Role.CONSUMER:
        raise Refused("consumer.unknown", "the chain knows no such consumer", remedy="enrol it first")
    if consumer.suspended:
        raise Refused("consumer.suspended", "the consumer is suspended", remedy="ask the operator")
    if dataset is not None and dataset.frozen:
        raise Refused("dataset.frozen", "the dataset is frozen", remedy="wait until it is unfrozen")
    if not terms.operations or set(terms.operations) - set(ceiling.operations):
        raise Refused(
            "ceiling.operations",
            "the node's ceiling does not allow these operations",
            remedy=f"propose some of: {', '.join(ceiling.operations) or 'none'}",
        )
    if not covers(ceiling.purposes, (terms.purpose,)) or not terms.purpose.strip():
        raise Refused(
            "ceiling.purposes",
            "the node's ceiling does not allow this purpose",
            remedy="propose one it allows",
        )
    readable_columns(settings, terms.columns)
    limits = (
        ("ceiling.quota", "quota", proposal.quota, 1, ceiling.max_quota),
        ("ceiling.epsilon", "ε (in millionths)", proposal.epsilon_micro, 0, ceiling.max_epsilon_micro),
        ("ceiling.cohort", "smallest cohort", terms.min_cohort, ceiling.min_cohort, 1_000_000),
        ("ceiling.price", "price", terms.price_credits, ceiling.min_price_credits, 1 << 53),
        (
            "ceiling.days",
            "duration in seconds",
            proposal.expiry - proposal.not_before,
            1,
            ceiling.max_days * DAY_S,
        ),
    )
    for rule, what, value, low, high in limits:
        if not low <= value <= high:
            raise Refused(rule, f"the {what} {value} is out of the node's range", remedy=f"{low} to {high}")
    if proposal.expiry <= now:
        raise Refused(
            "grant.expired", "the grant would have expired already", remedy="propose a later expiry"
        )
    return settings


def readable_columns(dataset: DatasetSettings, columns: tuple[str, ...]) -> None:
    """Raise Refused unless every column exists, may be used at all, and is within the ceiling."""
    known = {column.name: column for column in dataset.columns}
    if unknown := sorted(set(columns) - set(known)):
        raise Refused(
            "columns.unknown", f"the dataset has no columns {', '.join(unknown)}", remedy="see its schema"
        )
    if secret := sorted(name for name in columns if known[name].grade == "L4"):
        raise Refused(
            "columns.grade",
            f"columns of grade L4 are never used: {', '.join(secret)}",
            remedy="leave them out",
        )
    if not covers(dataset.ceiling.columns, columns):
        raise Refused("ceiling.columns", "the node does not give these columns", remedy="ask for fewer")


def covers(allowed: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether a list of the ceiling, which may hold "*", has everything that is wanted."""
    return "*" in allowed or not set(wanted) - set(allowed)
