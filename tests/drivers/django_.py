"""Django's ORM over psycopg 3: tables from models, queries, aggregates, relations, transactions, introspection."""

import datetime
import decimal
import os
import uuid

import django
from django.apps import AppConfig
from django.conf import settings


class Shops(AppConfig):
    """This program as an application, whose models know each other."""

    name, label, path = "__main__", "shops", os.path.dirname(os.path.abspath(__file__))


settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"],
        }
    },
    INSTALLED_APPS=["__main__.Shops"],
    USE_TZ=True,
)
django.setup()

from django.db import IntegrityError, OperationalError, connection, models, transaction  # noqa: E402

STAMP = datetime.datetime(2026, 11, 22, 21, 30, 15, 123456, tzinfo=datetime.timezone.utc)


class Shop(models.Model):
    # Keys are made by the application: there are no identity columns.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "shops"
        db_table = "django_shop"


class Sale(models.Model):
    id = models.BigIntegerField(primary_key=True)
    # Without a constraint or an index of its own, which there are none of.
    shop = models.ForeignKey(Shop, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="sales")
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    sold = models.DateField(null=True)
    stamp = models.DateTimeField(default=STAMP)
    paid = models.BooleanField(default=False)
    took = models.DurationField(null=True)
    note = models.TextField(default="")
    receipt = models.BinaryField(null=True)
    rate = models.FloatField(null=True)

    class Meta:
        app_label = "shops"
        db_table = "django_sale"


def tables():
    existing = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in (Sale, Shop):
            if model._meta.db_table in existing:
                editor.delete_model(model)
        for model in (Shop, Sale):
            editor.create_model(model)
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        assert {"django_shop", "django_sale"} <= set(names), names
        columns = connection.introspection.get_table_description(cursor, "django_sale")
        kinds = {c.name: connection.introspection.get_field_type(c.type_code, c) for c in columns}
        expected = {"id": "BigIntegerField", "amount": "DecimalField", "took": "DurationField", "shop_id": "UUIDField"}
        assert expected.items() <= kinds.items(), kinds
        assert connection.introspection.get_primary_key_columns(cursor, "django_sale") == ["id"]
        constraints = connection.introspection.get_constraints(cursor, "django_sale")
        assert [c["columns"] for c in constraints.values() if c["primary_key"]] == [["id"]], constraints


def rows():
    north, south = Shop.objects.create(name="North"), Shop.objects.create(name="South")
    Sale.objects.bulk_create(
        Sale(id=n, shop=north if n % 2 else south, amount=decimal.Decimal(n) / 4, sold=datetime.date(2026, 1, 1 + n % 28))
        for n in range(200)
    )
    whole = Sale.objects.create(
        id=1000, shop=north, amount=decimal.Decimal("0.01"), paid=True, took=datetime.timedelta(days=1, seconds=2),
        note="Ünï", receipt=b"\x00\xff", rate=0.1,
    )
    back = Sale.objects.get(pk=1000)
    for field in ("amount", "sold", "stamp", "paid", "took", "note", "rate", "shop_id"):
        assert getattr(back, field) == getattr(whole, field), field
    assert bytes(back.receipt) == b"\x00\xff"
    totals = Shop.objects.annotate(n=models.Count("sales"), total=models.Sum("sales__amount")).order_by("name")
    assert [(s.name, s.n, s.total) for s in totals] == [
        ("North", 101, decimal.Decimal("2500.01")),
        ("South", 100, decimal.Decimal("2475.00")),
    ]
    assert Sale.objects.filter(shop__name__istartswith="nor", sold__year=2026, sold__month=1, id__lt=10).count() == 5
    assert Sale.objects.filter(id__in=[1, 2, 3]).update(amount=models.F("amount") + 1) == 3
    assert Sale.objects.select_related("shop").order_by("-id")[0].shop.name == "North"
    assert len(Shop.objects.prefetch_related("sales").get(name="South").sales.all()) == 100
    assert list(Sale.objects.values_list("id", flat=True).order_by("id")[5:8]) == [5, 6, 7]
    assert Sale.objects.filter(models.Exists(Shop.objects.filter(id=models.OuterRef("shop_id"), name="South"))).count() == 100
    assert Sale.objects.dates("sold", "month").count() == 1
    # By a cursor of the server's, which is held outside a block.
    assert [sale.id for sale in Sale.objects.order_by("id").iterator(chunk_size=40)] == [*range(200), 1000]
    with transaction.atomic():
        for sale in Sale.objects.filter(id__lt=100).order_by("id").iterator(chunk_size=30):
            Sale.objects.filter(pk=sale.pk).update(note="seen")
        assert Sale.objects.filter(note="seen").update(note="") == 100
    Sale.objects.filter(id__gte=150).delete()
    assert Sale.objects.count() == 150


def transactions():
    try:
        with transaction.atomic():
            Sale.objects.filter(id=1).update(note="never")
            raise RuntimeError("roll back")
    except RuntimeError:
        assert Sale.objects.get(id=1).note == ""
    try:
        Shop(id=Shop.objects.first().id, name="again").save(force_insert=True)
    except IntegrityError as error:
        assert error.__cause__.sqlstate == "23505"
    else:
        raise AssertionError("a second row with the same key went in")
    with transaction.atomic():
        sale = Sale.objects.select_for_update().get(id=1)
        sale.note = "locked"
        sale.save()
    assert Sale.objects.get(id=1).note == "locked"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM django_sale")
    except (OperationalError, django.db.ProgrammingError) as error:
        assert error.__cause__.sqlstate == "42703"
    else:
        raise AssertionError("a column that does not exist was found")


tables()
rows()
transactions()
