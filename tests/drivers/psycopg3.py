"""psycopg 3: parameters and results in text and binary, statements that it prepares by itself, COPY, pipelines, errors, repetition."""

import psycopg
from psycopg import errors
from psycopg.types import TypeInfo

import values


def round_trips(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg3_value")
    conn.execute(values.table("psycopg3_value"))
    rows = values.rows()
    marks = ", ".join(["%s"] * len(rows[0]))
    with conn.transaction(), conn.cursor() as cursor:
        # executemany goes through a pipeline.
        cursor.executemany(f"INSERT INTO psycopg3_value VALUES ({marks})", rows)
        assert cursor.rowcount == len(rows)
    for binary in (False, True):
        got = conn.execute("SELECT * FROM psycopg3_value ORDER BY id", binary=binary).fetchall()
        values.same(rows, got, f"results, binary {binary}")
    conn.execute("TRUNCATE psycopg3_value")
    binary_marks = ", ".join(["%b"] * len(rows[0]))
    for row in rows:
        conn.execute(f"INSERT INTO psycopg3_value VALUES ({binary_marks})", row)
    values.same(rows, conn.execute("SELECT * FROM psycopg3_value ORDER BY id").fetchall(), "binary parameters")
    for row in rows[:-1]:
        for name, (kind, _), value in zip(values.NAMES, values.COLUMNS, row[1:]):
            # The driver calls a list of small numbers smallint[], which is not comparable with integer[].
            mark = f"%s::{kind}" if isinstance(value, list) else "%s"
            found = conn.execute(f"SELECT count(*) FROM psycopg3_value WHERE id = %s AND {name} = {mark}", (row[0], value))
            assert found.fetchone() == (1,), f"{name} = {value!r} finds its row"


def prepared_by_itself(conn):
    for number in range(12):
        got = conn.execute("SELECT %s::integer * 2, %s || '!'", (number, "n")).fetchone()
        assert got == (number * 2, "n!"), got
    names = conn.execute("SELECT id FROM psycopg3_value WHERE id = ANY(%s) ORDER BY id", ([1, 2, 99],)).fetchall()
    assert names == [(1,), (2,)], names


def copies(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg3_copy")
    conn.execute("CREATE TABLE psycopg3_copy (id bigint PRIMARY KEY, name text)")
    with conn.transaction(), conn.cursor() as cursor, cursor.copy("COPY psycopg3_copy FROM STDIN") as copy:
        for number in range(2000):
            copy.write_row((number, None if number % 10 == 0 else f"tab\t{number}"))
    with conn.cursor() as cursor, cursor.copy("COPY (SELECT * FROM psycopg3_copy ORDER BY id) TO STDOUT") as copy:
        copy.set_types(["int8", "text"])
        back = list(copy.rows())
    assert len(back) == 2000 and back[10] == (10, None) and back[11] == (11, "tab\t11"), back[:12]


def errors_have_their_classes(conn):
    for statement, kind in [
        ("SELEC 1", errors.SyntaxError),
        ("SELECT * FROM nowhere", errors.UndefinedTable),
        ("SELECT 1 / 0", errors.DivisionByZero),
        ("SELECT 'x'::integer", errors.InvalidTextRepresentation),
        ("INSERT INTO psycopg3_copy VALUES (1, 'again')", errors.UniqueViolation),
        ("INSERT INTO psycopg3_copy VALUES (NULL, 'none')", errors.NotNullViolation),
    ]:
        try:
            conn.execute(statement)
        except kind as error:
            assert error.diag.severity_nonlocalized == "ERROR" and error.diag.message_primary, statement
            if kind is errors.UniqueViolation:
                named = (error.diag.schema_name, error.diag.table_name, error.diag.constraint_name)
                assert named == ("public", "psycopg3_copy", "psycopg3_copy_pkey"), named
                assert error.diag.message_detail == "Key (id)=(1) already exists.", error.diag.message_detail
            if kind is errors.SyntaxError:
                assert error.diag.statement_position == "1", error.diag.statement_position
        else:
            raise AssertionError(f"{statement} went through")


def named_cursors(conn):
    with conn.transaction(), conn.cursor("in_block") as cursor:
        cursor.execute("SELECT id, name FROM psycopg3_copy WHERE id >= %s ORDER BY id", (100,))
        assert [column.name for column in cursor.description] == ["id", "name"]
        assert cursor.fetchone() == (100, None) and [row[0] for row in cursor.fetchmany(3)] == [101, 102, 103]
        conn.execute("DELETE FROM psycopg3_copy WHERE id >= 1990")
        cursor.itersize = 500
        assert [row[0] for row in cursor] == list(range(104, 2000)), "it shows what was there when it was declared"
    with conn.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT id FROM psycopg3_copy ORDER BY id")
        conn.execute("DELETE FROM psycopg3_copy WHERE id >= 1980")
        assert len(cursor.fetchall()) == 1990
    with conn.cursor("binary") as cursor, conn.transaction():
        cursor.execute("SELECT id, name FROM psycopg3_copy WHERE id = 11", binary=True)
        assert cursor.fetchall() == [(11, "tab\t11")]


def pipelines(conn):
    with conn.pipeline() as pipeline:
        first = conn.execute("SELECT count(*) FROM psycopg3_copy WHERE id < %s", (10,))
        conn.execute("UPDATE psycopg3_copy SET name = %s WHERE id = %s", ("piped", 5))
        pipeline.sync()
        second = conn.execute("SELECT name FROM psycopg3_copy WHERE id = %s", (5,))
        assert first.fetchone() == (10,) and second.fetchone() == ("piped",)


def repetition(conn, other):
    conn.execute("DROP TABLE IF EXISTS psycopg3_race")
    conn.execute("CREATE TABLE psycopg3_race (id integer PRIMARY KEY, n integer NOT NULL)")
    conn.execute("INSERT INTO psycopg3_race VALUES (1, 0)")
    for connection in (conn, other):
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    lost = 0
    for attempt in range(10):
        try:
            with conn.transaction():
                (n,) = conn.execute("SELECT n FROM psycopg3_race WHERE id = 1").fetchone()
                if attempt == 0:
                    other.execute("UPDATE psycopg3_race SET n = n + 100 WHERE id = 1")
                conn.execute("UPDATE psycopg3_race SET n = %s WHERE id = 1", (n + 1,))
            break
        except errors.SerializationFailure as error:
            assert error.sqlstate == "40001"
            lost += 1
    assert lost == 1, f"{lost} attempts were lost"
    assert conn.execute("SELECT n FROM psycopg3_race").fetchone() == (101,)
    try:
        with conn.transaction():
            conn.execute("UPDATE psycopg3_race SET n = 0")
            raise psycopg.Rollback()
    finally:
        assert conn.execute("SELECT n FROM psycopg3_race").fetchone() == (101,)


def types_by_name(conn):
    info = TypeInfo.fetch(conn, "uuid")
    assert info is not None and info.oid == 2950 and info.array_oid == 2951, info
    assert TypeInfo.fetch(conn, "hstore") is None


with psycopg.connect("", autocommit=True) as conn, psycopg.connect("", autocommit=True) as other:
    assert conn.info.server_version // 10000 >= 15
    assert conn.info.parameter_status("standard_conforming_strings") == "on"
    conn.execute("SET TimeZone = 'UTC'")
    round_trips(conn)
    prepared_by_itself(conn)
    copies(conn)
    errors_have_their_classes(conn)
    named_cursors(conn)
    pipelines(conn)
    repetition(conn, other)
    types_by_name(conn)
