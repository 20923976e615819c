"""Values that every Python driver must bring back as it was given them: those of each type in the middle and at the edges, and NULL.

A column has the name `c` and its place in the list.
"""

import datetime
import decimal
import uuid

D = decimal.Decimal
UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))

# The type in SQL, and the values.
COLUMNS = [
    ("boolean", [True, False]),
    ("smallint", [-32768, 0, 32767]),
    ("integer", [-2147483648, 0, 2147483647]),
    ("bigint", [-9223372036854775808, 1 << 40, 9223372036854775807]),
    ("real", [1.5, -0.25, float("inf")]),
    ("double precision", [0.1, -1e300, 5e-324, float("-inf")]),
    ("numeric", [D("0"), D("-12345678901234567890.123456789"), D("1E-20"), D("10000")]),
    ("numeric(12,2)", [D("1234567890.12"), D("-0.01"), D("0.00")]),
    ("text", ["", "a'b\"c\\d", "Ünïcödé 雪 🦀", "two\nlines\t", "x" * 100_000]),
    ("varchar(10)", ["short", "ten chars!"]),
    ("bytea", [b"", b"\x00\xff\\'\n", bytes(range(256))]),
    ("date", [datetime.date(1, 1, 1), datetime.date(2026, 2, 28), datetime.date(9999, 12, 31)]),
    ("time", [datetime.time(0, 0), datetime.time(23, 59, 59, 999999)]),
    ("timestamp", [datetime.datetime(1970, 1, 1), datetime.datetime(2026, 11, 22, 21, 30, 15, 123456)]),
    (
        "timestamptz",
        [datetime.datetime(2000, 1, 1, tzinfo=UTC), datetime.datetime(2026, 11, 22, 3, 0, 0, 1, tzinfo=EAST)],
    ),
    (
        "interval",
        [datetime.timedelta(0), datetime.timedelta(days=-3, seconds=7), datetime.timedelta(hours=5, microseconds=250)],
    ),
    ("uuid", [uuid.UUID(int=0), uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")]),
    ("integer[]", [[], [1, 2, 3], [7, None]]),
    ("text[]", [["a,b", 'c"d', "", "NULL"], ["{}", None]]),
]

NAMES = [f"c{place}" for place in range(len(COLUMNS))]


def table(name):
    """The statement that makes a table for the values, with a primary key of integers."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(NAMES, COLUMNS))
    return f"CREATE TABLE {name} (id integer PRIMARY KEY, {columns})"


def rows():
    """Rows that hold all values: the key, then one value of each column, then a row of NULLs."""
    depth = max(len(values) for _, values in COLUMNS)
    filled = [(key, *(values[key % len(values)] for _, values in COLUMNS)) for key in range(depth)]
    return [*filled, (depth, *(None for _ in COLUMNS))]


def same(given, got, what):
    """Complains about the first value that is not what was given, or is of another Python type."""
    assert len(given) == len(got), f"{what}: {len(given)} rows were written, {len(got)} came back"
    for sent, back in zip(given, got):
        assert len(sent) == len(back), f"{what}: {len(sent)} values were written, {len(back)} came back"
        for name, before, after in zip(["id", *NAMES], sent, back):
            after = bytes(after) if isinstance(after, memoryview) else after
            assert before == after and isinstance(after, type(before)), f"{what}: {name} was {before!r}, is {after!r}"
