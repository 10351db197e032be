"""How people top up: when, where and how much. Only the chances are made up; the shape is that of
any prepaid network: quiet nights, a peak at lunch and one after work, round sums."""

import random
from datetime import datetime
from typing import NamedTuple

from popolni.core.channel import Channel
from popolni.core.language import Language

HOURS = (1, 0, 0, 0, 0, 1, 3, 7, 12, 14, 14, 15, 18, 17, 14, 13, 14, 18, 22, 21, 17, 12, 7, 3)
"""Top-ups by hour of the day."""
WEEKDAYS = (1.0, 0.95, 0.95, 1.0, 1.25, 1.15, 0.8)
"""Top-ups by weekday, from Monday on."""

AMOUNTS = {
    50: 4, 100: 24, 150: 9, 200: 17, 250: 6, 300: 16, 350: 4, 400: 5, 500: 9, 600: 2, 700: 3,
    1000: 4, 1500: 1,
}  # fmt: skip
CHANNELS = {
    Language.RU: (6, 32, 15, 13, 22, 12),
    Language.EN: (20, 34, 14, 9, 13, 10),
    Language.ZH: (22, 32, 12, 11, 13, 10),
}
"""Their parts, in the order of `Channel`: counter, web, till, kiosk, osmp, api."""
ODD_AMOUNT_PERCENT = 12

_OFFICE_WEEK, _OFFICE_WEEKEND, _SHOP = range(9, 20), range(10, 18), range(8, 22)
_ALL_DAY = range(24)


class TopUp(NamedTuple):
    """What somebody means to do."""

    at: datetime
    channel: Channel
    amount_minor: int


def opening_hours(channel: Channel, weekday: int) -> range:
    """The full hours in which the channel's places are open; weekday 0 is Monday."""
    if channel is Channel.COUNTER:
        return _OFFICE_WEEK if weekday < 5 else _OFFICE_WEEKEND
    return _SHOP if channel in (Channel.TILL, Channel.KIOSK) else _ALL_DAY


def choose(rng: random.Random, day: datetime, language: Language, least_minor: int = 0) -> TopUp:
    """A top-up on this day (local midnight), of at least so much."""
    (hour,) = rng.choices(range(24), HOURS)
    at = day.replace(
        hour=hour, minute=rng.randrange(60), second=rng.randrange(60),
        microsecond=rng.randrange(10**6),
    )  # fmt: skip
    channel = choose_channel(rng, at, language)
    (roubles,) = rng.choices(list(AMOUNTS), list(AMOUNTS.values()))
    amount = roubles * 100
    if channel in (Channel.WEB, Channel.API) and rng.randrange(100) < ODD_AMOUNT_PERCENT:
        amount += rng.randrange(1, 50_00)
    if amount < least_minor:
        amount = -(-least_minor // 50_00) * 50_00
    return TopUp(at, channel, amount)


def choose_channel(rng: random.Random, at: datetime, language: Language) -> Channel:
    """One that is open then."""
    while True:
        (channel,) = rng.choices(list(Channel), CHANNELS[language])
        if at.hour in opening_hours(channel, at.weekday()):
            return channel
