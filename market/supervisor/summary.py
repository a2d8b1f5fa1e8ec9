"""What a person needs to know once the stack is healthy."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from market.supervisor.cast import CAST
from market.supervisor.stack import Stack


def print_summary(console: Console, stack: Stack) -> None:
    """Addresses, demo logins, where keys and logs are."""
    layout = stack.layout
    console.print(f"\n[bold]Liutong is up[/bold]   portal {layout.url('portal')}   chain {stack.rpc_url}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("party", "", "signs in as", "password", "node"):
        table.add_column(heading, no_wrap=True)
    for party in CAST:
        for username in party.logins:
            table.add_row(
                party.name,
                party.name_zh,
                username,
                layout.password(username),
                layout.url(party.key) if party.has_node else "–",
            )
    console.print(table)
    console.print(
        f"[dim]a shell as a party: source {layout.home}/shell/research-institute.sh; liutong datasets\n"
        f"API keys in {layout.secrets}/*.apikey · logs in {layout.log} · "
        f"contracts by address book {stack.address_book}\nCtrl-C ends everything; the state stays.[/dim]"
    )
