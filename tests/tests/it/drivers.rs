//! The drivers that applications use, as they are published: what they write they read back, and what they ask about the database is answered.
//!
//! Each has a program in `tests/drivers/`, which ends with an error at the first thing that is not as it should be. The programs pass on PostgreSQL
//! too: `PGHOST=… PGPORT=… PGUSER=… PGDATABASE=… PROGRAM` runs one by hand. Here they run on the gateways of one grid in turn, one after another:
//! most create tables in transaction blocks, and of two such blocks that overlap one is told to begin again. The examples of `docs/sql.md` run, too. `scripts/install-prerequisites test` has put the drivers where this looks for them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorate_tests::grid::{DATABASE, Grid};
use tokio::process::Command;

/// How long a program may take: many times what it does take.
const LIMIT: Duration = Duration::from_secs(120);

/// Where else than in Debian's place JDBC's driver may be.
const JDBC: [&str; 2] = ["/usr/share/java/postgresql.jar", "/usr/share/java/postgresql-jdbc/postgresql.jar"];

/// The programs with their arguments.
const PROGRAMS: &[&[&str]] = &[
    &["Jdbc.java"],
    &["Jdbc.java", "savepoints"],
    &["sqlalchemy_.py", "psycopg"],
    &["sqlalchemy_.py", "psycopg2"],
    &["sqlalchemy_.py", "asyncpg"],
    &["django_.py"],
    &["psycopg3.py"],
    &["psycopg2_.py"],
    &["asyncpg_.py"],
    &["savepoints.py"],
    &["node_postgres.js"],
];

/// What `scripts/install-prerequisites` fills.
fn installed() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/quorate/drivers")
}

/// The command that runs a program.
fn command(program: &[&str]) -> Command {
    let mut command = match Path::new(program[0]).extension().and_then(|extension| extension.to_str()) {
        Some("py") => Command::new(installed().join("python/bin/python")),
        Some("js") => {
            let mut node = Command::new("node");
            node.env("NODE_PATH", format!("{}:/usr/share/nodejs", installed().join("node/node_modules").display()));
            node
        }
        _ => {
            let places = JDBC.map(PathBuf::from).into_iter().chain([installed().join("postgresql.jar")]);
            let jar = places.into_iter().find(|jar| jar.exists()).expect("PostgreSQL's JDBC driver is installed");
            let mut java = Command::new("java");
            java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]).arg(jar);
            java
        }
    };
    command.args(program).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers"));
    // No compiled Python is left in the source.
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program on a gateway. What it said, if it failed.
async fn run(program: &[&str], port: u16) -> Result<(), String> {
    let mut command = command(program);
    command.envs([
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port.to_string()),
        ("PGUSER", "quorate"),
        ("PGDATABASE", DATABASE),
    ]);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            Err(format!("{}\n{out}{errors}", output.status))
        }
        Ok(Err(error)) => Err(format!("cannot be run: {error}; `make test` installs what it needs")),
        Err(_) => Err(format!("is not done after {} s", LIMIT.as_secs())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_drivers_read_what_they_wrote_and_find_their_way_about() {
    let mut grid = Grid::start().await;
    let ports: Vec<u16> = (1..=grid.size()).map(|number| grid.instance(number).sql_port).collect();
    let mut report = String::new();
    for (program, port) in PROGRAMS.iter().zip(ports.iter().cycle()) {
        if let Err(failure) = run(program, *port).await {
            writeln!(report, "{}: {failure}", program.join(" ")).unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
    grid.finish().await;
}

/// The examples in a language that `docs/sql.md` gives.
fn examples<'t>(reference: &'t str, language: &str) -> Vec<&'t str> {
    let begins = format!("```{language}\n");
    reference.split(&begins).skip(1).map(|rest| rest.split("```").next().expect("split gives at least one")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_reference_run() {
    let mut grid = Grid::start().await;
    let port = grid.instance(2).sql_port;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE customer (id bigint PRIMARY KEY, name text, country text)").await.unwrap();
    session.batch("INSERT INTO customer VALUES (1, 'Ana', 'CL'), (2, 'Bo', 'DK')").await.unwrap();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut report, mut ran) = (String::new(), Vec::new());
    // What makes a program of the lines that are shown.
    for (language, file, before, behind) in [
        ("python", "example.py", "", ""),
        ("js", "example.js", "(async () => {\n", "if (rows[0].name !== 'Ana') throw rows;\nawait pool.end();\n})();\n"),
        (
            "java",
            "Example.java",
            "import java.sql.*;\nclass Example {\npublic static void main(String[] arguments) throws Exception {\n",
            "}\n}\n",
        ),
    ] {
        for example in examples(&reference, language) {
            let program = folder.path().join(file);
            std::fs::write(&program, [before, &example.replace("7500", &port.to_string()), behind].concat()).unwrap();
            if let Err(failure) = run(&[program.to_str().unwrap()], port).await {
                writeln!(report, "{example}{failure}").unwrap();
            }
            ran.push(language);
        }
    }
    assert!(report.is_empty(), "{report}");
    assert_eq!(ran, ["python", "python", "js", "java"]);
    assert_eq!(session.number("SELECT amount::bigint FROM wallet").await.unwrap(), 10);
    grid.finish().await;
}
