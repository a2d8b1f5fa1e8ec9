"""On whose behalf something happens: what services record and what queries are narrowed by."""

from __future__ import annotations

from dataclasses import dataclass, field

from market.errors import NotFound, ScopeMissing
from market.parties.models import ApiKey, Membership, Party

# What an API key or a role may do. "read" sees the party's own objects and the public catalogue.
SCOPES = ("read", "catalog", "grants", "jobs", "audit", "operate")
ROLE_SCOPES: dict[str, frozenset[str]] = {
    "provider": frozenset({"read", "catalog", "grants"}),
    "consumer": frozenset({"read", "grants", "jobs"}),
    "regulator": frozenset({"read", "audit"}),
    "operator": frozenset({"read", "audit", "operate"}),
}


@dataclass(frozen=True)
class Actor:
    """A party acting through a person, an API key or a worker.

    ``label`` goes into the audit log. ``party`` is None only for workers and management commands.
    """

    label: str
    party: Party | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    scopes: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def system(cls, name: str) -> Actor:
        """A worker or a management command: no party, every scope."""
        return cls(f"system:{name}", None, frozenset(), frozenset(SCOPES))

    @classmethod
    def for_membership(cls, membership: Membership) -> Actor:
        """A signed-in person acting for one party, with all roles they hold there."""
        held = Membership.objects.filter(user=membership.user_id, party=membership.party_id)
        roles = frozenset(held.values_list("role", flat=True))
        return cls(
            f"user:{membership.user.get_username()}",
            membership.party,
            roles,
            frozenset[str]().union(*(ROLE_SCOPES[role] for role in roles)),
        )

    @classmethod
    def for_api_key(cls, key: ApiKey) -> Actor:
        """A machine: its party's roles, narrowed to the scopes the key was made with."""
        roles = frozenset(key.party.role_names)
        allowed = frozenset[str]().union(*(ROLE_SCOPES[role] for role in roles))
        return cls(f"key:lt_{key.prefix}", key.party, roles, allowed & frozenset(key.scopes))

    @property
    def party_id(self) -> str:
        """The party's id, or "" for the system."""
        return self.party.party_id if self.party else ""

    @property
    def sees_everything(self) -> bool:
        """Regulators and operators see every party's metadata (never data); workers too."""
        return self.party is None or bool(self.roles & {"regulator", "operator"})

    def require(self, scope: str) -> None:
        """Raises ScopeMissing unless the actor holds the scope."""
        if scope not in self.scopes:
            raise ScopeMissing(f"this needs the scope {scope!r}", remedy=f"use a key with scope {scope!r}")

    def require_party(self, party: Party) -> None:
        """NotFound unless acting for ``party``: a 403 would confirm that others' ids exist."""
        if self.party is not None and self.party_id != party.party_id:
            raise NotFound()
