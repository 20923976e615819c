-- Set operations.
SELECT 1 UNION SELECT 2 UNION SELECT 1 ORDER BY 1
SELECT 1 AS a UNION ALL SELECT 1 UNION ALL SELECT NULL ORDER BY a
SELECT count(*) FROM (SELECT 1.0 UNION SELECT 1.00) x
SELECT 1 UNION SELECT 2.5 ORDER BY 1
SELECT 'x' UNION SELECT 'y' ORDER BY 1
SELECT NULL UNION SELECT 1
SELECT NULL UNION SELECT NULL
SELECT '1' UNION SELECT 2
SELECT 1::smallint UNION SELECT 70000
SELECT date '2026-01-01' UNION SELECT timestamp '2026-01-01 10:00' ORDER BY 1
SELECT i FROM generate_series(1, 5) AS g(i) INTERSECT SELECT i FROM generate_series(3, 9) AS g(i) ORDER BY 1
SELECT i FROM generate_series(1, 5) AS g(i) EXCEPT SELECT i FROM generate_series(3, 9) AS g(i) ORDER BY 1
VALUES (1), (1), (1), (2) INTERSECT ALL VALUES (1), (1), (3)
VALUES (1), (1), (1), (2) EXCEPT ALL VALUES (1), (3)
VALUES (NULL), (1) INTERSECT VALUES (NULL), (2)
SELECT 1 UNION SELECT 2 INTERSECT SELECT 2 ORDER BY 1
(SELECT 1 UNION SELECT 2) INTERSECT SELECT 2
SELECT 1 UNION SELECT true
SELECT 1, 2 UNION SELECT 3
SELECT * FROM (SELECT 1 AS a, 'x' AS b UNION SELECT 2, 'y') t WHERE a = 2
-- WITH.
WITH a AS (SELECT 1 AS x UNION SELECT 2) SELECT sum(x) FROM a
WITH a(p) AS (VALUES (1), (2)), b AS (SELECT p + 1 AS q FROM a) SELECT a.p, b.q FROM a JOIN b ON a.p = b.q
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT sum(i), min(i), max(i), avg(i) FROM n
WITH RECURSIVE n(i) AS (VALUES (1) UNION SELECT i % 4 + 1 FROM n) SELECT i FROM n ORDER BY 1
WITH RECURSIVE f(a, b) AS (SELECT 0::bigint, 1::bigint UNION ALL SELECT b, a + b FROM f WHERE b < 1000) SELECT a FROM f ORDER BY 1
SELECT g, (WITH RECURSIVE u(n) AS (SELECT g UNION ALL SELECT n + 1 FROM u WHERE n < 2 * g) SELECT string_agg(n::text, ',' ORDER BY n) FROM u) FROM generate_series(1, 4) g
SELECT g, h FROM generate_series(1, 3) g, LATERAL (WITH RECURSIVE u(n) AS (SELECT 1 UNION SELECT n % 3 + g FROM u WHERE n < 9) SELECT n FROM u) AS x(h) ORDER BY 1, 2
SELECT g, EXISTS (WITH RECURSIVE u(n, s) AS (SELECT 1, 1.5 UNION ALL SELECT n + 1, s * g FROM u, (SELECT 2 AS m) AS y WHERE n < m + g) SELECT FROM u WHERE s > 20) FROM generate_series(1, 4) g ORDER BY 1
WITH a AS (SELECT 1) SELECT * FROM b
WITH a(x, y) AS (SELECT 1) SELECT * FROM a
-- Windows.
SELECT i, row_number() OVER (ORDER BY i DESC), rank() OVER (ORDER BY i / 2), dense_rank() OVER (ORDER BY i / 2) FROM generate_series(1, 6) AS g(i) ORDER BY i
SELECT i, sum(i) OVER (ORDER BY i), avg(i) OVER (PARTITION BY i % 2), count(*) OVER () FROM generate_series(1, 6) AS g(i) ORDER BY i
SELECT i, lag(i) OVER w, lead(i, 2) OVER w, lag(i, 1, 0) OVER w, first_value(i) OVER w, last_value(i) OVER w, nth_value(i, 3) OVER w FROM generate_series(1, 5) AS g(i) WINDOW w AS (ORDER BY i) ORDER BY i
SELECT i, sum(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), min(i) OVER (ORDER BY i ROWS 2 PRECEDING) FROM generate_series(1, 5) AS g(i) ORDER BY i
SELECT i, sum(i) OVER (ORDER BY i / 2 GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM generate_series(1, 6) AS g(i) ORDER BY i
SELECT i, ntile(3) OVER (ORDER BY i), percent_rank() OVER (ORDER BY i / 3), cume_dist() OVER (ORDER BY i / 3) FROM generate_series(1, 7) AS g(i) ORDER BY i
SELECT i % 2, sum(count(*)) OVER (ORDER BY i % 2) FROM generate_series(1, 5) AS g(i) GROUP BY i % 2 ORDER BY 1
SELECT v, rank() OVER (ORDER BY v) FROM (VALUES (1.0), (1.00), (0.5)) AS t(v) ORDER BY 2
SELECT string_agg(i::text, ',') OVER (ORDER BY i) FROM generate_series(1, 3) AS g(i)
SELECT i FROM generate_series(1, 3) AS g(i) WHERE row_number() OVER () = 1
SELECT row_number()
SELECT sum(i) OVER nowhere FROM generate_series(1, 3) AS g(i)
SELECT sum(i) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED FOLLOWING AND CURRENT ROW) FROM generate_series(1, 3) AS g(i)
SELECT sum(i) OVER (ORDER BY i ROWS -1 PRECEDING) FROM generate_series(1, 3) AS g(i)
SELECT abs(i) OVER () FROM generate_series(1, 3) AS g(i)
SELECT sum(DISTINCT i) OVER () FROM generate_series(1, 3) AS g(i)
-- Groups.
SELECT i % 2 AS a, i % 3 AS b, sum(i) FROM generate_series(1, 9) AS g(i) GROUP BY ROLLUP (i % 2, i % 3) ORDER BY 1, 2
SELECT i % 2 AS a, i % 3 AS b, count(*) FROM generate_series(1, 9) AS g(i) GROUP BY CUBE (1, 2) ORDER BY 1, 2
SELECT i % 2 AS a, count(*) FROM generate_series(1, 9) AS g(i) GROUP BY GROUPING SETS ((1), ()) ORDER BY 1
SELECT DISTINCT ON (i % 3) i % 3, i FROM generate_series(1, 9) AS g(i) ORDER BY i % 3, i DESC
SELECT DISTINCT ON (i % 3) i FROM generate_series(1, 9) AS g(i) ORDER BY i
SELECT count(DISTINCT i % 3), sum(DISTINCT i % 3), string_agg(DISTINCT (i % 3)::text, ',' ORDER BY (i % 3)::text DESC) FROM generate_series(1, 9) AS g(i) CROSS JOIN generate_series(1, 2) AS h(j)
SELECT bool_and(i > 0), bool_or(i > 8), bit_and(i), bit_or(i), array_agg(i ORDER BY i DESC) FROM generate_series(1, 4) AS g(i) JOIN generate_series(1, 9) AS h(j) ON i = j
SELECT stddev(i), variance(i), stddev_pop(i::float8), var_samp(i::float8) FROM (SELECT i FROM generate_series(1, 4) AS g(i) UNION ALL SELECT i FROM generate_series(7, 9) AS g(i)) x
SELECT v, count(*) FROM (VALUES (1.0), (1.00), (2)) AS t(v) CROSS JOIN generate_series(1, 2) AS g(i) GROUP BY v ORDER BY v
SELECT v::char(3), count(*) FROM (VALUES ('a'), ('a '), ('b')) AS t(v) CROSS JOIN generate_series(1, 2) AS g(i) GROUP BY 1 ORDER BY 1
SELECT v, count(*) FROM (VALUES (interval '1 day'), (interval '24 hours'), (interval '1 month')) AS t(v) CROSS JOIN generate_series(1, 2) AS g(i) GROUP BY v ORDER BY v
SELECT 'NaN'::float8 AS f UNION SELECT 'NaN'::float8 UNION SELECT 1
-- differs: zeros lose their sign on the way through a join
SELECT a.f FROM (VALUES ('NaN'::float8), (0.0), ('-0'::float8)) AS a(f) JOIN (VALUES ('NaN'::float8), (0.0)) AS b(f) ON a.f = b.f
SELECT a.u FROM (SELECT '00000000-0000-0000-0000-000000000001'::uuid AS u) a JOIN (SELECT '00000000-0000-0000-0000-000000000001'::uuid AS u) b USING (u)
SELECT x.t, y.t FROM (SELECT timestamp '2026-01-01' AS t) x LEFT JOIN (SELECT timestamptz '2026-01-01 00:00+00' AS t) y ON x.t = y.t
SELECT sum(i) FROM (SELECT 9223372036854775807 AS i UNION ALL SELECT 1) x
SELECT sum(i::int) FROM (SELECT 2147483647 AS i UNION ALL SELECT 2147483647) x
SELECT i FROM generate_series(1, 3) AS g(i) JOIN generate_series(1, 2) AS h(j) ON true LIMIT -1
-- Changes by other rows.
CREATE TABLE a (id integer PRIMARY KEY, v integer)
CREATE TABLE b (id integer PRIMARY KEY, v integer)
INSERT INTO a SELECT i, i FROM generate_series(1, 6) AS g(i)
INSERT INTO b SELECT i, i * 10 FROM generate_series(2, 4) AS g(i)
UPDATE a SET v = b.v FROM b WHERE b.id = a.id
SELECT * FROM a ORDER BY id
UPDATE a SET v = (SELECT count(*) FROM b WHERE b.id < a.id)
UPDATE a SET v = (SELECT count(*) FROM b WHERE b.id = a.id)
SELECT * FROM a ORDER BY id
DELETE FROM a USING b WHERE a.id = b.id AND b.v > 20 RETURNING a.id
DELETE FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.id = a.id + 1)
SELECT * FROM a ORDER BY id
INSERT INTO a SELECT b.id + 100, x.n FROM b JOIN (SELECT count(*) AS n FROM b) x ON true
SELECT * FROM a ORDER BY id
UPDATE a SET v = 1 FROM absent
UPDATE a SET id = b.id FROM b WHERE a.id > 100
-- Literals and parameters beside a column with a length, which they do not take over.
SELECT coalesce(code, 'unknown'), CASE WHEN code IS NULL THEN 'none' ELSE code END FROM (SELECT NULL::varchar(3) AS code) t
SELECT coalesce(c, 'long one') || '|' FROM (SELECT NULL::char(4) AS c) t
SELECT code FROM (SELECT 'abc'::varchar(3) AS code) t UNION ALL SELECT 'total' ORDER BY 1
-- The type and value of NULLIF, arrays as text, DISTINCT in aggregates, base 64.
SELECT 5 / NULLIF(2, 0.0), NULLIF(3, 3.0), pg_typeof(NULLIF(1, 2.5))
SELECT array_to_string(NULL::text[], ',', ''), array_to_string(ARRAY['a'], NULL, 'x')
SELECT string_agg(DISTINCT v, ','), array_agg(DISTINCT v) FROM (VALUES ('b'), ('a'), ('b'), ('c')) t(v)
SELECT length(encode(repeat('a', 57)::bytea, 'base64')), encode(repeat('a', 60)::bytea, 'base64')
-- The ends of what times and numbers can be.
SELECT extract(epoch FROM timestamp '294276-12-31'), extract(epoch FROM timestamp '4713-01-01 BC')
SELECT to_date('99999999999999999', 'YYYY')
SELECT to_timestamp('99999999999999', 'SSSSS')
SELECT interval '99999999999999999999999999999999999999-1'
SELECT repeat('9', 300000)::numeric
SELECT repeat('0', 300000)::numeric, ('0.' || repeat('0', 200) || '1')::numeric > 0
-- Prefix operators, and what windows are asked for.
SELECT -2 ^ 2, - 2 * 3, @ -5 + 3, ~ 1 + 1, |/ 16 + 9, -3 % 2, - 2::text::int, 2 - -2, -2.5 ^ 2 * 2
SELECT ntile(0) OVER () FROM (VALUES (1)) t(i)
SELECT nth_value(i, 0) OVER (ORDER BY i) FROM (VALUES (1)) t(i)
SELECT nth_value(i, -1) OVER (ORDER BY i) FROM (VALUES (1)) t(i)
-- Subqueries that nothing comes to.
SELECT CASE WHEN g > 5 THEN (SELECT i FROM generate_series(1, 2) i) END FROM generate_series(1, 3) g
SELECT COALESCE(g, (SELECT i FROM generate_series(1, 2) i)) FROM generate_series(1, 3) g
SELECT 1 FROM generate_series(1, 3) g WHERE g > 5 AND g = (SELECT i FROM generate_series(1, 2) i)
SELECT g FROM generate_series(1, 3) g WHERE g = (SELECT i FROM generate_series(1, 2) i)
SELECT CASE WHEN g > 2 THEN (SELECT 1 / (i - 1) FROM generate_series(1, 1) i) END FROM generate_series(1, 3) g
SELECT CASE WHEN g > 3 THEN (SELECT 1 / (i - 1) FROM generate_series(1, 1) i) END FROM generate_series(1, 3) g
-- What may be different each time, read several times.
WITH x AS (SELECT random() AS r FROM generate_series(1, 5)) SELECT count(*) FROM x a JOIN x b ON a.r = b.r
WITH x AS (SELECT g, gen_random_uuid() AS r FROM generate_series(1, 5) g) SELECT count(*) FROM x WHERE r = (SELECT y.r FROM x y WHERE y.g = x.g)
WITH x AS (SELECT random() AS r FROM generate_series(1, 5)) SELECT count(*) FROM x WHERE r <= (SELECT max(r) FROM x)
WITH x AS (SELECT random() AS r), y AS (SELECT r FROM x) SELECT (SELECT r FROM x) = (SELECT r FROM y)
WITH RECURSIVE x(n, r) AS (SELECT 1, random() UNION ALL SELECT n + 1, r FROM x WHERE n < 4) SELECT count(DISTINCT a.r), count(*) FROM x a, x b WHERE a.r = b.r
WITH x AS (SELECT 1 / (g - 3) AS q, random() AS r FROM generate_series(1, 5) g) SELECT CASE WHEN false THEN (SELECT count(*) FROM x a, x b) END
SELECT count(*) FROM (SELECT g, random() AS r FROM generate_series(1, 5) g) s, LATERAL (SELECT s.r AS t) l WHERE l.t = s.r
SELECT count(*) FROM (SELECT g, random() AS r FROM generate_series(1, 5) g) s LEFT JOIN LATERAL (SELECT s.r AS t WHERE s.g > 2) l ON l.t = s.r WHERE l.t IS NOT NULL
SELECT count(*) FROM (SELECT g, random() AS r FROM generate_series(1, 5) g) s WHERE EXISTS (SELECT FROM generate_series(1, 2) h WHERE h > s.r GROUP BY h)
-- Windows over no rows, and by unknown numbers.
SELECT lag(g, NULL) OVER (ORDER BY g), ntile(NULL) OVER (ORDER BY g), nth_value(g, NULL) OVER (ORDER BY g), lead(g, -1) OVER (ORDER BY g) FROM generate_series(1, 2) g ORDER BY g
SELECT sum(g) OVER w, count(*) OVER w, first_value(g) OVER w, row_number() OVER w FROM generate_series(1, 4) g WINDOW w AS (ORDER BY g ROWS BETWEEN 2 PRECEDING AND 3 PRECEDING) ORDER BY g
SELECT sum(g) OVER w, count(g) OVER w, last_value(g) OVER w FROM generate_series(1, 4) g WINDOW w AS (ORDER BY g GROUPS BETWEEN 3 FOLLOWING AND 2 FOLLOWING) ORDER BY g
SELECT sum(g) OVER (ORDER BY g ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) FROM generate_series(1, 4) g ORDER BY g
SELECT sum(g) OVER (ORDER BY g ROWS BETWEEN 1 FOLLOWING AND 1 PRECEDING) FROM generate_series(1, 2) g
SELECT sum(g) OVER (ORDER BY g ROWS BETWEEN 1 FOLLOWING AND CURRENT ROW) FROM generate_series(1, 2) g
-- Arrays and elements.
SELECT ARRAY[1] || 2, 2 || ARRAY[1], ARRAY[1] || NULL, ARRAY[1] || NULL::int, NULL::int || ARRAY[1], NULL::int[] || 3, ARRAY[1] || '{3,4}', '{3}' || ARRAY[1]
SELECT ARRAY[1] || 2.5, pg_typeof(ARRAY[1] || 2.5), ARRAY['a', 'b'] || 'c'::text, ARRAY['a'] || 'c'::varchar(3), array_append(ARRAY['x'::varchar(3)], 'y'), array_append(ARRAY[1.5], 2)
SELECT array_append(NULL::int[], NULL), array_append(ARRAY[1], 2), array_prepend(1, ARRAY[2]), array_cat(ARRAY[1], ARRAY[2]), array_cat(NULL::int[], NULL::int[])
SELECT array_remove(ARRAY[1, NULL, 2, NULL], NULL), array_replace(ARRAY[1, 2, 1], 1, 9), array_positions(ARRAY['A', 'B', 'A'], 'A'), array_remove(NULL::int[], 1)
SELECT g, array_agg(g) OVER (ORDER BY g) || g FROM generate_series(1, 3) g ORDER BY g
WITH RECURSIVE p(n, path) AS (SELECT 1, ARRAY[1] UNION ALL SELECT n * 2, path || n * 2 FROM p WHERE n < 20) SELECT n, path, 8 = ANY (path) FROM p ORDER BY n
SELECT ARRAY['a'] || 'b'
SELECT ARRAY[1] || 'x'::text
SELECT 1 || ARRAY['x']
SELECT array_append(1, ARRAY[2])
-- Intervals with fields, buckets, floats by patterns.
SELECT interval '1.5' day, interval '1-2' year to month, interval '3:04' hour to minute, interval '1 2:03:04.5' day to second, interval '90 minutes' hour, interval '1' year, interval '2.7' second, interval '10:20' minute to second
SELECT interval 'x' day
SELECT width_bucket(5.35, 0.024, 10.06, 5), width_bucket(5.35::numeric, 10, 0, 4), width_bucket('inf'::numeric, 1, 2, 3), width_bucket(5.35::float8, 0.024, 10.06, 5), width_bucket(0.3, 0, 0.9, 3), width_bucket(0.7, 1, 0.1, 3)
SELECT width_bucket('NaN'::numeric, 1, 2, 3)
SELECT width_bucket(1.0, 'inf'::numeric, 2, 3)
SELECT width_bucket(1.0, 2, 2, 3)
SELECT width_bucket(1.0, 2, 3, 0)
SELECT to_char(0.125::float8, '9.99'), to_char(0.15::float8, '9.9'), to_char(2.5::float8, '9'), to_char(0.1::float8, '9.99999999999999999999'), to_char(123456789012345678::float8, '999999999999999999.99')
SELECT to_char(0.1::float4, '9.99999999'), to_char(1234567.5::float4, '99999999.99'), to_char('nan'::float8, '9.9'), to_char('inf'::float8, '999.9'), to_char(12.345::float8, '99V99'), to_char(484.5::float8, 'RN'), to_char(-0.01::float8, '9.9'), to_char(0.125, '9.99')
-- Conditions that guard others, above and in joins.
SELECT count(*) FROM generate_series(1, 40) d JOIN generate_series(1, 40) e ON e % 4 = d % 4 WHERE e <> d AND (e + d) / (e - d) > 0
SELECT count(*) FROM generate_series(1, 40) d JOIN generate_series(1, 40) e ON e % 4 = d % 4 AND e <> d AND (e + d) / (e - d) > 0
SELECT count(*) FROM generate_series(1, 40) d LEFT JOIN generate_series(1, 40) e ON e % 4 = d % 4 AND e <> d AND (e + d) / (e - d) > 0
SELECT count(*) FROM (SELECT d % 5 AS k, count(*) * 1000000000 AS m FROM generate_series(1, 9) d JOIN generate_series(1, 9) e ON e = d GROUP BY 1) t WHERE m < 2000000000 AND m::int > 5
SELECT o, (SELECT sum(u) FROM generate_series(1, 6) t LEFT JOIN generate_series(0, 3) u ON u = t WHERE t % 2 = o AND t / nullif(u, 0) = 1) FROM generate_series(0, 1) o ORDER BY o
SELECT g, (WITH RECURSIVE t(n) AS (SELECT g UNION ALL (WITH RECURSIVE u(m) AS (SELECT n FROM t UNION ALL SELECT m + 1 FROM u WHERE m < 3) SELECT m + 10 FROM u WHERE m < 3)) SELECT count(*) FROM t) FROM generate_series(1, 2) g ORDER BY g
SELECT timestamp '2020-01-01' AT TIME ZONE interval '200 hours', timestamptz '2020-01-01 00:00:00+00' AT TIME ZONE interval '-200:30'
SELECT encode(repeat('a', 55)::bytea, 'base64') || '|', encode(repeat('a', 56)::bytea, 'base64') || '|', encode(repeat('a', 112)::bytea, 'base64') || '|', encode(repeat('a', 114)::bytea, 'base64') || '|'
-- What is unique before a join is not unique in groups by more than that.
SELECT count(*) FROM generate_series(1, 5) s WHERE EXISTS (SELECT FROM generate_series(1, 9) h WHERE h > s GROUP BY h)
SELECT DISTINCT a FROM (SELECT x.a, u.b FROM (SELECT DISTINCT i % 3 AS a FROM generate_series(1, 9) g(i)) x, generate_series(1, 4) u(b) GROUP BY x.a, u.b) y ORDER BY a
SELECT a, b, sum(n) FROM (SELECT x.a, u.b, count(*) AS n FROM (SELECT i % 3 AS a, count(*) FROM generate_series(1, 9) g(i) GROUP BY 1) x, generate_series(1, 4) u(b) GROUP BY x.a, u.b) y GROUP BY a, b ORDER BY a, b
SELECT a, count(*) FROM (SELECT x.a, u.b FROM (SELECT DISTINCT i % 3 AS a FROM generate_series(1, 9) g(i)) x, generate_series(1, 4) u(b) GROUP BY x.a, u.b) y GROUP BY a ORDER BY a
SELECT a, b FROM (SELECT x.a, u.b FROM (SELECT DISTINCT i % 3 AS a FROM generate_series(1, 9) g(i)) x, generate_series(1, 4) u(b) GROUP BY x.a, u.b) y ORDER BY a, b DESC
SELECT s, (SELECT count(*) FROM (SELECT DISTINCT h % 2 AS k FROM generate_series(1, s) h) z, generate_series(1, 2) w WHERE k <= s) FROM generate_series(1, 3) s ORDER BY s
SELECT s, ARRAY(SELECT h % 2 FROM generate_series(1, 4) h WHERE h >= s GROUP BY 1 ORDER BY 1), s IN (SELECT h % 3 FROM generate_series(1, 4) h WHERE h >= s GROUP BY h) FROM generate_series(1, 4) s ORDER BY s
-- What a subquery is taken apart by, behind other conditions.
SELECT t, (SELECT max(b) FROM generate_series(1, 6) c LEFT JOIN generate_series(1, 9) b ON b = c WHERE b > 0 AND b = t + 1) FROM generate_series(1, 3) t ORDER BY t
SELECT t, (SELECT max(b) FROM generate_series(1, 6) c LEFT JOIN generate_series(1, 9) b ON b = c WHERE b > 0 AND b = t::numeric::int) FROM generate_series(1, 3) t ORDER BY t
SELECT t, EXISTS (SELECT FROM generate_series(1, 6) c LEFT JOIN generate_series(1, 9) b ON b = c WHERE b > 1 AND b = t - 1) FROM generate_series(1, 3) t ORDER BY t
SELECT t, (SELECT k FROM (SELECT c % 5 AS k, count(*) FROM generate_series(1, 6) c GROUP BY 1 HAVING c % 5 > 0 AND c % 5 = t + 1) x) FROM generate_series(1, 3) t ORDER BY t
SELECT t, (SELECT max(b) FROM (SELECT b FROM generate_series(0, 4) b WHERE b < t ORDER BY b LIMIT 3) z WHERE b <> 0 AND 10 / b = t) FROM generate_series(1, 5) t ORDER BY t
SELECT t, (SELECT count(*) FROM (SELECT b FROM generate_series(0, 4) b WHERE b < t ORDER BY b LIMIT 3) z WHERE b <> 0 AND 10 / b > t) FROM generate_series(1, 5) t ORDER BY t
WITH RECURSIVE r AS (SELECT random() AS x), s(n, x) AS (SELECT 1, 0::float8 UNION ALL SELECT n + 1, r.x FROM s, r WHERE n < 5) SELECT count(DISTINCT x), count(*) FROM s WHERE n > 1
SELECT array_position(ARRAY[1, NULL, 3], NULL), array_position(ARRAY[1, 2], 2.0), array_position(ARRAY[1.5, 2], 2), array_position(ARRAY[1, 2], '2'), array_position(ARRAY[date '2026-01-01'], '2026-01-01'), array_position(ARRAY['a', 'b'], 'c'), array_position(NULL::int[], 1)
-- Functions that statistics and reports like.
SELECT round(sinh(1.5)::numeric, 12), round(cosh(-1.5)::numeric, 12), round(tanh(0.5)::numeric, 12), round(asinh(2)::numeric, 12), round(acosh(2)::numeric, 12), round(atanh(0.5)::numeric, 12), acosh(1), round(acosh(1.0000000001)::numeric, 12), round(asinh(1e308)::numeric, 9), round(acosh(1e308)::numeric, 9), atanh(1), sinh('-inf'), acosh('nan')
SELECT acosh(0.5)
SELECT atanh(-1.5)
SELECT date_bin('15 minutes', timestamp '2026-02-11 15:44:17', timestamp '2001-01-01'), date_bin('15 minutes', timestamp '2026-02-11 15:44:17', timestamp '2030-01-01 00:02:30'), date_bin('2 days', timestamptz '2026-02-11 15:44:17+00', timestamptz '2001-01-01 00:00+00'), date_bin('1 day', timestamp 'infinity', timestamp '2001-01-01'), date_bin('5 min', timestamp '2026-02-11 15:40', timestamp '2026-02-11 15:45')
SELECT date_bin('1 month', timestamp '2026-02-11', timestamp '2001-01-01')
SELECT date_bin('0 days', timestamp '2026-02-11', timestamp '2001-01-01')
SELECT date_bin('1 day', timestamp '2026-02-11', timestamp 'infinity')
SELECT encode(sha224('abc'), 'hex'), encode(sha256('abc'::bytea), 'hex'), encode(sha384(''), 'hex'), encode(sha512('\x00ff'), 'hex'), sha256(NULL)
SELECT regexp_like('Hello', 'h.l', 'i'), regexp_like('Hello', 'h.l'), regexp_like('a' || chr(10) || 'b', '^b', 'n'), regexp_like(NULL, 'a')
SELECT regexp_like('a', 'a', 'g')
SELECT regexp_count('aab', 'a*'), regexp_count('abcabc', 'Abc', 1, 'i'), regexp_count('123', '\d', 3), regexp_count('123', '\d', 9), regexp_count('', '^$'), regexp_count('äöü', '.', 2), regexp_count('abc', '')
SELECT regexp_count('a', 'a', 0)
SELECT regexp_instr('äbcabc', 'b(c)'), regexp_instr('äbcabc', 'b(c)', 3), regexp_instr('äbcabc', 'b(c)', 1, 2), regexp_instr('äbcabc', 'b(c)', 1, 2, 1), regexp_instr('äbcabc', 'B(C)', 1, 2, 0, 'i', 1), regexp_instr('abc', 'x'), regexp_instr('abc', 'b(x)?', 1, 1, 0, '', 1), regexp_instr('abc', 'b', 1, 1, 0, '', 2), regexp_instr('abc', 'b', 1, 1, 0, '', 1), regexp_substr('abc', 'b', 1, 1, '', 1)
SELECT regexp_instr('a', 'a', 1, 1, 2)
SELECT regexp_instr('a', 'a', 1, 0)
SELECT regexp_substr('äbcabd', 'b.'), regexp_substr('äbcabd', 'b.', 3), regexp_substr('äbcabd', 'b(.)', 1, 2, '', 1), regexp_substr('abc', 'x'), regexp_substr('abc', 'B', 1, 1, 'i')
SELECT array_ndims(ARRAY[1, 2]), array_dims(ARRAY[1, 2, NULL]), array_ndims(ARRAY[]::int[]), array_dims('{}'::text[]), array_dims(NULL::int[])
SELECT bit_xor(i), bit_xor(i::smallint), bit_xor(i::bigint) FROM generate_series(1, 10) g(i)
SELECT bit_xor(i) FROM generate_series(1, 0) g(i)
SELECT round(corr(i, i * i)::numeric, 10), round(covar_pop(i, i * i)::numeric, 8), round(covar_samp(i, i * i)::numeric, 8), regr_count(i, nullif(i, 3)), regr_avgx(i, i * 2), regr_avgy(i, i * 2), round(regr_slope(i, i * i)::numeric, 10), round(regr_intercept(i, i * i)::numeric, 10), round(regr_r2(i, i * i)::numeric, 10), round(regr_sxx(i, i * i)::numeric, 6), round(regr_sxy(i, i * i)::numeric, 6), round(regr_syy(i, i * i)::numeric, 6) FROM generate_series(1, 9) g(i)
SELECT corr(1, i), corr(i, 1), regr_slope(i, 1), regr_r2(1, i), regr_r2(i, 1), covar_samp(i, i), covar_pop(i, i), regr_intercept(7, i) FROM generate_series(1, 1) g(i)
SELECT corr(i, i), regr_count(i, i), regr_avgx(i, i), covar_pop(i, i) FROM generate_series(1, 0) g(i)
SELECT k, round(corr(i, i * i + k)::numeric, 10), round(regr_slope(i, i * k + 1)::numeric, 10), bit_xor(i) FROM (SELECT i, i % 3 AS k FROM generate_series(1, 30) g(i)) x GROUP BY k ORDER BY k
SELECT covar_pop('inf', i), corr(i, 'nan'), regr_sxx(i, 'inf'), regr_syy(i, 'inf') FROM generate_series(1, 3) g(i)
