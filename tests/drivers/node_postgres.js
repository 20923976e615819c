// node-postgres: a pool, parameters, named statements, values of each type, the fields of errors, repetition of lost races.

'use strict';
const assert = require('node:assert');
const { Pool, types } = require('pg');

// A date without a time is text here, not midnight in the zone of this machine.
types.setTypeParser(types.builtins.DATE, (text) => text);
const pool = new Pool({ max: 4 });

const COLUMNS = [
  ['boolean', [true, false]],
  ['smallint', [-32768, 32767]],
  ['integer', [-2147483648, 2147483647]],
  ['bigint', ['-9223372036854775808', '9223372036854775807']],
  ['real', [1.5, -0.25]],
  ['double precision', [0.1, -1e300, 5e-324]],
  ['numeric', ['0', '-12345678901234567890.123456789']],
  ['text', ['', 'a\'b"c\\d', 'Ünïcödé 雪 🦀', 'x'.repeat(100000)]],
  ['bytea', [Buffer.alloc(0), Buffer.from([0, 255, 92, 39, 10])]],
  ['date', ['2026-02-28', '0001-01-01']],
  ['timestamptz', [new Date('2026-11-22T03:00:00.001Z'), new Date(0)]],
  ['uuid', ['6f9619ff-8b86-d011-b42d-00cf4fc964ff']],
  ['integer[]', [[], [1, 2, 3], [7, null]]],
  ['text[]', [['a,b', 'c"d', '', 'NULL'], ['{}', null]]],
];

async function roundTrips() {
  const names = COLUMNS.map((_, place) => `c${place}`);
  await pool.query('DROP TABLE IF EXISTS node_value');
  await pool.query(`CREATE TABLE node_value (id integer PRIMARY KEY, ${COLUMNS.map(([kind], n) => `c${n} ${kind}`)})`);
  const rows = [0, 1, 2, 3].map((key) => [key, ...COLUMNS.map(([, values]) => values[key % values.length])]);
  rows.push([4, ...COLUMNS.map(() => null)]);
  const marks = ['id', ...names].map((_, place) => `$${place + 1}`);
  for (const row of rows) await pool.query(`INSERT INTO node_value VALUES (${marks})`, row);
  const read = { text: 'SELECT * FROM node_value ORDER BY id', rowMode: 'array' };
  const back = await pool.query(read);
  assert.deepStrictEqual(back.rows, rows);
  assert.strictEqual(back.rowCount, 5);
  const binary = await pool.query({ text: 'SELECT id, c7, c0 FROM node_value WHERE id = 1', binary: true });
  assert.deepStrictEqual({ ...binary.rows[0] }, { id: 1, c7: 'a\'b"c\\d', c0: false });
  const span = await pool.query("SELECT $1::interval AS i, pg_typeof($2::timestamp)::text AS t", ['1 day 02:03:04', '2026-01-01']);
  const { days, hours, minutes, seconds } = span.rows[0].i;
  assert.deepStrictEqual([days, hours, minutes, seconds], [1, 2, 3, 4]);
  assert.strictEqual(span.rows[0].t, 'timestamp without time zone');
  assert.deepStrictEqual(span.fields.map((field) => [field.name, field.dataTypeID]), [['i', 1186], ['t', 25]]);
}

async function namedStatements() {
  const client = await pool.connect();
  try {
    for (let n = 0; n < 10; n++) {
      const { rows } = await client.query({ name: 'twice', text: 'SELECT $1::integer * 2 AS n', values: [n] });
      assert.deepStrictEqual(rows, [{ n: n * 2 }]);
    }
    const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
    assert.deepStrictEqual(several.map((result) => result.rows[0]), [{ a: 1 }, { b: 2 }]);
  } finally {
    client.release();
  }
}

async function errorsHaveTheirFields() {
  await assert.rejects(pool.query('INSERT INTO node_value (id) VALUES ($1)', [1]), {
    code: '23505', severity: 'ERROR', schema: 'public', table: 'node_value', constraint: 'node_value_pkey',
    detail: 'Key (id)=(1) already exists.',
  });
  await assert.rejects(pool.query('SELECT nothing FROM node_value'), { code: '42703', position: '8' });
  await assert.rejects(pool.query('SELECT $1::integer', ['x']), { code: '22P02' });
  assert.strictEqual((await pool.query('SELECT 1 AS one')).rows[0].one, 1);
}

// Runs `work` in a transaction, and again as long as it loses races.
async function repeated(work) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const client = await pool.connect();
    try {
      await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK');
      if (error.code !== '40001') throw error;
    } finally {
      client.release();
    }
  }
  throw new Error('200 attempts were lost');
}

async function repetition() {
  await pool.query('DROP TABLE IF EXISTS node_race');
  await pool.query('CREATE TABLE node_race (id integer PRIMARY KEY, n integer NOT NULL)');
  await pool.query('INSERT INTO node_race VALUES (1, 0)');
  const countUp = () => repeated(async (client) => {
    const { rows } = await client.query('SELECT n FROM node_race WHERE id = $1', [1]);
    await client.query('UPDATE node_race SET n = $1 WHERE id = 1', [rows[0].n + 1]);
  });
  await Promise.all(Array.from({ length: 8 }, countUp));
  assert.strictEqual((await pool.query('SELECT n FROM node_race')).rows[0].n, 8);
}

(async () => {
  await roundTrips();
  await namedStatements();
  await errorsHaveTheirFields();
  await repetition();
  await pool.end();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
