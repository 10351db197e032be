import pytest
from django.core.exceptions import ValidationError

from popolni.web.office.units import (
    BYTES,
    SECONDS,
    AmountField,
    Bonus,
    BonusField,
    Choice,
    PercentField,
)


@pytest.mark.parametrize(
    ("units", "number", "unit", "amount"),
    [
        (BYTES, "1", "GB", 1_073_741_824),
        (BYTES, "1.5", "GB", 1_610_612_736),
        (BYTES, "0.1", "KB", None),  # 102.4 bytes
        (BYTES, "0.5", "KB", 512),
        (BYTES, "1", "byte", 1),
        (BYTES, "0.5", "byte", None),
        (BYTES, "8589934591", "GB", 9_223_372_035_781_033_984),
        (BYTES, "8589934592", "GB", None),  # one more than the ledger counts
        (BYTES, "0", "GB", None),
        (BYTES, "-1", "GB", None),
        (BYTES, "1", "TiB", None),
        (BYTES, "NaN", "GB", None),
        (SECONDS, "0.1", "min", 6),
        (SECONDS, "0.01", "min", None),
    ],
)
def test_amounts_are_exact(
    units: tuple[Choice, ...], number: str, unit: str, amount: int | None
) -> None:
    field = AmountField(units)
    if amount is None:
        with pytest.raises(ValidationError):
            field.clean([number, unit])
    else:
        assert field.clean([number, unit]) == amount


@pytest.mark.parametrize("typed", [["", "GB"], ["  ", "GB"], [None, None], []])
def test_nothing_typed_is_nothing(typed: list[str]) -> None:
    assert AmountField(BYTES, required=False).clean(typed) is None
    with pytest.raises(ValidationError):
        AmountField(BYTES).clean(typed)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (2**30, [1, "GB"]),
        (3 * 2**29, [1_536, "MB"]),
        (1_025, [1_025, "byte"]),
        (None, [None, "GB"]),
    ],
)
def test_amounts_are_shown_in_the_largest_unit_that_fits(
    amount: int | None, shown: list[object]
) -> None:
    field = AmountField(BYTES)
    assert field.widget.decompress(amount) == shown
    if amount is not None:
        assert field.clean(list(map(str, shown))) == amount


@pytest.mark.parametrize(
    ("number", "unit", "bonus"),
    [
        ("10", "percent", Bonus("percent", 10)),
        ("0.5", "percent", None),
        ("50.50", "money", Bonus("money", 5_050)),
        ("0.001", "money", None),
        ("1", "GB", Bonus("bytes", 2**30)),
        ("30", "min", Bonus("seconds", 1_800)),
        ("100", "message", Bonus("messages", 100)),
    ],
)
def test_bonuses(number: str, unit: str, bonus: Bonus | None) -> None:
    field = BonusField()
    if bonus is None:
        with pytest.raises(ValidationError):
            field.clean([number, unit])
        return
    assert field.clean([number, unit]) == bonus
    assert field.clean(list(map(str, field.widget.decompress(bonus)))) == bonus


@pytest.mark.parametrize(
    ("typed", "basis_points"),
    [("0", 0), ("1.5", 150), ("100", 10_000), ("100.01", None), ("-1", None), ("0.001", None)],
)
def test_per_cent(typed: str, basis_points: int | None) -> None:
    if basis_points is None:
        with pytest.raises(ValidationError):
            PercentField().clean(typed)
    else:
        assert PercentField().clean(typed) == basis_points
