"""Routes of /api/v1; market/api/README.md is the table."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny

from market.api.views import audit, catalog, grants, jobs, ledger, parties

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema", SpectacularAPIView.as_view(permission_classes=[AllowAny], authentication_classes=[])),
    path("whoami", parties.WhoAmI.as_view()),
    path("chain", parties.ChainView.as_view()),
    path("parties", parties.Parties.as_view()),
    path("parties/<str:party>", parties.PartyDetail.as_view()),
    path("parties/<str:party>/suspend", parties.PartySuspension.as_view()),
    path("parties/<str:party>/reinstate", parties.PartySuspension.as_view(suspended=False)),
    path("nodes", parties.Nodes.as_view()),
    path("datasets", catalog.Datasets.as_view()),
    path("datasets/<str:dataset>", catalog.DatasetDetail.as_view()),
    path("datasets/<str:dataset>/freeze", catalog.DatasetFreeze.as_view()),
    path("datasets/<str:dataset>/unfreeze", catalog.DatasetFreeze.as_view(frozen=False)),
    path("offers", catalog.Offers.as_view()),
    path("offers/<str:offer>", catalog.OfferDetail.as_view()),
    path("offers/<str:offer>/close", catalog.OfferClose.as_view()),
    path("job-kinds", catalog.JobKinds.as_view()),
    path("job-kinds/<str:name>", catalog.JobKindDetail.as_view()),
    path("grants", grants.Grants.as_view()),
    path("grants/<str:grant>", grants.GrantDetail.as_view()),
    path("grants/<str:grant>/approve", grants.GrantApprove.as_view()),
    path("grants/<str:grant>/decline", grants.GrantDecline.as_view()),
    path("grants/<str:grant>/revoke", grants.GrantRevoke.as_view()),
    path("jobs", jobs.Jobs.as_view()),
    path("jobs/drafts", jobs.Drafts.as_view()),
    path("jobs/drafts/<str:draft>", jobs.DraftDetail.as_view()),
    path("jobs/<str:job>", jobs.JobDetail.as_view()),
    path("jobs/<str:job>/events", jobs.JobEvents.as_view()),
    path("jobs/<str:job>/cancel", jobs.JobCancel.as_view()),
    path("jobs/<str:job>/result", jobs.JobResult.as_view()),
    path("receipts", ledger.Receipts.as_view()),
    path("receipts/<str:digest>", ledger.ReceiptDetail.as_view()),
    path("receipts/<str:digest>/evidence", ledger.ReceiptEvidence.as_view()),
    path("invoices", ledger.Invoices.as_view()),
    path("invoices/<str:invoice>", ledger.InvoiceDetail.as_view()),
    path("workers", ledger.Workers.as_view()),
    path("audit/entries", audit.Entries.as_view()),
    path("audit/export", audit.Export.as_view()),
    path("audit/reconciliations", audit.Reconciliations.as_view()),
]
