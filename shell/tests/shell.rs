//! The shell against a gateway: output, exit codes, lost connections.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use quorate_gateway::{Config, Databases, Farewell, Gateway};
use quorate_shell::{Args, EXIT_CONNECTION, EXIT_FATAL, EXIT_OK, EXIT_SCRIPT, run_with};
use quorate_sql::error::Error;
use quorate_sql::exec::relational::NoEngine;
use quorate_sql::memory::MemoryDatabase;
use quorate_sql::storage::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct OneDatabase(Arc<dyn Database>);

impl Databases for OneDatabase {
    fn open(&self, _name: &str) -> Result<Arc<dyn Database>, Error> {
        Ok(self.0.clone())
    }
}

struct Server {
    gateway: Arc<Gateway>,
    address: String,
    shutdown: CancellationToken,
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let gateway = Arc::new(Gateway::new(
        Config::default(),
        Arc::new(OneDatabase(Arc::new(MemoryDatabase::new()))),
        Arc::new(NoEngine),
    ));
    let shutdown = CancellationToken::new();
    tokio::spawn(gateway.clone().serve(listener, shutdown.clone()));
    Server { gateway, address, shutdown }
}

/// Output that can be looked at.
#[derive(Clone, Default)]
struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic holds it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic holds it").clone()).expect("text")
    }
}

/// Runs the shell; returns exit code, results, messages.
async fn shell(args: Args) -> (i32, String, String) {
    let (results, messages) = (Sink::default(), Sink::default());
    let run = run_with(args, Box::new(results.clone()), Box::new(messages.clone()));
    let code = tokio::time::timeout(Duration::from_secs(30), run).await.expect("the shell ends");
    (code, results.text(), messages.text())
}

fn args(server: &Server) -> Args {
    Args { url: format!("postgres://ann@{}/demo", server.address), ..Args::default() }
}

fn script(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

async fn run_script(server: &Server, text: &str, keep_going: bool) -> (i32, String, String) {
    let file = script(text);
    shell(Args { files: vec![file.path().to_path_buf()], keep_going, ..args(server) }).await
}

#[tokio::test]
async fn commands_print_results_and_tags() {
    let server = server().await;
    let commands = [
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
        "SELECT * FROM t ORDER BY id",
    ];
    let (code, results, messages) =
        shell(Args { commands: commands.map(str::to_string).to_vec(), ..args(&server) }).await;
    assert_eq!((code, messages.as_str()), (EXIT_OK, ""));
    assert_eq!(results, "CREATE TABLE\nINSERT 0 2\n id |  v  \n----+-----\n  1 | one\n  2 | \n(2 rows)\n\n");
}

#[tokio::test]
async fn a_script_stops_at_its_first_error_and_shows_the_place() {
    let server = server().await;
    let text = "SELECT 1;\nSELECT 1,\n  nonsense;\nSELECT 2;\n";
    let (code, results, messages) = run_script(&server, text, false).await;
    assert_eq!(code, EXIT_SCRIPT);
    assert!(results.contains(" 1\n") && !results.contains(" 2\n"), "{results}");
    assert!(
        messages.contains("ERROR:  column \"nonsense\" does not exist\nLINE 2:   nonsense;\n          ^\n"),
        "{messages}"
    );
    let (code, results, _) = run_script(&server, text, true).await;
    assert_eq!(code, EXIT_SCRIPT);
    assert!(results.contains(" 2\n"), "{results}");
}

#[tokio::test]
async fn scripts_carry_copy_data_and_commands() {
    let server = server().await;
    let text = "CREATE TABLE t (id int PRIMARY KEY, v text);\nCOPY t FROM STDIN;\n1\tone\n2\t\\N\n\\.\n\\t on\n\\a\n\\pset null none\n\
                SELECT v FROM t ORDER BY v \\g\n\\echo done\n";
    let (code, results, messages) = run_script(&server, text, false).await;
    assert_eq!((code, messages.as_str()), (EXIT_OK, ""));
    assert!(results.contains("COPY 2\n"), "{results}");
    assert!(results.ends_with("one\nnone\ndone\n"), "{results}");
}

#[tokio::test]
async fn tables_are_described() {
    let server = server().await;
    let text = "CREATE TABLE t (id int PRIMARY KEY, v varchar(10) NOT NULL DEFAULT 'x');\n\\d t\n\\dt\n";
    let (code, results, messages) = run_script(&server, text, false).await;
    assert_eq!((code, messages.as_str()), (EXIT_OK, ""));
    for part in [
        "Table \"public.t\"",
        " id     | integer ",
        "character varying(10)",
        "not null",
        "Primary key: (id)",
        "Distribution: HASH (id)",
    ] {
        assert!(results.contains(part), "{part:?} is missing in\n{results}");
    }
    let (code, _, messages) = run_script(&server, "\\d nothing\n", false).await;
    assert_eq!(code, EXIT_SCRIPT);
    assert!(messages.contains("Did not find any table named \"nothing\""), "{messages}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_skipped() {
    let server = server().await;
    // A port that was just given back: nobody listens there.
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let url = format!("postgres://ann@{unused},{}/demo", server.address);
    let (code, results, _) = shell(Args { url, commands: vec!["\\conninfo".to_string()], ..Args::default() }).await;
    assert_eq!(code, EXIT_OK);
    assert!(results.contains(&server.address), "{results}");
    let (code, _, messages) = shell(Args { url: format!("postgres://{unused}/demo"), ..Args::default() }).await;
    assert_eq!(code, EXIT_FATAL);
    assert!(messages.contains(&unused.to_string()), "{messages}");
    assert_eq!(shell(Args { url: "nonsense".to_string(), ..Args::default() }).await.0, EXIT_FATAL);
}

#[tokio::test]
async fn a_script_that_loses_its_connection_says_that_the_outcome_is_unknown() {
    let server = server().await;
    let text = "SELECT count(*) FROM generate_series(1, 100000000000);\nSELECT 1;\n";
    let stop = async {
        while !server.gateway.connections().iter().any(|connection| connection.busy) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.shutdown.cancel();
    };
    let ((code, results, messages), ()) = tokio::join!(run_script(&server, text, false), stop);
    assert_eq!(code, EXIT_CONNECTION);
    assert_eq!(results, "");
    assert!(messages.contains("was lost") && messages.contains("outcome of the statement is unknown"), "{messages}");
}

#[tokio::test]
async fn a_connection_lost_between_statements_is_noticed_before_the_next_is_sent() {
    use quorate_shell::wire::{Connection, Failure, Target};
    let server = server().await;
    let target: Target = args(&server).url.parse().expect("a URL");
    let (mut connection, _) = Connection::open(&target, 0).await.expect("connects");
    connection.check().expect("it is there");
    assert_eq!(server.gateway.disconnect_all("demo", Farewell::Told).await, 1);
    let noticed = async {
        loop {
            match connection.check() {
                Ok(()) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(failure) => break failure,
            }
        }
    };
    let failure = tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("noticed");
    assert!(matches!(&failure, Failure::Lost(text) if text.contains("administrator command")), "{failure:?}");
}
