"""Which models the back office shows: each room's pages, listed."""

from popolni.web.office import (
    adjustments,
    agents,
    audit,
    catalogue,
    numbering,
    numbers,
    people,
    plans,
    promotions,
    reconciliations,
    set_aside,
)
from popolni.web.office.site import office

__all__ = ["office"]

ROOMS = (
    numbers,
    adjustments,
    agents,
    reconciliations,
    catalogue,
    plans,
    promotions,
    numbering,
    people,
    set_aside,
    audit,
)
for room in ROOMS:
    room.register(office)
