"""The portal as an ASGI application: `uvicorn market.asgi:application`."""

import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.settings")
_http = get_asgi_application()

# After Django is set up: these import models.
from channels.auth import AuthMiddlewareStack  # noqa: E402

from market.jobs.routing import websocket_urlpatterns  # noqa: E402

_routes = URLRouter(websocket_urlpatterns)
_browser = AllowedHostsOriginValidator(AuthMiddlewareStack(_routes))


async def _websocket(scope: Any, receive: Any, send: Any) -> None:
    """A browser must come from our own pages; a program with an API key has no origin and no cookie."""
    has_key = any(name == b"authorization" for name, _value in scope.get("headers", []))
    await (_routes if has_key else _browser)(scope, receive, send)


application = ProtocolTypeRouter({"http": _http, "websocket": _websocket})
