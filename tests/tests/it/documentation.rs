//! What `docs/sql.md` shows is what a grid answers.
//!
//! Every block that begins with ```` ```sql ```` is run, statement by statement, in one session on a grid, and all blocks one after the other. A statement ends with
//! a line that ends with a semicolon. Its answer stands behind it, in lines that begin with a blank, a `-` or a `(`: the rows as psql prints them, or `-- error SQLSTATE: message`.
//! A statement without such lines has to succeed.

use std::path::Path;

use quorate_tests::grid::Grid;
use quorate_tests::sql::Session;
use tokio_postgres::types::Type;

/// A statement of the document with its answer.
struct Example {
    line: usize,
    statement: String,
    answer: Vec<String>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let (mut inside, mut complete) = (false, true);
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("```") {
            assert!(complete, "line {number}: a statement is not ended");
            inside = line == "```sql";
            continue;
        }
        if !inside || line.is_empty() {
            continue;
        }
        if complete && line.starts_with([' ', '-', '(']) {
            examples.last_mut().unwrap().answer.push(line.trim_end().to_owned());
            continue;
        }
        if complete {
            examples.push(Example { line: number, statement: String::new(), answer: Vec::new() });
        }
        let statement = &mut examples.last_mut().unwrap().statement;
        statement.push_str(line);
        statement.push('\n');
        complete = line.ends_with(';');
    }
    examples
}

async fn answer(session: &mut Session, statement: &str) -> Vec<String> {
    let refused = |error: &tokio_postgres::Error| {
        let db = error.as_db_error().expect("the server says why");
        vec![format!("-- error {}: {}", db.code().code(), db.message())]
    };
    let client = session.client().await.unwrap();
    let columns = match client.prepare(statement).await {
        Ok(prepared) => prepared
            .columns()
            .iter()
            .map(|column| {
                let numbers =
                    [Type::INT2, Type::INT4, Type::INT8, Type::NUMERIC, Type::FLOAT4, Type::FLOAT8, Type::OID];
                (column.name().to_owned(), numbers.contains(column.type_()))
            })
            .collect::<Vec<_>>(),
        Err(error) => return refused(&error),
    };
    let messages = match client.simple_query(statement).await {
        Ok(messages) => messages,
        Err(error) => return refused(&error),
    };
    if columns.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<String>> = messages
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        })
        .collect();
    aligned(&columns, &rows)
}

/// The rows as psql prints them, without blanks at the ends of lines.
fn aligned(columns: &[(String, bool)], rows: &[Vec<String>]) -> Vec<String> {
    let length = |text: &str| text.chars().count();
    let width = |n: usize| rows.iter().map(|row| length(&row[n])).chain([length(&columns[n].0)]).max().unwrap();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<String>| cells.join("|").trim_end().to_owned();
    let mut lines = vec![line(columns.iter().zip(&widths).map(|((name, _), w)| format!(" {name:^w$} ")).collect())];
    lines.push(widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+"));
    for row in rows {
        let cell = |((value, (_, number)), w): ((&String, &(String, bool)), &usize)| {
            if *number { format!(" {value:>w$} ") } else { format!(" {value:<w$} ") }
        };
        lines.push(line(row.iter().zip(columns).zip(&widths).map(cell).collect()));
    }
    lines.push(if rows.len() == 1 { "(1 row)".to_owned() } else { format!("({} rows)", rows.len()) });
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_sql_document_are_true() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql.md");
    let examples = examples(&std::fs::read_to_string(document).unwrap());
    assert!(examples.len() > 20, "there are {} examples", examples.len());
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    let mut report = String::new();
    for Example { line, statement, answer: shown } in examples {
        let given = answer(&mut session, &statement).await;
        let agrees =
            if shown.is_empty() { !given.iter().any(|line| line.starts_with("-- error")) } else { given == shown };
        if !agrees {
            report += &format!("docs/sql.md:{line}: {statement}{}\n", given.join("\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
    grid.finish().await;
}
