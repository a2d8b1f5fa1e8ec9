"""The only writers of parties, logins and API keys."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from market.audit import services as audit
from market.errors import BadRequest, NotFound, Unauthenticated
from market.parties.actor import SCOPES, Actor
from market.parties.models import ApiKey, Membership, Party, RoleName

_TOKEN = re.compile(r"lt_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
# A moving timestamp on every request would be a write on every read.
_LAST_USED_STEP = timedelta(minutes=1)


@transaction.atomic
def create_api_key(
    *, party: Party, name: str, scopes: list[str], actor: Actor, user: Any = None
) -> tuple[ApiKey, str]:
    """A new key for a party; returns (row, token). The token is never stored and never shown again.

    SHA-256 without salt or stretching is enough here: the secret is 256 bits from the operating system, so
    there is nothing to guess and no two secrets are equal; password hashes would only slow each request.
    Raises BadRequest for an unknown scope.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise BadRequest(f"scopes are some of: {', '.join(SCOPES)}", field="scopes")
    if not name.strip() or len(name) > 100:
        raise BadRequest("a key's name has 1 to 100 characters", field="name")
    prefix = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        party=party,
        user=user,
        name=name.strip(),
        prefix=prefix,
        hash=_hash(secret),
        scopes=[scope for scope in SCOPES if scope in scopes],
    )
    audit.append("api_key.created", actor=actor, subject=party.party_id, prefix=prefix, scopes=key.scopes)
    return key, f"lt_{prefix}_{secret}"


@transaction.atomic
def revoke_api_key(*, key_id: int, actor: Actor) -> ApiKey:
    """End a key of the actor's own party; repeating it changes nothing. Raises NotFound."""
    key = ApiKey.objects.select_for_update().filter(pk=key_id).first()
    if key is None:
        raise NotFound()
    actor.require_party(key.party)
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        audit.append("api_key.revoked", actor=actor, subject=key.party_id, prefix=key.prefix)
    return key


def authenticate_api_key(token: str) -> ApiKey:
    """The live key behind a token; raises Unauthenticated alike for malformed, unknown and revoked ones."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Unauthenticated()
    key = ApiKey.objects.select_related("party", "user").filter(prefix=match[1]).first()
    # Compare against something even when nothing was found, so that timing does not tell prefixes apart.
    expected = key.hash if key else _hash("")
    if not hmac.compare_digest(expected, _hash(match[2])) or key is None or key.revoked_at is not None:
        raise Unauthenticated()
    if key.user is not None and not key.user.is_active:
        raise Unauthenticated()
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _LAST_USED_STEP:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def actor_of(user: Any, membership_id: int | None = None) -> Actor | None:
    """The actor of a signed-in person: the chosen membership, or their first; None without any."""
    if not getattr(user, "is_authenticated", False):
        return None
    memberships = Membership.objects.select_related("party", "user").filter(user=user).order_by("id")
    chosen = memberships.filter(pk=membership_id).first() if membership_id else None
    chosen = chosen or memberships.first()
    return Actor.for_membership(chosen) if chosen else None


@transaction.atomic
def create_login(*, username: str, password: str, party: Party, roles: list[str], actor: Actor) -> Any:
    """A person who acts for a party; safe to repeat (adds missing roles, never changes a password).

    Raises BadRequest for a weak password or an unknown role.
    """
    unknown = sorted(set(roles) - set(RoleName.values))
    if unknown or not roles:
        raise BadRequest(f"roles are some of: {', '.join(RoleName.values)}", field="roles")
    users = get_user_model().objects
    user = users.filter(username=username).first()
    if user is None:
        try:
            validate_password(password)
        except ValidationError as error:
            raise BadRequest(" ".join(error.messages), field="password") from error
        try:
            with transaction.atomic():
                user = users.create_user(username=username, password=password)
        except IntegrityError:  # another process got there first
            user = users.get(username=username)
    for role in roles:
        Membership.objects.get_or_create(user=user, party=party, role=role)
    audit.append("login.created", actor=actor, subject=party.party_id, username=username, roles=roles)
    return user


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
