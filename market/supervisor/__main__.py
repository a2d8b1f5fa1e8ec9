"""`python -m market.supervisor`: start a whole market here, tend it, and end it with Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from rich.console import Console

from market.supervisor.chain import StartFailed
from market.supervisor.instance import AlreadyRunning, only_one
from market.supervisor.layout import REPOSITORY, Layout
from market.supervisor.stack import Stack
from market.supervisor.summary import print_summary


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after Ctrl-C, 1 if the stack cannot start, 3 if one runs in this folder already."""
    parser = argparse.ArgumentParser(prog="python -m market.supervisor", description=__doc__)
    default_home = Path(os.environ.get("LIUTONG_HOME") or REPOSITORY / "var" / "up")
    parser.add_argument("--home", type=Path, default=default_home, help="the stack's folder (LIUTONG_HOME)")
    parser.add_argument("--free-ports", action="store_true", help="let the system choose the ports")
    parser.add_argument("--quiet", action="store_true", help="no progress lines and no summary")
    options = parser.parse_args(arguments)

    console = Console(stderr=options.quiet, quiet=options.quiet)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    layout = Layout(options.home.resolve(), options.free_ports)
    try:
        with only_one(layout.lock):
            stack = Stack(layout, say=lambda text: console.print(f"[dim]·[/dim] {text}"), stop=stop)
            try:
                stack.start()
                print_summary(console, stack)
                while not stop.is_set():
                    stack.tend()
                    time.sleep(0.2)
            finally:
                stack.end()
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return 3
    except StartFailed as error:
        if stop.is_set():
            return 0
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
