"""Files to `source` in a shell, which then acts as one party of the running stack.

They name addresses and files of secrets, never a secret, and are written anew at every start.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from market.supervisor.cast import CAST, PartyPlan
from market.supervisor.layout import Layout, write_atomically


def write_shells(layout: Layout, portal_settings: Mapping[str, str]) -> None:
    """``shell/PARTY.sh`` for every party; the operator's also holds the portal's settings (`manage.py`)."""
    for party in CAST:
        settings = _settings(layout, party, portal_settings)
        if "operator" in party.roles:
            settings |= portal_settings
        lines = [f"# source this: a shell as {party.name} ({party.name_zh})"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
        lines += [f'export PATH={shlex.quote(str(Path(sys.executable).parent))}{os.pathsep}"$PATH"', ""]
        write_atomically(layout.shell(party.key), "\n".join(lines))


def _settings(layout: Layout, party: PartyPlan, portal_settings: Mapping[str, str]) -> dict[str, str]:
    settings = {
        "LIUTONG_URL": layout.url("portal"),
        "LIUTONG_API_KEY_FILE": str(layout.secrets / f"{party.key}.apikey"),
        "LIUTONG_CHAIN_RPC_URL": portal_settings["CHAIN_RPC_URL"],
        "LIUTONG_ADDRESS_BOOK": portal_settings["ADDRESS_BOOK"],
    }
    if not party.has_node:
        folder = layout.member(party.key)
        settings["LIUTONG_KEY_FILE"] = str(folder / "party.keys")
        settings["LIUTONG_PASSPHRASE_FILE"] = str(folder / "passphrase")
    return settings
