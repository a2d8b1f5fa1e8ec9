"""What all views share: the actor, one-object lookup that answers 404, input checks, pages."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView

from market.api.pagination import Pages
from market.errors import BadRequest, NotFound
from market.parties.actor import Actor

M = TypeVar("M", bound=Model)


class ApiView(APIView):
    """Base of every view. ``read_scope`` and ``write_scope`` are checked before the method runs."""

    read_scope = "read"
    request: Request

    @property
    def actor(self) -> Actor:
        """Who is calling; `HasScope` made sure that there is one."""
        actor = self.request.auth
        if not isinstance(actor, Actor):
            raise TypeError("a view ran without an actor")
        return actor

    def one(self, queryset: QuerySet[M], **lookup: Any) -> M:
        """The one visible object; raises NotFound, also for ids that are no ids."""
        try:
            found = queryset.filter(**lookup).first()
        except (ValueError, TypeError, ValidationError):
            found = None
        if found is None:
            raise NotFound()
        return found

    def page(self, queryset: QuerySet[Any], serializer: type[BaseSerializer[Any]]) -> Response:
        """One page of a list."""
        pages = Pages()
        rows = pages.paginate_queryset(queryset, self.request, view=self)
        return pages.get_paginated_response(serializer(rows, many=True, context={}).data)

    def filtered(self, queryset: QuerySet[M], **fields: str) -> QuerySet[M]:
        """Narrow by query parameters: parameter name to lookup. Empty values do not narrow."""
        for parameter, lookup in fields.items():
            value = self.request.query_params.get(parameter, "")
            if "\0" in value or len(value) > 500:
                raise BadRequest("a filter has at most 500 characters and no NUL", field=parameter)
            if value:
                queryset = queryset.filter(**{lookup: value})
        return queryset

    def given(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The checked body; raises ValidationError naming the first field that does not fit."""
        checked = serializer(data=self.request.data)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)
