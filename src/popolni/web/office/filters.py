"""Filters of lists."""

from typing import Any

from django.http import HttpRequest
from unfold.contrib.filters.admin import RelatedDropdownFilter

from popolni.catalog.operators.models import Branch


class BranchFilter(RelatedDropdownFilter):  # type: ignore[misc]  # unfold carries no types
    """Branches with their operators' names, in one query for all of them."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        """Each branch's key and name."""
        branches = Branch.objects.select_related("operator").order_by("operator", "pk")
        return [(branch.pk, str(branch)) for branch in branches]
