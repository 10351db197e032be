"""What people pay with."""

from enum import StrEnum


class Method(StrEnum):
    """A way to pay. Which of them are on is a setting of the operator, never of the code."""

    CASH = "cash"
    CARD_RUSSIAN = "card_russian"
    CARD_FOREIGN = "card_foreign"
    SBP = "sbp"
    YOOMONEY = "yoomoney"
    PAYPAL = "paypal"
    ALIPAY = "alipay"
    WECHAT = "wechat"

    __hash__ = str.__hash__  # an enumeration's own is not in C, and they are keys on the hot path
