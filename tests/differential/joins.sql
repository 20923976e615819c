-- Tables for what follows.
CREATE TABLE dept (id integer PRIMARY KEY, name text, budget numeric(10,2))
CREATE TABLE emp (id integer PRIMARY KEY, name varchar(20), dept integer, pay numeric, born date, note char(4))
INSERT INTO dept VALUES (1, 'sales', 100.50), (2, 'labs', 200), (3, 'void', NULL)
INSERT INTO emp VALUES (1, 'ann', 1, 10.5, '1990-01-31', 'x'), (2, 'bob', 1, 20.50, '1985-05-05', NULL), (3, 'cid', 2, 30, NULL, 'ab'), (4, 'dan', NULL, 40.125, '2001-12-01', 'ab'), (5, 'eve', 9, NULL, '1990-01-31', 'abcd')
-- Joins.
SELECT e.name, d.name FROM emp e, dept d WHERE e.dept = d.id ORDER BY e.id
SELECT e.name, d.name AS dept FROM emp e LEFT JOIN dept d ON e.dept = d.id ORDER BY e.id
SELECT e.name, d.name AS dept FROM emp e RIGHT JOIN dept d ON e.dept = d.id ORDER BY d.id, e.id
SELECT e.name, d.name AS dept FROM emp e FULL JOIN dept d ON e.dept = d.id AND e.pay > 15 ORDER BY e.id, d.id
SELECT * FROM emp e JOIN dept d ON e.dept = d.id
SELECT count(*) FROM emp CROSS JOIN dept
SELECT e.id FROM emp e LEFT JOIN dept d ON e.dept = d.id WHERE d.budget IS NULL ORDER BY 1
SELECT e.id, f.id FROM emp e JOIN emp f ON e.born = f.born AND e.id < f.id
SELECT e.id, f.id FROM emp e JOIN emp f ON e.note = f.note AND e.id <> f.id ORDER BY 1, 2
SELECT e.id, f.id FROM emp e JOIN emp f ON e.pay < f.pay ORDER BY 1, 2
SELECT d.id, sum(e.pay), avg(e.pay), min(e.born), max(e.name), count(e.note) FROM dept d LEFT JOIN emp e ON e.dept = d.id GROUP BY d.id ORDER BY d.id
SELECT d.name, count(*) FROM dept d JOIN emp e ON e.dept = d.id GROUP BY d.name HAVING count(*) > 1
SELECT a.id FROM emp a JOIN emp b USING (id) NATURAL JOIN emp c WHERE b.pay > 20 ORDER BY a.id
SELECT id, e.id, d.id FROM emp e FULL JOIN dept d USING (id) ORDER BY id
SELECT * FROM (SELECT id, pay * 2 AS double FROM emp) x JOIN (SELECT dept, count(*) AS n FROM emp GROUP BY dept) y ON x.id = y.dept ORDER BY 1
SELECT x.i, y.j FROM generate_series(1, 3) AS x(i) JOIN generate_series(2, 4) AS y(j) ON x.i = y.j ORDER BY 1
SELECT e.name || ' of ' || d.name AS text FROM emp e JOIN dept d ON d.id = e.dept ORDER BY text
SELECT e.id, CASE WHEN d.id IS NULL THEN 'none' ELSE d.name END FROM emp e LEFT JOIN dept d ON d.id = e.dept ORDER BY e.id
SELECT e.pay / d.budget FROM emp e JOIN dept d ON d.id = e.dept ORDER BY e.id
SELECT e.id + 2147483647 FROM emp e JOIN dept d ON d.id = e.dept
SELECT e.id / (d.id - d.id) FROM emp e JOIN dept d ON d.id = e.dept
SELECT id FROM emp e JOIN dept d ON d.id = e.dept
SELECT e.nothing FROM emp e JOIN dept d ON d.id = e.dept
SELECT 1 FROM emp e JOIN dept e ON true
SELECT 1 FROM emp JOIN dept USING (budget)
SELECT 1 FROM emp e JOIN dept d ON e.name
SELECT 1 FROM emp e JOIN dept d ON e.name = d.id
SELECT DISTINCT e.dept FROM emp e JOIN dept d ON true ORDER BY 1
SELECT e.id FROM emp e JOIN dept d ON d.id = e.dept ORDER BY d.budget DESC NULLS LAST, e.id LIMIT 2 OFFSET 1
-- Subqueries.
SELECT id, (SELECT name FROM dept d WHERE d.id = e.dept) FROM emp e ORDER BY id
SELECT id, (SELECT count(*) FROM emp e WHERE e.dept = d.id) FROM dept d ORDER BY id
SELECT id FROM dept d WHERE EXISTS (SELECT 1 FROM emp e WHERE e.dept = d.id) ORDER BY id
SELECT id FROM dept d WHERE NOT EXISTS (SELECT 1 FROM emp e WHERE e.dept = d.id) ORDER BY id
SELECT id FROM emp e WHERE pay >= (SELECT avg(pay) FROM emp f WHERE f.dept = e.dept) ORDER BY id
SELECT id FROM dept d WHERE d.id IN (SELECT e.dept FROM emp e WHERE e.pay > d.id * 10) ORDER BY id
SELECT id FROM dept d WHERE d.id NOT IN (SELECT e.dept FROM emp e WHERE e.id < 3) ORDER BY id
SELECT id FROM dept d WHERE d.id NOT IN (SELECT e.dept FROM emp e) ORDER BY id
SELECT id FROM dept d WHERE d.id NOT IN (SELECT e.dept FROM emp e WHERE e.id >= d.id) ORDER BY id
SELECT id, ARRAY(SELECT e.id FROM emp e WHERE e.dept = d.id) FROM dept d ORDER BY id
SELECT (SELECT pay FROM emp WHERE dept = d.id) FROM dept d
SELECT id FROM emp WHERE dept = (SELECT max(id) FROM dept WHERE name <> 'void') ORDER BY id
SELECT id, EXISTS (SELECT 1 FROM emp e WHERE e.dept = d.id AND e.pay > 15) FROM dept d ORDER BY id
SELECT sum((SELECT count(*) FROM emp e WHERE e.dept = d.id)) FROM dept d
SELECT d.id FROM dept d GROUP BY d.id HAVING (SELECT count(*) FROM emp e WHERE e.dept = d.id) > 0 ORDER BY 1
SELECT d.name FROM dept d ORDER BY (SELECT count(*) FROM emp e WHERE e.dept = d.id) DESC, d.id
SELECT x FROM (SELECT id AS x FROM emp WHERE pay > 15 ORDER BY id LIMIT 2) t WHERE x IN (SELECT id FROM emp) ORDER BY x
