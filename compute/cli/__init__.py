"""`liutong`: the market from a terminal. Every command takes --json; exit codes tell what happened.

| code | meaning |
|---|---|
| 0 | done |
| 1 | refused, failed, or a check that did not hold |
| 2 | the command line or an input does not fit |
| 3 | portal, node or chain does not answer |
"""

from __future__ import annotations

import sys
from typing import Any

import click

from compute.cli.ask import lookup, member, psi
from compute.cli.audit import audit, receipts
from compute.cli.catalogue import datasets, grants, offers
from compute.cli.jobs import jobs
from compute.cli.keys import keys
from compute.cli.quote import quote
from compute.cli.session import Session, shared_options

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="liutong")
@shared_options
def main(session: Session) -> None:
    """A market of data that is usable but not visible."""


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def node(arguments: tuple[str, ...]) -> None:
    """A party's own node: init, enrolment, publish, grants, serve (see compute/node/README.md)."""
    from compute.node.__main__ import main as node_main

    result: Any = node_main(list(arguments))
    sys.exit(result if isinstance(result, int) else 0)


for _command in (keys, datasets, offers, grants, jobs, psi, lookup, member, receipts, audit, quote):
    main.add_command(_command)
