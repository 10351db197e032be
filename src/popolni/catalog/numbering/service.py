"""Imports of the numbering plan, all or nothing, and look-ups in the database.

An import reads and checks its files first. Then one transaction, under a lock that keeps every
other import out, compares them with what is there, and writes the difference only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from popolni.catalog.numbering.directory import Catalogue, Directory
from popolni.catalog.numbering.files import (
    RANGES_BYTES_MAX,
    file_bytes,
    open_lines,
    read_ranges,
    shown_name,
)
from popolni.catalog.numbering.imports import (
    CHUNK,
    FileRead,
    Progress,
    ignore,
    importing,
    keep,
    too_small,
)
from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.catalog.numbering.ported import PortedReport, import_ported
from popolni.catalog.numbering.rules import (
    GROUP_SIZE,
    MOVES_NAMED_MAX,
    Area,
    Change,
    Fault,
    Faults,
    Found,
    GroupChange,
    Range,
    Ranges,
    choose_branch,
    compare,
    overlaps,
    shrinks,
)
from popolni.catalog.operators.models import Branch, Operator
from popolni.core.errors import UserError

__all__ = [
    "PortedReport",
    "Report",
    "import_ported",
    "import_ranges",
    "load_directory",
    "lookup",
]
RANGES_MAX = 3_000_000


@dataclass(frozen=True)
class Move:
    """How many numbers went from one carrier to another."""

    carrier_before: str
    carrier_after: str
    numbers: int


@dataclass(frozen=True)
class Report:
    """What an import of ranges changed; of the moves the largest are named."""

    files: list[FileRead]
    groups: list[GroupChange]
    carriers_new: int
    regions_new: int
    moves: list[Move]
    moves_unnamed: int


def import_ranges(
    paths: Sequence[Path], *, allow_shrink: bool = False, progress: Progress = ignore
) -> Report:
    """Replace each group of codes (9xx, 3xx …) that is in the files by what they say of it.

    Raises UserError, with everything as it was, if a file is unfit, if lines are malformed or
    overlap, if over 20 % of a group's numbers would go (unless `allow_shrink`), or if another
    import goes on for more than a minute. Must not be called inside a transaction.
    """
    ranges, order, files = _read(paths, progress)
    groups = ranges.groups()
    with importing():
        carriers, carriers_new = _carrier_keys(ranges)
        regions, regions_new = _region_keys(ranges)
        after = (
            Range(
                ranges.first[n],
                ranges.last[n],
                carriers[ranges.carrier[n]],
                regions[ranges.region[n]],
            )
            for n in _told(order, "comparing", progress)
        )
        change = compare(groups, _stored(groups), after)
        if not allow_shrink:
            _check_size(change)
        _replace(ranges, (carriers, regions), groups, progress)
        report = Report(files, change.groups, carriers_new, regions_new, *_moves(change))
        keep(NumberingImport.Kind.RANGES, report)
    return report


def load_directory() -> Directory:
    """The whole plan, as of one moment."""
    with transaction.atomic():
        if len(connection.savepoint_ids) == 0:
            with connection.cursor() as cursor:
                cursor.execute("set transaction isolation level repeatable read, read only")
        ranges = NumberingRange.objects.order_by("first").values_list(
            "first", "last", "carrier_id", "region_id"
        )
        ported = PortedNumber.objects.order_by("number").values_list("number", "mnc")
        return Directory(
            _catalogue(),
            map(Range._make, ranges.iterator(chunk_size=CHUNK)),
            ported.iterator(chunk_size=CHUNK),
        )


def lookup(number: int) -> Found | None:
    """Where a number belongs, straight from the database; None if it is in no range."""
    row = (
        NumberingRange.objects.filter(first__lte=number)
        .select_related("carrier__operator", "region")
        .order_by("-first")
        .first()
    )
    if row is None or row.last < number:
        return None
    operator = row.carrier.operator
    ported = PortedNumber.objects.filter(pk=number).first()
    if ported is not None:
        operator = Operator.objects.filter(mnc=ported.mnc).first()
    regions = Branch.regions.through.objects.filter(branch_id=OuterRef("pk"))
    areas = Branch.objects.filter(operator=operator).values_list(
        "code", Exists(regions.filter(region_id=row.region_id)), ~Exists(regions)
    )
    return Found(
        number,
        row.carrier.name,
        operator.code if operator else None,
        choose_branch([Area(*area) for area in areas]) if operator else None,
        row.region.name,
        ported is not None,
    )


def is_empty() -> bool:
    """Whether no plan was ever imported."""
    return not NumberingRange.objects.exists()


def _catalogue() -> Catalogue:
    branches: dict[str, dict[str, frozenset[int]]] = {}
    regions: dict[int, set[int]] = {}
    for branch, region in Branch.regions.through.objects.values_list("branch_id", "region_id"):
        regions.setdefault(branch, set()).add(region)
    for key, code, operator in Branch.objects.values_list("pk", "code", "operator__code"):
        branches.setdefault(operator, {})[code] = frozenset(regions.get(key, ()))
    return Catalogue(
        {
            key: (name, operator)
            for key, name, operator in Carrier.objects.values_list("pk", "name", "operator__code")
        },
        dict(Region.objects.values_list("pk", "name")),
        dict(Operator.objects.values_list("mnc", "code")),
        branches,
    )


def _read(paths: Sequence[Path], progress: Progress) -> tuple[Ranges, list[int], list[FileRead]]:
    """All files, and the ranges' order; or a UserError that names the lines that are wrong."""
    total = sum(file_bytes(path, RANGES_BYTES_MAX) for path in paths)
    seen: set[tuple[int, int]] = set()
    ranges, faults, files, before = Ranges(), Faults(), list[FileRead](), 0
    for path in paths:
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:
            raise UserError(f"{shown_name(path)} is given twice")
        seen.add((status.st_dev, status.st_ino))
        rows = 0
        with open_lines(path, RANGES_BYTES_MAX) as lines:
            ranges.files.append(lines.name)
            for rows, row in enumerate(read_ranges(lines), start=1):
                if isinstance(row, Fault):
                    faults.add(row)
                else:
                    ranges.add(row)
                if rows % CHUNK == 0:
                    progress("reading", before + lines.bytes_read, total)
                    _check_count(ranges)
        before += lines.bytes_read
        files.append(FileRead(lines.name, lines.bytes_read, lines.sha256.hexdigest(), rows))
    progress("reading", before, total)
    _check_count(ranges)
    order = ranges.in_order()
    for fault in overlaps(ranges, order):
        faults.add(fault)
    if faults.count:
        raise UserError(str(faults))
    return ranges, order, files


def _check_count(ranges: Ranges) -> None:
    if len(ranges) > RANGES_MAX:
        raise UserError(f"more than {RANGES_MAX:,} ranges: this is no numbering plan")


def _carrier_keys(ranges: Ranges) -> tuple[list[int], int]:
    """The key of each carrier's row, by its number in `ranges`; and how many rows are new.

    An ИНН that the files give is kept, unless two companies share the name.
    """
    inns = {
        name: min(ranges.inns[number])
        for name, number in ranges.carriers.numbers.items()
        if len(ranges.inns.get(number, ())) == 1
    }
    rows = {row.name: row for row in Carrier.objects.all()}
    new = [
        Carrier(name=name, inn=inns.get(name, ""))
        for name in ranges.carriers.numbers
        if name not in rows
    ]
    changed = [row for name, row in rows.items() if inns.get(name, row.inn) != row.inn]
    for row in changed:
        row.inn = inns[row.name]
    Carrier.objects.bulk_update(changed, ["inn"], batch_size=1_000)
    Carrier.objects.bulk_create(new, ignore_conflicts=True)  # staff may be adding one just now
    keys = dict(Carrier.objects.values_list("name", "pk"))
    return [keys[name] for name in ranges.carriers.numbers], len(new)


def _region_keys(ranges: Ranges) -> tuple[list[int], int]:
    there = set(Region.objects.values_list("name", flat=True))
    new = [Region(name=name) for name in ranges.regions.numbers if name not in there]
    Region.objects.bulk_create(new, ignore_conflicts=True)
    keys = dict(Region.objects.values_list("name", "pk"))
    return [keys[name] for name in ranges.regions.numbers], len(new)


def _told(positions: Sequence[int], doing: str, progress: Progress) -> Iterator[int]:
    for done, position in enumerate(positions):
        if done % CHUNK == 0:
            progress(doing, done, len(positions))
        yield position


def _stored(groups: Iterable[int]) -> Iterator[Range]:
    """The ranges of these groups as they are, in order."""
    covered = Q(pk__in=())
    for group in groups:
        covered |= Q(first__gte=(70 + group) * GROUP_SIZE, first__lt=(71 + group) * GROUP_SIZE)
    rows = (
        NumberingRange.objects.filter(covered)
        .order_by("first")
        .values_list("first", "last", "carrier_id", "region_id")
    )
    return map(Range._make, rows.iterator(chunk_size=CHUNK))


def _check_size(change: Change) -> None:
    for group in change.groups:
        if shrinks(group.numbers_before, group.removed):
            raise too_small(f"the codes {group.group}xx", group.numbers_before, group.removed)


def _replace(
    ranges: Ranges,
    keys: tuple[Sequence[int], Sequence[int]],
    groups: Sequence[int],
    progress: Progress,
) -> None:
    carriers, regions = keys
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.execute(
            "create temporary table numbering_new (first bigint, last bigint, carrier_id bigint,"
            " region_id bigint) on commit drop"
        )
        with cursor.copy("copy numbering_new from stdin") as copy:
            for start in range(0, len(ranges), CHUNK):
                progress("writing", start, len(ranges))
                copy.write(
                    "".join(
                        f"{ranges.first[n]}\t{ranges.last[n]}"
                        f"\t{carriers[ranges.carrier[n]]}\t{regions[ranges.region[n]]}\n"
                        for n in range(start, min(start + CHUNK, len(ranges)))
                    )
                )
        progress("writing", len(ranges), len(ranges))
        cursor.execute("analyze numbering_new")
        cursor.execute(
            "delete from popolni_numberingrange as r where first / %s - 70 = any(%s)"
            " and not exists (select from numbering_new as n where n.first = r.first"
            " and n.last = r.last and n.carrier_id = r.carrier_id and n.region_id = r.region_id)",
            [GROUP_SIZE, list(groups)],
        )
        cursor.execute(
            "insert into popolni_numberingrange (first, last, carrier_id, region_id)"
            " select first, last, carrier_id, region_id from numbering_new as n where not exists"
            " (select from popolni_numberingrange as r where r.first = n.first) order by first"
        )


def _moves(change: Change) -> tuple[list[Move], int]:
    """The largest moves by the carriers' names, and how many more there are."""
    largest = change.moves.most_common(MOVES_NAMED_MAX)
    keys = {key for pair, _ in largest for key in pair}
    names = dict(Carrier.objects.filter(pk__in=keys).values_list("pk", "name"))
    moves = [Move(names[before], names[after], size) for (before, after), size in largest]
    return moves, len(change.moves) - len(moves)
