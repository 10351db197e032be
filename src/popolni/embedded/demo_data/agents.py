"""The demo's agents, their contracts' terms, and their outlets in real cities; house numbers are
made up, and so are the agents."""

from typing import NamedTuple

from popolni.agents.models import Contract, Outlet
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.embedded.demo_data.catalogue import OPERATORS, minor


class AgentRow(NamedTuple):
    """An agent. It tops up through `channel` only; `operators`: whose branches it works for."""

    code: str
    name: str
    channel: Channel
    operators: tuple[str, ...]
    basis_points: int
    float_first: int
    float_weekly: int
    """Fundings in roubles; a weekly 0: as much as the week needs."""
    sees_names: bool = False
    networks: tuple[str, ...] = ()
    reversal_minutes: int = 0
    osmp_commands: tuple[str, ...] = ()
    requests_per_s: int | None = 100

    @property
    def cash_identity(self) -> Contract.CashIdentity:
        """An office and a shop look at a document; machines have the payer ask Gosuslugi."""
        if self.channel in (Channel.COUNTER, Channel.TILL):
            return Contract.CashIdentity.DOCUMENT
        return Contract.CashIdentity.GOSUSLUGI


TERMINAL, TERMINAL_PASSWORD = "terminal", "demo-terminal"
EVERY = tuple(operator.code for operator in OPERATORS)

AGENTS = (
    AgentRow(TERMINAL, "Терминал-Сервис", Channel.OSMP, EVERY, 150, 3_000_000, 250_000,
             sees_names=True, reversal_minutes=60, osmp_commands=("cancel", "status", "verify"),
             requests_per_s=None),
    AgentRow("lukoshko", "Магазины «Лукошко»", Channel.TILL, EVERY, 200, 0, 0),
    AgentRow("bystro", "Киоски «Быстро и точно»", Channel.KIOSK, EVERY, 180, 0, 0),
    AgentRow("oplata-online", "Оплата Онлайн", Channel.API, EVERY, 90, 150_000, 0,
             networks=("203.0.113.0/24", "2001:db8:1::/48")),
    *(
        AgentRow(f"{operator.code}-offices", f"{operator.name.ru}: свои офисы", Channel.COUNTER,
                 (operator.code,), 0, 200_000, 0, sees_names=True)
        for operator in OPERATORS
    ),
)  # fmt: skip
BY_CODE = {agent.code: agent for agent in AGENTS}
LOW_FLOATS = {("lukoshko", "mts-siberia"), ("bystro", "megafon-ural"), ("bystro", "beeline-moscow")}
"""Agents whose float with a branch is low at the end."""


class City(NamedTuple):
    """A box around its built-up area: south, west, north, east, in degrees."""

    south: float
    west: float
    north: float
    east: float


CITIES = {
    "Москва": City(55.49, 37.32, 55.92, 37.97),
    "Химки": City(55.86, 37.32, 55.99, 37.52),
    "Санкт-Петербург": City(59.74, 30.04, 60.10, 30.57),
    "Великий Новгород": City(58.47, 31.19, 58.60, 31.40),
    "Петрозаводск": City(61.72, 34.22, 61.85, 34.50),
    "Новосибирск": City(54.80, 82.75, 55.13, 83.17),
    "Томск": City(56.39, 84.85, 56.58, 85.15),
    "Красноярск": City(55.93, 92.65, 56.13, 93.15),
    "Екатеринбург": City(56.70, 60.45, 56.95, 60.80),
    "Челябинск": City(55.05, 61.20, 55.30, 61.55),
    "Тюмень": City(57.05, 65.35, 57.25, 65.80),
}


class OutletRow(NamedTuple):
    """An outlet; the sums are in roubles."""

    agent: str
    city: str
    name: str
    address: str
    latitude: str
    longitude: str
    hours: str

    @property
    def kind(self) -> Outlet.Kind:
        """By what the agent is."""
        return _KINDS[BY_CODE[self.agent].channel]

    @property
    def methods(self) -> list[Method]:
        """What it takes: a machine takes cash; an office what travellers carry, too."""
        return _METHODS[self.kind]

    @property
    def limits(self) -> tuple[int, int, int]:
        """The smallest and largest top-up and most in a day, in kopecks."""
        smallest, largest, day = _LIMITS[self.kind]
        return minor(smallest), minor(largest), minor(day)


_KINDS = {
    Channel.COUNTER: Outlet.Kind.OFFICE,
    Channel.TILL: Outlet.Kind.SHOP,
    Channel.KIOSK: Outlet.Kind.KIOSK,
    Channel.OSMP: Outlet.Kind.KIOSK,
}
_METHODS = {
    Outlet.Kind.OFFICE: [
        Method.CASH, Method.CARD_RUSSIAN, Method.SBP, Method.ALIPAY, Method.WECHAT,
    ],
    Outlet.Kind.SHOP: [Method.CASH, Method.CARD_RUSSIAN, Method.SBP],
    Outlet.Kind.KIOSK: [Method.CASH],
}  # fmt: skip
_LIMITS = {
    Outlet.Kind.OFFICE: (1, 15_000, 600_000),
    Outlet.Kind.SHOP: (50, 5_000, 150_000),
    Outlet.Kind.KIOSK: (10, 15_000, 300_000),
}

_OFFICE, _SHOP, _ALWAYS = "Mo-Fr 09:00-20:00; Sa-Su 10:00-18:00", "Mo-Su 08:00-22:00", "24/7"
OUTLETS = tuple(
    OutletRow(*row)
    for row in (
        ("mts-offices", "Москва", "МТС на Тверской", "Тверская ул., 17а",
         "55.764100", "37.606300", _OFFICE),
        ("mts-offices", "Новосибирск", "МТС на Красном проспекте", "Красный проспект, 29а",
         "55.026500", "82.921000", _OFFICE),
        ("mts-offices", "Томск", "МТС на Ленина", "проспект Ленина, 60б",
         "56.477000", "84.950000", _OFFICE),
        ("megafon-offices", "Москва", "МегаФон на Арбате", "ул. Арбат, 30б",
         "55.749700", "37.592000", _OFFICE),
        ("megafon-offices", "Екатеринбург", "МегаФон на Вайнера", "ул. Вайнера, 10а",
         "56.836500", "60.596000", _OFFICE),
        ("megafon-offices", "Челябинск", "МегаФон на Кирова", "ул. Кирова, 110а",
         "55.164000", "61.401000", _OFFICE),
        ("beeline-offices", "Москва", "Билайн на проспекте Мира", "проспект Мира, 101г",
         "55.807500", "37.637000", _OFFICE),
        ("beeline-offices", "Санкт-Петербург", "Билайн на Невском", "Невский проспект, 71б",
         "59.931700", "30.355000", _OFFICE),
        ("lukoshko", "Москва", "Лукошко на Ленинском", "Ленинский проспект, 66а",
         "55.696000", "37.565000", _SHOP),
        ("lukoshko", "Москва", "Лукошко в Люблино", "Тихорецкий бульвар, 1к9",
         "55.680600", "37.764700", _SHOP),
        ("lukoshko", "Санкт-Петербург", "Лукошко на Московском", "Московский проспект, 205а",
         "59.853000", "30.321000", _SHOP),
        ("lukoshko", "Петрозаводск", "Лукошко на Ленина", "проспект Ленина, 20а",
         "61.788000", "34.359000", _SHOP),
        ("lukoshko", "Новосибирск", "Лукошко в Академгородке", "Морской проспект, 22а",
         "54.837000", "83.099000", _SHOP),
        ("lukoshko", "Красноярск", "Лукошко на Мира", "проспект Мира, 90а",
         "56.011000", "92.869000", _SHOP),
        ("lukoshko", "Екатеринбург", "Лукошко на 8 Марта", "ул. 8 Марта, 46б",
         "56.829000", "60.599000", _SHOP),
        ("lukoshko", "Тюмень", "Лукошко на Республики", "ул. Республики, 65а",
         "57.151000", "65.545000", _SHOP),
        ("bystro", "Москва", "Киоск у Измайловского парка", "Измайловское шоссе, 71д",
         "55.789500", "37.748000", _SHOP),
        ("bystro", "Москва", "Киоск у университета", "ул. Миклухо-Маклая, 6а",
         "55.652000", "37.499000", _SHOP),
        ("bystro", "Санкт-Петербург", "Киоск на Садовой", "Садовая ул., 28б",
         "59.929000", "30.326000", _SHOP),
        ("bystro", "Великий Новгород", "Киоск на Санкт-Петербургской",
         "Большая Санкт-Петербургская ул., 25а", "58.528000", "31.265000", _SHOP),
        ("bystro", "Новосибирск", "Киоск на площади Маркса", "площадь Карла Маркса, 3а",
         "54.983000", "82.893000", _SHOP),
        ("bystro", "Екатеринбург", "Киоск на Ленина", "проспект Ленина, 50ж",
         "56.840000", "60.616000", _SHOP),
        (TERMINAL, "Москва", "Терминал на Комсомольской площади", "Комсомольская площадь, 3с",
         "55.776300", "37.655300", _ALWAYS),
        (TERMINAL, "Москва", "Терминал на Кутузовском", "Кутузовский проспект, 30а",
         "55.742500", "37.542000", _ALWAYS),
        (TERMINAL, "Химки", "Терминал в Шереметьево", "Шереметьевское шоссе, терминал C",
         "55.973000", "37.413000", _ALWAYS),
        (TERMINAL, "Санкт-Петербург", "Терминал на площади Ленина", "площадь Ленина, 6а",
         "59.955700", "30.356000", _ALWAYS),
        (TERMINAL, "Санкт-Петербург", "Терминал в Пулково", "Пулковское шоссе, 41ж",
         "59.800300", "30.262500", _ALWAYS),
        (TERMINAL, "Новосибирск", "Терминал на Вокзальной", "Вокзальная магистраль, 16а",
         "55.033000", "82.908000", _ALWAYS),
        (TERMINAL, "Екатеринбург", "Терминал на Вокзальной", "Вокзальная ул., 22а",
         "56.858600", "60.605400", _ALWAYS),
        (TERMINAL, "Челябинск", "Терминал на Свободы", "ул. Свободы, 72а",
         "55.157000", "61.414000", _ALWAYS),
    )
)  # fmt: skip
PLACES = {f"{row.agent}-{number:02}": row for number, row in enumerate(OUTLETS, start=1)}
"""By their codes."""
BY_CHANNEL = {
    (agent.channel, operator): agent.code for agent in AGENTS for operator in agent.operators
}
"""Who tops up an operator's numbers through a channel; nobody on the web, where people do."""
