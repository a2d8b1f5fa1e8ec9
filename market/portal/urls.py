"""Pages of the portal. Ids in paths are checked by their converters, so views never see a malformed one."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path, register_converter

from market.portal.views import audit, catalogue, grants, home, jobs, keys, ledger, operator, session


class Hex32Converter:
    """``0x`` and 64 lower-case hexadecimal digits."""

    regex = "0x[0-9a-f]{64}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(Hex32Converter, "hex32")

urlpatterns = [
    path("", home.home, name="home"),
    path("login/", session.SignIn.as_view(), name="sign-in"),
    path("logout/", LogoutView.as_view(), name="sign-out"),
    path("act-for/", session.act_for, name="act-for"),
    path("theme/", session.set_theme, name="set-theme"),
    path("catalogue/", catalogue.catalogue, name="catalogue"),
    path("datasets/", catalogue.datasets, name="datasets"),
    path("datasets/<hex32:dataset_id>/", catalogue.dataset, name="dataset"),
    path("datasets/<hex32:dataset_id>/offer/", catalogue.new_offer, name="new-offer"),
    path("offers/", catalogue.offers, name="offers"),
    path("offers/<uuid:offer_id>/", catalogue.offer, name="offer"),
    path("offers/<uuid:offer_id>/close/", catalogue.close_offer, name="close-offer"),
    path("offers/<uuid:offer_id>/apply/", grants.request_grant, name="request-grant"),
    path("grants/", grants.grants, name="grants"),
    path("grants/<uuid:grant_id>/", grants.grant, name="grant"),
    path("grants/<hex32:grant_id>/", grants.grant, name="grant-on-chain"),
    path("grants/<uuid:grant_id>/approve/", grants.approve, name="approve-grant"),
    path("grants/<uuid:grant_id>/decline/", grants.decline, name="decline-grant"),
    path("grants/<uuid:grant_id>/revoke/", grants.revoke, name="revoke-grant"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/new/", jobs.new_job, name="new-job"),
    path("jobs/drafts/<uuid:draft_id>/", jobs.draft, name="draft"),
    path("jobs/drafts/<uuid:draft_id>/delete/", jobs.delete_draft, name="delete-draft"),
    path("jobs/<hex32:job_id>/", jobs.job, name="job"),
    path("jobs/<hex32:job_id>/live/", jobs.job_live, name="job-live"),
    path("jobs/<hex32:job_id>/cancel/", jobs.cancel, name="cancel-job"),
    path("receipts/", ledger.receipts, name="receipts"),
    path("receipts/<hex32:digest>/", ledger.receipt, name="receipt"),
    path("receipts/<hex32:digest>/evidence/", ledger.receipt_evidence, name="receipt-evidence"),
    path("invoices/", ledger.invoices, name="invoices"),
    path("invoices/<uuid:invoice_id>/", ledger.invoice, name="invoice"),
    path("circulation/", ledger.circulation, name="circulation"),
    path("audit/", audit.audit, name="audit"),
    path("audit/reconcile/", audit.reconcile_now, name="reconcile"),
    path("audit/timeline/", audit.timeline, name="timeline"),
    path("audit/log/", audit.audit_log, name="audit-log"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("parties/", operator.parties, name="parties"),
    path("parties/enrol/", operator.enrol, name="enrol"),
    path("parties/<hex32:party_id>/", operator.party, name="party"),
    path("parties/<hex32:party_id>/suspend/", operator.suspend, name="suspend"),
    path("nodes/", operator.nodes, name="nodes"),
    path("outbox/", operator.outbox, name="outbox"),
    path("api-keys/", keys.api_keys, name="api-keys"),
    path("api-keys/<int:key_id>/revoke/", keys.revoke_api_key, name="revoke-api-key"),
]
