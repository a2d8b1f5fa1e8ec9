"""What objects look like in answers. Fields follow market/api/README.md."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from market.audit.models import AuditEntry, Reconciliation
from market.billing.models import Invoice, InvoiceLine
from market.catalog.models import Dataset, DatasetVersion, Offer
from market.grants.models import Grant
from market.jobs.models import Draft, Job, JobEvent, JobPart
from market.ledger.models import Receipt
from market.parties.models import Party


def _seal(block: int | None, tx: str = "") -> dict[str, Any] | None:
    """Where on chain a fact is written; None for facts that are the portal's alone."""
    return None if block is None else {"block": block, "tx": tx}


class PartyRefSerializer(serializers.ModelSerializer[Party]):
    party = serializers.CharField(source="party_id")

    class Meta:
        model = Party
        fields = ["party", "name", "name_zh"]


class PartySerializer(serializers.ModelSerializer[Party]):
    party = serializers.CharField(source="party_id")
    roles = serializers.ListField(source="role_names", child=serializers.CharField())
    seal = serializers.SerializerMethodField()

    class Meta:
        model = Party
        fields = [
            "party",
            "name",
            "name_zh",
            "roles",
            "address",
            "box_key",
            "he_key_digest",
            "node_url",
            "state",
            "refusal",
            "seal",
        ]

    def get_seal(self, party: Party) -> dict[str, Any] | None:
        return _seal(party.enrolled_block)


class VersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    seal = serializers.SerializerMethodField()

    class Meta:
        model = DatasetVersion
        fields = ["version", "commitment", "schema_hash", "row_count", "columns", "registered_at", "seal"]

    def get_seal(self, version: DatasetVersion) -> dict[str, Any] | None:
        return _seal(version.block_number, version.tx_hash)


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    dataset = serializers.CharField(source="dataset_id")
    provider = PartyRefSerializer()
    version = serializers.IntegerField(source="current_version")
    columns = serializers.SerializerMethodField()
    row_count = serializers.SerializerMethodField()
    commitment = serializers.SerializerMethodField()
    schema_hash = serializers.SerializerMethodField()
    versions = VersionSerializer(many=True)
    offers = serializers.SerializerMethodField()
    seal = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = [
            "dataset",
            "provider",
            "name",
            "description",
            "kind",
            "operations",
            "state",
            "wish",
            "version",
            "columns",
            "row_count",
            "commitment",
            "schema_hash",
            "versions",
            "offers",
            "seal",
        ]

    def _current(self, dataset: Dataset) -> DatasetVersion | None:
        # From the prefetched rows: one query for a whole page.
        versions = list(dataset.versions.all())
        for version in versions:
            if version.version == dataset.current_version:
                return version
        return versions[0] if versions else None

    def get_columns(self, dataset: Dataset) -> list[dict[str, str]]:
        current = self._current(dataset)
        return current.columns if current else []

    def get_row_count(self, dataset: Dataset) -> int:
        current = self._current(dataset)
        return current.row_count if current else 0

    def get_commitment(self, dataset: Dataset) -> str | None:
        current = self._current(dataset)
        return current.commitment if current else None

    def get_schema_hash(self, dataset: Dataset) -> str | None:
        current = self._current(dataset)
        return current.schema_hash if current else None

    def get_offers(self, dataset: Dataset) -> list[str]:
        return [str(offer.id) for offer in dataset.offers.all() if offer.state == Offer.State.OPEN]

    def get_seal(self, dataset: Dataset) -> dict[str, Any] | None:
        current = self._current(dataset)
        return _seal(current.block_number, current.tx_hash) if current else None


class OfferSerializer(serializers.ModelSerializer[Offer]):
    dataset = serializers.CharField(source="dataset_id")
    dataset_name = serializers.CharField(source="dataset.name")
    provider = PartyRefSerializer(source="dataset.provider")

    class Meta:
        model = Offer
        fields = [
            "id",
            "dataset",
            "dataset_name",
            "provider",
            "title",
            "description",
            "operations",
            "purposes",
            "columns",
            "min_cohort",
            "max_quota",
            "max_days",
            "price_credits",
            "state",
            "created_at",
        ]


class GrantSerializer(serializers.ModelSerializer[Grant]):
    grant = serializers.CharField(source="grant_id", allow_null=True)
    offer = serializers.CharField(source="offer_id", allow_null=True)
    provider = PartyRefSerializer()
    consumer = PartyRefSerializer()
    dataset = serializers.CharField(source="dataset_id")
    dataset_name = serializers.CharField(source="dataset.name")
    version = serializers.IntegerField(source="dataset.current_version")
    commitment = serializers.SerializerMethodField()
    min_cohort = serializers.IntegerField()
    price_credits = serializers.IntegerField()
    left = serializers.IntegerField()
    seal = serializers.SerializerMethodField()

    class Meta:
        model = Grant
        fields = [
            "id",
            "grant",
            "offer",
            "provider",
            "consumer",
            "dataset",
            "dataset_name",
            "version",
            "commitment",
            "purpose",
            "operations",
            "columns",
            "min_cohort",
            "price_credits",
            "quota",
            "used",
            "reserved",
            "left",
            "epsilon_micro",
            "epsilon_used",
            "epsilon_reserved",
            "not_before",
            "expiry",
            "terms",
            "terms_hash",
            "signature",
            "state",
            "note",
            "refusal",
            "created_at",
            "seal",
        ]

    def get_commitment(self, grant: Grant) -> str | None:
        current = grant.dataset.current
        return current.commitment if current else None

    def get_seal(self, grant: Grant) -> dict[str, Any] | None:
        return _seal(grant.block_number, grant.tx_hash)


class PartSerializer(serializers.ModelSerializer[JobPart]):
    party = PartyRefSerializer()
    grant = serializers.CharField(source="grant.grant_id", default=None, allow_null=True)
    state = serializers.CharField(source="node_state")
    receipt = serializers.SerializerMethodField()

    class Meta:
        model = JobPart
        fields = [
            "role",
            "party",
            "grant",
            "state",
            "phase",
            "done",
            "total",
            "rate_milli",
            "seconds_left",
            "attempts",
            "reason",
            "rule",
            "message",
            "remedy",
            "receipt",
            "has_result",
        ]

    def get_receipt(self, part: JobPart) -> str | None:
        return part.receipt_digest or None


class JobSerializer(serializers.ModelSerializer[Job]):
    job = serializers.CharField(source="job_id")
    consumer = PartyRefSerializer()
    parts = PartSerializer(many=True)
    peers = serializers.SerializerMethodField()
    terms = serializers.SerializerMethodField()
    results = serializers.SerializerMethodField()
    receipts = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "job",
            "consumer",
            "kind",
            "purpose",
            "state",
            "reason",
            "spec",
            "request",
            "deadline",
            "created_at",
            "updated_at",
            "parts",
            "peers",
            "terms",
            "results",
            "receipts",
        ]

    def get_peers(self, job: Job) -> dict[str, str]:
        return {part.role: part.party.node_url for part in job.parts.all() if part.runs_at_node}

    def get_terms(self, job: Job) -> dict[str, Any]:
        granted = [part.grant for part in job.parts.all() if part.grant is not None]
        return {grant.grant_id: grant.terms for grant in granted if grant.grant_id}

    def get_results(self, job: Job) -> list[str]:
        return list(job.results.values_list("role", flat=True))

    def get_receipts(self, job: Job) -> list[str]:
        receipts = Receipt.objects.filter(job_id=job.job_id).order_by("node")
        return list(receipts.values_list("digest", flat=True))


class JobSummarySerializer(JobSerializer):
    """A job in a list: without the documents."""

    class Meta:
        model = Job
        fields = ["job", "consumer", "kind", "purpose", "state", "reason", "deadline", "created_at", "parts"]


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    class Meta:
        model = JobEvent
        fields = ["id", "role", "sequence", "at_ms", "phase", "message", "done", "total"]


class JobEventsSerializer(serializers.Serializer[Any]):
    events = JobEventSerializer(many=True)
    state = serializers.CharField()


class DraftSerializer(serializers.ModelSerializer[Draft]):
    job = serializers.CharField(source="job_id", allow_null=True)

    class Meta:
        model = Draft
        fields = ["id", "document", "job", "created_at"]


class ReceiptSerializer(serializers.ModelSerializer[Receipt]):
    job = serializers.CharField(source="job_id")
    grant = serializers.CharField(source="grant_id")
    node_name = serializers.SerializerMethodField()
    batch = serializers.SerializerMethodField()
    seal = serializers.SerializerMethodField()

    class Meta:
        model = Receipt
        fields = [
            "digest",
            "node",
            "node_name",
            "sequence",
            "previous",
            "job",
            "grant",
            "spec_hash",
            "commitment",
            "transcript",
            "units",
            "epsilon_micro",
            "outcome",
            "settles",
            "issued_at",
            "detail",
            "signature",
            "state",
            "charged_units",
            "batch",
            "seal",
        ]

    def get_node_name(self, receipt: Receipt) -> str:
        if not hasattr(self, "_names"):  # one query for a whole page
            self._names = dict(Party.objects.values_list("party_id", "name"))
        return str(self._names.get(receipt.node, ""))

    def get_batch(self, receipt: Receipt) -> dict[str, Any] | None:
        batch = receipt.batch
        if batch is None:
            return None
        return {"first_sequence": batch.first_sequence, "count": batch.count, "root": batch.root}

    def get_seal(self, receipt: Receipt) -> dict[str, Any] | None:
        return _seal(receipt.block_number, receipt.tx_hash)


class InvoiceLineSerializer(serializers.ModelSerializer[InvoiceLine]):
    receipt = serializers.CharField(source="receipt_digest")
    grant = serializers.CharField(source="grant_id")
    job = serializers.CharField(source="job_id")

    class Meta:
        model = InvoiceLine
        fields = ["receipt", "grant", "job", "units", "price_credits", "amount_credits"]


class InvoiceSerializer(serializers.ModelSerializer[Invoice]):
    provider = PartyRefSerializer()
    consumer = PartyRefSerializer()
    lines = InvoiceLineSerializer(many=True)

    class Meta:
        model = Invoice
        fields = ["id", "provider", "consumer", "period", "units", "amount_credits", "lines"]


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    party = serializers.CharField(source="party_id")

    class Meta:
        model = AuditEntry
        fields = ["sequence", "at_ms", "verb", "actor", "party", "subject", "detail", "previous", "digest"]


class ReconciliationSerializer(serializers.ModelSerializer[Reconciliation]):
    block = serializers.IntegerField(source="block_number", allow_null=True)
    clean = serializers.BooleanField(source="agreed")

    class Meta:
        model = Reconciliation
        fields = ["id", "at", "block", "clean", "differences", "unreachable"]
