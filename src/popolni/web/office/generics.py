"""Classes of Django's that take their parameter for the type checker alone."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.paginator import Paginator

if TYPE_CHECKING:
    AnyModelForm = forms.ModelForm[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyModelForm = forms.ModelForm
    AnyPaginator = Paginator

__all__ = ["AnyModelForm", "AnyPaginator"]
