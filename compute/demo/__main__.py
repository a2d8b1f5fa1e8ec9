"""`python -m compute.demo`: tell the story, write the report, exit 0 only if every expectation held."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from compute.demo import data, market_process
from compute.demo.market_process import REPOSITORY, MarketFailed
from compute.demo.report import Report
from compute.demo.screen import Screen
from compute.demo.story import Story, tell


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: all held; 1: something did not; 2: the market did not start."""
    parser = argparse.ArgumentParser(prog="python -m compute.demo", description=__doc__)
    parser.add_argument("--home", type=Path, default=REPOSITORY / "var" / "demo", help="the demo's folder")
    options = parser.parse_args(arguments)
    home: Path = options.home.resolve()

    console = Console(highlight=False)
    screen = Screen(console)
    report = Report()
    started = time.monotonic()
    console.print(
        "[bold]Liutong[/bold]: hospitals, a laboratory, an airport and an institute circulate real data\n"
        f"[dim]chain, portal, three workers and four party nodes start in {home}[/dim]"
    )
    try:
        with market_process.running(home / "market") as market:
            console.print(f"[dim]up after {time.monotonic() - started:.0f} s[/dim]\n")
            story = Story(market, data.cut(), report, screen)
            try:
                tell(story)
            finally:
                for client in story.clients.values():
                    client.close()
    except MarketFailed as error:
        console.print(f"[bold red]the market did not start[/bold red]\n{error}")
        return 2
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    finally:
        report.write(home / "report.json")
    screen.summary(report)
    verdict = (
        "[green]every expectation held[/green]" if report.ok else "[bold red]not everything held[/bold red]"
    )
    console.print(f"\n{verdict} in {time.monotonic() - started:.0f} s · {home / 'report.json'}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
