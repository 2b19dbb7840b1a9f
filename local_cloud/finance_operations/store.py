"""The database of the simulated F&O: imported rows, staging tables, data projects, executions, and what took effect.

SQLite in memory or in a file. Not thread-safe by itself: ``DataManagement`` holds a lock around every use.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from local_cloud.finance_operations.executions import EntityRun, Execution, Operation, RowError, Status, Times
from local_cloud.finance_operations.packages import Row

type Database = Path | Literal[":memory:"]

# NOCASE: the database of F&O compares text without regard to case.
_SCHEMA: Final = """
create table if not exists projects (name text primary key collate nocase, document text not null);
create table if not exists exported (
    project text collate nocase, entity text collate nocase, company text collate nocase, version integer not null,
    primary key (project, entity, company));
create table if not exists executions (
    execution_id text primary key collate nocase, project text not null collate nocase, done integer not null,
    document text not null);
create index if not exists executions_project on executions (project);
create index if not exists executions_open on executions (done) where done = 0;
create table if not exists staging (
    execution_id text collate nocase, entity text collate nocase, number integer, key text not null,
    fields text not null, fails_at text not null, field text not null, message text not null,
    primary key (execution_id, entity, number)) without rowid;
create table if not exists fields (entity text primary key collate nocase, names text not null);
create table if not exists target (
    entity text collate nocase, company text collate nocase, key text collate nocase, fields text not null,
    version integer not null, primary key (entity, company, key));
create table if not exists effects (
    execution_id text not null, project text not null, company text not null, entity text not null,
    rows integer not null);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEntity:
    """One line of a data project."""

    entity: str
    source_format: str
    fields: tuple[str, ...] = ()  # mapped fields in order; none: all that the entity is known to have
    is_mapped: bool = True  # False: an export of it never ends
    is_incremental: bool = False  # DefaultRefreshType IncrementalPush: only what changed since the last export


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A data project (definition group)."""

    name: str
    operation: Operation
    description: str
    entities: tuple[ProjectEntity, ...] = ()


class FailsAt(StrEnum):
    """How far a row of a package gets."""

    NOWHERE = ""
    STAGING = "staging"  # it does not get from the file to the staging table
    TARGET = "target"  # it does not get from the staging table to the target


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRow:
    """One row of a package on its way."""

    number: int  # from 1, in the order of the file
    key: str
    fields: Row
    fails_at: FailsAt = FailsAt.NOWHERE
    field: str = ""  # that is to blame
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Rows that an execution has brought into the target, so that a test can say: exactly once."""

    execution_id: str
    data_project: str
    company: str
    entity: str
    rows: int


class Store:
    """All that the simulated F&O knows. Close it when done."""

    def __init__(self, database: Database) -> None:
        self._db = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        # What a crash of this machine would lose is of no value here.
        self._db.execute("pragma synchronous = off")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def transaction(self) -> "_Transaction":
        """Return a context in which everything is written, or nothing."""
        return _Transaction(self._db)

    # Data projects

    def project(self, name: str) -> Project | None:
        row = self._db.execute("select document from projects where name = ?", (name,)).fetchone()
        return _project(row[0]) if row else None

    def projects(self) -> list[Project]:
        return [_project(row[0]) for row in self._db.execute("select document from projects order by name")]

    def save_project(self, project: Project) -> None:
        self._db.execute("insert or replace into projects values (?, ?)", (project.name, json.dumps(asdict(project))))

    def delete_project(self, name: str) -> None:
        self._db.execute("delete from projects where name = ?", (name,))
        self._db.execute("delete from exported where project = ?", (name,))

    def exported_version(self, project: str, entity: str, company: str) -> int:
        """Return how far the last incremental export of this entity went; 0 if there was none."""
        where = "project = ? and entity = ? and company = ?"
        row = self._db.execute(f"select version from exported where {where}", (project, entity, company)).fetchone()
        return int(row[0]) if row else 0

    def note_exported(self, project: str, entity: str, company: str, version: int) -> None:
        self._db.execute("insert or replace into exported values (?, ?, ?, ?)", (project, entity, company, version))

    # Executions

    def execution(self, execution_id: str) -> Execution | None:
        row = self._db.execute("select document from executions where execution_id = ?", (execution_id,)).fetchone()
        return _execution(row[0]) if row else None

    def executions(self, *, execution_id: str | None = None, data_project: str | None = None) -> list[Execution]:
        """Return executions, oldest first: all, or those of this id or project."""
        wanted = {"execution_id": execution_id, "project": data_project}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " and ".join(f"{column} = ?" for column in given) or "true"
        rows = self._db.execute(f"select document from executions where {where} order by rowid", tuple(given.values()))
        return [_execution(row[0]) for row in rows]

    def open_executions(self) -> list[Execution]:
        """Return the executions whose effect is still to come, oldest first."""
        return [_execution(row[0]) for row in self._db.execute("select document from executions where done = 0")]

    def save_execution(self, execution: Execution) -> None:
        self._db.execute(
            "insert into executions values (?, ?, ?, ?)"
            " on conflict (execution_id) do update set done = excluded.done, document = excluded.document",
            (execution.execution_id, execution.data_project, execution.done, json.dumps(asdict(execution))),
        )

    def delete_execution(self, execution_id: str) -> None:
        self._db.execute("delete from executions where execution_id = ?", (execution_id,))
        self._db.execute("delete from staging where execution_id = ?", (execution_id,))

    def stage(self, execution_id: str, entity: str, rows: Iterable[StagedRow]) -> None:
        self._db.executemany(
            "insert into staging values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    execution_id,
                    entity,
                    row.number,
                    row.key,
                    json.dumps(row.fields),
                    row.fails_at,
                    row.field,
                    row.message,
                )
                for row in rows
            ),
        )

    def staged(self, execution_id: str, entity: str, fails_at: FailsAt) -> list[StagedRow]:
        """Return the rows of an entity that get so far, in the order of the file."""
        found = self._db.execute(
            "select number, key, fields, field, message from staging"
            " where execution_id = ? and entity = ? and fails_at = ? order by number",
            (execution_id, entity, fails_at),
        )
        return [
            StagedRow(
                number=number, key=key, fields=json.loads(fields), fails_at=fails_at, field=field, message=message
            )
            for number, key, fields, field, message in found
        ]

    # Business data

    def merge(self, entity: str, company: str, rows: Sequence[StagedRow]) -> tuple[int, int, int]:
        """Write rows into the target by their keys; return how many were created, updated, and written as they were."""
        before = self._count(entity, company)
        unchanged = sum(self._is_unchanged(entity, company, row) for row in rows) if before else 0
        version = self.version() + 1
        self._db.executemany(
            "insert into target values (?, ?, ?, ?, ?) on conflict (entity, company, key)"
            " do update set fields = json_patch(fields, excluded.fields), version = excluded.version",
            ((entity, company, row.key, json.dumps(row.fields), version) for row in rows),
        )
        created = self._count(entity, company) - before
        return created, len(rows) - created - unchanged, unchanged

    def _is_unchanged(self, entity: str, company: str, row: StagedRow) -> bool:
        found = self._db.execute(
            "select json_patch(fields, ?) = json(fields) from target where entity = ? and company = ? and key = ?",
            (json.dumps(row.fields), entity, company, row.key),
        ).fetchone()
        return bool(found and found[0])

    def rows(self, entity: str, company: str | None, *, after_version: int = 0) -> list[tuple[str, Row]]:
        """Return (company, row) of an entity, in the order of the first import.

        company: None for all. after_version: only rows written since.
        """
        found = self._db.execute(
            "select company, fields from target where entity = ? and (?2 is null or company = ?2) and version > ?"
            " order by rowid",
            (entity, company, after_version),
        )
        return [(row[0], json.loads(row[1])) for row in found]

    def version(self) -> int:
        """Return the number of the last change; change tracking counts with it."""
        return int(self._db.execute("select coalesce(max(version), 0) from target").fetchone()[0])

    def entity_names(self) -> list[str]:
        return [row[0] for row in self._db.execute("select entity from fields order by entity")]

    def fields(self, entity: str) -> tuple[str, ...]:
        """Return the fields that imports have shown the entity to have, in the order of their first file."""
        row = self._db.execute("select names from fields where entity = ?", (entity,)).fetchone()
        return tuple(json.loads(row[0])) if row else ()

    def note_fields(self, entity: str, names: Iterable[str]) -> None:
        known = dict.fromkeys([*self.fields(entity), *names])
        self._db.execute(
            "insert into fields values (?, ?) on conflict (entity) do update set names = excluded.names",
            (entity, json.dumps(list(known))),
        )

    def _count(self, entity: str, company: str) -> int:
        where = "entity = ? and company = ?"
        return int(self._db.execute(f"select count(*) from target where {where}", (entity, company)).fetchone()[0])

    # What took effect

    def note_effect(self, effect: Effect) -> None:
        values = (effect.execution_id, effect.data_project, effect.company, effect.entity, effect.rows)
        self._db.execute("insert into effects values (?, ?, ?, ?, ?)", values)

    def effects(self) -> list[Effect]:
        found = self._db.execute("select execution_id, project, company, entity, rows from effects order by rowid")
        return [
            Effect(execution_id=row[0], data_project=row[1], company=row[2], entity=row[3], rows=row[4])
            for row in found
        ]


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("begin")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")


def _project(document: str) -> Project:
    read: dict[str, Any] = json.loads(document)
    entities = (ProjectEntity(**each | {"fields": tuple(each["fields"])}) for each in read["entities"])
    return Project(**read | {"operation": Operation(read["operation"]), "entities": tuple(entities)})


def _execution(document: str) -> Execution:
    read: Mapping[str, Any] = json.loads(document)
    return Execution(
        **dict(read)
        | {
            "operation": Operation(read["operation"]),
            "times": Times(**read["times"]),
            "outcome": Status(read["outcome"]),
            "reported": Status(read["reported"]),
            "entities": tuple(EntityRun(**each) for each in read["entities"]),
            "errors": tuple(RowError(**each) for each in read["errors"]),
        }
    )
