"""Who takes part: parties, the people who act for them, and their API keys."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from contracts.eip712 import Role
from market.fields import ZERO, Hex32Field


class Party(models.Model):
    """An organisation. Name and URL are the portal's; key, roles and state follow the chain."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        ENROLLED = "enrolled", _("enrolled")
        SUSPENDED = "suspended", _("suspended")

    party_id = Hex32Field(primary_key=True)
    name = models.CharField(max_length=200)
    name_zh = models.CharField(max_length=200, blank=True)
    roles = models.PositiveIntegerField(default=0, help_text="bit mask of contracts.eip712.Role")
    address = models.CharField(max_length=42, blank=True)
    box_key = Hex32Field(default=ZERO)
    he_key_digest = Hex32Field(default=ZERO)
    node_url = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.PROPOSED)
    key_index = models.PositiveIntegerField(default=0)
    enrolled_block = models.BigIntegerField(null=True, blank=True)
    refusal = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "party_id"]
        verbose_name_plural = "parties"

    def __str__(self) -> str:
        return self.name

    @property
    def display_name(self) -> str:
        """The name in the reader's language."""
        if self.name_zh and (get_language() or "").startswith("zh"):
            return self.name_zh
        return self.name

    @property
    def role_names(self) -> list[str]:
        """The roles as lower-case words: provider, consumer, regulator, operator."""
        return [role.name.lower() for role in Role if self.roles & role and role.name]

    def has_role(self, role: Role) -> bool:
        """Whether the party holds this role."""
        return bool(self.roles & role)


class NodeStatus(models.Model):
    """What the drive worker last heard from a party's node. Silence is a fact too."""

    party = models.OneToOneField(Party, on_delete=models.CASCADE, related_name="node_status")
    reachable = models.BooleanField(default=False)
    software = models.CharField(max_length=100, blank=True)
    chain_block = models.BigIntegerField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)
    checked_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "node statuses"

    def __str__(self) -> str:
        return f"{self.party}: {'reachable' if self.reachable else 'silent'}"


class RoleName(models.TextChoices):
    """What a person may act as for a party."""

    PROVIDER = "provider", _("provider")
    CONSUMER = "consumer", _("consumer")
    REGULATOR = "regulator", _("regulator")
    OPERATOR = "operator", _("operator")


class Membership(models.Model):
    """A person acts for a party in a role. One person may have several."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=12, choices=RoleName.choices)

    class Meta:
        ordering = ["user_id", "party_id", "role"]
        constraints = [models.UniqueConstraint(fields=["user", "party", "role"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} · {self.party} · {self.role}"


class ApiKey(models.Model):
    """A machine's access for a party. Only the SHA-256 of the secret is kept (see services.api_keys)."""

    party = models.ForeignKey(Party, on_delete=models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys"
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True, help_text="public part, for finding and showing")
    hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} (lt_{self.prefix}…)"
