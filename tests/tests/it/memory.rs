//! Queries over many rows stay inside the memory that an instance may take, and answer right.

use quorate_tests::grid::{Grid, Options};

/// What `memory_limit` is for this test.
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
