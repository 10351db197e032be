"""What only this API says in words."""

from functools import cache

from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from popolni.core.language import Language
from popolni.switch.words import LOCALES
from popolni.topups.rules import ReversalRefusal

_REVERSAL_REFUSALS = {
    ReversalRefusal.NOT_FOUND: _("there is no such top-up"),
    ReversalRefusal.NOT_ALLOWED: _("only the operator's staff may reverse it"),
    ReversalRefusal.TOO_LATE: _("it is too late to reverse it"),
    ReversalRefusal.MONEY_SPENT: _("the subscriber does not have the money any more"),
}


@cache
def reversal_refusal_in_words(refusal: ReversalRefusal, language: Language) -> str:
    """Why a top-up is not reversed."""
    with override(LOCALES[language]):
        return str(_REVERSAL_REFUSALS[refusal])
