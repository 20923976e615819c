"""psycopg2: values put into the text of statements, batches of them, COPY through files, errors, repetition."""

import io

import psycopg2
import psycopg2.extras
from psycopg2 import errors

import values

psycopg2.extras.register_uuid()


def round_trips(conn):
    rows = values.rows()
    with conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg2_value")
        cursor.execute(values.table("psycopg2_value"))
    with conn, conn.cursor() as cursor:
        # A list without elements has no type of its own here: the driver sends '{}'.
        psycopg2.extras.execute_values(cursor, "INSERT INTO psycopg2_value VALUES %s", rows)
        cursor.execute("SELECT * FROM psycopg2_value ORDER BY id")
        values.same(rows, cursor.fetchall(), "a new table")
    with conn, conn.cursor() as cursor:
        marks = ", ".join(["%s"] * len(rows[0]))
        cursor.execute("DELETE FROM psycopg2_value")
        assert cursor.rowcount == len(rows), cursor.rowcount
        psycopg2.extras.execute_batch(cursor, f"INSERT INTO psycopg2_value VALUES ({marks})", rows)
    with conn, conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM psycopg2_value ORDER BY id")
        values.same(rows, [tuple(row.values()) for row in cursor.fetchall()], "a batch")


def copies(conn):
    with conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS psycopg2_copy")
        cursor.execute("CREATE TABLE psycopg2_copy (id integer PRIMARY KEY, name text)")
    with conn, conn.cursor() as cursor:
        cursor.copy_expert("COPY psycopg2_copy FROM STDIN WITH CSV HEADER", io.StringIO('id,name\n1,"a,b"\n2,\n'))
        cursor.copy_from(io.StringIO("3\tthree\n4\t\\N\n"), "psycopg2_copy")
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM psycopg2_copy ORDER BY id) TO STDOUT", out)
        assert out.getvalue() == "1\ta,b\n2\t\\N\n3\tthree\n4\t\\N\n", out.getvalue()


def named_cursors(conn):
    with conn, conn.cursor("rows") as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id FROM psycopg2_copy ORDER BY id")
        assert [row[0] for row in cursor] == [1, 2, 3, 4]
    with conn.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT name FROM psycopg2_copy ORDER BY id")
        conn.commit()
        assert cursor.fetchmany(2) == [("a,b",), (None,)] and cursor.fetchone() == ("three",)
    conn.commit()


def a_failed_transaction_is_over(conn):
    with conn.cursor() as cursor:
        try:
            cursor.execute("INSERT INTO psycopg2_copy VALUES (1, 'again')")
        except errors.UniqueViolation as error:
            assert error.pgcode == "23505" and error.diag.constraint_name == "psycopg2_copy_pkey", error.diag.constraint_name
        else:
            raise AssertionError("a second row with the same key went in")
        try:
            cursor.execute("SELECT 1")
        except errors.InFailedSqlTransaction:
            conn.rollback()
        else:
            raise AssertionError("the transaction went on")
        cursor.execute("SELECT count(*) FROM psycopg2_copy")
        assert cursor.fetchone() == (4,)
    conn.commit()


def repetition(conn, other):
    for connection in (conn, other):
        connection.set_session(isolation_level="SERIALIZABLE")
    lost = 0
    for attempt in range(10):
        try:
            with conn, conn.cursor() as cursor:
                cursor.execute("SELECT name FROM psycopg2_copy WHERE id = 1")
                (name,) = cursor.fetchone()
                if attempt == 0:
                    with other, other.cursor() as second:
                        second.execute("UPDATE psycopg2_copy SET name = 'other' WHERE id = 1")
                cursor.execute("UPDATE psycopg2_copy SET name = %s WHERE id = 1", (name + "!",))
            break
        except errors.SerializationFailure:
            lost += 1
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT name FROM psycopg2_copy WHERE id = 1")
        assert (lost, cursor.fetchone()) == (1, ("other!",))


conn, other = psycopg2.connect(""), psycopg2.connect("")
with conn, conn.cursor() as cursor:
    cursor.execute("SET TimeZone = 'UTC'")
round_trips(conn)
copies(conn)
named_cursors(conn)
a_failed_transaction_is_over(conn)
repetition(conn, other)
other.autocommit = True
with other.cursor() as cursor:
    cursor.execute("SELECT 1 AS one; SELECT 2 AS two")
    assert cursor.fetchone() == (2,) and cursor.description[0].name == "two"
conn.close()
other.close()
