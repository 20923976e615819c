"""asyncpg: prepared statements with binary values throughout, cursors over portals, a pool that resets its sessions, COPY, errors."""

import asyncio
import os

import asyncpg

import values


async def round_trips(conn):
    rows = values.rows()
    await conn.execute("DROP TABLE IF EXISTS asyncpg_value")
    await conn.execute(values.table("asyncpg_value"))
    marks = ", ".join(f"${place + 1}" for place in range(len(rows[0])))
    await conn.executemany(f"INSERT INTO asyncpg_value VALUES ({marks})", rows)
    got = await conn.fetch("SELECT * FROM asyncpg_value ORDER BY id")
    values.same(rows, [tuple(row.values()) for row in got], "executemany")
    for row in rows[:-1]:
        for name, value in zip(values.NAMES, row[1:]):
            found = await conn.fetchval(f"SELECT count(*) FROM asyncpg_value WHERE id = $1 AND {name} = $2", row[0], value)
            assert found == 1, f"{name} = {value!r} finds its row"


async def statements_and_cursors(conn):
    statement = await conn.prepare("SELECT i, i::text AS t FROM generate_series(1, $1::integer) AS g(i) WHERE i % $2 = 0")
    assert [parameter.name for parameter in statement.get_parameters()] == ["int4", "int4"]
    assert [(column.name, column.type.name) for column in statement.get_attributes()] == [("i", "int4"), ("t", "text")]
    assert len(await statement.fetch(1000, 3)) == 333
    async with conn.transaction():
        seen = [row["i"] async for row in statement.cursor(500, 1, prefetch=37)]
        assert seen == list(range(1, 501))
        cursor = await conn.cursor("SELECT id FROM asyncpg_value ORDER BY id")
        assert [row["id"] for row in await cursor.fetch(2)] == [0, 1] and (await cursor.fetchrow())["id"] == 2


async def copies(conn):
    await conn.execute("DROP TABLE IF EXISTS asyncpg_copy")
    await conn.execute("CREATE TABLE asyncpg_copy (id bigint PRIMARY KEY, name text)")
    source = "".join(f"{number},name {number}\n" for number in range(1000)).encode()

    async def lines():
        yield source[:5000]
        yield source[5000:]

    assert await conn.copy_to_table("asyncpg_copy", source=lines(), format="csv") == "COPY 1000"
    received = bytearray()

    async def keep(data):
        received.extend(data)

    await conn.copy_from_query("SELECT * FROM asyncpg_copy WHERE id < $1 ORDER BY id", 2, output=keep, format="csv")
    assert bytes(received) == b"0,name 0\n1,name 1\n", received


async def errors_have_their_classes(conn):
    try:
        await conn.execute("INSERT INTO asyncpg_copy VALUES (1, 'again')")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "asyncpg_copy_pkey" and error.detail == "Key (id)=(1) already exists."
    else:
        raise AssertionError("a second row with the same key went in")
    try:
        await conn.fetch("SELECT nothing FROM asyncpg_copy")
    except asyncpg.UndefinedColumnError:
        pass
    else:
        raise AssertionError("a column that does not exist was found")
    assert await conn.fetchval("SELECT 1") == 1


async def repetition(pool):
    """Several clients count up one row, each repeating what it lost."""
    await pool.execute("DROP TABLE IF EXISTS asyncpg_race")
    await pool.execute("CREATE TABLE asyncpg_race (id integer PRIMARY KEY, n integer NOT NULL)")
    await pool.execute("INSERT INTO asyncpg_race VALUES (1, 0)")

    async def count_up():
        for _ in range(200):
            try:
                async with pool.acquire() as conn, conn.transaction(isolation="serializable"):
                    n = await conn.fetchval("SELECT n FROM asyncpg_race WHERE id = 1")
                    await conn.execute("UPDATE asyncpg_race SET n = $1 WHERE id = 1", n + 1)
                return
            except asyncpg.SerializationError:
                pass
        raise AssertionError("200 attempts were lost")

    await asyncio.gather(*(count_up() for _ in range(8)))
    assert await pool.fetchval("SELECT n FROM asyncpg_race WHERE id = 1") == 8


async def resets(pool):
    """What a client leaves behind in a session is gone for the next one."""
    async with pool.acquire() as conn:
        await conn.execute("SET application_name = 'left behind'")
    for _ in range(4):
        async with pool.acquire() as conn:
            assert await conn.fetchval("SHOW application_name") != "left behind"


async def main():
    host, port, user = os.environ["PGHOST"], int(os.environ["PGPORT"]), os.environ["PGUSER"]
    address = {"host": host, "port": port, "user": user, "database": os.environ["PGDATABASE"]}
    conn = await asyncpg.connect(**address)
    assert conn.get_server_version().major >= 15
    await round_trips(conn)
    await statements_and_cursors(conn)
    await copies(conn)
    await errors_have_their_classes(conn)
    await conn.close()
    async with asyncpg.create_pool(**address, min_size=2, max_size=4) as pool:
        await repetition(pool)
        await resets(pool)


asyncio.run(main())
