//! TPC-H at scale 0.1, 866,602 rows: each of its 22 queries gives the rows that PostgreSQL gives, in PostgreSQL's text.
//!
//! The tables and queries are in `tests/tpch`. Answers are compared in the order of their rows, as far as ORDER BY settles it.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt as _;
use quorate_tests::grid::Grid;
use quorate_tests::postgres::Postgres;
use quorate_tests::sql::{Failure, Session};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

const SCALE: f64 = 0.1;
/// Bytes of one message of COPY.
const CHUNK: usize = 1 << 20;
/// The queries that order by sums or prices and dates, which several rows may share, with the places of these keys in the answer: the rows
/// are compared in any order, their keys in order. All others have one row, or order by what no two rows of the answer share: all that
/// they group by, the key of a table, or the name of a supplier, which is made of its key.
const TIES: &[(u32, &[usize])] = &[(3, &[1, 2]), (5, &[1]), (10, &[2]), (11, &[1]), (18, &[4, 3])];
const TABLES: [&str; 8] = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];

/// Values as text; NULL is `None`.
type Row = Vec<Option<String>>;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tpch").join(name)).unwrap()
}

/// Rows in the generator's form, `a|b|`, as chunks of COPY with that delimiter.
fn chunks(rows: impl Iterator<Item = impl Display>) -> Vec<Bytes> {
    let (mut chunks, mut chunk) = (Vec::new(), String::new());
    for row in rows {
        write!(chunk, "{row}").unwrap();
        assert_eq!(chunk.pop(), Some('|'), "a row ends with a delimiter");
        chunk.push('\n');
        if chunk.len() >= CHUNK {
            chunks.push(Bytes::from(std::mem::take(&mut chunk)));
        }
    }
    chunks.push(Bytes::from(chunk));
    chunks
}

fn generate(table: &str) -> Vec<Bytes> {
    match table {
        "region" => chunks(RegionGenerator::new(SCALE, 1, 1).iter()),
        "nation" => chunks(NationGenerator::new(SCALE, 1, 1).iter()),
        "supplier" => chunks(SupplierGenerator::new(SCALE, 1, 1).iter()),
        "customer" => chunks(CustomerGenerator::new(SCALE, 1, 1).iter()),
        "part" => chunks(PartGenerator::new(SCALE, 1, 1).iter()),
        "partsupp" => chunks(PartSuppGenerator::new(SCALE, 1, 1).iter()),
        "orders" => chunks(OrderGenerator::new(SCALE, 1, 1).iter()),
        _ => chunks(LineItemGenerator::new(SCALE, 1, 1).iter()),
    }
}

async fn load(session: &mut Session, table: &str, data: &[Bytes]) {
    let client = session.client().await.unwrap();
    let copy = client.copy_in(&format!("COPY {table} FROM STDIN WITH (DELIMITER '|')")).await.unwrap();
    let mut copy = std::pin::pin!(copy);
    for chunk in data {
        copy.send(chunk.clone()).await.unwrap();
    }
    copy.finish().await.unwrap();
}

/// The answer with its time.
async fn ask(session: &mut Session, query: &str) -> (Result<Vec<Row>, Failure>, Duration) {
    let start = Instant::now();
    let answer = session.rows(query).await;
    (answer, start.elapsed())
}

/// An answer as it is compared: the keys of the rows as they came, where no more than these is settled, and the rows.
fn compared(query: u32, mut rows: Vec<Row>) -> (Vec<Row>, Vec<Row>) {
    let Some((_, keys)) = TIES.iter().find(|(tied, _)| *tied == query) else { return (Vec::new(), rows) };
    let order = rows.iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect();
    rows.sort();
    (order, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn tpch_queries_answer_as_postgresql_does() {
    let grid = Grid::start().await;
    let postgres = Postgres::start().await;
    let (mut ours, mut theirs) = (grid.session(1), postgres.gateways().session(0));
    for statement in file("schema.sql").split(';').filter(|statement| !statement.trim().is_empty()) {
        ours.batch(statement).await.unwrap();
        theirs.batch(statement).await.unwrap();
    }
    let start = Instant::now();
    for table in TABLES {
        let data = generate(table);
        let (begin, _) = (Instant::now(), load(&mut ours, table, &data).await);
        println!("load {table}: {:?}", begin.elapsed());
        load(&mut theirs, table, &data).await;
    }
    // Two queries would take it minutes otherwise.
    theirs.batch("CREATE INDEX ON lineitem (l_partkey)").await.unwrap();
    theirs.batch("ANALYZE").await.unwrap();
    println!("load, both: {:?}", start.elapsed());
    let (mut report, mut total) = (String::new(), Duration::ZERO);
    for number in 1..=22 {
        let query = file(&format!("q{number:02}.sql"));
        let ((here, took), (there, took_there)) = (ask(&mut ours, &query).await, ask(&mut theirs, &query).await);
        println!("q{number:02}: {took:?}, PostgreSQL {took_there:?}");
        total += took;
        let there = compared(number, there.unwrap());
        match here.map(|rows| compared(number, rows)) {
            Ok(here) if here == there => {}
            Ok((keys, rows)) => {
                let first = keys.iter().zip(&there.0).chain(rows.iter().zip(&there.1)).find(|(a, b)| a != b);
                writeln!(report, "q{number:02}: {} rows, PostgreSQL {}: {first:?}", rows.len(), there.1.len()).unwrap();
            }
            Err(failure) => writeln!(report, "q{number:02}: {failure}").unwrap(),
        }
        assert!(!there.1.is_empty(), "q{number:02} asks for nothing");
    }
    println!("all queries: {total:?}");
    assert!(report.is_empty(), "{report}");
    grid.finish().await;
}
