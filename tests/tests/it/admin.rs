//! The operators' view: status tells the truth within a second, wrong commands are refused with a code, help is there without a grid.

use std::time::{Duration, Instant};

use quorate_tests::admin::Admin;
use quorate_tests::grid::{DATABASE, Grid, SETTLE};
use quorate_tests::wait::eventually;

/// Enough to lie in all sets.
const ROWS: i64 = 30;

/// The status shows one instance as down and nothing of the others but that they are open.
async fn others_opened(grid: &Grid, down: usize) {
    let (status, name) = (grid.status().await.unwrap(), format!("instance{down}"));
    for element in &status.elements {
        let expected = if element.instance == name { "down" } else { "opened" };
        assert_eq!(element.status, expected, "{element:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_status_shows_an_exit_within_a_second_and_the_return() {
    let mut grid = Grid::start().await;
    let create = "CREATE TABLE t (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)";
    grid.session(1).batch(create).await.unwrap();
    grid.session(1).batch(&format!("INSERT INTO t SELECT i, 0 FROM generate_series(1, {ROWS}) AS g(i)")).await.unwrap();
    let status_of = async |grid: &Grid, number: usize| {
        let status = grid.status().await?;
        let element = status.elements.iter().find(|element| element.instance == format!("instance{number}"));
        anyhow::Ok(element.map(|element| element.status.clone()).unwrap_or_default())
    };
    for number in 1..=3 {
        assert_eq!(status_of(&grid, number).await.unwrap(), "opened");
        grid.kill(number);
        let killed = Instant::now();
        eventually("the element is down", Duration::from_secs(10), async || {
            anyhow::ensure!(status_of(&grid, number).await? == "down", "not yet");
            Ok(())
        })
        .await;
        let shown = killed.elapsed();
        assert!(shown < Duration::from_secs(1), "the exit of instance{number} was shown after {shown:?}");
        others_opened(&grid, number).await;
        let mut session = grid.session(number % 3 + 1);
        for id in 1..=ROWS {
            for sql in [format!("UPDATE t SET v = v + 1 WHERE id = {id}"), format!("SELECT v FROM t WHERE id = {id}")] {
                let mut tries = 1;
                while let Err(failure) = session.batch(&sql).await {
                    assert!(failure.is_retryable() && tries < 20, "{sql}: {failure}");
                    tries += 1;
                }
            }
        }
        others_opened(&grid, number).await;
        grid.restart(number);
        grid.settled().await;
    }
    assert_eq!(grid.session(1).number("SELECT sum(v) FROM t").await.unwrap(), 3 * ROWS);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t05_t06_t07_t08_t09_the_four_sections_of_a_healthy_database_are_there_in_order() {
    let grid = Grid::start().await;
    let text = grid.admin().run(&["dbStatus", DATABASE, "-all"]).await.done().unwrap();
    let mut rest = text.as_str();
    for part in [
        "Database demo summary status as of ",
        "created,loaded-complete,open",
        "Completely created elements: 9 (of 9)",
        "Completely loaded elements: 9 (of 9)",
        "Completely created replica sets: 3 (of 3)",
        "Completely loaded replica sets: 3 (of 3)",
        "Open elements: 9 (of 9)",
        "Database demo element level status as of ",
        "\nHost      Instance  Elem Status Date/Time of Event  Message",
        "Database demo Replica Set status as of ",
        "\nRS DS Elem Host      Instance  Status Date/Time of Event  Message",
        // The number of a set stands once.
        "\n 1  1    1 localhost instance1 opened ",
        "\n    2    2 localhost instance2 opened ",
        "Database demo Data Space Group status as of ",
        "\nDS RS Elem Host      Instance  Status Date/Time of Event  Message",
        "\n 1  1    1 localhost instance1 opened ",
        "\n    2    4 localhost instance1 opened ",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or in the wrong place:\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert_eq!(text.matches(" opened ").count(), 27, "nine elements in each of three sections:\n{text}");
    let status = grid.status().await.unwrap();
    assert!(status.elements.is_sorted_by_key(|element| element.number), "rows are ordered by element");
    for set in 1..=3 {
        let of_set = status.elements.iter().filter(|element| element.replica_set == set);
        let mut groups: Vec<u32> = of_set.map(|element| element.data_space_group).collect();
        groups.sort_unstable();
        assert_eq!(groups, [1, 2, 3], "replica set {set} has a copy in each data space group");
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn details_readiness_and_a_status_that_is_watched_tell_of_a_lost_instance() {
    let mut grid = Grid::start().await;
    let admin = grid.admin().clone();
    let details = admin.run(&["dbStatus", DATABASE, "-details"]).await.done().unwrap();
    let count = |text: &str, word: &str| text.split_whitespace().filter(|found| *found == word).count();
    assert_eq!((count(&details, "leader"), count(&details, "follower")), (3, 6), "{details}");
    let ready = admin.run(&["dbStatus", DATABASE, "-loadReadiness"]).await.done().unwrap();
    assert!(ready.contains("All replica sets can be loaded"), "{ready}");
    let refused = admin.run(&["dbDestroy", DATABASE, "-instance", "localhost.instance2"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("Error 26"), "its elements are in the map: {refused:?}");
    // Whoever watches sees it go.
    let seen = tokio::join!(
        admin.run_until(&["dbStatus", DATABASE, "-watch=1", "-element"], |shown| {
            shown.contains(" opened ") && shown.contains(" down ") && shown.contains("start instance")
        }),
        async {
            let healthy = admin.run_until(&["dbStatus", DATABASE, "-watch"], |shown| shown.contains(": healthy")).await;
            grid.kill(3);
            healthy
        }
    );
    assert!(seen.0.find(" opened ") < seen.0.find(" down "), "{}", seen.0);
    let details = admin.run(&["dbStatus", DATABASE, "-details"]).await.done().unwrap();
    assert!(details.contains("localhost.instance3 did not answer"), "{details}");
    grid.kill(2);
    eventually("two of three copies are down", SETTLE, async || {
        let ready = admin.run(&["dbStatus", DATABASE, "-loadReadiness"]).await.out;
        anyhow::ensure!(ready.contains("Replica set 1 cannot be loaded: 1 of 3 elements can, 2 must"), "{ready}");
        Ok(())
    })
    .await;
    grid.restart(2);
    grid.restart(3);
    grid.settled().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_in_the_wrong_state_are_refused_and_repeated_ones_say_so() {
    let grid = Grid::start().await;
    let run = async |arguments: &[&str]| grid.admin().run(arguments).await;
    let load = run(&["dbLoad", DATABASE]).await;
    assert_eq!(load.code, 0, "loading a loaded database succeeds and says so: {load:?}");
    let open = run(&["DBOPEN", DATABASE]).await;
    assert_eq!(open.code, 1, "{open:?}");
    let create = run(&["dbCreate", DATABASE]).await;
    assert_eq!(create.code, 1, "{create:?}");
    let absent = run(&["dbStatus", "absent"]).await;
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("Error 2: Database absent does not exist"), "{absent:?}");
    let again = run(&["gridCreate", "other", "-k", "3"]).await;
    assert_eq!(again.code, 1, "{again:?}");
    let wrong = run(&["dbStatus", "--what"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    grid.finish().await;
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_a_refusal() {
    let ended = Admin::new([9]).run(&["dbStatus"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("127.0.0.1:9"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_t58_an_element_whose_files_are_lost_is_replaced_without_an_operator() {
    let mut grid = Grid::start().await;
    grid.session(1)
        .batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t SELECT i FROM generate_series(1, 300) AS g(i)")
        .await
        .unwrap();
    let status = grid.status().await.unwrap();
    let lost =
        status.elements.iter().find(|element| element.instance == "instance2" && element.replica_set == 2).unwrap();
    // The reason is for a human to see, although nobody has to act.
    grid.expect_error("files lost or damaged");
    grid.kill(2);
    std::fs::remove_dir_all(grid.instance(2).data().join("elements").join(lost.number.to_string())).unwrap();
    grid.restart(2);
    eventually("another element has taken its place", SETTLE, async || {
        let status = grid.status().await?;
        let mut of_set =
            status.elements.iter().filter(|element| element.replica_set == 2 && element.instance == "instance2");
        anyhow::ensure!(
            of_set.any(|element| element.number != lost.number && element.status == "opened"),
            "{:?}",
            status.elements.iter().map(|e| (&e.instance, e.number, &e.status, &e.message)).collect::<Vec<_>>()
        );
        Ok(())
    })
    .await;
    grid.settled().await;
    // The new element counts: without one of the others it is half of the majority.
    grid.kill(3);
    assert_eq!(grid.session(2).number("SELECT count(*) FROM t").await.unwrap(), 300);
    grid.session(2).batch("INSERT INTO t SELECT i FROM generate_series(301, 400) AS g(i)").await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_sessions_is_unloaded_only_by_force_which_ends_them() {
    let grid = Grid::start().await;
    let mut session = grid.session(2);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    let run = async |arguments: &[&str]| grid.admin().run(arguments).await;
    let open = run(&["dbUnload", DATABASE]).await;
    assert_eq!(open.code, 1, "an open database is not unloaded: {open:?}");
    run(&["dbClose", DATABASE]).await.done().unwrap();
    eventually("the database is closed", SETTLE, async || {
        let status = grid.status().await?;
        anyhow::ensure!(status.elements.iter().all(|element| element.status == "loaded"), "{}", status.open);
        Ok(())
    })
    .await;
    let refused = run(&["dbUnload", DATABASE]).await;
    assert!(refused.code == 1 && refused.err.contains("session"), "{refused:?}");
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 1, "a session outlives the closing");
    let new = grid.session(2).batch("SELECT 1").await.unwrap_err();
    assert_eq!(new.code(), Some("57P03"), "{new}");
    run(&["dbUnload", DATABASE, "-force"]).await.done().unwrap();
    eventually("the database is unloaded", SETTLE, async || {
        let status = grid.status().await?;
        anyhow::ensure!(status.elements.iter().all(|element| element.status == "unloaded"), "{}", status.load);
        Ok(())
    })
    .await;
    let ended =
        session.client().await.expect_err("its session has been ended, and the next attempt finds the database closed");
    assert_eq!(ended.code(), Some("57P03"), "{ended}");
    run(&["dbLoad", DATABASE, "-wait"]).await.done().unwrap();
    run(&["dbOpen", DATABASE, "-wait"]).await.done().unwrap();
    grid.settled().await;
    assert_eq!(grid.session(3).number("SELECT count(*) FROM t").await.unwrap(), 1);
    grid.finish().await;
}
