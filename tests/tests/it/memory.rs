//! Queries over many rows stay inside the memory that an instance may take, and answer right.

use quorate_tests::grid::{Grid, Options};

/// What `memory_limit` is for these tests.
const LIMIT: u64 = 256 << 20;
/// What an instance may take beside `memory_limit`, as docs/operations.md says: the program itself, its connections, and the rows on their way.
const OVERHEAD: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_ten_million_rows_stay_inside_memory_limit() {
    let config = "memory_limit = \"256MiB\"".to_owned();
    let mut grid = Grid::start_with(Options { config, ..Options::default() }).await;
    let mut session = grid.session(1);
    let answers = [
        ("SELECT count(*) FROM generate_series(1, 10000000) AS g(i)", "10000000"),
        // Sorted beyond memory.
        ("SELECT i FROM generate_series(1, 10000000) AS g(i) ORDER BY i DESC OFFSET 9999999", "1"),
        // Groups beyond memory.
        (
            "SELECT count(*) FROM (SELECT i % 2500000, count(*) FROM generate_series(1, 10000000) AS g(i) GROUP BY 1 HAVING count(*) = 4) x",
            "2500000",
        ),
        // A join of which neither side fits.
        (
            "SELECT sum(a.i::bigint) FROM generate_series(1, 10000000) AS a(i) JOIN generate_series(5000001, 10000000) AS b(j) ON a.i = b.j",
            "37500002500000",
        ),
    ];
    for (query, answer) in answers {
        let start = std::time::Instant::now();
        let given = session.value(query).await;
        println!("{query}: {:?}, {} MiB", start.elapsed(), grid.instance(1).peak_memory() >> 20);
        assert_eq!(given.unwrap(), answer, "{query}");
    }
    let peak = grid.instance(1).peak_memory();
    assert!(peak < LIMIT + OVERHEAD, "the instance took {} MiB", peak >> 20);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_a_stored_table_stay_inside_memory_limit() {
    // One copy of each row, a third of them on each instance: what is measured is reading, and rows that come from elsewhere. To store ten million
    // would take minutes; two million are joined with a series, which makes ten million of them.
    const ROWS: u32 = 2_000_000;
    const STEP: u32 = 400_000;
    let config = format!("memory_limit = \"{}MiB\"", LIMIT >> 20);
    let mut grid = Grid::start_with(Options { k: 1, config, ..Options::default() }).await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, n integer NOT NULL)").await.unwrap();
    let start = std::time::Instant::now();
    for end in (STEP..=ROWS).step_by(STEP as usize) {
        let begin = end - STEP + 1;
        let insert = format!("INSERT INTO t SELECT i, i % 500000 FROM generate_series({begin}, {end}) AS g(i)");
        session.batch(&insert).await.unwrap();
    }
    println!("load: {:?}, {} MiB", start.elapsed(), grid.instance(1).peak_memory() >> 20);
    let answers = [
        ("SELECT sum(id) FROM t", "2000001000000"),
        // Sorted beyond what is sorted in memory, by another column than the key's.
        ("SELECT id FROM t ORDER BY n DESC, id OFFSET 1999999", "2000000"),
        ("SELECT count(*) FROM (SELECT id % 1000000, count(*) FROM t GROUP BY 1 HAVING count(*) = 2) x", "1000000"),
        // Four rows of the table meet five of the series for each number, and are grouped again.
        (
            "SELECT count(*) FROM (SELECT t.id, count(*) FROM t JOIN (SELECT i % 500000 AS n FROM generate_series(1, 2500000) AS g(i)) s \
             ON t.n = s.n GROUP BY t.id HAVING count(*) = 5) x",
            "2000000",
        ),
    ];
    for (query, answer) in answers {
        let start = std::time::Instant::now();
        let given = session.value(query).await;
        println!("{query}: {:?}, {} MiB", start.elapsed(), grid.instance(1).peak_memory() >> 20);
        assert_eq!(given.unwrap(), answer, "{query}");
    }
    for number in 1..=grid.size() {
        let peak = grid.instance(number).peak_memory();
        assert!(peak < LIMIT + OVERHEAD, "instance{number} took {} MiB", peak >> 20);
    }
    grid.finish().await;
}
