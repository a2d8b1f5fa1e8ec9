"""Where everything is: REST under /api/v1, health for the supervisor, pages at the root."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from market.health import healthz

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    path("api/v1/", include("market.api.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
]
if settings.HAS_PORTAL_PAGES:
    urlpatterns.append(path("", include("market.portal.urls")))
