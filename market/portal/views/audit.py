"""The regulator's desk: reconciliation, timelines, the audit log and its export."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from market.audit import reconcile, services
from market.audit.models import AuditEntry, Reconciliation
from market.portal import words
from market.portal.access import OPERATOR, REGULATOR, actor_of, for_roles
from market.portal.listing import FilterForm, choice_field, listing
from market.portal.shell import page
from market.portal.timeline import SUBJECTS, suggestions, timeline_of


@for_roles(REGULATOR, OPERATOR)
def audit(request: HttpRequest) -> HttpResponse:
    """Do chain, portal and nodes agree? The last comparison and the ones before."""
    runs = list(Reconciliation.objects.all()[:20])
    chosen = request.GET.get("run", "")
    run = next((row for row in runs if str(row.pk) == chosen), runs[0] if runs else None)
    return page(
        request,
        "portal/audit.html",
        {
            "run": run,
            "runs": runs,
            "broken_at": services.first_break(),
            "entries": AuditEntry.objects.count(),
        },
    )


@require_POST
@for_roles(REGULATOR, OPERATOR)
def reconcile_now(request: HttpRequest) -> HttpResponse:
    """Compare chain, portal and nodes now; asks every node, so it takes a moment."""
    run = reconcile.record(reconcile.compare_settled(), actor=actor_of(request))
    if run.agreed:
        messages.success(request, _("Compared: chain, portal and nodes agree."))
    else:
        messages.error(request, _("Compared: there are differences."))
    return redirect("audit")


class LogFilter(FilterForm):
    verb = choice_field(gettext_lazy("Act"), words.VERBS.items())


@for_roles(REGULATOR, OPERATOR)
def audit_log(request: HttpRequest) -> HttpResponse:
    """Who did what, newest first. Reading it is recorded too."""
    form = LogFilter(request.GET)
    rows = AuditEntry.objects.all()
    for word in form.value("q").split()[:8]:
        rows = rows.filter(subject__startswith=word.lower()) | rows.filter(actor__icontains=word)
    if verb := form.value("verb"):
        rows = rows.filter(verb=verb)
    services.append("audit.read", actor=actor_of(request), subject=form.value("q")[:140])
    return page(
        request,
        "portal/audit_log.html",
        {"list": listing(request, rows, form), "broken_at": services.first_break()},
    )


@for_roles(REGULATOR, OPERATOR)
def audit_export(request: HttpRequest) -> HttpResponse:
    """The whole log as JSON lines; each line's digest covers the one before."""
    services.append("audit.exported", actor=actor_of(request), after=0)
    response = HttpResponse(b"".join(services.export()), content_type="application/jsonl")
    response.headers["Content-Disposition"] = 'attachment; filename="audit.jsonl"'
    return response


class TimelineFilter(FilterForm):
    """Which object to follow."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.fields["q"]


@for_roles(REGULATOR)
def timeline(request: HttpRequest) -> HttpResponse:
    """A dataset, a party or a job through time: chain, nodes and portal in one column."""
    kind, identifier = request.GET.get("kind", ""), request.GET.get("id", "").strip().lower()
    context: dict[str, Any] = {
        "subjects": SUBJECTS,
        "kind": kind if kind in SUBJECTS else "dataset",
        "id": identifier[:66],
        "suggestions": suggestions(kind if kind in SUBJECTS else "dataset"),
    }
    if kind in SUBJECTS and identifier:
        services.append("audit.timeline.read", actor=actor_of(request), subject=identifier[:140])
        context["found"] = timeline_of(kind, identifier)
    return page(request, "portal/timeline.html", context)
