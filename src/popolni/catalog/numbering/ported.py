"""The import of ported numbers: one file replaces all that was known of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection

from popolni.catalog.numbering.files import (
    PORTED_BYTES_MAX,
    Lines,
    PortedRow,
    open_lines,
    read_ported,
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
from popolni.catalog.numbering.models import NumberingImport, PortedNumber
from popolni.catalog.numbering.rules import FAULTS_NAMED_MAX, Fault, Faults, shrinks
from popolni.core.errors import UserError


@dataclass(frozen=True)
class PortedReport:
    """What an import of ported numbers changed; `moved` has another MNC or date than before."""

    files: list[FileRead]
    numbers_before: int
    numbers_after: int
    added: int
    removed: int
    moved: int


def import_ported(
    path: Path, *, allow_shrink: bool = False, progress: Progress = ignore
) -> PortedReport:
    """Replace all ported numbers by those of a file. Raises UserError as `import_ranges` does."""
    with importing(), open_lines(path, PORTED_BYTES_MAX) as lines:
        file = _copy_ported(lines, path, progress)
        report = _replace_ported(file)
        if not allow_shrink and shrinks(report.numbers_before, report.removed):
            raise too_small("the list of ported numbers", report.numbers_before, report.removed)
        keep(NumberingImport.Kind.PORTED, report)
    return report


def _copy_ported(lines: Lines, path: Path, progress: Progress) -> FileRead:
    """Into a temporary table; UserError if a line is malformed or a number comes twice."""
    total, rows, faults = path.stat().st_size, 0, Faults()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.execute(
            "create temporary table ported_new (number bigint, mnc text, ported_on date,"
            " line bigint) on commit drop"
        )
        with cursor.copy("copy ported_new from stdin") as copy:
            chunk: list[str] = []
            for rows, row in enumerate(read_ported(lines), start=1):
                if isinstance(row, Fault):
                    faults.add(row)
                else:
                    chunk.append(_ported_line(row))
                if rows % CHUNK == 0:
                    progress("reading", lines.bytes_read, total)
                    copy.write("".join(chunk))
                    chunk.clear()
            copy.write("".join(chunk))
        progress("reading", lines.bytes_read, total)
        cursor.execute("analyze ported_new")
        _find_repeats(cursor, lines.name, faults)
    if faults.count:
        raise UserError(str(faults))
    return FileRead(lines.name, lines.bytes_read, lines.sha256.hexdigest(), rows)


def _ported_line(row: PortedRow) -> str:
    since = "\\N" if row.ported_on is None else row.ported_on.isoformat()
    return f"{row.number}\t{row.mnc}\t{since}\t{row.line}\n"


def _find_repeats(cursor: Any, name: str, faults: Faults) -> None:
    """A fault for each line whose number an earlier line has."""
    cursor.execute(
        "select line, number, earlier, count(*) over () from (select line, number, lag(line) over"
        " (partition by number order by line) as earlier from ported_new) as t"
        " where earlier is not null order by line limit %s",
        [FAULTS_NAMED_MAX],
    )
    named = cursor.fetchall()
    for line, number, earlier, _ in named:
        faults.add(Fault(name, line, f"the number {number} is in line {earlier} already"))
    if named:
        faults.count += named[0][3] - len(named)


def _replace_ported(file: FileRead) -> PortedReport:
    """Write the difference between the temporary table and what is there."""
    before = PortedNumber.objects.count()
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from popolni_portednumber as p where not exists"
            " (select from ported_new as n where n.number = p.number)"
        )
        removed = cursor.rowcount
        cursor.execute(
            "update popolni_portednumber as p set mnc = n.mnc, ported_on = n.ported_on"
            " from ported_new as n where n.number = p.number and (p.mnc, p.ported_on)"
            " is distinct from (n.mnc, n.ported_on)"
        )
        moved = cursor.rowcount
        cursor.execute(
            "insert into popolni_portednumber (number, mnc, ported_on)"
            " select number, mnc, ported_on from ported_new as n where not exists"
            " (select from popolni_portednumber as p where p.number = n.number) order by number"
        )
        added = cursor.rowcount
    return PortedReport([file], before, before - removed + added, added, removed, moved)
