"""The demo's logins. Each one's password is the login with `-demo` behind it."""

from typing import NamedTuple

from popolni.core.language import Language


class StaffRow(NamedTuple):
    """A login; its role has the same name."""

    login: str
    first_name: str
    last_name: str
    language: Language

    @property
    def password(self) -> str:
        """Known to everybody."""
        return f"{self.login}-demo"


STAFF = (
    StaffRow("owner", "Ольга", "Волкова", Language.RU),
    StaffRow("finance", "Фёдор", "Зайцев", Language.RU),
    StaffRow("clerk", "Claire", "Bennett", Language.EN),
    StaffRow("cashier", "晓梅", "陈", Language.ZH),
    StaffRow("catalogue", "Carl", "Novak", Language.EN),
    StaffRow("support", "丽", "孙", Language.ZH),
)
