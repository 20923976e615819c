// PostgreSQL's JDBC driver: statements that it prepares on the server after their fifth run and then reads in binary, batches, the database's
// metadata, COPY, results in pieces, errors, repetition of lost races, and what DBeaver, which is built on it, asks when it connects.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PSQLException;

public class Jdbc {
    static final OffsetDateTime STAMP = OffsetDateTime.of(2026, 11, 22, 3, 0, 0, 1000, ZoneOffset.ofHoursMinutes(5, 30));

    static Connection connect(String... properties) throws SQLException {
        Properties all = new Properties();
        all.setProperty("user", System.getenv("PGUSER"));
        for (int n = 0; n < properties.length; n += 2) {
            all.setProperty(properties[n], properties[n + 1]);
        }
        String place = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + place, all);
    }

    static void same(Object expected, Object got, String what) {
        boolean equal = expected instanceof byte[] bytes ? Arrays.equals(bytes, (byte[]) got) : Objects.equals(expected, got);
        if (!equal) {
            throw new AssertionError(what + ": expected " + expected + ", got " + got);
        }
    }

    interface Work {
        void run() throws Exception;
    }

    static SQLException refused(String state, Work work) throws Exception {
        try {
            work.run();
        } catch (SQLException error) {
            same(state, error.getSQLState(), error.getMessage());
            return error;
        }
        throw new AssertionError("no error " + state);
    }

    static void roundTrips(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS jdbc_value");
            statement.execute("""
                CREATE TABLE jdbc_value (id integer PRIMARY KEY, b boolean, s smallint, l bigint, r real, d double precision, n numeric(30,9),
                    t text, v varchar(10), y bytea, day date, at time, ts timestamp, tz timestamptz, i interval, u uuid, ints integer[], texts text[])""");
        }
        UUID uuid = UUID.fromString("6f9619ff-8b86-d011-b42d-00cf4fc964ff");
        byte[] bytes = {0, -1, 92, 39, 10};
        Integer[] ints = {1, null, 3};
        String[] texts = {"a,b", "c\"d", "", "NULL", null};
        // The driver goes over to a prepared statement at the fifth run; the values must not care.
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_value VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")) {
            for (int key = 0; key < 10; key++) {
                insert.setInt(1, key);
                insert.setBoolean(2, key % 2 == 0);
                insert.setShort(3, (short) (-32768 + key));
                insert.setLong(4, Long.MAX_VALUE - key);
                insert.setFloat(5, 1.5f);
                insert.setDouble(6, -1e300);
                insert.setBigDecimal(7, new BigDecimal("-12345678901234567890.123456789"));
                insert.setString(8, "a'b\"c\\d Ünï 雪 🦀 " + key);
                insert.setString(9, "ten chars!");
                insert.setBytes(10, bytes);
                insert.setObject(11, LocalDate.of(2026, 2, 28));
                insert.setObject(12, LocalTime.of(23, 59, 59, 999_999_000));
                insert.setObject(13, LocalDateTime.of(2026, 11, 22, 21, 30, 15, 123_456_000));
                insert.setObject(14, STAMP);
                insert.setObject(15, new PGInterval(1, 2, 3, 4, 5, 6.25));
                insert.setObject(16, uuid);
                insert.setArray(17, connection.createArrayOf("integer", ints));
                insert.setArray(18, connection.createArrayOf("text", texts));
                same(1, insert.executeUpdate(), "rows inserted");
            }
            same(true, insert.unwrap(PGStatement.class).isUseServerPrepare(), "prepared on the server");
            for (int column = 2; column <= 18; column++) {
                insert.setNull(column, Types.NULL);
            }
            insert.setInt(1, 10);
            insert.executeUpdate();
        }
        try (PreparedStatement select = connection.prepareStatement("SELECT * FROM jdbc_value WHERE id = ?")) {
            for (int key = 0; key < 10; key++) {
                select.setInt(1, key);
                try (ResultSet row = select.executeQuery()) {
                    String when = "run " + key + ", column ";
                    same(true, row.next(), when + "id");
                    same(key % 2 == 0, row.getBoolean("b"), when + "b");
                    same((short) (-32768 + key), row.getShort("s"), when + "s");
                    same(Long.MAX_VALUE - key, row.getLong("l"), when + "l");
                    same(1.5f, row.getFloat("r"), when + "r");
                    same(-1e300, row.getDouble("d"), when + "d");
                    same(new BigDecimal("-12345678901234567890.123456789"), row.getBigDecimal("n"), when + "n");
                    same("a'b\"c\\d Ünï 雪 🦀 " + key, row.getString("t"), when + "t");
                    same("ten chars!", row.getString("v"), when + "v");
                    same(bytes, row.getBytes("y"), when + "y");
                    same(LocalDate.of(2026, 2, 28), row.getObject("day", LocalDate.class), when + "day");
                    same(Date.valueOf("2026-02-28"), row.getDate("day"), when + "day");
                    same(LocalTime.of(23, 59, 59, 999_999_000), row.getObject("at", LocalTime.class), when + "at");
                    same(LocalDateTime.of(2026, 11, 22, 21, 30, 15, 123_456_000), row.getObject("ts", LocalDateTime.class), when + "ts");
                    same(STAMP.toInstant(), row.getObject("tz", OffsetDateTime.class).toInstant(), when + "tz");
                    same(Instant.parse("2026-11-21T21:30:00.000001Z"), row.getTimestamp("tz").toInstant(), when + "tz");
                    same(new PGInterval(1, 2, 3, 4, 5, 6.25), row.getObject("i"), when + "i");
                    same(uuid, row.getObject("u"), when + "u");
                    same(Arrays.asList(ints), Arrays.asList((Object[]) row.getArray("ints").getArray()), when + "ints");
                    same(Arrays.asList(texts), Arrays.asList((Object[]) row.getArray("texts").getArray()), when + "texts");
                }
            }
            select.setInt(1, 10);
            try (ResultSet row = select.executeQuery()) {
                row.next();
                for (int column = 2; column <= 18; column++) {
                    same(null, row.getObject(column), "NULL in column " + column);
                }
            }
            ResultSetMetaData columns = select.getMetaData();
            same("numeric 30 9", columns.getColumnTypeName(7) + " " + columns.getPrecision(7) + " " + columns.getScale(7), "column n");
            same("jdbc_value", columns.getTableName(7), "table of column n");
            same(ResultSetMetaData.columnNoNulls, columns.isNullable(1), "column id");
        }
        try (PreparedStatement among = connection.prepareStatement("SELECT count(*) FROM jdbc_value WHERE id = ANY (?) AND l > ?")) {
            among.setArray(1, connection.createArrayOf("integer", new Integer[] {1, 2, 77}));
            among.setLong(2, 5);
            try (ResultSet row = among.executeQuery()) {
                row.next();
                same(2L, row.getLong(1), "rows among the keys");
            }
        }
    }

    static void batches(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS jdbc_batch");
            statement.execute("CREATE TABLE jdbc_batch (id bigint PRIMARY KEY, name text NOT NULL)");
        }
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)")) {
            for (long key = 0; key < 1000; key++) {
                insert.setLong(1, key);
                insert.setString(2, "name " + key);
                insert.addBatch();
            }
            same(1000, insert.executeBatch().length, "rows of a batch");
            connection.commit();
            insert.setLong(1, 2000);
            insert.setString(2, "new");
            insert.addBatch();
            insert.setLong(1, 5);
            insert.setString(2, "there already");
            insert.addBatch();
            SQLException error = refused("23505", insert::executeBatch);
            same(true, error instanceof BatchUpdateException, "class of the error");
        }
        refused("25P02", () -> connection.createStatement().executeQuery("SELECT 1"));
        connection.rollback();
        // Results in pieces: the portal stays open in the transaction.
        try (PreparedStatement select = connection.prepareStatement("SELECT id, name FROM jdbc_batch ORDER BY id")) {
            select.setFetchSize(64);
            long next = 0;
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) {
                    same(next++, rows.getLong(1), "rows in order");
                }
            }
            same(1000L, next, "rows in pieces");
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)", new String[] {"id"})) {
            insert.setLong(1, 3000);
            insert.setString(2, "returned");
            insert.executeUpdate();
            try (ResultSet keys = insert.getGeneratedKeys()) {
                keys.next();
                same(3000L, keys.getLong("id"), "the key returned");
            }
        }
    }

    static void rewrittenBatch() throws Exception {
        try (Connection connection = connect("reWriteBatchedInserts", "true");
            PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)")) {
            for (long key = 4000; key < 4300; key++) {
                insert.setLong(1, key);
                insert.setString(2, "one statement of many rows");
                insert.addBatch();
            }
            same(300, insert.executeBatch().length, "rows of a rewritten batch");
        }
    }

    static void copies(Connection connection) throws Exception {
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        same(2L, copy.copyIn("COPY jdbc_batch FROM STDIN WITH CSV", new StringReader("5000,\"a,b\"\n5001,c\n")), "rows copied in");
        StringWriter out = new StringWriter();
        same(2L, copy.copyOut("COPY (SELECT * FROM jdbc_batch WHERE id >= 5000 ORDER BY id) TO STDOUT", out), "rows copied out");
        same("5000\ta,b\n5001\tc\n", out.toString(), "what was copied out");
        var pieces = copy.copyOut("COPY (SELECT id FROM jdbc_batch WHERE id >= 5000 ORDER BY id) TO STDOUT");
        same("5000\n", new String(pieces.readFromCopy(), StandardCharsets.UTF_8), "the first row by itself");
        same("5001\n", new String(pieces.readFromCopy(), StandardCharsets.UTF_8), "the second row by itself");
        same(null, pieces.readFromCopy(), "after the last row");
        SQLException error = refused("22P02", () -> copy.copyIn("COPY jdbc_batch FROM STDIN", new StringReader("x\ty\n")));
        same("COPY jdbc_batch, line 1, column id: \"x\"", ((PSQLException) error).getServerErrorMessage().getWhere(), "where");
    }

    static List<String> texts(ResultSet rows, String... columns) throws SQLException {
        List<String> all = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                StringBuilder line = new StringBuilder();
                for (String column : columns) {
                    line.append(line.isEmpty() ? "" : " ").append(rows.getString(column));
                }
                all.add(line.toString());
            }
        }
        return all;
    }

    static void metadata(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS jdbc_meta");
            statement.execute("""
                CREATE TABLE jdbc_meta (a integer, b varchar(20), price numeric(10,2) NOT NULL DEFAULT 0, at timestamptz, tags text[], PRIMARY KEY (b, a))""");
        }
        DatabaseMetaData meta = connection.getMetaData();
        same("PostgreSQL", meta.getDatabaseProductName(), "product");
        same(true, meta.getDatabaseMajorVersion() >= 15, "version");
        same(List.of("jdbc_meta TABLE"), texts(meta.getTables(null, "public", "jdbc_met_", new String[] {"TABLE"}), "TABLE_NAME", "TABLE_TYPE"), "tables");
        same(
            List.of("a int4 10 0 NO", "b varchar 20 0 NO", "price numeric 10 2 NO", "at timestamptz 35 6 YES", "tags _text 2147483647 0 YES"),
            texts(meta.getColumns(null, null, "jdbc_meta", "%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE"),
            "columns");
        same(
            List.of("b 1 jdbc_meta_pkey", "a 2 jdbc_meta_pkey"),
            texts(meta.getPrimaryKeys(null, null, "jdbc_meta"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"),
            "primary key");
        same(
            List.of("b 1", "a 2"),
            texts(meta.getIndexInfo(null, null, "jdbc_meta", true, false), "COLUMN_NAME", "ORDINAL_POSITION"),
            "indexes");
        same(List.of(), texts(meta.getImportedKeys(null, null, "jdbc_meta"), "FK_NAME"), "imported keys");
        same(List.of(), texts(meta.getExportedKeys(null, null, "jdbc_meta"), "FK_NAME"), "exported keys");
        same(true, texts(meta.getSchemas(), "TABLE_SCHEM").contains("public"), "schemas");
        same(true, texts(meta.getCatalogs(), "TABLE_CAT").contains(System.getenv("PGDATABASE")), "catalogs");
        same(true, texts(meta.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int4", "text", "numeric", "uuid")), "types");
        same(true, texts(meta.getTableTypes(), "TABLE_TYPE").contains("TABLE"), "types of tables");
        var row = meta.getBestRowIdentifier(null, null, "jdbc_meta", DatabaseMetaData.bestRowSession, false);
        same(List.of("a", "b"), texts(row, "COLUMN_NAME"), "row identifier");
        meta.getFunctions(null, "pg_catalog", "lower").close();
        meta.getProcedures(null, null, "%").close();
        meta.getTablePrivileges(null, "public", "jdbc_meta").close();
        meta.getColumnPrivileges(null, "public", "jdbc_meta", "%").close();
        meta.getUDTs(null, null, "%", null).close();
        meta.getClientInfoProperties().close();
        same(63, meta.getMaxColumnNameLength(), "length of names");
        same(true, meta.getSQLKeywords() != null, "keywords");
    }

    static void dbeaver() throws Exception {
        // As DBeaver connects, for data and for metadata, and what it shows first.
        for (String name : List.of("DBeaver 24.1.0 - Main <demo>", "DBeaver 24.1.0 - Metadata <demo>")) {
            try (Connection connection = connect("ApplicationName", name); Statement statement = connection.createStatement()) {
                connection.setReadOnly(false);
                connection.setTransactionIsolation(connection.getTransactionIsolation());
                for (String query : List.of(
                    "SELECT current_schema(),session_user",
                    "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid"
                        + " AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
                    "SHOW search_path",
                    "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname ='demo' ORDER BY db.datname",
                    "select * from pg_catalog.pg_settings where name='standard_conforming_strings'",
                    "select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{a,abs}'::text[])",
                    "SELECT version()",
                    "SELECT a.oid,a.* FROM pg_catalog.pg_roles a ORDER BY a.rolname",
                    "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description"
                        + " FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem"
                        + " LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid"
                        + " WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
                    "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr,"
                        + " pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d"
                        + " ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass"
                        + " WHERE c.relnamespace=2200 AND c.relkind not in ('i','I','c')",
                    "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid"
                        + " FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid)"
                        + " LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum)"
                        + " LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)"
                        + " LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum"
                        + " and dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid='jdbc_meta'::regclass"
                        + " ORDER BY a.attnum",
                    "SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, null as consrc_copy"
                        + " FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid"
                        + " LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d"
                        + " ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass WHERE c.conrelid='jdbc_meta'::regclass ORDER BY c.oid",
                    "SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,c.relam,c.reltablespace,tc.relname as tabrelname,dsc.description,"
                        + " pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr,"
                        + " pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size,pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans"
                        + " FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid"
                        + " INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc"
                        + " ON i.indexrelid=dsc.objoid WHERE i.indrelid='jdbc_meta'::regclass ORDER BY tabrelname, c.relname")) {
                    try (ResultSet rows = statement.executeQuery(query)) {
                        while (rows.next()) {
                            for (int column = 1; column <= rows.getMetaData().getColumnCount(); column++) {
                                rows.getObject(column);
                            }
                        }
                    } catch (SQLException error) {
                        throw new AssertionError(query, error);
                    }
                }
            }
        }
    }

    static void repetition(Connection connection) throws Exception {
        try (Connection other = connect()) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS jdbc_race");
                statement.execute("CREATE TABLE jdbc_race (id integer PRIMARY KEY, n integer NOT NULL)");
                statement.execute("INSERT INTO jdbc_race VALUES (1, 0)");
            }
            for (Connection each : List.of(connection, other)) {
                each.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            }
            connection.setAutoCommit(false);
            int lost = 0;
            for (int attempt = 0; attempt < 10; attempt++) {
                try (Statement statement = connection.createStatement()) {
                    ResultSet row = statement.executeQuery("SELECT n FROM jdbc_race WHERE id = 1");
                    row.next();
                    if (attempt == 0) {
                        other.createStatement().executeUpdate("UPDATE jdbc_race SET n = n + 100 WHERE id = 1");
                    }
                    statement.executeUpdate("UPDATE jdbc_race SET n = " + (row.getInt(1) + 1) + " WHERE id = 1");
                    connection.commit();
                    break;
                } catch (SQLException error) {
                    same("40001", error.getSQLState(), error.getMessage());
                    connection.rollback();
                    lost++;
                }
            }
            try (ResultSet row = connection.createStatement().executeQuery("SELECT n FROM jdbc_race")) {
                row.next();
                same("1 101", lost + " " + row.getInt(1), "attempts lost, and the count");
            }
            connection.commit();
            connection.setAutoCommit(true);
        }
    }

    static void errors(Connection connection) throws Exception {
        Statement statement = connection.createStatement();
        SQLException error = refused("23505", () -> statement.executeUpdate("INSERT INTO jdbc_race VALUES (1, 1)"));
        var message = ((PSQLException) error).getServerErrorMessage();
        same("jdbc_race jdbc_race_pkey", message.getTable() + " " + message.getConstraint(), "names in the error");
        refused("42P01", () -> statement.executeQuery("SELECT * FROM nowhere"));
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        refused("25006", () -> statement.executeUpdate("UPDATE jdbc_race SET n = 0"));
        connection.rollback();
        connection.setAutoCommit(true);
        connection.setReadOnly(false);
        statement.setQueryTimeout(1);
        String endless = "SELECT count(*) FROM generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 3000) c";
        refused("57014", () -> statement.executeQuery(endless));
        statement.setQueryTimeout(0);
        same(true, connection.isValid(5), "the connection goes on");
    }

    static void savepoints() throws Exception {
        // The driver sets a savepoint before each statement of its own accord too.
        for (String autosave : List.of("never", "always")) {
            try (Connection connection = connect("autosave", autosave); Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS jdbc_savepoint");
                statement.execute("CREATE TABLE jdbc_savepoint (id integer PRIMARY KEY)");
                connection.setAutoCommit(false);
                statement.execute("INSERT INTO jdbc_savepoint VALUES (1)");
                Savepoint before = connection.setSavepoint("before");
                refused("23505", () -> statement.execute("INSERT INTO jdbc_savepoint VALUES (2), (1)"));
                connection.rollback(before);
                statement.execute("INSERT INTO jdbc_savepoint VALUES (3)");
                connection.releaseSavepoint(before);
                connection.commit();
                same(List.of("1", "3"), texts(statement.executeQuery("SELECT id FROM jdbc_savepoint ORDER BY id"), "id"), "autosave " + autosave);
                connection.commit();
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (List.of(arguments).contains("savepoints")) {
            savepoints();
            return;
        }
        try (Connection connection = connect()) {
            roundTrips(connection);
            batches(connection);
            rewrittenBatch();
            copies(connection);
            metadata(connection);
            dbeaver();
            repetition(connection);
            errors(connection);
        }
    }
}
