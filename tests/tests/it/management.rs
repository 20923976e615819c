//! The management group: what it recorded survives each of its members, and databases go on without it.

use std::time::Duration;

use quorate_proto::admin::GridDisplayReply;
use quorate_tests::admin::Admin;
use quorate_tests::grid::{DATABASE, Grid, Options, SETTLE};
use quorate_tests::wait::eventually;

async fn display(admin: &Admin) -> anyhow::Result<GridDisplayReply> {
    Ok(serde_json::from_str(&admin.run(&["--json", "gridDisplay"]).await.done()?)?)
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
async fn t118_t119_databases_work_without_any_management_instance() {
    let mut grid = Grid::start_with(Options { managers: Some(1), ..Options::default() }).await;
    let mut session = grid.session(2);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY) DISTRIBUTE BY HASH (id)").await.unwrap();
    let shown = display(grid.admin()).await.unwrap();
    assert_eq!(shown.instances.iter().filter(|instance| instance.management).count(), 1);
    grid.kill(1);
    let insert = async |grid: &Grid, number: usize, id: i64| {
        eventually("a row is inserted", SETTLE, async || {
            match grid.session(number).batch(&format!("INSERT INTO t VALUES ({id})")).await {
                Ok(()) => Ok(()),
                // An attempt whose outcome nobody could tell took place.
                Err(failure) if failure.code() == Some("23505") => Ok(()),
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    };
    for id in 0..200 {
        insert(&grid, 2 + (id as usize % 2), id).await;
    }
    let status = grid.admin().run(&["dbStatus", DATABASE]).await;
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.err.contains("The grid cannot decide at the moment"), "{status:?}");
    assert!(status.err.contains("management instances"), "it says what is missing: {status:?}");
    let change = grid.admin().run(&["dbClose", DATABASE]).await;
    assert_eq!(change.code, 3, "{change:?}");
    // A data instance that is restarted meanwhile goes on with the orders that it had.
    grid.kill(3);
    grid.restart(3);
    for id in 200..250 {
        insert(&grid, 3, id).await;
    }
    grid.restart(1);
    grid.settled().await;
    assert_eq!(grid.session(1).number("SELECT count(*) FROM t").await.unwrap(), 250);
    grid.finish().await;
}
