"""Refusals and promotions that don't apply, in words: one table each."""

from django.utils.translation import gettext_lazy as _

from popolni.catalog.promotions.rules import WhyNot
from popolni.core.refusal import Refusal

REFUSALS = {
    Refusal.REQUEST_MALFORMED: _("the request cannot be read"),
    Refusal.UNAVAILABLE: _("nothing can be decided now"),
    Refusal.CANCELLED: _("it was cancelled before it came"),
    Refusal.DUPLICATE_WITH_OTHER_CONTENT: _("the identifier names another top-up"),
    Refusal.AGENT_INACTIVE: _("the agent is not active"),
    Refusal.OUTLET_UNKNOWN: _("the agent has no such outlet"),
    Refusal.OUTLET_INACTIVE: _("the outlet is not active"),
    Refusal.NUMBER_MALFORMED: _("this is not a number"),
    Refusal.NUMBER_UNKNOWN: _("there is no such number"),
    Refusal.NUMBER_CLOSED: _("the number is closed"),
    Refusal.NUMBER_BLOCKED: _("the number is blocked"),
    Refusal.CONTRACT_NOT_IN_FORCE: _("the agent has no contract in force with the branch"),
    Refusal.CURRENCY_OTHER: _("the number is kept in another currency"),
    Refusal.CHANNEL_OFF: _("the operator takes no top-ups through this channel"),
    Refusal.METHOD_OFF: _("the operator does not take this payment method"),
    Refusal.OUTLET_METHOD_OFF: _("the outlet does not take this payment method"),
    Refusal.AMOUNT_TOO_SMALL: _("the sum is below the smallest top-up"),
    Refusal.AMOUNT_TOO_LARGE: _("the sum is above the largest top-up"),
    Refusal.IDENTITY_NEEDED: _("this much cash needs an identity document"),
    Refusal.DAY_LIMIT: _("the number's sum of the day would be too large"),
    Refusal.MONTH_LIMIT: _("the number's sum of the month would be too large"),
    Refusal.OUTLET_DAY_LIMIT: _("the outlet's sum of the day would be too large"),
    Refusal.FLOAT_TOO_LOW: _("the agent's float does not cover it"),
}
WHY_NOT = {
    WhyNot.OTHER_OPERATOR: _("it is another operator's"),
    WhyNot.OFF: _("it is off"),
    WhyNot.NOT_STARTED: _("it has not started"),
    WhyNot.ENDED: _("it is over"),
    WhyNot.OTHER_PLAN: _("not for the number's plan"),
    WhyNot.OTHER_CHANNEL: _("not through this channel"),
    WhyNot.AMOUNT_TOO_SMALL: _("the sum is too small for it"),
    WhyNot.AMOUNT_TOO_LARGE: _("the sum is too large for it"),
    WhyNot.NOT_FIRST_TOP_UP: _("only for the first top-up"),
    WhyNot.GIVEN_BEFORE: _("the number had it as often as it may"),
    WhyNot.NO_BUDGET_IN_BRANCH: _("it has no budget in the branch"),
    WhyNot.BUDGET_TOO_LOW: _("its budget is used up"),
}
