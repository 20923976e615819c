//! Rules of this repository that no compiler knows. Each failure says why the rule is there.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates may depend on which, directly. What is not listed is forbidden, so that a new edge is a decision.
/// Only `node` joins what the others keep apart; nothing depends on `tests`.
const EDGES: &[(&str, &[&str], &str)] = &[
    ("quorate-proto", &[], "the contract with operators' tools stands alone"),
    ("quorate-raft", &[], "replication carries bytes: it knows no SQL, no rows and no transactions"),
    ("quorate-txn", &[], "transactions know keys and values as bytes: no consensus library, no network, no SQL"),
    ("quorate-sql", &[], "SQL reaches tables through traits that it owns, and knows neither network nor consensus"),
    (
        "quorate-query",
        &["quorate-sql"],
        "joins and their kin are run over the plans and expressions of SQL, and read through its sessions",
    ),
    ("quorate-gateway", &["quorate-sql"], "the gateway decodes, calls a session, and encodes; it decides nothing"),
    ("quorate-management", &["quorate-proto"], "the management state is a pure function of its commands"),
    ("quorate-shell", &[], "the prompt is a PostgreSQL client like any other"),
    ("quorate-admin", &["quorate-proto"], "the operators' tool builds in seconds, without the server"),
    (
        "quorate-node",
        &[
            "quorate-proto",
            "quorate-raft",
            "quorate-txn",
            "quorate-sql",
            "quorate-query",
            "quorate-gateway",
            "quorate-management",
            "quorate-shell",
        ],
        "only the node joins the others",
    ),
    (
        "quorate-tests",
        &["quorate-node", "quorate-proto"],
        "the harness looks from outside: programs, configuration, wire",
    ),
];

/// Libraries that must not be reachable from a crate, directly or not.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("quorate-sql", &["tonic", "pgwire", "openraft", "rocksdb"], "SQL knows neither network nor consensus nor disk"),
    (
        "quorate-txn",
        &["openraft", "tonic", "pgwire", "sqlparser"],
        "transactions are proved in simulation, which has none of these",
    ),
    (
        "quorate-query",
        &["tonic", "pgwire", "openraft", "rocksdb"],
        "queries know neither network nor consensus nor disk but their own",
    ),
    ("quorate-raft", &["sqlparser", "pgwire"], "commands are bytes to the replication"),
    ("quorate-admin", &["rocksdb", "openraft", "pgwire", "sqlparser"], "the operators' tool builds in seconds"),
    ("quorate-shell", &["rocksdb", "openraft", "pgwire", "sqlparser", "tonic"], "the prompt sees what a client sees"),
    ("quorate-gateway", &["rocksdb", "openraft", "tonic"], "the gateway reaches data through a session only"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a folder of the repository").to_owned()
}

fn metadata() -> serde_json::Value {
    let run = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).current_dir(root()).output().expect("cargo and rustc are here");
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it writes text")
    };
    let version = run("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    // Of other platforms nothing has been downloaded, and nothing needs to be.
    let text = run(env!("CARGO"), &["metadata", "--format-version", "1", "--offline", "--filter-platform", host]);
    serde_json::from_str(&text).expect("cargo writes JSON")
}

/// All Rust files of the product and its tests.
fn rust_files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 20, "the search for Rust files looks in the wrong place");
    files
}

fn refuse(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn crates_depend_on_each_other_only_as_drawn() {
    let metadata = metadata();
    let mut offences = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !name.starts_with("quorate-") || !package["source"].is_null() {
            continue;
        }
        let Some((_, allowed, reason)) = EDGES.iter().find(|(of, ..)| *of == name) else {
            offences.push(format!("{name} is not in the drawing: say in EDGES what it may depend on, and why"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if on.starts_with("quorate-") && dependency["kind"] != "dev" && !allowed.contains(&on) {
                offences.push(format!("{name} → {on}: {reason}"));
            }
        }
    }
    refuse(offences, "a dependency that is not in the drawing makes a crate know what it must not");
}

#[test]
fn crates_stay_free_of_what_they_must_never_hear_of() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    // "path+file:///…/sql#quorate-sql@0.1.0" or "registry+…#tonic@0.14.2"
    let name = |id: &str| id.rsplit(['#', '/']).next().unwrap().split('@').next().unwrap().to_owned();
    let mut offences = Vec::new();
    for (of, forbidden, reason) in FORBIDDEN {
        let start = nodes
            .iter()
            .find(|node| name(node["id"].as_str().unwrap()) == *of)
            .unwrap_or_else(|| panic!("{of} is no crate"));
        let mut seen = std::collections::BTreeSet::new();
        let mut todo = vec![start];
        while let Some(node) = todo.pop() {
            for dependency in node["deps"].as_array().unwrap() {
                let shipped = dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
                let id = dependency["pkg"].as_str().unwrap();
                if shipped && seen.insert(id) {
                    todo.extend(nodes.iter().find(|node| node["id"] == id));
                }
            }
        }
        let reached: Vec<String> =
            seen.into_iter().map(name).filter(|found| forbidden.contains(&found.as_str())).collect();
        offences.extend(reached.iter().map(|found| format!("{of} reaches {found}: {reason}")));
    }
    refuse(offences, "a library that a crate must never hear of");
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string());
    refuse(
        silent.collect(),
        "a file opens with `//!`: a reader must learn what it is for, and what it relies on, before its first line of code",
    );
}

#[test]
fn nothing_unfinished_is_left_behind() {
    // Put together, so that this file does not find itself.
    let marks = [
        (format!("FIX{}", "ME"), "mend it, or write the known limit into the module's text"),
        (format!("dbg{}(", "!"), "use tracing"),
        (format!("todo{}(", "!"), "an unfinished path panics in a user's face: refuse it with an error"),
        (format!("unimplemented{}(", "!"), "an unfinished path panics in a user's face: refuse it with an error"),
        (format!("#[ign{}", "ore"), "assert today's answer and say why it is wrong; a test that does not run rots"),
    ];
    let mut offences = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            for (mark, reason) in &marks {
                if line.contains(mark.as_str()) {
                    offences.push(format!("{}:{}: {mark}: {reason}", path.display(), number + 1));
                }
            }
        }
    }
    refuse(offences, "marks of unfinished work");
}

/// Tests whose names begin with ids of features, such as `t01_t02_…`, with those ids.
fn tests_of_features() -> Vec<(String, Vec<String>)> {
    let is_id = |word: &str| {
        let (letter, number) = word.split_at(1);
        matches!(letter, "t" | "d" | "s") && number.len() >= 2 && number.chars().all(|digit| digit.is_ascii_digit())
    };
    let mut found = Vec::new();
    for (_, text) in rust_files() {
        for line in text.lines() {
            let Some(name) =
                line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next())
            else {
                continue;
            };
            let ids: Vec<String> =
                name.split('_').take_while(|word| !word.is_empty() && is_id(word)).map(str::to_owned).collect();
            if !ids.is_empty() {
                found.push((name.to_owned(), ids));
            }
        }
    }
    found
}

#[test]
fn the_list_of_features_and_the_tests_agree() {
    let list = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    let mut rows = std::collections::BTreeMap::new();
    for line in
        list.lines().filter(|line| line.starts_with("| T-") || line.starts_with("| D-") || line.starts_with("| S-"))
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let id = cells[1].to_lowercase().replace('-', "");
        let tests: Vec<String> = cells[3].split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        assert!(rows.insert(id, tests).is_none(), "{} is listed twice", cells[1]);
    }
    assert!(rows.len() > 50, "the list is read wrongly: {} rows", rows.len());
    let tests = tests_of_features();
    let mut offences = Vec::new();
    for (test, ids) in &tests {
        for id in ids {
            if !rows.get(id).is_some_and(|named| named.iter().any(|name| test.ends_with(name.as_str()))) {
                offences.push(format!("{test} shows {id}, and docs/features.md does not name it there"));
            }
        }
    }
    for (id, named) in &rows {
        for name in named {
            if !tests.iter().any(|(test, ids)| ids.contains(id) && test.ends_with(name.as_str())) {
                offences.push(format!("docs/features.md names {name} for {id}, and there is no such test"));
            }
        }
    }
    refuse(offences, "what is promised to operators is shown by a test that carries its id");
}
