"""Jobs: the consumer's signed orders, what each node does with them, and what came out."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from market.fields import Hex32Field
from market.grants.models import Grant
from market.parties.models import Party


class Job(models.Model):
    """One signed job request. ``job_id`` is its struct hash, so the same request is the same job."""

    class State(models.TextChoices):
        SUBMITTED = "submitted", _("submitted")
        RESERVED = "reserved", _("reserved")
        RUNNING = "running", _("running")
        RECEIPTED = "receipted", _("receipted")
        SETTLED = "settled", _("settled")
        REFUSED = "refused", _("refused")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")
        EXPIRED = "expired", _("expired")

    # States that no worker moves a job out of.
    FINAL = (State.SETTLED, State.REFUSED, State.FAILED, State.CANCELLED, State.EXPIRED)

    job_id = Hex32Field(primary_key=True)
    consumer = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="jobs")
    kind = models.CharField(max_length=64)
    purpose = models.TextField(blank=True)
    spec = models.JSONField()
    request = models.JSONField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.SUBMITTED)
    reason = models.JSONField(null=True, blank=True, help_text="{code, rule, message, remedy, party}")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    deadline = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["state", "created_at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.job_id[:8]}"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state in self.FINAL


class JobPart(models.Model):
    """One role's share of a job: a node's, or the consumer's own (then ``grant`` is empty).

    ``node_state`` is the node's JobState, with "waiting" before the node has it and "unreachable" never
    stored: silence changes nothing until the deadline. A consumer's own role follows the job's state.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="parts")
    role = models.CharField(max_length=32)
    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="job_parts")
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, null=True, blank=True, related_name="parts")
    node_state = models.CharField(max_length=12, default="waiting")
    phase = models.CharField(max_length=200, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    rate_milli = models.BigIntegerField(null=True, blank=True, help_text="items of the phase per 1000 s")
    seconds_left = models.BigIntegerField(null=True, blank=True, help_text="of the phase, at that rate")
    attempts = models.BigIntegerField(default=0, help_text="more than one after a cut or a restart")
    reason = models.CharField(max_length=100, blank=True)
    rule = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    remedy = models.TextField(blank=True)
    receipt_digest = models.CharField(max_length=66, blank=True)
    has_result = models.BooleanField(default=False)
    events_after = models.BigIntegerField(default=0, help_text="last node event sequence that was copied")

    class Meta:
        ordering = ["job_id", "role"]
        constraints = [models.UniqueConstraint(fields=["job", "role"], name="job_part_once")]

    def __str__(self) -> str:
        return f"{self.role} of {self.job_id[:8]}"

    @property
    def runs_at_node(self) -> bool:
        """False for a role that the consumer's SDK runs itself."""
        return self.grant_id is not None


class JobEvent(models.Model):
    """One line of a job's timeline; ``id`` orders the lines of all roles as the portal learned them.

    ``role`` is empty for the portal's own lines. ``sequence`` is the node's (or the portal's) count.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    role = models.CharField(max_length=32, blank=True)
    sequence = models.BigIntegerField()
    at_ms = models.BigIntegerField()
    phase = models.CharField(max_length=200)
    message = models.TextField(blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "role", "sequence"], name="job_event_once"),
        ]

    def __str__(self) -> str:
        return f"{self.role or 'portal'} {self.phase}"


class SealedResult(models.Model):
    """A result that only the consumer can open, kept until it is fetched (and after)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="results")
    role = models.CharField(max_length=32)
    payload = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["job_id", "role"]
        constraints = [models.UniqueConstraint(fields=["job", "role"], name="sealed_result_once")]

    def __str__(self) -> str:
        return f"result of {self.role} of {self.job_id[:8]}"


class Draft(models.Model):
    """An unsigned job that a person prepared in the browser; the SDK signs and submits it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    consumer = models.ForeignKey(Party, on_delete=models.CASCADE, related_name="drafts")
    document = models.JSONField(help_text="{kind, purpose, participants, params, units}")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="drafts")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return str(self.id)
