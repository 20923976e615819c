"""SQLAlchemy 2: the ORM, reflection and repeated transactions over psycopg 3, psycopg2 and asyncpg. The argument names the driver."""

import asyncio
import datetime
import decimal
import sys
import uuid

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio

DRIVER = sys.argv[1]
NOW = datetime.datetime(2026, 11, 22, 21, 30, 15, 123456, tzinfo=datetime.timezone.utc)


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = f"sa_{DRIVER}_author"

    # Keys are made by the application: there are no sequences.
    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True, default=uuid.uuid4)
    name: orm.Mapped[str]
    born: orm.Mapped[datetime.date | None]
    books: orm.Mapped[list["Book"]] = orm.relationship(
        back_populates="author", primaryjoin="Author.id == foreign(Book.author_id)", cascade="all, delete-orphan"
    )


class Book(Base):
    __tablename__ = f"sa_{DRIVER}_book"

    author_id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    number: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
    title: orm.Mapped[str] = orm.mapped_column(sa.String(80))
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(10, 2), server_default="0")
    pages: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    rating: orm.Mapped[float | None]
    in_print: orm.Mapped[bool] = orm.mapped_column(default=True)
    cover: orm.Mapped[bytes | None]
    added: orm.Mapped[datetime.datetime] = orm.mapped_column(sa.DateTime(timezone=True), default=NOW)
    loan: orm.Mapped[datetime.timedelta | None]
    tags: orm.Mapped[list[str] | None] = orm.mapped_column(sa.ARRAY(sa.Text))
    author: orm.Mapped[Author] = orm.relationship(
        back_populates="books", primaryjoin="Author.id == foreign(Book.author_id)"
    )


def reflect(connection):
    inspector = sa.inspect(connection)
    author, book = Author.__tablename__, Book.__tablename__
    assert {author, book} <= set(inspector.get_table_names())
    assert inspector.has_table(author) and not inspector.has_table("sa_nothing")
    assert inspector.get_pk_constraint(book)["constrained_columns"] == ["author_id", "number"]
    columns = {column["name"]: column for column in inspector.get_columns(book)}
    shown = {name: str(column["type"]) for name, column in columns.items()}
    assert shown == {
        "author_id": "UUID",
        "number": "INTEGER",
        "title": "VARCHAR(80)",
        "price": "NUMERIC(10, 2)",
        "pages": "BIGINT",
        "rating": "DOUBLE PRECISION",
        "in_print": "BOOLEAN",
        "cover": "BYTEA",
        "added": "TIMESTAMP",
        "loan": "INTERVAL",
        "tags": "ARRAY",
    }, shown
    assert columns["added"]["type"].timezone and not columns["title"]["nullable"] and columns["pages"]["nullable"]
    assert columns["price"]["default"] is not None and isinstance(columns["tags"]["type"].item_type, sa.Text)
    for nothing in (inspector.get_foreign_keys, inspector.get_unique_constraints, inspector.get_check_constraints):
        assert nothing(book) == []
    assert inspector.get_indexes(book) == [] and inspector.get_view_names() == []
    assert "public" in inspector.get_schema_names()
    reflected = sa.MetaData()
    reflected.reflect(connection, only=[author, book])
    table = reflected.tables[book]
    assert [column.name for column in table.primary_key.columns] == ["author_id", "number"]
    return table


def write(session):
    amara = Author(name="Amara", born=datetime.date(1980, 2, 29))
    session.add(amara)
    session.flush()
    amara.books = [
        Book(number=1, title="First", price=decimal.Decimal("12.50"), pages=1 << 40, rating=0.1, cover=b"\x00\xff"),
        Book(number=2, title="Größe 雪", loan=datetime.timedelta(days=3, hours=2), tags=["a,b", 'c"d'], in_print=False),
    ]
    session.add(Author(name="Bruno"))


def read(session):
    found = session.scalars(
        sa.select(Book).join(Book.author).where(Author.name == "Amara").order_by(Book.number)
    ).all()
    first, second = found
    assert (first.price, first.pages, first.rating, first.cover) == (decimal.Decimal("12.50"), 1 << 40, 0.1, b"\x00\xff")
    assert first.added == NOW and first.in_print and first.tags is None
    assert (second.title, second.price) == ("Größe 雪", decimal.Decimal("0.00"))
    assert (second.loan, second.tags) == (datetime.timedelta(days=3, hours=2), ["a,b", 'c"d']) and not second.in_print
    counted = sa.select(Author.name, sa.func.count(Book.number)).outerjoin(Author.books)
    assert session.execute(counted.group_by(Author.name).order_by(Author.name)).all() == [("Amara", 2), ("Bruno", 0)]
    loaded = session.scalars(sa.select(Author).options(orm.selectinload(Author.books)).order_by(Author.name)).all()
    assert [len(author.books) for author in loaded] == [2, 0]
    page = session.scalars(sa.select(Book.number).where(Book.number.in_([1, 2, 3])).order_by(Book.number).limit(1).offset(1))
    assert page.all() == [2]


def change(session):
    amara = session.scalars(sa.select(Author).where(Author.name == "Amara").with_for_update()).one()
    amara.name = "Amara O."
    books = session.scalars(sa.select(Book).where(Book.author_id == amara.id).order_by(Book.number)).all()
    session.delete(books[0])
    updated = session.execute(sa.update(Book).values(price=Book.price + 1).returning(Book.price)).scalars().all()
    assert decimal.Decimal("1.00") in updated, updated


def bulk(session):
    owner = uuid.UUID(int=7)
    session.execute(sa.insert(Book), [{"author_id": owner, "number": n, "title": f"Book {n}"} for n in range(1500)])
    got = session.execute(
        sa.insert(Author).returning(Author.id, sort_by_parameter_order=True),
        [{"id": uuid.UUID(int=n), "name": "many"} for n in range(100, 150)],
    )
    assert [row.id.int for row in got] == list(range(100, 150))
    total = session.execute(sa.select(sa.func.count()).select_from(Book).where(Book.author_id == owner)).scalar_one()
    assert total == 1500


def duplicate(session):
    session.execute(sa.insert(Author), {"id": uuid.UUID(int=100), "name": "again"})


def state(error):
    """The SQLSTATE; 40001 asks for the whole transaction to be run again."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def blocking():
    engine = sa.create_engine(f"postgresql+{DRIVER}://", isolation_level="SERIALIZABLE")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    make = orm.sessionmaker(engine)
    with engine.connect() as connection:
        reflect(connection)
    for work in (write, read, change, bulk):
        with make.begin() as session:
            work(session)
    try:
        with make.begin() as session:
            duplicate(session)
    except sa.exc.IntegrityError as error:
        assert state(error) == "23505", error
    else:
        raise AssertionError("a second row with the same key went in")
    lost = 0
    for attempt in range(10):
        try:
            with make.begin() as session:
                author = session.get_one(Author, uuid.UUID(int=101))
                if attempt == 0:
                    with make.begin() as other:
                        other.get_one(Author, uuid.UUID(int=101)).name = "other"
                author.name += "!"
            break
        except sa.exc.DBAPIError as error:
            assert state(error) == "40001", error
            lost += 1
    with make() as session:
        assert (lost, session.get_one(Author, uuid.UUID(int=101)).name) == (1, "other!")
    Base.metadata.drop_all(engine)
    engine.dispose()


async def asynchronous():
    engine = sa_asyncio.create_async_engine("postgresql+asyncpg://", isolation_level="SERIALIZABLE")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(reflect)
    make = sa_asyncio.async_sessionmaker(engine)
    for work in (write, read, change, bulk):
        async with make.begin() as session:
            await session.run_sync(work)
    try:
        async with make.begin() as session:
            await session.run_sync(duplicate)
    except sa.exc.IntegrityError as error:
        assert state(error) == "23505", error
    else:
        raise AssertionError("a second row with the same key went in")
    lost = 0
    for attempt in range(10):
        try:
            async with make.begin() as session:
                author = await session.get_one(Author, uuid.UUID(int=101))
                if attempt == 0:
                    async with make.begin() as other:
                        (await other.get_one(Author, uuid.UUID(int=101))).name = "other"
                author.name += "!"
            break
        except sa.exc.DBAPIError as error:
            assert state(error) == "40001", error
            lost += 1
    async with make() as session:
        assert (lost, (await session.get_one(Author, uuid.UUID(int=101))).name) == (1, "other!")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


asyncio.run(asynchronous()) if DRIVER == "asyncpg" else blocking()
