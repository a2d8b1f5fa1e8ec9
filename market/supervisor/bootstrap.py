"""Puts parties, logins and API keys into the portal: `python -m market.supervisor.bootstrap PLAN.json`.

A process of its own, because it needs the portal's Django settings and the supervisor does not. Safe to
repeat: what is there stays as it is. The plan and the answers hold secrets and are files of the owner alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from market.supervisor.layout import write_atomically


def main(plan_file: Path) -> None:
    """Carry out a plan: {"parties": [{enrolment, name_zh, roles, scopes, logins, api_key_file}]}."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.settings")
    import django

    django.setup()
    plan = json.loads(plan_file.read_text())
    for party in plan["parties"]:
        _party(party)


def _party(plan: dict[str, Any]) -> None:
    from compute.wire import canonical
    from compute.wire.messages import Enrolment
    from contracts.eip712 import Role
    from market.parties.actor import Actor
    from market.parties.enrolment import propose_party
    from market.parties.services import create_api_key, create_login

    actor = Actor.system("supervisor")
    roles = Role(0)
    for name in plan["roles"]:
        roles |= Role[name.upper()]
    party = propose_party(
        enrolment=canonical.convert(Enrolment, plan["enrolment"]),
        roles=roles,
        actor=actor,
        name_zh=plan["name_zh"],
        node_url=plan["node_url"],
    )
    for username, login in plan["logins"].items():
        create_login(
            username=username, password=login["password"], party=party, roles=login["roles"], actor=actor
        )
    key_file = Path(plan["api_key_file"])
    if not key_file.exists():
        _, token = create_api_key(party=party, name="demo", scopes=plan["scopes"], actor=actor)
        write_atomically(key_file, token, mode=0o600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
