"""Savepoints in each Python driver: what follows one is undone alone, and the transaction goes on after an error."""

import asyncio
import os

import asyncpg
import psycopg
import psycopg2
import sqlalchemy as sa


def over_psycopg3():
    with psycopg.connect("", autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS savepoint_psycopg3")
        conn.execute("CREATE TABLE savepoint_psycopg3 (id integer PRIMARY KEY)")
        with conn.transaction():
            conn.execute("INSERT INTO savepoint_psycopg3 VALUES (1)")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO savepoint_psycopg3 VALUES (2), (1)")
            except psycopg.errors.UniqueViolation:
                pass
            with conn.transaction():
                conn.execute("INSERT INTO savepoint_psycopg3 VALUES (3)")
        assert conn.execute("SELECT id FROM savepoint_psycopg3 ORDER BY id").fetchall() == [(1,), (3,)]


def over_psycopg2():
    conn = psycopg2.connect("")
    with conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS savepoint_psycopg2")
        cursor.execute("CREATE TABLE savepoint_psycopg2 (id integer PRIMARY KEY)")
    with conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO savepoint_psycopg2 VALUES (1)")
        cursor.execute("SAVEPOINT before")
        try:
            cursor.execute("INSERT INTO savepoint_psycopg2 VALUES (2), (1)")
        except psycopg2.errors.UniqueViolation:
            cursor.execute("ROLLBACK TO SAVEPOINT before")
        cursor.execute("INSERT INTO savepoint_psycopg2 VALUES (3)")
        cursor.execute("RELEASE SAVEPOINT before")
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM savepoint_psycopg2 ORDER BY id")
        assert cursor.fetchall() == [(1,), (3,)]
    conn.close()


async def over_asyncpg():
    host, port, user = os.environ["PGHOST"], int(os.environ["PGPORT"]), os.environ["PGUSER"]
    conn = await asyncpg.connect(host=host, port=port, user=user, database=os.environ["PGDATABASE"])
    await conn.execute("DROP TABLE IF EXISTS savepoint_asyncpg")
    await conn.execute("CREATE TABLE savepoint_asyncpg (id integer PRIMARY KEY)")
    async with conn.transaction():
        await conn.execute("INSERT INTO savepoint_asyncpg VALUES ($1)", 1)
        try:
            async with conn.transaction():
                await conn.execute("INSERT INTO savepoint_asyncpg VALUES ($1), ($2)", 2, 1)
        except asyncpg.UniqueViolationError:
            pass
        async with conn.transaction():
            await conn.execute("INSERT INTO savepoint_asyncpg VALUES ($1)", 3)
    assert [row["id"] for row in await conn.fetch("SELECT id FROM savepoint_asyncpg ORDER BY id")] == [1, 3]
    await conn.close()


def over_sqlalchemy():
    engine = sa.create_engine("postgresql+psycopg2://")
    metadata = sa.MetaData()
    table = sa.Table("savepoint_sqlalchemy", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with engine.begin() as conn:
        conn.execute(sa.insert(table), {"id": 1})
        try:
            with conn.begin_nested():
                conn.execute(sa.insert(table), [{"id": 2}, {"id": 1}])
        except sa.exc.IntegrityError:
            pass
        with conn.begin_nested():
            conn.execute(sa.insert(table), {"id": 3})
    with engine.connect() as conn:
        assert conn.execute(sa.select(table.c.id).order_by(table.c.id)).scalars().all() == [1, 3]
    engine.dispose()


over_psycopg3()
over_psycopg2()
asyncio.run(over_asyncpg())
over_sqlalchemy()
