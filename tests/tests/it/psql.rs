//! What psql shows of a database by its backslash commands, asked by psql itself: it is what psql shows of PostgreSQL.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use quorate_tests::grid::Grid;
use quorate_tests::postgres::Postgres;
use quorate_tests::sql::Gateways;
use tokio::process::Command;

/// How long one command may take: many times what it does take.
const LIMIT: Duration = Duration::from_secs(60);

const TABLES: &str = "CREATE TABLE t (id bigint PRIMARY KEY, label varchar(40) NOT NULL DEFAULT 'none', price numeric(12,2) NOT NULL DEFAULT 0, \
     made timestamptz DEFAULT now(), good boolean DEFAULT true, note text); \
     CREATE TABLE u (shop integer, number smallint, code char(3), tags text[], CONSTRAINT u_key PRIMARY KEY (number, shop))";

/// Those that both servers answer with the same text.
const ALIKE: &[&str] =
    &[r"\d", r"\dt", r"\di", r"\d t", r"\d+ t", r"\d u", r"\d+ u", r"\d u_key", r"\dv", r"\ds", r"\df", r"\dT", r"\du"];

/// Those about what each server has of its own, with what has to be in the answer: other databases, extensions, and the owners of schemas are not
/// there to be listed, and the ports differ.
const OWN: &[(&str, &str)] = &[
    (r"\l", "\ndemo|quorate|UTF8|"),
    (r"\dn", "\npublic|quorate\n"),
    (r"\dx", "(0 rows)"),
    (r"\conninfo", "You are connected to database \"demo\" as user \"quorate\""),
];

/// What psql says to a command, its errors last and without the columns' alignment. An error if psql ends with another code than 0.
async fn psql(gateways: &Gateways, command: &str) -> Result<String, String> {
    let port = gateways.ports[0].to_string();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-A", "-h", "127.0.0.1", "-p", &port, "-U", "quorate", "-d", &gateways.database, "-c", command]);
    psql.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(LIMIT, psql.output()).await {
        Ok(output) => output.map_err(|error| format!("psql cannot be run: {error}"))?,
        Err(_) => return Err(format!("psql is not done after {} s", LIMIT.as_secs())),
    };
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(format!("{out}{errors}"))
    } else {
        Err(format!("{}\n{out}{errors}", output.status))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backslash_commands_of_psql_show_what_they_show_of_postgresql() {
    let grid = Grid::start().await;
    let postgres = Postgres::start().await;
    let (ours, theirs) = (grid.gateways(), postgres.gateways());
    ours.session(0).batch(TABLES).await.unwrap();
    theirs.session(0).batch(TABLES).await.unwrap();
    let mut report = String::new();
    for command in ALIKE {
        // A default is shown here as it was written, without the cast to its column's type.
        let there = psql(&theirs, command).await.unwrap().replace("'none'::character varying", "'none'");
        let here = psql(&ours, command).await;
        if here.as_ref() != Ok(&there) {
            let here = here.unwrap_or_else(|failure| failure);
            writeln!(report, "{command}\nhere:\n{here}\nPostgreSQL:\n{there}").unwrap();
        }
    }
    for (command, expected) in OWN {
        let here = psql(&ours, command).await;
        if !here.as_ref().is_ok_and(|here| here.contains(*expected)) {
            let here = here.unwrap_or_else(|failure| failure);
            writeln!(report, "{command}\nhere:\n{here}\nwithout:\n{expected}").unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
    grid.finish().await;
}
