"""`liutong quote`: what a job will take, before anything is asked of anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compute.cli.session import Session, command, shared_options
from compute.cli.show import facts
from compute.errors import BadInput

if TYPE_CHECKING:
    # Protocols bring compiled kernels; a command line that only asks for --help does not wait for them.
    from compute.protocols.quote import Quote


@click.command("quote")
@click.argument("kind", required=False)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    help="ROLE=N,…: distinct keys or rows of each role; of PIR also record_bytes=N",
)
@click.option("--params", help="JSON, or a file with it; default: the kind's example")
@click.option("--network", default="1gbit,1ms", show_default=True, help="bandwidth and round trip")
@click.option("--cores", type=click.IntRange(1), help="of each party; default: those of the calibration")
@click.option("--backend", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True)
@click.option("--price", "prices", multiple=True, help="credits per unit: N for all roles, or ROLE=N")
@click.option("--offer", "offers", multiple=True, help="take the price from this offer: ID, or ROLE=ID")
@click.option("--calibrate", is_flag=True, help="measure this machine first and keep what was measured")
@shared_options
@command
def quote(
    session: Session,
    kind: str | None,
    sizes: tuple[str, ...],
    params: str | None,
    network: str,
    cores: int | None,
    backend: str,
    prices: tuple[str, ...],
    offers: tuple[str, ...],
    calibrate: bool,
) -> None:
    """Predict time, bytes and price of a job of KIND from sizes alone."""
    if kind is None and not calibrate:
        raise BadInput("give KIND and --size, or --calibrate")
    if calibrate:
        _calibrate(session, alone=kind is None)
    if kind is None:
        return
    from compute.protocols.quote import Network
    from compute.protocols.quote import quote as predicted

    found = predicted(
        kind,
        _numbers(sizes, "--size"),
        params=None if params is None else _json(params),
        network=Network.parse(network),
        prices={**_offered(session, offers), **_by_role(prices, "--price")},
        cores=cores,
        backend=backend,
    )
    session.show(found, lambda: facts(f"{kind} over {_sizes(found)}", _lines(found)))


def _calibrate(session: Session, *, alone: bool) -> None:
    from compute.protocols import calibration
    from compute.protocols.calibrate import measure

    def tell(operation: str) -> None:
        if not session.as_json:
            session.err.print(f"[dim]· {operation}[/dim]")

    measured = measure(on_progress=tell)
    path = calibration.save(measured)
    if alone:
        session.show(
            {"file": str(path), "machine": measured.machine, "rates": measured.rates},
            lambda: f"{measured.machine}, {measured.cores} cores: {len(measured.rates)} operations in {path}",
        )


def _offered(session: Session, offers: tuple[str, ...]) -> dict[str, int]:
    if not offers:
        return {}
    wanted = dict(map(_role_and_value, offers))
    with session.client() as client:
        known = {offer.id: offer.price_credits for offer in client.offers()}
    if missing := [offer for offer in wanted.values() if offer not in known]:
        raise BadInput(f"there is no open offer {missing[0]}")
    return {role: known[offer] for role, offer in wanted.items()}


def _by_role(items: tuple[str, ...], option: str) -> dict[str, int]:
    return {role: _number(value, option) for role, value in map(_role_and_value, items)}


def _role_and_value(item: str) -> tuple[str, str]:
    role, separator, value = item.partition("=")
    return (role, value) if separator else ("", item)


def _numbers(items: tuple[str, ...], option: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in ",".join(items).split(",") if items else []:
        name, separator, value = item.strip().partition("=")
        if not separator or not name or name in found:
            raise BadInput(f"{option} {item!r}: write ROLE=N, each role once")
        found[name] = _number(value, option)
    return found


def _number(text: str, option: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise BadInput(f"{option}: {text!r} is not a number") from None


def _json(text: str) -> dict[str, Any]:
    try:
        inline = text.lstrip().startswith(("{", "["))
        value = json.loads(text if inline else Path(text.removeprefix("@")).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"--params: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("--params: give a JSON object")
    return value


def _sizes(found: Quote) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in found.sizes.items())


def _lines(found: Quote) -> dict[str, str]:
    lines = {}
    if found.protocol:
        lines["protocol"] = found.protocol + (f": {found.reason}" if found.reason else "")
    lines["time"] = (
        f"{_duration(found.seconds_at_best)} to {_duration(found.seconds)} (computing "
        f"{_duration(found.compute_s)}, sending {_duration(found.transfer_s)}, {found.rounds} messages in "
        f"turn {_duration(found.waiting_s)})"
    )
    for role, count in found.bytes_sent.items():
        lines[f"{role} sends"] = _amount(count)
    for role, units in found.units.items():
        price = found.price_credits[role]
        lines[f"{role} is charged"] = f"{units:,} units" + ("" if price is None else f", {price:,} credits")
    if found.total_credits is not None:
        lines["price"] = f"{found.total_credits:,} credits"
    lines["cores"] = f"{found.cores} at each party"
    lines["rates from"] = found.calibration
    lines["assumed"] = "; ".join(found.assumed)
    return lines


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _amount(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        size /= 1000
    return f"{size:.3g} TB"
