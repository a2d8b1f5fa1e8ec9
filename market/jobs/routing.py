"""WebSocket routes."""

from __future__ import annotations

from typing import Any

from django.urls import path

from market.jobs.consumers import JobProgress

websocket_urlpatterns: list[Any] = [path("ws/jobs/<str:job_id>", JobProgress.as_asgi())]
