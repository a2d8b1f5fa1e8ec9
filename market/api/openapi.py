"""How the schema describes signing in and the headers of writes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """``Authorization: Bearer lt_…``."""

    target_class = "market.api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "lt_<prefix>_<secret>"}


class SessionScheme(OpenApiAuthenticationExtension):
    """The portal's session cookie."""

    target_class = "market.api.authentication.PortalSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class Schema(AutoSchema):
    """Adds the Idempotency-Key header to every write, and names operations by view and method."""

    def get_override_parameters(self) -> list[Any]:
        if self.method in {"POST", "DELETE"}:
            return [
                OpenApiParameter(
                    "Idempotency-Key",
                    location=OpenApiParameter.HEADER,
                    required=True,
                    description="8 to 128 visible ASCII characters; see the README on repeating",
                )
            ]
        return []

    def get_operation_id(self) -> str:
        name = type(self.view).__name__
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        if self.path.endswith(("/unfreeze", "/reinstate")):
            words = words + "_" + self.path.rpartition("/")[2]
        return f"{words}_{self.method.lower()}"
