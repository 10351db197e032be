"""The names, for people, of what `core` lists."""

from django.utils.translation import gettext_lazy as _

from popolni.core.channel import Channel
from popolni.core.language import Language
from popolni.core.method import Method
from popolni.ledger.model import Unit

CHANNELS = [
    (Channel.COUNTER.value, _("counter")),
    (Channel.WEB.value, _("web")),
    (Channel.TILL.value, _("till")),
    (Channel.KIOSK.value, _("kiosk")),
    (Channel.OSMP.value, _("terminals (OSMP)")),
    (Channel.API.value, _("API")),
]
METHODS = [
    (Method.CASH.value, _("cash")),
    (Method.CARD_RUSSIAN.value, _("card issued in Russia")),
    (Method.CARD_FOREIGN.value, _("card issued outside Russia")),
    (Method.SBP.value, _("SBP QR code")),
    (Method.YOOMONEY.value, "YooMoney"),
    (Method.PAYPAL.value, "PayPal"),
    (Method.ALIPAY.value, "Alipay"),
    (Method.WECHAT.value, "WeChat Pay"),
]
UNITS = [
    (Unit.BYTE.value, _("bytes")),
    (Unit.SECOND.value, _("seconds")),
    (Unit.MESSAGE.value, _("messages")),
]
LANGUAGES = [
    (Language.RU.value, "Русский"),
    (Language.EN.value, "English"),
    (Language.ZH.value, "中文"),
]
