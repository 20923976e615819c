-- Tables for what follows.
CREATE TABLE shop (id integer PRIMARY KEY, name text, city text)
CREATE TABLE sale (id integer PRIMARY KEY, shop integer, amount numeric(10,2), day date, tags text[])
CREATE TABLE refund (sale integer PRIMARY KEY, amount numeric(10,2))
INSERT INTO shop VALUES (1, 'north', 'oslo'), (2, 'south', 'rome'), (3, 'west', NULL), (4, 'empty', 'oslo')
INSERT INTO sale VALUES (1, 1, 10.00, '2026-01-01', ARRAY['a','b']), (2, 1, 20.50, '2026-01-02', ARRAY['b']), (3, 2, 5.25, '2026-01-02', NULL), (4, 2, 7.75, '2026-01-05', ARRAY[]::text[]), (5, 3, NULL, '2026-01-06', ARRAY['c','d','e']), (6, NULL, 1.00, NULL, ARRAY['a',NULL])
INSERT INTO refund VALUES (1, 2.00), (3, 5.25), (5, NULL)
-- Rows of values before IN.
SELECT id FROM sale WHERE (id, amount) IN (SELECT sale, amount FROM refund) ORDER BY id
SELECT id FROM sale WHERE (id, shop) IN (SELECT id, shop FROM sale WHERE amount > 6) ORDER BY id
SELECT id FROM sale WHERE (id, amount) NOT IN (SELECT sale, amount FROM refund) ORDER BY id
SELECT id FROM sale WHERE (id, amount) NOT IN (SELECT sale, amount FROM refund WHERE amount IS NOT NULL) ORDER BY id
SELECT id, (id, amount) IN (SELECT sale, amount FROM refund) FROM sale ORDER BY id
SELECT id, (shop, amount) NOT IN (SELECT shop, amount FROM sale WHERE shop = 2) FROM sale ORDER BY id
SELECT s.id FROM shop s WHERE (s.id, s.name) IN (SELECT x.shop, 'north' FROM sale x WHERE x.amount > s.id) ORDER BY s.id
SELECT id FROM sale WHERE (id, shop) IN (SELECT id FROM sale)
SELECT id FROM sale WHERE (id, shop) IN (SELECT id, shop, amount FROM sale)
SELECT id FROM sale WHERE id IN (SELECT id, shop FROM sale)
SELECT id FROM sale WHERE (id::text, shop) IN (SELECT id, shop FROM sale)
-- Other comparisons than = below aggregates.
SELECT id, (SELECT count(*) FROM sale x WHERE x.amount < s.amount) AS below FROM sale s ORDER BY id
SELECT id, (SELECT sum(x.amount) FROM sale x WHERE x.day <= s.day) AS so_far FROM sale s ORDER BY id
SELECT id, (SELECT max(x.id) FROM sale x WHERE x.shop <> s.id AND x.amount > s.id) FROM shop s ORDER BY id
SELECT id FROM shop s WHERE (SELECT count(*) FROM sale x WHERE x.shop >= s.id) > 2 ORDER BY id
SELECT id FROM sale s WHERE amount > (SELECT avg(x.amount) FROM sale x WHERE x.id <> s.id) ORDER BY id
SELECT id, (SELECT count(*) + 1 FROM sale x WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id, (SELECT coalesce(sum(amount), 0) FROM sale x WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id, (SELECT count(DISTINCT x.day) FROM sale x WHERE x.shop = s.id OR x.shop IS NULL) FROM shop s ORDER BY id
SELECT id, (SELECT string_agg(x.id::text, ',' ORDER BY x.id DESC) FROM sale x WHERE x.shop <= s.id) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM sale x WHERE x.shop = s.id HAVING count(*) > 1) FROM shop s ORDER BY id
SELECT id, (SELECT x.shop FROM sale x WHERE x.id < s.id GROUP BY x.shop HAVING count(*) > 1) FROM shop s ORDER BY id
-- Order and limits below the row around.
SELECT id, (SELECT x.id FROM sale x WHERE x.shop = s.id ORDER BY x.amount DESC LIMIT 1) FROM shop s ORDER BY id
SELECT id, (SELECT x.id FROM sale x WHERE x.shop = s.id ORDER BY x.amount LIMIT 1 OFFSET 1) FROM shop s ORDER BY id
SELECT id, ARRAY(SELECT x.id FROM sale x WHERE x.shop = s.id ORDER BY x.id DESC) FROM shop s ORDER BY id
SELECT id, ARRAY(SELECT x.amount FROM sale x WHERE x.shop >= s.id ORDER BY x.amount NULLS FIRST LIMIT 2) FROM shop s ORDER BY id
SELECT id FROM shop s WHERE EXISTS (SELECT 1 FROM sale x WHERE x.shop = s.id ORDER BY x.id LIMIT 1) ORDER BY id
SELECT id FROM shop s WHERE EXISTS (SELECT x.shop FROM sale x WHERE x.shop = s.id GROUP BY x.shop HAVING sum(x.amount) > 13) ORDER BY id
SELECT id, (SELECT DISTINCT x.shop FROM sale x WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id, (SELECT x.amount FROM sale x WHERE x.shop = s.id) FROM shop s
SELECT id, (SELECT x.n FROM (SELECT count(*) AS n FROM sale y WHERE y.shop = s.id) x) FROM shop s ORDER BY id
SELECT id, (SELECT sum(x.amount) OVER (ORDER BY x.id) FROM sale x WHERE x.shop = s.id ORDER BY x.id DESC LIMIT 1) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM (SELECT shop FROM sale WHERE shop < s.id UNION SELECT shop FROM sale WHERE shop > s.id) u) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM (SELECT shop FROM sale WHERE shop < s.id UNION ALL SELECT 0) u) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM (SELECT shop FROM sale WHERE shop >= s.id EXCEPT SELECT 3) u) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM (SELECT s.id UNION ALL SELECT id FROM sale WHERE shop = s.id) u) FROM shop s ORDER BY id
-- Joins below the row around.
SELECT id, (SELECT sum(x.amount - coalesce(r.amount, 0)) FROM sale x LEFT JOIN refund r ON r.sale = x.id WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id, (SELECT count(r.sale) FROM sale x LEFT JOIN refund r ON r.sale = x.id AND r.amount > s.id WHERE x.shop <= s.id) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM refund r RIGHT JOIN sale x ON r.sale = x.id AND x.shop = s.id) FROM shop s ORDER BY id
SELECT id, (SELECT count(*) FROM (SELECT * FROM sale WHERE shop = s.id) x FULL JOIN (SELECT * FROM refund WHERE sale > s.id) r ON r.sale = x.id) FROM shop s ORDER BY id
-- Two levels and more.
SELECT id FROM shop s WHERE EXISTS (SELECT 1 FROM sale x WHERE x.shop = s.id AND EXISTS (SELECT 1 FROM refund r WHERE r.sale = x.id AND r.amount > s.id)) ORDER BY id
SELECT id, (SELECT count(*) FROM sale x WHERE x.shop = s.id AND x.amount > (SELECT min(y.amount) FROM sale y WHERE y.shop = x.shop AND y.shop = s.id)) FROM shop s ORDER BY id
SELECT id, (SELECT sum((SELECT count(*) FROM refund r WHERE r.sale = x.id AND r.amount < s.id * 10)) FROM sale x WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id FROM shop s WHERE id IN (SELECT x.shop FROM sale x WHERE x.id IN (SELECT r.sale FROM refund r WHERE r.amount >= s.id)) ORDER BY id
SELECT id, (SELECT (SELECT (SELECT s.id + x.id + r.sale FROM refund r WHERE r.sale = x.id AND r.sale >= s.id) FROM sale x WHERE x.shop = s.id ORDER BY x.id LIMIT 1)) FROM shop s ORDER BY id
SELECT id FROM shop s WHERE NOT EXISTS (SELECT 1 FROM sale x WHERE NOT EXISTS (SELECT 1 FROM refund r WHERE r.sale = x.id OR r.sale < s.id)) ORDER BY id
-- Subqueries outside conditions, and with ANY and ALL.
SELECT id, id IN (SELECT shop FROM sale x WHERE x.id > s.id) FROM shop s ORDER BY id
SELECT id, id NOT IN (SELECT shop FROM sale x WHERE x.id >= s.id) FROM shop s ORDER BY id
SELECT id FROM shop s WHERE id = ANY (SELECT shop FROM sale x WHERE x.amount > s.id) ORDER BY id
SELECT id FROM shop s WHERE 6 > ALL (SELECT amount FROM sale x WHERE x.shop = s.id) ORDER BY id
SELECT id, 6 > ALL (SELECT amount FROM sale x WHERE x.shop = s.id), 6 < ANY (SELECT amount FROM sale x WHERE x.shop = s.id) FROM shop s ORDER BY id
SELECT id, CASE WHEN EXISTS (SELECT 1 FROM sale x WHERE x.amount < s.id) THEN 'some' ELSE 'none' END FROM shop s ORDER BY id
SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM sale x WHERE x.shop > s.id)) FROM shop s
SELECT city, sum((SELECT count(*) FROM sale x WHERE x.shop <> s.id)) FROM shop s GROUP BY city ORDER BY city
SELECT city, count(*) FROM shop s GROUP BY city HAVING count(*) > (SELECT count(*) FROM sale x WHERE x.tags[1] < s.city) ORDER BY city
SELECT id FROM shop s WHERE id = 1 OR EXISTS (SELECT 1 FROM sale x WHERE x.amount > 7 AND x.shop = s.id) OR name = 'empty' ORDER BY id
SELECT id FROM shop s ORDER BY (SELECT count(*) FROM sale x WHERE x.shop <> s.id), id DESC
SELECT id, rank() OVER (ORDER BY (SELECT count(*) FROM sale x WHERE x.shop > s.id) DESC) FROM shop s ORDER BY id
WITH t AS (SELECT shop, sum(amount) AS total FROM sale GROUP BY shop) SELECT id, (SELECT total FROM t WHERE t.shop = s.id) FROM shop s ORDER BY id
SELECT id, (WITH t AS (SELECT amount FROM sale x WHERE x.shop = s.id) SELECT count(*) FROM t a, t b) FROM shop s ORDER BY id
SELECT id, (WITH t AS (SELECT amount FROM sale x WHERE x.shop = s.id) SELECT count(*) FROM refund r WHERE EXISTS (SELECT 1 FROM t WHERE t.amount > r.amount)) FROM shop s ORDER BY id
-- LATERAL.
SELECT s.id, x.id, x.amount FROM shop s, LATERAL (SELECT * FROM sale WHERE shop = s.id ORDER BY amount DESC LIMIT 1) x ORDER BY 1, 2
SELECT s.id, x.id FROM shop s LEFT JOIN LATERAL (SELECT * FROM sale WHERE shop = s.id ORDER BY id LIMIT 2) x ON true ORDER BY 1, 2
SELECT s.id, x.n, x.total FROM shop s CROSS JOIN LATERAL (SELECT count(*) AS n, sum(amount) AS total FROM sale WHERE shop = s.id) x ORDER BY 1
SELECT s.id, x.id FROM shop s LEFT JOIN LATERAL (SELECT * FROM sale WHERE shop > s.id) x ON x.amount > 6 ORDER BY 1, 2
SELECT s.id, x.id, r.amount FROM shop s CROSS JOIN LATERAL (SELECT * FROM sale WHERE shop = s.id) x LEFT JOIN LATERAL (SELECT * FROM refund WHERE sale = x.id AND amount > s.id) r ON true ORDER BY 1, 2
SELECT s.id, a.d, b.d FROM shop s, LATERAL (SELECT s.id * 2 AS d) a, LATERAL (SELECT a.d + s.id AS d) b ORDER BY 1
SELECT id, (SELECT max(x.m) FROM sale y, LATERAL (SELECT y.amount * s.id AS m) x WHERE y.shop = s.id) FROM shop s ORDER BY id
SELECT s.id, x.v FROM shop s, LATERAL (VALUES (s.name), (s.city)) AS x(v) ORDER BY 1, 2
SELECT s.id FROM shop s, LATERAL (SELECT 1 FROM nowhere WHERE a = s.id) x
SELECT s.id FROM shop s RIGHT JOIN LATERAL (SELECT * FROM sale WHERE shop = s.id) x ON true
SELECT s.id FROM shop s, (SELECT * FROM sale WHERE shop = s.id) x
-- Functions in FROM.
SELECT s.id, t FROM sale s, unnest(s.tags) AS t ORDER BY 1, 2
SELECT s.id, t FROM sale s LEFT JOIN unnest(s.tags) AS t ON true ORDER BY 1, 2
SELECT s.id, t.tag, t.n FROM sale s CROSS JOIN LATERAL unnest(s.tags) WITH ORDINALITY AS t(tag, n) ORDER BY 1, 3
SELECT s.id, g FROM shop s, generate_series(1, s.id) AS g ORDER BY 1, 2
SELECT s.id, g FROM shop s JOIN generate_series(2, 3) AS g ON g = s.id ORDER BY 1
SELECT * FROM unnest(ARRAY[1,2,3], ARRAY['a','b']) AS u(x, y)
SELECT * FROM unnest(ARRAY['x','y']) WITH ORDINALITY
SELECT * FROM generate_series(3, 1, -1) WITH ORDINALITY AS g(v, n)
SELECT * FROM unnest(ARRAY['x','y'], ARRAY[1,2,3]) WITH ORDINALITY AS t(a, b, n) ORDER BY n
SELECT s.id, t.* FROM sale s, unnest(s.tags, ARRAY[7]) WITH ORDINALITY AS t(tag, seven, n) ORDER BY 1, n
SELECT * FROM string_to_table('a,b,c', ',') AS t
SELECT id, (SELECT count(*) FROM unnest(s.tags) t WHERE t > 'a') FROM sale s ORDER BY id
SELECT id FROM sale s WHERE 'b' IN (SELECT t FROM unnest(s.tags) t) ORDER BY id
SELECT id, ARRAY(SELECT upper(t) FROM unnest(s.tags) t) FROM sale s ORDER BY id
SELECT generate_subscripts(ARRAY['p','q'], 1)
SELECT * FROM generate_subscripts(ARRAY[5,6,7], 1) AS i
-- Set-returning functions in a select list.
SELECT unnest(ARRAY[1,2,3])
SELECT id, unnest(tags) FROM sale ORDER BY id, 2
SELECT id, unnest(tags) AS tag, generate_subscripts(tags, 1) AS n FROM sale ORDER BY id, n
SELECT unnest(ARRAY[1,2]), unnest(ARRAY['a','b','c'])
SELECT generate_series(1, 3) * 10 AS v
SELECT shop, unnest(array_agg(id ORDER BY id)) FROM sale GROUP BY shop ORDER BY 1, 2
SELECT DISTINCT unnest(tags) FROM sale ORDER BY 1
SELECT unnest(tags) AS t FROM sale ORDER BY t DESC NULLS LAST LIMIT 3
SELECT t, count(*) FROM (SELECT unnest(tags) AS t FROM sale) x GROUP BY t ORDER BY t
SELECT id, generate_series(1, id), row_number() OVER (ORDER BY id) FROM shop WHERE id < 3 ORDER BY 1, 2
SELECT generate_series('2026-01-01'::timestamp, '2026-01-03', '1 day')
SELECT id FROM sale WHERE unnest(tags) = 'a'
SELECT count(unnest(tags)) FROM sale
SELECT CASE WHEN id > 1 THEN generate_series(1, 2) END FROM shop
SELECT id FROM shop GROUP BY id HAVING generate_series(1, 2) > 1
SELECT unnest(5)
-- GROUPING.
SELECT city, name, count(*), grouping(city), grouping(name), grouping(city, name) FROM shop GROUP BY ROLLUP (city, name) ORDER BY 6, 1, 2
SELECT city, grouping(city) AS g, sum(id) FROM shop GROUP BY CUBE (city) HAVING grouping(city) = 1 OR city = 'oslo' ORDER BY 2, 1
SELECT CASE WHEN grouping(city) = 1 THEN 'all' ELSE coalesce(city, '?') END AS c, count(*) FROM shop GROUP BY GROUPING SETS ((city), ()) ORDER BY grouping(city), 1
SELECT city, grouping(city) FROM shop GROUP BY city ORDER BY city
SELECT grouping(name), count(*) FROM shop GROUP BY city
SELECT grouping(city) FROM shop
-- Changes by subqueries.
UPDATE sale SET amount = (SELECT max(r.amount) FROM refund r WHERE r.sale < sale.id) WHERE id > 4 RETURNING id, amount
DELETE FROM sale WHERE (id, shop) IN (SELECT x.id, x.shop FROM sale x WHERE x.shop = 2) RETURNING id
SELECT id, amount FROM sale ORDER BY id
-- RETURNING of other relations.
UPDATE shop SET name = name || '!' FROM sale x WHERE x.shop = shop.id AND x.id IN (1, 5) RETURNING shop.id, shop.name, x.id AS sale, x.amount
UPDATE shop s SET city = x.day::text FROM (SELECT * FROM sale WHERE id = 2) x WHERE x.shop = s.id RETURNING *
DELETE FROM refund r USING sale x WHERE x.id = r.sale AND x.shop = 1 RETURNING r.*, x.day, x.amount - r.amount AS rest
DELETE FROM refund USING sale WHERE sale.id = refund.sale RETURNING *
SELECT ARRAY[]::integer[], ARRAY[1] || NULL::integer[], NULL::text[] || ARRAY['a'], ARRAY[1] || ARRAY[]::integer[]
-- NOT IN whose set differs from row to row.
SELECT id FROM shop s WHERE s.id NOT IN (SELECT x.shop FROM sale x WHERE x.id = s.id) ORDER BY id
SELECT id FROM dept d WHERE d.id NOT IN (SELECT e.dept FROM emp e WHERE e.id < d.id) ORDER BY id
SELECT id FROM dept d WHERE d.name = 'zzz' OR d.id NOT IN (SELECT e.dept FROM emp e WHERE e.id >= d.id) ORDER BY id
SELECT id FROM dept d WHERE NULLIF(d.id, 1) NOT IN (SELECT e.dept FROM emp e WHERE e.id < d.id - 1) ORDER BY id
-- A condition keeps another one from failing.
SELECT * FROM (SELECT d.id, count(e.id) AS n, count(*) AS m FROM dept d LEFT JOIN emp e ON e.dept = d.id GROUP BY d.id) t WHERE n > 0 AND m / n >= 1 ORDER BY id
SELECT d.id FROM dept d LEFT JOIN emp e ON e.dept = d.id GROUP BY d.id HAVING count(e.id) = 0 OR count(*) / count(e.id) > 0 ORDER BY id
SELECT d.id, e.id FROM dept d JOIN emp e ON e.dept = d.id WHERE e.id = d.id OR (e.id + d.id) / (e.id - d.id) > 0 ORDER BY 1, 2
-- What replica sets add up apart is put together.
SELECT round(corr(amount, id)::numeric, 10), round(covar_samp(amount, id)::numeric, 8), regr_count(amount, shop), round(regr_slope(amount, id)::numeric, 8), round(regr_intercept(amount, id)::numeric, 8), bit_xor(id) FROM sale
SELECT shop, regr_count(amount, id), round(regr_avgy(amount, id)::numeric, 8), bit_xor(id) FROM sale GROUP BY shop ORDER BY shop
