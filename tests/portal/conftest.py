"""Fixtures of the portal's pages: the world in the tables, and a signed-in client per person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from tests.portal.world import World, build


@pytest.fixture(scope="session", autouse=True)
def _catalogues() -> None:
    """Compiled messages, as an installation has them."""
    call_command("compile_catalogues", verbosity=0)


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def world(db: None) -> World:
    return build()


@pytest.fixture
def sign_in(world: World) -> Callable[..., Client]:
    """``sign_in("alice")``: a browser without scripts; ``strict`` makes it check CSRF."""

    def make(name: str, *, strict: bool = False) -> Client:
        client = Client(enforce_csrf_checks=strict)
        client.force_login(world.logins[name])
        return client

    return make


@pytest.fixture(scope="session")
def frontend() -> Path:
    return Path(settings.FRONTEND_DIR)
