"""What writes accept. Unknown fields are refused: a misspelt limit must not pass as no limit."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

_MOST = 2**53 - 1


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that names the fields it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({unknown[0]: ["unknown field"]})
        return super().to_internal_value(data)


class EmptyInput(StrictSerializer):
    """A write without a body."""


class EnrolInput(StrictSerializer):
    enrolment = serializers.DictField()
    roles = serializers.ListField(
        child=serializers.ChoiceField(["provider", "consumer", "regulator", "operator"]), min_length=1
    )
    name_zh = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    node_url = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class ActionInput(StrictSerializer):
    action = serializers.DictField(required=False)


class OfferInput(StrictSerializer):
    dataset = serializers.CharField(max_length=66)
    title = serializers.CharField(max_length=200)
    description = serializers.CharField(max_length=4000, required=False, default="", allow_blank=True)
    operations = serializers.ListField(child=serializers.CharField(max_length=10), max_length=10)
    purposes = serializers.ListField(child=serializers.CharField(max_length=4000), max_length=100)
    columns = serializers.ListField(child=serializers.CharField(max_length=200), max_length=5000)
    min_cohort = serializers.IntegerField(min_value=1, max_value=1_000_000)
    max_quota = serializers.IntegerField(min_value=1, max_value=_MOST)
    max_days = serializers.IntegerField(min_value=1, max_value=36_500)
    price_credits = serializers.IntegerField(min_value=0, max_value=10**12)


class GrantInput(StrictSerializer):
    offer = serializers.UUIDField()
    purpose = serializers.CharField(max_length=4000)
    operations = serializers.ListField(child=serializers.CharField(max_length=10), max_length=10)
    columns = serializers.ListField(child=serializers.CharField(max_length=200), max_length=5000)
    quota = serializers.IntegerField(min_value=1, max_value=_MOST)
    days = serializers.IntegerField(min_value=1, max_value=36_500)
    epsilon_micro = serializers.IntegerField(min_value=0, max_value=_MOST, required=False, default=0)
    note = serializers.CharField(max_length=4000, required=False, default="", allow_blank=True)


class ApproveInput(StrictSerializer):
    quota = serializers.IntegerField(min_value=1, max_value=_MOST, required=False)
    days = serializers.IntegerField(min_value=1, max_value=36_500, required=False)
    note = serializers.CharField(max_length=4000, required=False, default="", allow_blank=True)


class NoteInput(StrictSerializer):
    note = serializers.CharField(max_length=4000, required=False, default="", allow_blank=True)


class JobInput(StrictSerializer):
    spec = serializers.DictField()
    request = serializers.DictField()
    draft = serializers.UUIDField(required=False)


class DraftInput(StrictSerializer):
    document = serializers.DictField()
