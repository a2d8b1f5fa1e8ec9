"""The story, step by step. Each step does something real and checks what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from compute.demo import audit_steps, job_steps, refusal_steps, truth
from compute.demo.data import KEY, DemoData
from compute.demo.market_process import Market
from compute.demo.report import Report, Step
from compute.demo.screen import Screen
from compute.errors import ComputeError
from compute.sdk import Liutong
from compute.sdk.objects import Grant, Offer
from contracts.errors import ContractError

PURPOSE = "study A-17"
# Datasets as the catalogue names them.
EAST, WEST = "Breast cytology, Hospital East", "Breast cytology, Hospital West"
BOARD_EAST, BOARD_WEST = "Tumour board, Hospital East", "Tumour board, Hospital West"
PANEL, SERVICE = "Laboratory panel v3", "Laboratory encryption service"
FLIGHTS = "Departures from New York, 2013"
MEANS = tuple(
    f"mean_{name}"
    for name in (
        "radius", "texture", "perimeter", "area", "smoothness",
        "compactness", "concavity", "concave_points", "symmetry", "fractal_dimension",
    )
)  # fmt: skip


class StepFailed(Exception):
    """A step cannot go on: what it needs is not there."""


@dataclass
class Story:
    """What the steps share. ``grants`` and ``offers`` are by the names the steps give them."""

    market: Market
    data: DemoData
    report: Report
    screen: Screen
    step: Step = field(default_factory=lambda: Step(""))
    clients: dict[str, Liutong] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)

    def expect(self, holds: bool, expectation: str) -> None:
        """Note an expectation that does not hold; the step goes on, and fails in the end."""
        if not holds:
            self.step.failures.append(expectation)

    def client(self, key: str) -> Liutong:
        """The SDK as a party; the research institute's with its key file."""
        if key not in self.clients:
            self.clients[key] = self.market.client(key, with_keys=key == "research-institute")
        return self.clients[key]

    @property
    def research(self) -> Liutong:
        """The consumer of the story."""
        return self.client("research-institute")

    def grant(self, name: str) -> Grant:
        """A grant of an earlier step; raises StepFailed without it."""
        if name not in self.grants:
            raise StepFailed(f"there is no grant {name!r}: an earlier step failed")
        return self.grants[name]

    def obtain(
        self,
        name: str,
        *,
        provider: str,
        offer: str,
        operations: list[str],
        columns: list[str],
        quota: int,
    ) -> None:
        """The whole way of a grant: request, approval, the node's signature, activation on chain."""
        if offer not in self.offers:
            raise StepFailed(f"there is no offer {offer!r}: an earlier step failed")
        requested = self.research.grants.request(
            self.offers[offer], purpose=PURPOSE, operations=operations, columns=columns, quota=quota, days=30
        )
        self.client(provider).grants.approve(requested.id)
        self.grants[name] = requested

    def activate(self, *names: str) -> None:
        """Wait until grants are active, and keep them as they are then."""
        for name in names:
            self.grants[name] = self.research.grants.wait(self.grant(name), timeout_s=60)


def registration(story: Story) -> str:
    """Providers' nodes registered datasets: commitments on chain, no row anywhere but at home."""
    datasets = story.research.datasets()
    story.expect(len(datasets) == 7, f"the catalogue has 7 datasets, found {len(datasets)}")
    chain = story.research.chain.chain
    rows = {
        EAST: story.data.east,
        WEST: story.data.west,
        BOARD_EAST: story.data.board_east,
        BOARD_WEST: story.data.board_west,
        PANEL: story.data.laboratory,
        FLIGHTS: story.data.flights,
    }
    for dataset in datasets:
        record = chain.dataset(bytes.fromhex(dataset.dataset[2:]))
        story.expect(
            record is not None and "0x" + record.commitment.hex() == dataset.commitment,
            f"the chain holds the commitment of {dataset.name}",
        )
        if dataset.name in rows:
            story.expect(
                dataset.row_count == rows[dataset.name].num_rows, f"{dataset.name} has its row count"
            )
    return f"{len(datasets)} datasets, commitments on chain"


def offers(story: Story) -> str:
    """Providers publish offers: operations, purposes, columns, floor, quota, price."""
    by_name = {item.name: item for item in story.research.datasets()}
    hospital = {"purposes": [PURPOSE], "min_cohort": 5, "max_quota": 5000, "max_days": 90}
    columns = [KEY, "diagnosis", *MEANS]
    laboratory = list(story.data.laboratory.column_names)
    board = {**hospital, "operations": ["psi"], "columns": [KEY], "price_credits": 1}
    plans: list[tuple[str, str, str, dict[str, Any]]] = [
        ("east", "hospital-east", EAST,
         {**hospital, "operations": ["psi", "stats", "fl"], "columns": columns, "price_credits": 2}),
        ("west", "hospital-west", WEST,
         {**hospital, "operations": ["psi", "stats", "fl"], "columns": columns, "price_credits": 2}),
        ("board-east", "hospital-east", BOARD_EAST, board),
        ("board-west", "hospital-west", BOARD_WEST, board),
        ("panel", "laboratory", PANEL,
         {**hospital, "operations": ["psi", "stats", "pir"], "columns": laboratory, "price_credits": 3}),
        ("flights", "airport", FLIGHTS,
         {**hospital, "operations": ["pir"], "columns": list(story.data.flights.column_names),
          "price_credits": 1}),
        ("encryption", "laboratory", SERVICE,
         {**hospital, "operations": ["eaas"], "columns": [], "min_cohort": 1, "price_credits": 1}),
    ]  # fmt: skip
    for name, key, title, terms in plans:
        dataset = by_name.get(title)
        if dataset is None:
            raise StepFailed(f"there is no {title!r} in the catalogue")
        offer = story.client(key).publish_offer(
            dataset.dataset, title=f"{dataset.name}: joint research", **terms
        )
        story.offers[name] = offer
    story.expect(len(story.research.offers()) == len(plans), f"the consumer sees {len(plans)} offers")
    return f"{len(story.offers)} offers open for “{PURPOSE}”"


def grants(story: Story) -> str:
    """The institute applies, providers approve, their nodes sign, the chain activates."""
    columns = [KEY, "diagnosis", *MEANS]
    panel = list(story.data.laboratory.column_names)
    obtain = story.obtain
    obtain("east", provider="hospital-east", offer="east", operations=["psi", "stats", "fl"],
           columns=columns, quota=2000)  # fmt: skip
    obtain("west", provider="hospital-west", offer="west", operations=["stats", "fl"],
           columns=columns, quota=500)  # fmt: skip
    obtain("panel", provider="laboratory", offer="panel", operations=["psi", "stats", "pir"],
           columns=panel, quota=2000)  # fmt: skip
    for board in ("east", "west"):
        obtain(f"board-{board}", provider=f"hospital-{board}", offer=f"board-{board}", operations=["psi"],
               columns=[KEY], quota=1000)  # fmt: skip
    obtain("flights", provider="airport", offer="flights", operations=["pir"],
           columns=list(story.data.flights.column_names), quota=20)  # fmt: skip
    obtain("encryption", provider="laboratory", offer="encryption", operations=["eaas"],
           columns=[], quota=50)  # fmt: skip
    # For the refusals: one that will run dry, one that will be revoked.
    obtain("narrow", provider="laboratory", offer="panel", operations=["pir"], columns=panel, quota=2)
    obtain("fleeting", provider="hospital-west", offer="west", operations=["stats"],
           columns=columns, quota=100)  # fmt: skip
    story.activate(*story.grants)
    for name, grant in story.grants.items():
        record = story.research.chain.chain.grant(bytes.fromhex((grant.grant or "0x")[2:]))
        story.expect(
            record is not None and record.quota == grant.quota, f"grant {name} is on chain as agreed"
        )
    return f"{len(story.grants)} grants signed by the providers' nodes and active on chain"


STEPS: tuple[tuple[str, Callable[[Story], str]], ...] = (
    ("Registration", registration),
    ("Offers", offers),
    ("Grants", grants),
    ("PSI: East × Laboratory", job_steps.psi),
    ("PSI: two tumour boards × Laboratory", job_steps.psi_many),
    ("Statistics over the intersection", job_steps.vertical),
    ("Statistics over stacked rows", job_steps.horizontal),
    ("PIR: one patient's record", job_steps.pir),
    ("PIR: known or not, yes or no", job_steps.member),
    ("PIR: one flight of 336,776", job_steps.flights),
    ("FL: logistic regression", job_steps.fl),
    ("Encryption as a service", job_steps.eaas),
    ("Refused: quota exhausted", refusal_steps.quota),
    ("Refused: element budget exceeded", refusal_steps.budget),
    ("Refused: purpose changed", refusal_steps.purpose),
    ("Refused: grant revoked", refusal_steps.revoked),
    ("Refused: request replayed", refusal_steps.replay),
    ("Receipts and invoice", audit_steps.receipts),
    ("Reconciliation", audit_steps.reconcile),
    ("Refused: portal table tampered", audit_steps.tampered),
    ("Offline audit", audit_steps.offline),
)


def tell(story: Story) -> None:
    """All steps in order. A step that fails does not stop the ones that do not need it."""
    for number, (name, run) in enumerate(STEPS, start=1):
        story.step = Step(name)
        story.report.steps.append(story.step)
        started = time.monotonic()
        with story.screen.step(number, name):
            try:
                story.step.summary = run(story)
            except (ComputeError, ContractError, StepFailed) as error:
                problem = getattr(error, "problem", None)
                code = problem.code if problem is not None else getattr(error, "code", "")
                story.step.failures.append(f"{error} ({code})" if code else str(error))
        story.step.seconds = round(time.monotonic() - started, 2)
        story.step.ok = not story.step.failures
        story.screen.done(
            story.step.ok, story.step.summary or "; ".join(story.step.failures), story.step.seconds
        )
    story.report.ok = all(step.ok for step in story.report.steps)


def patient_of_interest(story: Story) -> str:
    """The patient whose record the institute asks for: the first one East and the laboratory share."""
    return truth.shared_patients(story.data.east, story.data.laboratory)[0]
