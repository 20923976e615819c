//! The same statements on a grid and on PostgreSQL: the same rows, types and SQLSTATEs, or a reason why not.
//!
//! The statements are in `tests/differential/*.sql`, one a line; lines that begin with `--` are comments. A line `-- differs: REASON` says that the answers of the
//! next statement differ and why; the test fails too when they do not differ any more. A line `-- shape: REASON` says that only the names of the columns and
//! the number of rows have to agree, since values such as OIDs are each server's own. Rows are compared in order if the statement ends with an ORDER BY
//! of its own, else as a set.
//!
//! Queries over stored tables are asked a second time here so that the engine does with their rows what the compiled plans did: that too gives
//! the same answers.

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

/// The tables that the scripts make.
const TABLES: [&str; 7] = ["sale", "shop", "emp", "dept", "refund", "sp", "sq"];

/// A query with each table of its FROM behind a join that changes nothing, so that all that is done with its rows is left to the engine. `None`
/// for what has no such table.
fn by_the_engine(statement: &str) -> Option<String> {
    if !(statement.starts_with("SELECT") || statement.starts_with("WITH")) || statement.contains(" FOR ") {
        return None;
    }
    let words: Vec<&str> = statement.split(' ').collect();
    let mut out = Vec::with_capacity(words.len());
    let mut found = false;
    for (n, word) in words.iter().enumerate() {
        let (name, rest) = word.split_at(word.find([',', ')', '.', ';', '(']).unwrap_or(word.len()));
        let of_from = n > 0 && matches!(words[n - 1], "FROM" | "JOIN");
        if !of_from || !TABLES.contains(&name) || rest.starts_with('.') {
            out.push((*word).to_owned());
            continue;
        }
        found = true;
        // The scripts write keywords in capitals and names in small letters.
        let next = words.get(n + 1).filter(|_| rest.is_empty());
        let named =
            next.is_some_and(|next| *next == "AS" || next.starts_with(|first: char| first.is_ascii_lowercase()));
        let alias = if named { String::new() } else { format!(" AS {name}") };
        out.push(format!("(SELECT {name}.* FROM {name} CROSS JOIN (VALUES (1)) AS one (one)){alias}{rest}"));
    }
    found.then(|| out.join(" "))
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
    let (mut report, mut compared, mut twice) = (String::new(), 0, 0);
    for script in scripts {
        let (mut reason, mut shape) = (None, false);
        let in_blocks = script.ends_with("savepoints.sql");
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
            // A refusal ends the block that it is in, so it is not asked for again.
            let again = matches!(here, Answer::Rows(..)) || !in_blocks;
            if let Some(other) = by_the_engine(line).filter(|_| again) {
                let again = ask(&mut ours, &other).await;
                twice += 1;
                if again != here {
                    writeln!(report, "{place}: {line}\n  compiled:      {here:?}\n  by the engine: {again:?}").unwrap();
                }
            }
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
    assert!(twice > 150, "{twice} queries were asked in both ways");
    grid.finish().await;
}
