//! The same statements on a grid and on PostgreSQL: the same rows, types and SQLSTATEs, or a reason why not.
//!
//! The statements are in `tests/differential/*.sql`, one a line; lines that begin with `--` are comments. A line `-- differs: REASON` says that the answers of the
//! next statement differ and why; the test fails too when they do not differ any more. A line `-- shape: REASON` says that only the names of the columns and
//! the number of rows have to agree, since values such as OIDs are each server's own. Rows are compared in order if the statement ends with an ORDER BY
//! of its own, else as a set.

use std::fmt::Write as _;
use std::path::Path;

use quorate_tests::grid::Grid;
use quorate_tests::postgres::Postgres;
use quorate_tests::sql::Session;

/// What a server says to a statement.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Names and type OIDs of the columns, and the rows as text.
    Rows(Vec<(String, u32)>, Vec<Vec<Option<String>>>),
    /// The SQLSTATE.
    Refused(String),
}

impl Answer {
    /// Names of the columns and the number of rows.
    fn shape(&self) -> Result<(Vec<&str>, usize), &str> {
        match self {
            Answer::Rows(columns, rows) => Ok((columns.iter().map(|(name, _)| &**name).collect(), rows.len())),
            Answer::Refused(code) => Err(code),
        }
    }
}

async fn ask(session: &mut Session, statement: &str) -> Answer {
    let described = match session.client().await.unwrap().prepare(statement).await {
        Ok(prepared) => {
            prepared.columns().iter().map(|column| (column.name().to_owned(), column.type_().oid())).collect()
        }
        Err(error) => return Answer::Refused(error.code().map(|code| code.code().to_owned()).unwrap_or_default()),
    };
    match session.rows(statement).await {
        Ok(mut rows) => {
            let text = statement.to_lowercase();
            let ordered = text.rfind("order by").is_some_and(|at| !text[at..].contains(')'));
            if !ordered {
                rows.sort();
            }
            Answer::Rows(described, rows)
        }
        Err(failure) => Answer::Refused(failure.code().unwrap_or_default().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_postgresql() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let grid = Grid::start().await;
    let postgres = Postgres::start().await;
    let (mut ours, mut theirs) = (grid.session(1), postgres.gateways().session(0));
    let (mut report, mut compared) = (String::new(), 0);
    for script in scripts {
        let (mut reason, mut shape) = (None, false);
        for (number, line) in (1..).zip(std::fs::read_to_string(&script).unwrap().lines()) {
            if let Some(why) = line.strip_prefix("-- differs: ") {
                reason = Some(why.to_owned());
            }
            shape |= line.starts_with("-- shape: ");
            if line.is_empty() || line.starts_with("--") {
                continue;
            }
            let (here, there) = (ask(&mut ours, line).await, ask(&mut theirs, line).await);
            compared += 1;
            let place = format!("{}:{number}", script.file_name().unwrap().to_string_lossy());
            let same = if std::mem::take(&mut shape) { here.shape() == there.shape() } else { here == there };
            match (same, reason.take()) {
                (true, None) | (false, Some(_)) => {}
                (true, Some(why)) => writeln!(report, "{place}: {line}\n  does not differ any more: {why}").unwrap(),
                (false, None) => {
                    writeln!(report, "{place}: {line}\n  here:       {here:?}\n  PostgreSQL: {there:?}").unwrap();
                }
            }
        }
    }
    assert!(report.is_empty(), "of {compared} statements:\n{report}");
    grid.finish().await;
}
