"""The operator's command line: `python -m contracts new-key FILE | address FILE | deploy …`.

Exit codes: 0 done, 1 the chain refuses or is not one we can use, 2 wrong use, 3 no answer from the endpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path

from contracts.deploy import deploy
from contracts.errors import ChainUnreachable, ContractError
from contracts.transactions import address_of_key

# The group order of secp256k1; a key is an integer below it and not zero.
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the answer goes to stdout, errors to stderr as one line."""
    parser = argparse.ArgumentParser(
        prog="python -m contracts", description="Keys and contracts of an operator."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    new_key = verbs.add_parser("new-key", help="write a random private key to a new file, show its address")
    new_key.add_argument("file", type=Path)
    address = verbs.add_parser("address", help="the address of the private key in a file")
    address.add_argument("file", type=Path)
    deployment = verbs.add_parser("deploy", help="probe a chain and create the contracts; prints JSON")
    deployment.add_argument("--rpc-url", required=True)
    deployment.add_argument("--key-file", type=Path, required=True, help="the operator's key; pays the gas")
    deployment.add_argument(
        "--release-grace-s", type=int, default=600, help="wait after a job's deadline before units come back"
    )
    deployment.add_argument(
        "--timelock-s", type=int, default=172_800, help="wait before the address book replaces a contract"
    )
    options = parser.parse_args(arguments)
    try:
        if options.verb == "new-key":
            print(_new_key(options.file))
        elif options.verb == "address":
            print(address_of_key(_read_key(options.file)))
        else:
            made = deploy(
                options.rpc_url,
                _read_key(options.key_file),
                release_grace_s=options.release_grace_s,
                timelock_s=options.timelock_s,
            )
            print(json.dumps(asdict(made), indent=2))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except ContractError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 3 if isinstance(error, ChainUnreachable) else 1
    return 0


def _new_key(path: Path) -> str:
    key = (secrets.randbelow(_ORDER - 1) + 1).to_bytes(32, "big")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
    return address_of_key(key)


def _read_key(path: Path) -> bytes:
    text = path.read_text().strip().removeprefix("0x")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32 or not 0 < int.from_bytes(key, "big") < _ORDER:
        # Never show what is there: it may be half of a key.
        raise ValueError(f"{path} does not hold a private key (64 hexadecimal digits)")
    return key


if __name__ == "__main__":
    sys.exit(main())
