"""Jobs: list, compose a draft, watch one live, cancel."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from market.errors import MarketError, NotFound
from market.grants.models import Grant
from market.grants.services import visible_grants
from market.jobs import services
from market.jobs.kinds import job_kind, job_kinds, operation_of
from market.jobs.models import Job
from market.portal import sentences, words
from market.portal.access import CONSUMER, PROVIDER, REGULATOR, actor_of, for_roles
from market.portal.composer import (
    ComposerForm,
    command,
    numbers_of_parties,
    secret_parameters,
    takes_any_number,
)
from market.portal.forms import add_problem
from market.portal.lanes import lanes
from market.portal.listing import FilterForm, choice_field, export, listing, wants_export
from market.portal.plot import plot
from market.portal.shell import frame, page

_WITHIN = (PROVIDER, CONSUMER, REGULATOR)


class JobFilter(FilterForm):
    state = choice_field(gettext_lazy("State"), [(code, words.STATES[code][1]) for code in Job.State.values])
    kind = choice_field(gettext_lazy("Kind"), words.KINDS.items())


@for_roles(*_WITHIN)
def jobs(request: HttpRequest) -> HttpResponse:
    """Jobs the party ordered or takes part in; all for a regulator."""
    actor = actor_of(request)
    form = JobFilter(request.GET)
    rows = services.visible_jobs(actor).prefetch_related("parts__party")
    for word in form.value("q").split()[:8]:
        rows = rows.filter(
            Q(purpose__icontains=word)
            | Q(kind__icontains=word)
            | Q(consumer__name__icontains=word)
            | Q(consumer__name_zh__icontains=word)
            | Q(job_id__startswith=word.lower())
        )
    if state := form.value("state"):
        rows = rows.filter(state=state)
    if kind := form.value("kind"):
        rows = rows.filter(kind=kind)
    if wants_export(request):
        columns = (
            (_("Job"), lambda row: row.job_id),
            (_("Kind"), lambda row: words.kind(row.kind)),
            (_("State"), lambda row: words.state(row.state)[2]),
            (_("Consumer"), lambda row: row.consumer.display_name),
            (_("Purpose"), lambda row: row.purpose),
            (_("Ordered"), lambda row: row.created_at.strftime("%Y-%m-%d %H:%M:%S")),
        )
        return export("jobs", columns, rows)
    context: dict[str, Any] = {"list": listing(request, rows, form), "can_compose": CONSUMER in actor.roles}
    if CONSUMER in actor.roles:
        context["drafts"] = services.visible_drafts(actor).filter(job__isnull=True)[:10]
    return page(request, "portal/jobs.html", context)


@for_roles(*_WITHIN)
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    """One job: who does what, how far, what came of it; live while it runs."""
    actor = actor_of(request)
    found = services.find_job(job_id, actor)
    return page(request, "portal/job.html", _job_context(found, actor))


@for_roles(*_WITHIN)
def job_live(request: HttpRequest, job_id: str) -> HttpResponse:
    """The part of the job page that changes: fetched after each message of the WebSocket, or by polling."""
    actor = actor_of(request)
    found = services.find_job(job_id, actor)
    context = {**frame(request), **_job_context(found, actor)}
    response = render(request, "portal/parts/job_live.html", context)
    response.headers["Liutong-Job-State"] = found.state
    return response


def _job_context(found: Job, actor: Any) -> dict[str, Any]:
    is_consumer = CONSUMER in actor.roles and found.consumer_id == actor.party_id
    may_end = is_consumer or (PROVIDER in actor.roles and services.takes_part(found, actor))
    shown = lanes(found)
    return {
        "job": found,
        "lanes": shown,
        "plot": plot(shown, time.time_ns() // 1_000_000, _("Market")),
        "is_consumer": is_consumer,
        "can_cancel": may_end and not found.is_final and found.cancel_requested_at is None,
        "results": list(found.results.values_list("role", flat=True)) if is_consumer else [],
        "time_left": "" if found.is_final else sentences.time_left(found.deadline - int(time.time())),
    }


@require_POST
@for_roles(CONSUMER, PROVIDER)
def cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    """Ask for the end of a job, as its consumer or as a provider that takes part."""
    services.cancel_job(job_id=job_id, actor=actor_of(request))
    messages.success(request, _("The nodes are asked to stop. What was reserved and not used is released."))
    return redirect("job", job_id=job_id)


@for_roles(CONSUMER)
def new_job(request: HttpRequest) -> HttpResponse:
    """Choose a kind of job; then fill in who takes part and with what parameters."""
    actor = actor_of(request)
    held = visible_grants(actor).filter(consumer=actor.party, state=Grant.State.ACTIVE)
    name = request.GET.get("kind", "")
    if not name:
        kinds = [
            {
                **kind,
                "grants": sum(1 for grant in held if operation_of(kind["name"]) in grant.operations),
            }
            for kind in job_kinds()
        ]
        return page(request, "portal/job_kinds.html", {"kinds": kinds})
    kind = job_kind(name)
    usable = [grant for grant in held if operation_of(name) in grant.operations]
    form = ComposerForm(
        request.POST or None,
        kind=kind,
        grants=usable,
        parties=request.GET.get("parties", ""),
    )
    if request.method == "POST" and form.is_valid():
        try:
            draft = services.save_draft(document=form.document(), actor=actor)
        except MarketError as error:
            add_problem(form, error)
        else:
            return redirect("draft", draft_id=draft.id)
    return page(
        request,
        "portal/job_form.html",
        {
            "form": form,
            "kind": kind,
            "grants": usable,
            "numbers": numbers_of_parties(kind) if takes_any_number(kind) else (),
            "has_local": bool(secret_parameters(kind)),
        },
        status=422 if form.errors else 200,
    )


@for_roles(CONSUMER)
def draft(request: HttpRequest, draft_id: str) -> HttpResponse:
    """A prepared job and the one command that signs and runs it: the key never comes here."""
    found = services.visible_drafts(actor_of(request)).filter(pk=draft_id).first()
    if found is None:
        raise NotFound()
    # A draft may be older than the catalogue: what its kind would ask for is then not known.
    name = found.document.get("kind")
    kind: dict[str, Any] = next((kind for kind in job_kinds() if kind["name"] == name), {})
    return page(request, "portal/draft.html", {"draft": found, "command": command(kind, found.id)})


@require_POST
@for_roles(CONSUMER)
def delete_draft(request: HttpRequest, draft_id: str) -> HttpResponse:
    """Throw a draft away."""
    services.delete_draft(draft_id=draft_id, actor=actor_of(request))
    messages.success(request, _("The draft is gone. Nothing was ordered."))
    return redirect("jobs")
