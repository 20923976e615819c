//! A database's way up and down as operators drive it: each step in its order, failures that are named and repeated, sessions that are
//! disconnected first, several databases side by side, and a management instance that dies in between.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_proto::admin::DatabaseStatus;
use quorate_tests::grid::{DATABASE, Grid, Options, SETTLE};
use quorate_tests::proxy::Link;
use quorate_tests::wait::eventually;
use tokio::sync::Mutex;

/// Longer than an instance waits for a connection, an answer, votes or a report.
const CUT_OFF: Duration = Duration::from_secs(8);

/// Waits until the status satisfies a condition.
async fn until(grid: &Grid, database: &str, what: &str, condition: impl Fn(&DatabaseStatus) -> bool) -> DatabaseStatus {
    eventually(what, SETTLE, async || {
        let status = grid.admin().status(database).await?;
        anyhow::ensure!(condition(&status), "{},{},{}: {:?}", status.create, status.load, status.open, rows(&status));
        Ok(status)
    })
    .await
}

/// Instance and status of every element.
fn rows(status: &DatabaseStatus) -> Vec<(&str, &str)> {
    status.elements.iter().map(|element| (element.instance.as_str(), element.status.as_str())).collect()
}

fn count(status: &DatabaseStatus, word: &str) -> usize {
    status.elements.iter().filter(|element| element.status == word).count()
}

/// The data directories of a database's elements that exist.
fn directories(grid: &mut Grid, status: &DatabaseStatus) -> usize {
    let places: Vec<(usize, u64)> = status
        .elements
        .iter()
        .map(|element| (element.instance.trim_start_matches("instance").parse().unwrap(), element.number))
        .collect();
    let exists = |(instance, element): (usize, u64)| {
        grid.instance(instance).data().join("elements").join(element.to_string()).exists()
    };
    places.into_iter().map(exists).filter(|exists| *exists).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_t02_t03_t04_t53_a_second_database_goes_up_and_down_step_by_step() {
    let mut grid = Grid::start().await;
    let mut demo = grid.session(1);
    demo.batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    let other = |number: usize| {
        let mut gateways = grid.gateways();
        gateways.database = "other".to_owned();
        gateways.only(number - 1)
    };
    let (mut first, mut second) = (other(1), other(2));
    let run = async |line: &str| grid.admin().run(&line.split(' ').collect::<Vec<_>>()).await;
    let refused = async |line: &str, text: &str| {
        let ended = run(line).await;
        assert!(ended.code == 1 && ended.err.contains(text), "{line}: {ended:?}");
    };
    for line in ["dbLoad other", "dbOpen other", "dbClose other", "dbUnload other", "dbDestroy other"] {
        refused(line, "Error 2: Database other does not exist").await;
    }
    assert_eq!(first.refused("SELECT 1").await, "3D000");

    let created = run("dbCreate other -replica-sets 3 -wait").await.done().unwrap();
    assert!(
        created.contains("Database other creation started") && created.contains("Database other is loaded"),
        "{created}"
    );
    let closed = run("dbStatus other").await.done().unwrap();
    for line in [
        "created,loaded-complete,closed",
        "Completely created elements: 9 (of 9)",
        "Completely loaded elements: 9 (of 9)",
        "Completely created replica sets: 3 (of 3)",
        "Completely loaded replica sets: 3 (of 3)",
        "Open elements: 0 (of 9)",
    ] {
        assert!(closed.lines().any(|found| found == line), "{line:?} is missing:\n{closed}");
    }
    assert_eq!(first.refused("SELECT 1").await, "57P03", "nobody gets into a closed database");
    refused("dbClose other", "already closed").await;
    refused("dbDestroy other", "is loaded").await;

    run("dbOpen other -wait").await.done().unwrap();
    let open = run("dbStatus other").await.done().unwrap();
    assert!(open.contains("created,loaded-complete,open\n") && open.contains("Open elements: 9 (of 9)"), "{open}");
    first.batch("CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t VALUES (7, 'seven')").await.unwrap();
    assert_eq!(second.value("SELECT v FROM t WHERE id = 7").await.unwrap(), "seven");
    assert_eq!(demo.number("SELECT id FROM t").await.unwrap(), 1, "each database has its own tables");
    refused("dbUnload other", "is open").await;
    refused("dbDestroy other", "is loaded").await;

    run("dbClose other -wait").await.done().unwrap();
    assert_eq!(first.number("SELECT id FROM t").await.unwrap(), 7, "sessions outlive the closing");
    refused("dbUnload other", "sessions").await;
    run("dbDisconnect other -immediate -wait").await.done().unwrap();
    run("dbUnload other -wait").await.done().unwrap();
    let unloaded = run("dbStatus other").await.done().unwrap();
    assert!(unloaded.contains("created,unloaded,closed\n"), "{unloaded}");
    refused("dbOpen other", "is not loaded").await;
    run("dbLoad other -wait").await.done().unwrap();
    run("dbOpen other -wait").await.done().unwrap();
    assert_eq!(second.value("SELECT v FROM t WHERE id = 7").await.unwrap(), "seven", "unloading keeps the data");

    second.disconnect();
    run("dbClose other -wait").await.done().unwrap();
    run("dbDisconnect other -immediate -wait").await.done().unwrap();
    run("dbUnload other -wait").await.done().unwrap();
    let before = grid.admin().status("other").await.unwrap();
    assert_eq!(directories(&mut grid, &before), 9);
    let run = async |line: &str| grid.admin().run(&line.split(' ').collect::<Vec<_>>()).await;
    run("dbDestroy other -wait").await.done().unwrap();
    let gone = run("dbStatus other").await;
    assert!(gone.code == 1 && gone.err.contains("Error 2: Database other does not exist"), "{gone:?}");
    assert_eq!(directories(&mut grid, &before), 0, "nothing of it is left on the disks");
    assert_eq!(demo.number("SELECT id FROM t").await.unwrap(), 1, "its neighbour noticed nothing");
    assert!(!grid.admin().run(&["dbList"]).await.done().unwrap().contains("other"));
    // The name is free again, and nothing of the old database comes with it.
    let run = async |line: &str| grid.admin().run(&line.split(' ').collect::<Vec<_>>()).await;
    run("dbCreate other -replica-sets 1 -wait").await.done().unwrap();
    run("dbOpen other -wait").await.done().unwrap();
    assert_eq!(second.refused("SELECT v FROM t").await, "42P01");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t11_a_failed_creation_shows_when_and_why_and_is_repeated_on_request() {
    let mut grid = Grid::start().await;
    let last = grid.status().await.unwrap().elements.iter().map(|element| element.number).max().unwrap();
    // Where instance 2 wants to make the directory of its element there is a file.
    let taken: Vec<_> =
        (last + 1..=last + 3).map(|number| grid.instance(2).data().join("elements").join(number.to_string())).collect();
    for path in &taken {
        std::fs::write(path, "in the way").unwrap();
    }
    grid.expect_error("create failed");
    grid.admin().run(&["dbCreate", "other", "--replica-sets", "1"]).await.done().unwrap();
    let failed = until(&grid, "other", "the creation fails on one instance", |status| {
        count(status, "create failed") == 1 && count(status, "loaded") == 2
    })
    .await;
    let row = failed.elements.iter().find(|element| element.status == "create failed").unwrap();
    assert!(row.instance == "instance2" && row.since_ms > 0 && row.message.contains("directory"), "{row:?}");
    assert_eq!(failed.health, "DatabaseImpeded");
    assert!(failed.next_steps.iter().any(|step| step.contains("dbCreate other -instance ")), "{:?}", failed.next_steps);
    let waited = grid.admin().run(&["dbCreate", "other", "-instance", "instance9", "-wait"]).await;
    assert_eq!(waited.code, 1, "no such instance: {waited:?}");
    for path in &taken {
        std::fs::remove_file(path).unwrap();
    }
    let place = format!("{}.{}", row.host, row.instance);
    grid.admin().run(&["dbCreate", "other", "-instance", &place, "-wait"]).await.done().unwrap();
    let whole = grid.admin().status("other").await.unwrap();
    assert_eq!(count(&whole, "loaded"), 3, "{:?}", rows(&whole));
    let refused = grid.admin().run(&["dbCreate", "other", "-instance", &place]).await;
    assert_eq!(refused.code, 1, "nothing is left to create: {refused:?}");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t48_t49_t50_steps_that_fail_or_hang_are_shown_and_repeated() {
    let mut grid = Grid::start().await;
    for failpoint in ["element.open=fail", "element.close=fail"] {
        grid.kill(2);
        grid.restart_with(2, &[failpoint.to_owned()]);
        let (word, step) = match failpoint {
            "element.open=fail" => ("open failed", "dbOpen"),
            _ => ("close failed", "dbClose"),
        };
        grid.expect_error(word);
        if step == "dbClose" {
            grid.settled().await;
            grid.admin().run(&["dbClose", DATABASE]).await.done().unwrap();
        }
        let failed = until(&grid, DATABASE, word, |status| count(status, word) == 1).await;
        assert!(
            failed.next_steps.iter().any(|next| next.contains(&format!("{step} {DATABASE}"))),
            "{:?}",
            failed.next_steps
        );
        let row = failed.elements.iter().find(|element| element.status == word).unwrap();
        assert!(row.message.contains("failpoint") && row.since_ms > 0, "{row:?}");
        // Nothing else stops: the other elements are where they should be, and SQL goes on in an open database.
        if step == "dbOpen" {
            assert_eq!(grid.session(1).number("SELECT 1").await.unwrap(), 1);
        }
        grid.admin().run(&[step, DATABASE, "-wait"]).await.done().unwrap();
        let again = grid.status().await.unwrap();
        assert_eq!(count(&again, word), 0, "{:?}", rows(&again));
        if step == "dbClose" {
            grid.admin().run(&["dbOpen", DATABASE, "-wait"]).await.done().unwrap();
        }
        grid.settled().await;
    }
    grid.kill(2);
    grid.restart_with(2, &["element.close=hold".to_owned()]);
    grid.settled().await;
    grid.admin().run(&["dbClose", DATABASE]).await.done().unwrap();
    until(&grid, DATABASE, "three elements keep closing", |status| {
        count(status, "closing") == 3 && count(status, "loaded") == 6
    })
    .await;
    let waited = grid.admin().run(&["dbClose", DATABASE, "-wait", "1"]).await;
    assert_eq!(waited.code, 1, "it is being closed already: {waited:?}");
    let refused = grid.admin().run(&["dbUnload", DATABASE]).await;
    assert!(refused.code == 1 && refused.err.contains("is closing"), "{refused:?}");
    assert!(refused.err.contains("-force"), "{refused:?}");
    grid.admin().run(&["dbUnload", DATABASE, "-force", "-wait"]).await.done().unwrap();
    grid.admin().run(&["dbLoad", DATABASE, "-wait"]).await.done().unwrap();
    grid.admin().run(&["dbOpen", DATABASE, "-wait"]).await.done().unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_that_failed_is_repeated_and_ends() {
    let mut grid = Grid::start().await;
    grid.admin().run(&["dbCreate", "other", "--replica-sets", "1", "-wait"]).await.done().unwrap();
    grid.kill(3);
    grid.restart_with(3, &["element.destroy=fail".to_owned()]);
    grid.settled().await;
    grid.expect_error("destroy failed");
    grid.admin().run(&["dbUnload", "other", "-wait"]).await.done().unwrap();
    let ended = grid.admin().run(&["dbDestroy", "other", "-wait"]).await;
    assert!(ended.code == 1 && ended.err.contains("destroy failed"), "{ended:?}");
    let failed = grid.admin().status("other").await.unwrap();
    assert_eq!(count(&failed, "destroy failed"), 1, "{:?}", rows(&failed));
    grid.admin().run(&["dbDestroy", "other", "-wait"]).await.done().unwrap();
    assert_eq!(grid.admin().run(&["dbStatus", "other"]).await.code, 1);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t60_open_transactions_are_found_and_ended() {
    let grid = Grid::start().await;
    let mut holder = grid.session(2);
    holder.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint); INSERT INTO t VALUES (1, 0)").await.unwrap();
    holder.batch("SET application_name = 'holder'; BEGIN; UPDATE t SET v = v + 1 WHERE id = 1").await.unwrap();
    let mut idle = grid.session(1);
    idle.batch("SET application_name = 'idler'").await.unwrap();
    let shown = grid.admin().run(&["dbStatus", DATABASE, "-connections"]).await.done().unwrap();
    let line =
        |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}:\n{shown}"));
    assert!(line("holder").contains("instance2") && line("holder").contains("idle in transaction"), "{shown}");
    assert!(line("idler").contains("instance1") && line("idler").contains(" idle "), "{shown}");
    // A block that has not begun its transaction has nothing of the one before.
    let ids = async || {
        let json = grid.admin().run(&["xactList", DATABASE, "--json"]).await.done().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let of = |name: &str| {
            let all = json["connections"].as_array().unwrap().iter();
            all.filter(|session| session["application_name"] == name)
                .map(|s| s["transaction_id"].clone())
                .collect::<Vec<_>>()
        };
        (of("holder"), of("idler"))
    };
    idle.batch("INSERT INTO t VALUES (2, 0), (3, 0), (4, 0); BEGIN").await.unwrap();
    let (holder_id, idler_id) = ids().await;
    assert!(holder_id[0].as_u64().is_some_and(|id| id > 0) || holder_id[0].is_string(), "{holder_id:?}");
    assert!(idler_id[0] == 0 || idler_id[0].is_null(), "{idler_id:?}");
    idle.batch("COMMIT").await.unwrap();
    let list = grid.admin().run(&["xactList", DATABASE]).await.done().unwrap();
    assert!(list.contains("holder") && !list.contains("idler"), "only what is open:\n{list}");
    let id = list.lines().find(|line| line.contains("holder")).unwrap().split(' ').next().unwrap().to_owned();
    let mut waiter = grid.session(3);
    waiter.batch("SET application_name = 'waiter'").await.unwrap();
    let waiting = tokio::spawn(async move { waiter.batch("UPDATE t SET v = v + 10 WHERE id = 1").await });
    // It waits for the row that the other one holds; transactions without a block are listed too.
    eventually("the waiter is seen at work", SETTLE, async || {
        let list = grid.admin().run(&["xactList", DATABASE]).await.done()?;
        // Who waits comes after who is waited for, and each names the other.
        let line = |name: &str| list.lines().find(|line| line.contains(name)).unwrap_or_default();
        let waiter = line("waiter").split(' ').next().unwrap_or_default();
        anyhow::ensure!(
            line("waiter").contains(" active ")
                && line("waiter").trim_end().ends_with(&id)
                && line("holder").trim_end().ends_with(waiter),
            "{list}"
        );
        Ok(())
    })
    .await;
    assert!(!waiting.is_finished());
    grid.admin().run(&["xactRollback", DATABASE, &id]).await.done().unwrap();
    waiting.await.unwrap().expect("what it held up goes on");
    assert_eq!(idle.number("SELECT v FROM t WHERE id = 1").await.unwrap(), 10, "it was rolled back");
    let session = id.split('.').nth(2).unwrap().parse::<i64>().unwrap();
    let holder = Mutex::new(holder);
    eventually("its session has ended, and the client gets another one", SETTLE, async || {
        anyhow::ensure!(holder.lock().await.number("SELECT pg_backend_pid()").await? != session, "it is the same");
        Ok(())
    })
    .await;
    let again = grid.admin().run(&["xactRollback", DATABASE, &id]).await;
    assert!(again.code == 1 && again.err.contains("no open transaction"), "{again:?}");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_disconnected_with_as_much_regard_as_asked_for() {
    let grid = Grid::start().await;
    let (mut working, mut idle) = (grid.session(2), grid.session(3));
    working.batch("CREATE TABLE t (id bigint PRIMARY KEY)").await.unwrap();
    working.batch("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(idle.number("SELECT 1").await.unwrap(), 1);
    let pid = idle.number("SELECT pg_backend_pid()").await.unwrap();
    grid.admin().run(&["dbDisconnect", DATABASE, "-transactional"]).await.done().unwrap();
    let status = async || grid.admin().run(&["dbDisconnectStatus", DATABASE]).await.done();
    eventually("the instances without transactions have acted", SETTLE, async || {
        let text = status().await?;
        anyhow::ensure!(
            text.matches("Disconnected").count() == 2 && text.contains("Disconnecting: transactional"),
            "{text}"
        );
        Ok(())
    })
    .await;
    working.batch("INSERT INTO t VALUES (2); COMMIT").await.expect("the transaction may end as it wants");
    eventually("all have acted", SETTLE, async || {
        let text = status().await?;
        anyhow::ensure!(text.contains("Complete: transactional"), "{text}");
        Ok(())
    })
    .await;
    let listed = grid.admin().run(&["dbStatus", DATABASE, "-connections"]).await.done().unwrap();
    let rows = listed.lines().filter(|line| line.contains(" quorate ")).count();
    assert_eq!(rows, 1, "only the idle session is left:\n{listed}");
    assert_eq!(idle.number("SELECT pg_backend_pid()").await.unwrap(), pid, "it is the same session still");
    idle.batch("BEGIN; INSERT INTO t VALUES (3)").await.unwrap();
    grid.admin().run(&["dbDisconnect", DATABASE, "-immediate", "-wait"]).await.done().unwrap();
    let mut new = grid.session(1);
    assert_eq!(new.number("SELECT count(*) FROM t").await.unwrap(), 2, "what was open is rolled back");
    let pid = new.number("SELECT pg_backend_pid()").await.unwrap();
    grid.admin().run(&["dbDisconnect", DATABASE, "-abort", "-wait"]).await.done().unwrap();
    let new = Mutex::new(new);
    eventually("the client gets another session", SETTLE, async || {
        anyhow::ensure!(new.lock().await.number("SELECT pg_backend_pid()").await? != pid, "it is the same");
        Ok(())
    })
    .await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_was_begun_is_gone_to_its_end_although_the_active_management_instance_dies() {
    let mut grid = Grid::start().await;
    for (round, step) in
        ["dbCreate", "dbOpen", "dbClose", "dbUnload", "dbLoad", "dbUnload", "dbDestroy"].iter().enumerate()
    {
        let display = grid.admin().run(&["--json", "gridDisplay"]).await.done().unwrap();
        let display: quorate_proto::admin::GridDisplayReply = serde_json::from_str(&display).unwrap();
        let active = display.instances.iter().find(|instance| instance.active).unwrap().number as usize;
        grid.admin().run(&[step, "other"]).await.done().unwrap();
        grid.kill(active);
        // Whoever is active next goes on with it; what the killed instance has to do is done when it is back.
        if round % 2 == 0 {
            grid.restart(active);
        }
        eventually(&format!("{step} is done by those that run"), SETTLE, async || {
            let ended = grid.admin().run(&["--json", "dbStatus", "other"]).await;
            if *step == "dbDestroy" && ended.err.contains("does not exist") {
                return Ok(());
            }
            let status = grid.admin().status("other").await?;
            let left = status.elements.iter().filter(|element| element.status != "down");
            let wanted = match *step {
                "dbOpen" => "opened",
                "dbUnload" => "unloaded",
                "dbDestroy" => "destroyed",
                _ => "loaded",
            };
            anyhow::ensure!(
                left.clone().count() > 0 && left.clone().all(|e| e.status == wanted),
                "{:?}",
                rows(&status)
            );
            Ok(())
        })
        .await;
        if round % 2 == 1 {
            grid.restart(active);
        }
        if *step != "dbDestroy" {
            until(&grid, "other", &format!("{step} is done by all"), |status| status.settled).await;
        }
        grid.settled().await;
    }
    eventually("nothing is left of it", SETTLE, async || {
        let gone = grid.admin().run(&["dbStatus", "other"]).await;
        anyhow::ensure!(gone.err.contains("Error 2"), "{gone:?}");
        Ok(())
    })
    .await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_half_made_or_half_removed_when_instances_died_is_made_and_removed() {
    let mut grid = Grid::start().await;
    let ended = async |grid: &mut Grid, number: usize| {
        assert!(!grid.instance(number).ended(SETTLE).await.success(), "instance{number} was to die");
    };
    // One dies while it makes its elements, then all of them do.
    for (name, dying) in [("one", &[2][..]), ("all", &[1, 2, 3])] {
        for number in dying {
            grid.kill(*number);
            grid.restart_with(*number, &["element.while_creating=exit".to_owned()]);
        }
        grid.settled().await;
        // The answer may be lost with its instance.
        eventually("the database is defined", SETTLE, async || {
            let made = grid.admin().run(&["dbCreate", name, "--replica-sets", "3"]).await;
            anyhow::ensure!(made.code == 0 || made.err.contains("exists"), "{made:?}");
            Ok(())
        })
        .await;
        for number in dying {
            ended(&mut grid, *number).await;
        }
        for number in dying {
            grid.restart(*number);
        }
        let made =
            until(&grid, name, "all elements are made", |status| status.settled && count(status, "loaded") == 9).await;
        let numbers: BTreeSet<u64> = made.elements.iter().map(|element| element.number).collect();
        assert_eq!(
            numbers.last().unwrap() - numbers.first().unwrap(),
            8,
            "none was given up for another one: {numbers:?}"
        );
        grid.settled().await;
    }
    grid.admin().run(&["dbUnload", "all", "--wait=30"]).await.done().unwrap();
    grid.kill(3);
    grid.restart_with(3, &["element.while_destroying=exit".to_owned()]);
    grid.settled().await;
    grid.admin().run(&["dbDestroy", "all"]).await.done().unwrap();
    ended(&mut grid, 3).await;
    grid.restart(3);
    eventually("nothing is left of it", SETTLE, async || {
        let gone = grid.admin().run(&["dbStatus", "all"]).await;
        anyhow::ensure!(gone.err.contains("Error 2"), "{gone:?}");
        Ok(())
    })
    .await;
    grid.settled().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t103_an_instance_that_starts_cut_off_joins_when_it_can() {
    let mut grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    grid.kill(3);
    until(&grid, DATABASE, "its elements are down", |status| count(status, "down") == 3).await;
    // Cut off from the others it can neither register nor catch up, and goes on trying.
    grid.link_all(3, Link::Silent);
    grid.restart(3);
    eventually("it begins to load", SETTLE, async || {
        anyhow::ensure!(grid.log_text(3).contains("status=\"loading\""), "not yet");
        Ok(())
    })
    .await;
    let begin = Instant::now();
    while begin.elapsed() < CUT_OFF {
        let status = grid.status().await.unwrap();
        let its = status.elements.iter().filter(|element| element.instance == "instance3");
        assert!(its.into_iter().all(|element| element.status == "down"), "{:?}", rows(&status));
    }
    grid.network().heal();
    until(&grid, DATABASE, "all are open", |status| count(status, "opened") == 9).await;
    assert!(grid.instance(3).is_running(), "nobody would have started it again");
    grid.finish().await;
}
