"""The same tests on what outgrows the embedded defaults: PostgreSQL for the tables, Redis for channels."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
TESTS = ["lifecycle", "api", "relay", "reconcile", "concurrency"]


def require(port: int, what: str) -> None:
    """Skip unless something listens; fail when CI=true."""
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return
    message = f"no {what} at 127.0.0.1:{port}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_models_services_and_api_on_postgresql(tmp_path: Path) -> None:
    require(5432, "PostgreSQL")
    environ = {**os.environ, "DATABASE_URL": POSTGRES, "VAR_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [f"tests/market/test_{name}.py" for name in TESTS]
    # Left out: what depends on no database (edited fields, input checks), which is most of the time.
    command += ["-k", "not every_edit and not field_that and not valid_key and not malformed and not silent"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=880)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.redis
async def test_a_message_crosses_redis() -> None:
    require(6379, "Redis")
    from channels_redis.core import RedisChannelLayer

    here, there = RedisChannelLayer(hosts=[REDIS]), RedisChannelLayer(hosts=[REDIS])
    channel = await here.new_channel()
    await there.send(channel, {"type": "job.changed", "job": "0x00"})
    assert (await here.receive(channel))["job"] == "0x00"
    await here.close_pools()
    await there.close_pools()
