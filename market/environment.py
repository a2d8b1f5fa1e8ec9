"""Reading settings from the environment: typed, named in the error, secrets only from files.

A secret in an environment variable shows in process listings and crash reports, so every secret is given as
the path of a file (``NAME_FILE``), the convention of container platforms.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """The variable's text, or the default where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    """A yes/no variable; raises ImproperlyConfigured for anything but 1/0, true/false, yes/no, on/off."""
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}: write 1 or 0")


def number(name: str, default: float) -> float:
    """A number variable; raises ImproperlyConfigured naming the variable."""
    value = text(name)
    try:
        return float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}: write a number") from None


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated variable without empty entries."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret_from_file(name: str, *, create_at: Path | None = None) -> str:
    """The content of the file that ``NAME_FILE`` points to.

    Without the variable the file ``create_at`` is used and made on first use, readable by its owner alone;
    several processes may race for that, so creation is exclusive and the loser reads the winner's file.
    """
    configured = text(f"{name}_FILE")
    path = Path(configured) if configured else create_at
    if path is None:
        return ""
    if not configured and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        value = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE: {path} is empty")
    return value


def database(url: str) -> dict[str, object]:
    """A Django database entry from ``sqlite:///absolute/path`` or ``postgresql://user:secret@host/name``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        path = unquote(parts.path)[1:] if parts.path.startswith("//") else unquote(parts.path)
        if not path:
            raise ImproperlyConfigured("DATABASE_URL: sqlite:///absolute/path/to/portal.db")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            "OPTIONS": {
                # Several processes write: take the write lock at BEGIN, so that a transaction that read
                # first never fails half way, and wait for it rather than give up.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
            # A file, not memory: tests use threads, and WAL should be what is tested.
            "TEST": {"NAME": f"{path}.test-{os.getpid()}"},
        }
    if parts.scheme in {"postgres", "postgresql"}:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_HEALTH_CHECKS": True,
            # Test runs side by side must not share a database.
            "TEST": {"NAME": f"test_{unquote(parts.path.lstrip('/'))}_{os.getpid()}"},
            "OPTIONS": dict(parse_qsl(parts.query)),
        }
    raise ImproperlyConfigured(f"DATABASE_URL: unknown scheme {parts.scheme!r}; use sqlite or postgresql")
