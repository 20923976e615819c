//! The management group: what it recorded survives each of its members, and databases go on without it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use quorate_proto::admin::GridDisplayReply;
use quorate_tests::admin::Admin;
use quorate_tests::grid::{DATABASE, Grid, Options, SETTLE};
use quorate_tests::proxy::Link;
use quorate_tests::sql::Session;
use quorate_tests::wait::eventually;

async fn display(admin: &Admin) -> anyhow::Result<GridDisplayReply> {
    Ok(serde_json::from_str(&admin.run(&["--json", "gridDisplay"]).await.done()?)?)
}

/// Waits until all elements of a database but those on the stopped instance have this status, and the advice is to start that one.
async fn others_are(grid: &Grid, database: &str, stopped: usize, wanted: &str) {
    let name = format!("instance{stopped}");
    eventually(&format!("the other elements of {database} are {wanted}"), SETTLE, async || {
        let status = grid.admin().status(database).await?;
        anyhow::ensure!(!status.elements.is_empty() && !status.settled, "{}", status.verdict);
        for element in &status.elements {
            anyhow::ensure!((element.instance == name) != (element.status == wanted), "{element:?}");
        }
        let start = status.next_steps.iter().find(|step| step.starts_with("start instance "));
        anyhow::ensure!(start.is_some_and(|step| step.contains(&name)), "{:?}", status.next_steps);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t115_t117_what_one_recorded_the_next_one_knows() {
    let mut grid = Grid::start().await;
    for round in 0..2 {
        let before = display(grid.admin()).await.unwrap();
        let actives: Vec<_> = before.instances.iter().filter(|instance| instance.active).collect();
        assert_eq!(actives.len(), 1, "{:?}", before.instances);
        let active = actives[0].number as usize;
        let name = format!("db{round}");
        grid.admin().run(&["dbCreate", &name, "--replica-sets", "1"]).await.done().unwrap();
        grid.kill(active);
        let after = eventually("another instance manages", Duration::from_secs(10), async || {
            let after = display(grid.admin()).await?;
            anyhow::ensure!(after.instances.iter().any(|instance| instance.active), "nobody yet");
            Ok(after)
        })
        .await;
        assert!(after.databases.contains(&name), "nothing that was acknowledged is lost: {:?}", after.databases);
        assert!(after.sequence > before.sequence, "the sequence never falls: {} {}", before.sequence, after.sequence);
        assert!(after.instances.iter().all(|instance| !instance.active || instance.number as usize != active));
        // Two of three manage everything.
        eventually("two elements of three are loaded", SETTLE, async || {
            let status = grid.admin().status(&name).await?;
            anyhow::ensure!(status.load == "loaded-functional", "{}", status.load);
            Ok(())
        })
        .await;
        grid.admin().run(&["dbOpen", &name]).await.done().unwrap();
        let mut gateways = grid.gateways();
        gateways.database.clone_from(&name);
        eventually("the new database takes sessions", SETTLE, async || {
            Ok(gateways.only(active % 3).batch("CREATE TABLE IF NOT EXISTS t (id bigint PRIMARY KEY)").await?)
        })
        .await;
        grid.restart(active);
        grid.settled().await;
        eventually("the third element is made too", SETTLE, async || {
            let status = grid.admin().status(&name).await?;
            anyhow::ensure!(status.settled && status.health == "Normal", "{}", status.verdict);
            Ok(())
        })
        .await;
    }
    // A database is made although a standby is stopped: all of it but what is to be there.
    let shown = display(grid.admin()).await.unwrap();
    let standby = shown.instances.iter().find(|instance| instance.management && !instance.active).unwrap();
    let standby = standby.number as usize;
    grid.kill(standby);
    let created = grid.admin().run(&["dbCreate", "other", "--replica-sets", "3", "--wait=2"]).await;
    assert_eq!(created.code, 4, "not everything can be made now, so waiting for it ends with the time: {created:?}");
    others_are(&grid, "other", standby, "loaded").await;
    grid.admin().run(&["dbOpen", "other"]).await.done().unwrap();
    others_are(&grid, "other", standby, "opened").await;
    let mut gateways = grid.gateways();
    "other".clone_into(&mut gateways.database);
    eventually("the new database takes sessions", SETTLE, async || {
        let table = "CREATE TABLE IF NOT EXISTS t (id bigint PRIMARY KEY) DISTRIBUTE BY HASH (id)";
        Ok(gateways.only(standby % 3).batch(table).await?)
    })
    .await;
    gateways.only(standby % 3).batch("INSERT INTO t SELECT i FROM generate_series(1, 100) AS g(i)").await.unwrap();
    grid.restart(standby);
    grid.settled().await;
    eventually("the elements that were missing are made too", SETTLE, async || {
        let status = grid.admin().status("other").await?;
        anyhow::ensure!(status.settled && status.health == "Normal", "{}", status.verdict);
        Ok(())
    })
    .await;
    eventually("the new database takes sessions there too", SETTLE, async || {
        let rows = gateways.only(standby - 1).number("SELECT count(*) FROM t").await?;
        anyhow::ensure!(rows == 100, "{rows} rows of 100");
        Ok(())
    })
    .await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_of_the_management_instances_nothing_is_changed_and_that_is_said() {
    let mut grid = Grid::start().await;
    let shown = display(grid.admin()).await.unwrap();
    let standbys = shown.instances.iter().filter(|instance| instance.management && !instance.active);
    let standbys: Vec<usize> = standbys.map(|instance| instance.number as usize).collect();
    standbys.iter().for_each(|standby| grid.kill(*standby));
    let change = grid.admin().run(&["dbClose", DATABASE]).await;
    assert_eq!(change.code, 3, "{change:?}");
    assert!(change.err.contains("nothing was done"), "{change:?}");
    let status = grid.admin().run(&["dbStatus", DATABASE, "-element"]).await;
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.starts_with("STALE: no majority of the management instances answers"), "{status:?}");
    let down: Vec<&str> = status.out.lines().filter(|row| row.contains(" down ")).collect();
    assert!(!down.is_empty() && down.iter().all(|row| row.matches(':').count() >= 2), "each has its time: {down:#?}");
    standbys.iter().for_each(|standby| grid.restart(*standby));
    grid.settled().await;
    assert_eq!(grid.status().await.unwrap().wanted, "open");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t115_a_standby_has_what_was_recorded_within_a_second() {
    let mut grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    let shown = display(grid.admin()).await.unwrap();
    let standby = shown.instances.iter().find(|instance| instance.management && !instance.active).unwrap();
    let standby = standby.number as usize;
    grid.admin().run(&["dbClose", DATABASE]).await.done().unwrap();
    let recorded = display(grid.admin()).await.unwrap().sequence;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Cut off from the others it can tell only what it has itself.
    grid.link_all(standby, Link::Silent);
    let alone = Admin::new([grid.instance(standby).peer_port]).run(&["--json", "gridDisplay"]).await;
    assert_eq!(alone.code, 3, "{alone:?}");
    let alone: GridDisplayReply = serde_json::from_str(&alone.out).unwrap();
    assert!(alone.stale.is_some() && alone.sequence >= recorded, "{} of {recorded}", alone.sequence);
    grid.network().heal();
    grid.admin().run(&["dbOpen", DATABASE, "--wait=25"]).await.done().unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_manager_that_hangs() {
    let mut grid = Grid::start().await;
    let shown = display(grid.admin()).await.unwrap();
    let active = shown.instances.iter().find(|instance| instance.active).unwrap().number as usize;
    grid.instance(active).signal("STOP");
    // A standby would pass the question on to it; it itself takes connections and answers nothing.
    for first in [active % 3 + 1, active] {
        let ports = [first, first % 3 + 1].map(|number| grid.instance(number).peer_port);
        let start = Instant::now();
        let status = Admin::new(ports).run(&["dbStatus", DATABASE]).await;
        assert_eq!(status.code, 0, "{status:?}");
        assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
    }
    grid.instance(active).signal("CONT");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_management_instance_is_enough_and_databases_work_without_it() {
    let mut grid = managed_by(1, 3, 1).await;
    let mut session = grid.session(2);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY)").await.unwrap();
    grid.admin().run(&["dbCreate", "other", "--replica-sets", "1", "--wait=25"]).await.done().unwrap();
    grid.kill(1);
    for id in 1..=100 {
        undisturbed(&mut session, &format!("INSERT INTO t VALUES ({id})")).await;
    }
    let status = grid.admin().run(&["dbStatus", DATABASE]).await;
    assert_eq!(status.code, 3, "{status:?}");
    grid.restart(1);
    grid.settled().await;
    let shown = display(grid.admin()).await.unwrap();
    assert_eq!(shown.databases, [DATABASE, "other"], "what was recorded is still known");
    assert_eq!(grid.session(1).number("SELECT count(*) FROM t").await.unwrap(), 100);
    grid.finish().await;
}

/// Rows of the table, some in each of two sets.
const ROWS: i64 = 16;
const MANAGERS: usize = 3;

/// Instances of which the first ones manage, with an open database.
async fn managed_by(managers: usize, instances: usize, replica_sets: u32) -> Grid {
    let options = Options { instances, managers: Some(managers), replica_sets, ..Options::default() };
    let grid = Grid::start_processes(options).await;
    eventually("the grid is made", SETTLE, async || {
        // An attempt whose answer was lost counts when the grid is there.
        if grid.admin().run(&["gridCreate", "test", "-k", "3"]).await.code != 0 {
            display(grid.admin()).await?;
        }
        Ok(())
    })
    .await;
    // Those that do not manage join by themselves, and a database lies on the instances that there are when it is made.
    eventually("all instances have joined", SETTLE, async || {
        let up = display(grid.admin()).await?.instances.iter().filter(|instance| instance.up).count();
        anyhow::ensure!(up == grid.size(), "{up} are up");
        Ok(())
    })
    .await;
    let sets = replica_sets.to_string();
    grid.admin().run(&["dbCreate", DATABASE, "--replica-sets", &sets, "--wait=25"]).await.done().unwrap();
    grid.admin().run(&["dbOpen", DATABASE, "--wait=25"]).await.done().unwrap();
    grid.settled().await;
    grid
}

/// The replica sets that have elements on the management instances, or on the others.
async fn sets_of(grid: &Grid, managing: bool) -> BTreeSet<u32> {
    let names: Vec<String> = (1..=MANAGERS).map(|number| format!("instance{number}")).collect();
    let status = grid.status().await.unwrap();
    let elements = status.elements.iter().filter(|element| names.contains(&element.instance) == managing);
    elements.map(|element| element.replica_set).collect()
}

/// Runs a statement that is refused with nothing but 40001.
async fn undisturbed(session: &mut Session, sql: &str) {
    let mut tries = 1;
    while let Err(failure) = session.batch(sql).await {
        assert!(failure.is_retryable() && tries < 20, "{sql}: {failure}");
        tries += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t118_t119_databases_work_without_any_management_instance() {
    const ROUNDS: i64 = 30;
    // Of the two sets one lies on the management instances, and the other one on the others.
    let mut grid = managed_by(MANAGERS, 6, 2).await;
    let shown = display(grid.admin()).await.unwrap();
    assert_eq!(shown.instances.iter().filter(|instance| instance.management).count(), MANAGERS);
    let (lost, kept) = (sets_of(&grid, true).await, sets_of(&grid, false).await);
    assert!(lost.len() == 1 && kept.len() == 1 && lost != kept, "{lost:?}, {kept:?}");
    let mut session = grid.session(4);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch(&format!("INSERT INTO t SELECT i, 0 FROM generate_series(1, {ROWS}) AS g(i)")).await.unwrap();
    let mut sessions: Vec<Session> = (4..=6).map(|number| grid.session(number)).collect();
    for session in &mut sessions {
        assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), ROWS);
    }
    (1..=MANAGERS).for_each(|number| grid.kill(number));
    // With them went one of the sets. What cannot be read lies there.
    let attempts = (1..=ROWS).map(|id| {
        let mut session = grid.session(4);
        async move { (id, session.number(&format!("SELECT v FROM t WHERE id = {id}")).await) }
    });
    let mut ids = Vec::new();
    for (id, attempt) in join_all(attempts).await {
        match attempt {
            Ok(_) => ids.push(id),
            Err(failure) => {
                let down = format!("replica set {} is down", lost.first().unwrap());
                assert!(failure.to_string().contains(&down), "{failure}");
            }
        }
    }
    assert!(!ids.is_empty() && ids.len() < ROWS as usize, "rows of one set of two: {ids:?}");
    for round in 1..=ROUNDS {
        let session = &mut sessions[round as usize % 3];
        for id in &ids {
            undisturbed(session, &format!("DELETE FROM t WHERE id = {id}")).await;
            undisturbed(session, &format!("INSERT INTO t VALUES ({id}, {round})")).await;
            undisturbed(session, &format!("UPDATE t SET v = v + 1 WHERE id = {id}")).await;
            undisturbed(session, &format!("SELECT v FROM t WHERE id = {id}")).await;
        }
    }
    let admin = Admin::new([grid.instance(4).peer_port]);
    let status = admin.run(&["dbStatus", DATABASE]).await;
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.err.contains("The grid cannot decide at the moment"), "{status:?}");
    assert!(status.err.contains("management instances"), "it says what is missing: {status:?}");
    let change = admin.run(&["dbClose", DATABASE]).await;
    assert_eq!(change.code, 3, "{change:?}");
    // A data instance that is restarted meanwhile goes on with the orders that it had: it lets clients in, and its copy counts.
    grid.kill(6);
    grid.restart(6);
    eventually("the restarted instance takes sessions", SETTLE, async || Ok(grid.session(6).batch("SELECT 1").await?))
        .await;
    grid.kill(4);
    eventually("two of three copies are a majority", SETTLE, async || {
        Ok(grid.session(5).batch(&format!("UPDATE t SET v = v WHERE id = {}", ids[0])).await?)
    })
    .await;
    (1..=4).for_each(|number| grid.restart(number));
    grid.settled().await;
    let mut session = grid.session(1);
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), ROWS);
    assert_eq!(session.number("SELECT sum(v) FROM t").await.unwrap(), ids.len() as i64 * (ROUNDS + 1));
    grid.finish().await;
}
