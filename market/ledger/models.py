"""The portal's copy of the chain and its outbox to it. Everything but the outbox can be rebuilt."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from market.fields import Hex32Field


class ChainTransaction(models.Model):
    """A call to the chain that one sender makes exactly once.

    Nonce, raw bytes and hash are saved before the first send: a crash between sending and writing down
    would otherwise send twice. ``key`` names the intent, so queueing it again changes nothing.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENT = "sent", _("sent")
        MINED = "mined", _("mined")
        REVERTED = "reverted", _("reverted")

    class Purpose(models.TextChoices):
        ENROL = "enrol", _("enrol")
        ROTATE = "rotate", _("rotate")
        SUSPEND = "suspend", _("suspend")
        REINSTATE = "reinstate", _("reinstate")
        REGISTER = "register", _("register")
        FREEZE = "freeze", _("freeze")
        UNFREEZE = "unfreeze", _("unfreeze")
        ACTIVATE = "activate", _("activate")
        REVOKE = "revoke", _("revoke")
        RESERVE = "reserve", _("reserve")
        COMMIT = "commit", _("commit")
        RELEASE = "release", _("release")

    key = models.CharField(max_length=200, unique=True)
    purpose = models.CharField(max_length=12, choices=Purpose.choices)
    subject = models.CharField(max_length=140, help_text="party, dataset:version, grant, job, node:sequence")
    to = models.CharField(max_length=42)
    data = models.TextField(help_text="calldata, 0x hexadecimal")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    nonce = models.BigIntegerField(null=True, blank=True, unique=True)
    raw = models.TextField(blank=True)
    tx_hash = models.CharField(max_length=66, blank=True, db_index=True)
    error = models.JSONField(null=True, blank=True, help_text="{code, name, arguments, message}")
    gas_used = models.BigIntegerField(null=True, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    block_hash = models.CharField(max_length=66, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    mined_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["state", "id"]), models.Index(fields=["purpose", "subject"])]

    def __str__(self) -> str:
        return f"{self.purpose} {self.subject[:20]} ({self.state})"


class WorkerBeat(models.Model):
    """The last sign of life of a background worker, for the operator's page."""

    name = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=300, blank=True, help_text="what it waits for, if anything")

    def __str__(self) -> str:
        return f"{self.name} {self.at:%H:%M:%S}"


class Block(models.Model):
    """A block that the index has read. The last row is the cursor; the rows below are where to unwind to."""

    number = models.BigIntegerField(primary_key=True)
    hash = models.CharField(max_length=66)
    timestamp = models.BigIntegerField(default=0)
    indexed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.number} {self.hash[:10]}"


class ChainEvent(models.Model):
    """One contract event as read from the chain; projections are a function of these rows alone."""

    block_number = models.BigIntegerField()
    block_hash = models.CharField(max_length=66)
    log_index = models.BigIntegerField()
    tx_hash = models.CharField(max_length=66)
    contract = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    args = models.JSONField(default=dict, help_text="bytes as 0x hexadecimal")

    class Meta:
        ordering = ["block_number", "log_index"]
        constraints = [
            models.UniqueConstraint(fields=["block_number", "log_index"], name="chain_event_once"),
        ]
        indexes = [models.Index(fields=["name", "block_number"])]

    def __str__(self) -> str:
        return f"{self.name} @{self.block_number}"


class Reservation(models.Model):
    """Units of a grant held for a job, as the chain's events tell it."""

    class State(models.TextChoices):
        HELD = "held", _("held")
        SETTLED = "settled", _("settled")
        RELEASED = "released", _("released")

    job_id = Hex32Field()
    grant_id = Hex32Field()
    units = models.BigIntegerField(default=0)
    epsilon_micro = models.BigIntegerField(default=0)
    units_used = models.BigIntegerField(default=0)
    epsilon_used = models.BigIntegerField(default=0)
    deadline = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, default=State.HELD)
    block_number = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["block_number", "job_id", "grant_id"]
        constraints = [models.UniqueConstraint(fields=["job_id", "grant_id"], name="reservation_once")]

    def __str__(self) -> str:
        return f"{self.job_id[:8]} × {self.grant_id[:8]}"


class Batch(models.Model):
    """Consecutive receipts of a node, anchored (or about to be) under one Merkle root."""

    class State(models.TextChoices):
        SIGNED = "signed", _("signed")
        ANCHORED = "anchored", _("anchored")

    node = Hex32Field()
    first_sequence = models.BigIntegerField()
    count = models.PositiveIntegerField()
    root = Hex32Field()
    signature = models.CharField(max_length=132, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.SIGNED)
    tx_hash = models.CharField(max_length=66, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    block_hash = models.CharField(max_length=66, blank=True)

    class Meta:
        ordering = ["node", "first_sequence"]
        verbose_name_plural = "batches"
        constraints = [models.UniqueConstraint(fields=["node", "first_sequence"], name="batch_once")]

    def __str__(self) -> str:
        return f"{self.node[:8]} {self.first_sequence}+{self.count}"


class Receipt(models.Model):
    """A node's signed account of one job under one grant."""

    class State(models.TextChoices):
        SIGNED = "signed", _("signed")
        ANCHORED = "anchored", _("anchored")

    digest = Hex32Field(primary_key=True)
    node = Hex32Field()
    sequence = models.BigIntegerField()
    previous = Hex32Field()
    job_id = Hex32Field(db_index=True)
    grant_id = Hex32Field(db_index=True)
    spec_hash = Hex32Field()
    commitment = Hex32Field()
    transcript = Hex32Field()
    units = models.BigIntegerField()
    epsilon_micro = models.BigIntegerField(default=0)
    outcome = models.CharField(max_length=12)
    settles = models.BooleanField()
    issued_at = models.BigIntegerField()
    detail = models.JSONField(null=True, blank=True, help_text="ReceiptDetail; null if only on chain")
    signature = models.CharField(max_length=132, blank=True)
    batch = models.ForeignKey(
        Batch, on_delete=models.SET_NULL, null=True, blank=True, related_name="receipts"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.SIGNED)
    charged_units = models.BigIntegerField(default=0, help_text="what the contract charged to the grant")
    tx_hash = models.CharField(max_length=66, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    block_hash = models.CharField(max_length=66, blank=True)

    class Meta:
        ordering = ["-issued_at", "node", "-sequence"]
        constraints = [models.UniqueConstraint(fields=["node", "sequence"], name="receipt_sequence_once")]

    def __str__(self) -> str:
        return f"{self.outcome} {self.digest[:10]}"
