"""The steps that must not succeed. Each says who refused, by which rule, and leaves the market clean."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compute.demo.data import KEY
from compute.sdk import JobEnded, PortalRefused
from contracts.errors import Reverted

if TYPE_CHECKING:
    from compute.demo.story import Story

_RELEASE_TIMEOUT_S = 30.0


def quota(story: Story) -> str:
    """A grant of two units: the third query finds nothing left, and the chain itself says so."""
    _query(story, "narrow", 2)
    refusal = _refused(
        story, "quota exhausted", lambda: _query(story, "narrow", 1), ("QuotaExceeded", "quota")
    )
    record = _released(story, "narrow")
    story.expect(record.used == 2 and record.reserved == 0, "two units are used and none is held")
    return refusal


def budget(story: Story) -> str:
    """A set larger than the grant will ever pay for: refused before anything is reserved or read."""
    before = _on_chain(story, "board-east")

    def too_many() -> None:
        parties = {"p1": "board-east", "p2": "board-west", "p3": "panel"}
        story.research.jobs.run(
            "psi.many",
            purpose=story.grant("board-east").purpose,
            grants={role: story.grant(name) for role, name in parties.items()},
            params={"keys": {role: [KEY] for role in parties}, "max_elements": 1_000_000},
            deadline_s=120,
        )

    refusal = _refused(story, "element budget exceeded", too_many, ("quota",))
    after = _on_chain(story, "board-east")
    story.expect(
        (after.used, after.reserved) == (before.used, before.reserved), "nothing was reserved or used"
    )
    return refusal


def purpose(story: Story) -> str:
    """A request for something else than agreed: the node refuses before it reads a row."""
    grant = story.grant("east")
    other = story.grant("west")

    def marketing() -> None:
        story.research.jobs.run(
            "stats.horizontal",
            purpose="marketing",
            grants={"p1": grant, "p2": other},
            params={"value": "mean_radius"},
            deadline_s=120,
        )

    before = _on_chain(story, "east").used
    refusal = _refused(story, "purpose changed", marketing, ("purpose",))
    record = _released(story, "east")
    story.expect(record.used == before and record.reserved == 0, "nothing was used and nothing is held")
    return refusal


def revoked(story: Story) -> str:
    """The provider ends a grant; the next request under it is refused."""
    provider = story.client("hospital-west")
    provider.grants.revoke(story.grant("fleeting"), note="the demo withdraws it")
    story.research.grants.wait(story.grant("fleeting"), "revoked", timeout_s=60)

    def after() -> None:
        story.research.jobs.run(
            "stats.horizontal",
            purpose=story.grant("fleeting").purpose,
            grants={"p1": story.grant("east"), "p2": story.grant("fleeting")},
            params={"value": "mean_radius"},
            deadline_s=120,
        )

    refusal = _refused(story, "grant revoked", after, ("GrantRevoked", "revoked"))
    story.expect(_released(story, "east").reserved == 0, "the other grant holds nothing either")
    return refusal


def replay(story: Story) -> str:
    """The same signed request twice: the portal knows it, and so does the chain without the portal."""
    jobs = story.research.jobs
    order = jobs.prepare(
        "stats.horizontal",
        purpose=story.grant("east").purpose,
        grants={"p1": story.grant("east"), "p2": story.grant("west")},
        params={"value": "mean_texture"},
        deadline_s=120,
    )
    jobs.submit(order)
    jobs.wait(order.job)
    refusal = _refused(story, "request replayed", lambda: jobs.submit(order), ("job.exists", "replay"))

    from compute.wire import structs

    chain = story.research.chain.chain
    call = chain.reserve_call(structs.job_request(order.request), bytes.fromhex(order.request.signature[2:]))
    try:
        chain.simulate(call)
        story.expect(False, "the chain refuses the replay by itself")
    except Reverted as error:
        story.expect(error.name == "JobExists", f"the chain says JobExists, not {error.name}")
    return refusal


def _query(story: Story, grant: str, count: int) -> None:
    unknown = [[f"P0000-00000{i}-0"] for i in range(count)]
    story.research.jobs.run(
        "pir.keyword",
        purpose=story.grant(grant).purpose,
        grants={"server": story.grant(grant)},
        params={
            "columns": ["worst_radius"],
            "key": [KEY],
            "keywords": unknown,
        },
        deadline_s=120,
        on_progress=story.screen.progress,
    )


def _refused(story: Story, what: str, act: Callable[[], Any], words: tuple[str, ...]) -> str:
    try:
        act()
    except (JobEnded, PortalRefused) as error:
        fields = _fields(error)
        story.report.refusals.append({"what": what, **fields})
        said = " ".join(fields.values())
        story.expect(
            any(word.lower() in said.lower() for word in words), f"{what}: refused for that, not: {said}"
        )
        by = fields["rule"] or fields["code"]
        return f"{fields['message']} ({by})"
    story.report.refusals.append({"what": what, "code": "", "message": "not refused"})
    story.expect(False, f"{what}: is refused")
    return "not refused"


def _fields(error: JobEnded | PortalRefused) -> dict[str, str]:
    if isinstance(error, PortalRefused):
        problem = error.problem
        return {
            "by": "portal",
            "code": problem.code,
            "rule": problem.rule,
            "message": problem.detail or problem.title,
            "remedy": problem.remedy,
        }
    detail = error.detail
    return {
        "by": str(detail.get("party") or "chain"),
        "code": str(detail.get("code", "")),
        "rule": str(detail.get("rule", "")),
        "message": error.message,
        "remedy": str(detail.get("remedy", "")),
        "job": str(detail.get("job", "")),
    }


def _released(story: Story, name: str) -> Any:
    """A grant's record once nothing is held of it: the receipts of a refusal are on chain a moment later."""
    end = time.monotonic() + _RELEASE_TIMEOUT_S
    while (record := _on_chain(story, name)).reserved and time.monotonic() < end:
        time.sleep(0.2)
    return record


def _on_chain(story: Story, name: str) -> Any:
    return story.research.chain.chain.grant(bytes.fromhex((story.grant(name).grant or "")[2:]))
