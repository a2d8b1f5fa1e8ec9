"""`liutong datasets`, `offers`, `grants`: what there is, and the right to use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from compute.cli.session import Session, command, shared_options
from compute.cli.show import grant_table, short, table


@click.command()
@click.argument("query", required=False)
@click.option("--operation", help="only datasets that allow it")
@shared_options
@command
def datasets(session: Session, query: str | None, operation: str | None) -> None:
    """The catalogue."""
    with session.client() as client:
        found = client.datasets(query, operation=operation)
    session.show(
        found,
        lambda: table(
            ("dataset", "name", "provider", "operations", "rows", "state", "columns"),
            [
                (
                    short(item.dataset),
                    item.name,
                    item.provider.name,
                    " ".join(item.operations),
                    item.row_count if item.kind == "table" else "–",
                    item.state,
                    told_columns(item.columns),
                )
                for item in found
            ],
        ),
    )


@click.command()
@click.argument("query", required=False)
@click.option("--dataset", help="only offers of this dataset")
@shared_options
@command
def offers(session: Session, query: str | None, dataset: str | None) -> None:
    """Open offers."""
    with session.client() as client:
        found = client.offers(query, dataset=dataset)
        # An offer names columns, their types stand with the dataset.
        typed = {} if session.as_json else {item.dataset: item.columns for item in client.datasets()}
    session.show(
        found,
        lambda: table(
            ("offer", "title", "dataset", "operations", "purposes", "quota", "days", "credits", "columns"),
            [
                (
                    item.id,
                    item.title,
                    item.dataset_name,
                    " ".join(item.operations),
                    ", ".join(item.purposes),
                    f"≤ {item.max_quota}",
                    f"≤ {item.max_days}",
                    item.price_credits,
                    told_columns(
                        column for column in typed.get(item.dataset, []) if column["name"] in item.columns
                    ),
                )
                for item in found
            ],
        ),
    )


def told_columns(columns: Iterable[Mapping[str, Any]]) -> str:
    """Names and types as their provider published them."""
    return ", ".join(f"{column.get('name', '')} {column.get('type', '')}".strip() for column in columns)


@click.group()
def grants() -> None:
    """Rights of use."""


@grants.command("request")
@click.argument("offer")
@click.option("--purpose", required=True)
@click.option("--operation", "operations", multiple=True, required=True)
@click.option("--column", "columns", multiple=True)
@click.option("--quota", type=int, required=True)
@click.option("--days", type=int, default=30, show_default=True)
@click.option("--note", default="")
@click.option("--wait", is_flag=True, help="until it is active, or ended")
@shared_options
@command
def grants_request(session: Session, offer: str, wait: bool, **terms: Any) -> None:
    """Apply for a grant under an OFFER."""
    with session.client() as client:
        grant = client.grants.request(offer, **terms)
        if wait:
            grant = client.grants.wait(grant, timeout_s=86_400)
    session.show(grant, lambda: grant_table([grant]))


@grants.command("list")
@click.option("--state")
@click.option("--side", type=click.Choice(["given", "held"]))
@shared_options
@command
def grants_list(session: Session, state: str | None, side: str | None) -> None:
    """Grants the party holds or gave."""
    with session.client() as client:
        found = client.grants.list(state=state, side=side)
    session.show(found, lambda: grant_table(found))
