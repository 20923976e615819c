//! Finding the instance that decides, and saying what was typed wrongly.

use std::sync::Arc;

use quorate_management::service::PortError;

use crate::support::{Grid, Group, lock, run, serve};

#[test]
fn other_addresses_are_tried() {
    let grid = Grid::open();
    let closed = grid.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound")
    });
    assert_eq!(run(&format!("--at {closed},{} dbStatus", grid.at)).code, 0);
    let nobody = run(&format!("dbStatus --at {closed}"));
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.starts_with(&format!("Error : No instance of the grid answers\n  {closed}: ")), "{nobody:?}");
    assert!(nobody.err.contains("refused"), "{nobody:?}");
}

#[test]
fn requests_reach_the_active_instance() {
    let grid = Grid::open();
    let standby = Arc::new(Group::default());
    *lock(&standby.trouble) = Some(PortError::NotActive { active: Some(grid.at.clone()) });
    let at = grid.runtime.block_on(serve(&standby));
    let ended = run(&format!("--at {at} dbStatus database1"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("created,loaded-complete,open"), "{ended:?}");
    // A data instance knows only some management instance, which need not be the active one.
    let data = Arc::new(Group::default());
    *lock(&data.trouble) = Some(PortError::NotActive { active: Some(at.to_string()) });
    let at = grid.runtime.block_on(serve(&data));
    assert_eq!(run(&format!("--at {at} dbStatus database1")).code, 0);
    let refused = run(&format!("--at {at} dbOpen database1"));
    assert_eq!((refused.code, refused.err.as_str()), (1, "Error 12: Database database1 is already open\n"));
}

#[test]
fn instances_that_point_at_each_other_end_the_search() {
    let grid = Grid::made();
    let (left, right) = (Arc::new(Group::default()), Arc::new(Group::default()));
    let at = grid.runtime.block_on(serve(&left));
    let to = grid.runtime.block_on(serve(&right));
    *lock(&left.trouble) = Some(PortError::NotActive { active: Some(to.to_string()) });
    *lock(&right.trouble) = Some(PortError::NotActive { active: Some(at.to_string()) });
    let ended = run(&format!("--at {at} dbLoad database1"));
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("no management instance is active"), "{ended:?}");
}

#[test]
fn a_port_for_sql_is_told_apart() {
    let grid = Grid::open();
    let at = grid.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // What PostgreSQL's protocol answers to a packet that is too long.
                    let error = b"E\0\0\0\x24SFATAL\0C08P01\0Minvalid length\0\0\0";
                    let mut bytes = [0; 24];
                    let _ = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut bytes).await;
                    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, error).await;
                    // The client has said more meanwhile: unread, it would reset the connection before the answer is looked at.
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                });
            }
        });
        address
    });
    for line in ["dbStatus", "dbLoad database1"] {
        let ended = run(&format!("--at {at} {line}"));
        assert_eq!(ended.code, 3, "nothing was taken there: {ended:?}");
        assert!(ended.err.contains("is it for SQL?"), "{ended:?}");
        assert_eq!(run(&format!("--at {at},{} {line}", grid.at)).code, 0, "the next one is asked");
    }
}

#[test]
fn wrong_addresses_are_wrong_usage() {
    for (address, why) in
        [("127.0.0.1", "the port is missing"), ("127.0.0.1:99999", "from 1 to 65535"), (":7510", "the host is missing")]
    {
        let ended = run(&format!("--at {address} dbStatus"));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains(why), "{ended:?}");
    }
}

#[test]
fn misspelt_options_are_answered_by_what_is_similar() {
    for (line, similar) in [
        ("dbStatus demo -sumary", "'--summary'"),
        ("dbCreate demo -replicaset 3", "'--replica-sets'"),
        ("dbUnload demo -froce", "'--force'"),
    ] {
        let ended = run(line);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains(similar), "{ended:?}");
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    let ended = run("dbStatsu");
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("dbStatus"), "{ended:?}");
    assert_eq!(run("dbLoad").code, 2);
    assert_eq!(run("dbLoad demo -wait -nowait").code, 2);
    let help = run("--help");
    assert_eq!(help.code, 0);
    for word in ["gridCreate", "dbCreate", "dbLoad", "dbOpen", "dbStatus", "dbVerify", "127.0.0.1:7510", "Exit codes"] {
        assert!(help.out.contains(word), "--help speaks of {word}");
    }
}
