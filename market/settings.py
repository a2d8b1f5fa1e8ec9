"""Settings of the portal, all from the environment; every one is listed in market/README.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from django.utils.translation import gettext_lazy as _

from market import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent
FRONTEND_DIR = BASE_DIR / "frontend"
# Run state: database, generated secrets. One folder per portal.
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var" / "portal")))
VAR_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.secret_from_file("SECRET_KEY", create_at=VAR_DIR / "secret_key")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
# True behind a TLS proxy: cookies then travel over HTTPS only.
HTTPS = env.flag("HTTPS", False)

# The chain and the portal's two keys. The relayer pays for transactions and, as operator, enrols parties;
# the portal key signs requests to nodes and has no right on chain.
CHAIN_RPC_URL = env.text("CHAIN_RPC_URL", "http://127.0.0.1:8601")
ADDRESS_BOOK = env.text("ADDRESS_BOOK")
FINALITY_DEPTH = int(env.number("FINALITY_DEPTH", 0))
CHAIN_TIMEOUT_S = env.number("CHAIN_TIMEOUT_S", 10)
NODE_TIMEOUT_S = env.number("NODE_TIMEOUT_S", 10)
PORTAL_KEY_FILE = env.text("PORTAL_KEY_FILE")
RELAYER_KEY_FILE = env.text("RELAYER_KEY_FILE")
# How long after its deadline a reservation waits for a late receipt; the contract enforces it.
WORKER_INTERVAL_S = env.number("WORKER_INTERVAL_S", 0.3)
# Nodes that do not answer for this long after a job's deadline make the job expire.
JOB_EXPIRY_GRACE_S = env.number("JOB_EXPIRY_GRACE_S", 30)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "market",
    "market.parties",
    "market.catalog",
    "market.grants",
    "market.jobs",
    "market.ledger",
    "market.audit",
    "market.billing",
    "market.api",
]
# The pages are a room of their own: an installation that only serves the API may leave it out.
HAS_PORTAL_PAGES = (
    env.flag("PORTAL_PAGES", True)
    and importlib.util.find_spec("market.portal") is not None
    and importlib.util.find_spec("market.portal.urls") is not None
)
if HAS_PORTAL_PAGES:
    INSTALLED_APPS.append("market.portal")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "market.security.RefuseNul",
    "market.security.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "market.urls"
ASGI_APPLICATION = "market.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [FRONTEND_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.database(env.text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'portal.db'}"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL")
CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
# A signed request with its spec, or a sealed result: 1 MiB documents and room around them.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 << 20

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [FRONTEND_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.text("TIME_ZONE", "UTC")

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [path for path in [FRONTEND_DIR / "static"] if path.exists()]
# Serve straight from the sources: `make up` needs no collectstatic step.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "market.api.authentication.ApiKeyAuthentication",
        "market.api.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["market.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["market.api.parsers.StorableJson"],
    "DEFAULT_SCHEMA_CLASS": "market.api.openapi.Schema",
    "EXCEPTION_HANDLER": "market.api.problems.exception_handler",
    "DEFAULT_PAGINATION_CLASS": "market.api.pagination.Pages",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Liutong portal",
    "DESCRIPTION": "Catalogue, grants, jobs, receipts and audit of one data-circulation market. "
    "Names of the Dataspace Protocol: Catalog = datasets and offers, Agreement = grant, "
    "TransferProcess = job.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    # JSON schemas of job kinds go in as they are, which needs the version that speaks JSON Schema 2020-12.
    "OAS_VERSION": "3.1.1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "market.api.openapi_kinds.add_kinds",
    ],
    "ENUM_NAME_OVERRIDES": {
        "PartyState": "market.parties.models.Party.State",
        "DatasetState": "market.catalog.models.Dataset.State",
        "OfferState": "market.catalog.models.Offer.State",
        "GrantState": "market.grants.models.Grant.State",
        "JobState": "market.jobs.models.Job.State",
        "ReceiptState": "market.ledger.models.Receipt.State",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {"django.request": {"level": "ERROR"}, "httpx": {"level": "WARNING"}},
}
