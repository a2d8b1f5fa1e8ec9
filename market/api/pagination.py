"""Lists come in pages, so that no answer grows with the market."""

from __future__ import annotations

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """``?page=`` and ``?page_size=`` (at most 500); answers {count, next, previous, results}."""

    page_size_query_param = "page_size"
    max_page_size = 500
