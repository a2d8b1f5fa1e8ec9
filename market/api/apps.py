from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "market.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from market.api import openapi  # noqa: F401 - registers the authentication schemes
