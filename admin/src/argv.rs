//! Spellings: command and option names in any case, options with one dash or two, `-wait 10` beside `--wait=10`.
//!
//! Works from the grammar itself, so that a new command or option needs nothing here. What is not a known name is left as it is, for
//! the parser to complain about in the operator's own words.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// The command line as the grammar spells it. The first argument is the program's name.
#[must_use]
pub fn normalise(grammar: &Command, argv: Vec<OsString>) -> Vec<OsString> {
    let mut output = Vec::with_capacity(argv.len());
    let mut input = argv.into_iter().peekable();
    output.extend(input.next());
    let mut command: Option<&Command> = None;
    while let Some(argument) = input.next() {
        let Some(text) = argument.to_str() else {
            output.push(argument);
            continue;
        };
        if text == "--" {
            output.push(argument);
            break;
        }
        if let Some(option) = text.strip_prefix('-') {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let known = command.and_then(|command| find(command, name)).or_else(|| find(grammar, name));
            let Some(known) = known else {
                output.push(if is_misspelt(name) { format!("-{text}").into() } else { argument });
                continue;
            };
            let long = known.get_long().expect("found by its long name");
            if let Some(value) = value {
                output.push(format!("--{long}={value}").into());
            } else if is_optional(known) {
                // Only a number belongs to it: the next word may be the name of a database.
                let number = input.next_if(|next| next.to_str().is_some_and(is_number));
                let value = number.map(|number| format!("={}", number.to_string_lossy())).unwrap_or_default();
                output.push(format!("--{long}{value}").into());
            } else {
                output.push(format!("--{long}").into());
                if matches!(known.get_action(), ArgAction::Set | ArgAction::Append) {
                    output.extend(input.next());
                }
            }
        } else if command.is_none() {
            command = grammar.get_subcommands().find(|known| same(known.get_name(), text));
            output.push(command.map_or(argument, |known| known.get_name().into()));
        } else {
            output.push(argument);
        }
    }
    output.extend(input);
    output
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|known| known.get_long().is_some_and(|long| same(long, name)))
}

/// Whether what follows one dash is meant as a long name: the parser then speaks of the whole word, not of its first letter, and knows what is
/// similar. `-k3` and `-5` are not.
fn is_misspelt(name: &str) -> bool {
    let letters = name.chars().all(|letter| letter.is_ascii_alphabetic() || "-_".contains(letter));
    letters && name.len() > 1 && !name.starts_with('-')
}

/// Whether the option's value may be left out.
fn is_optional(option: &Arg) -> bool {
    option.is_require_equals_set()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether two spellings mean one name: case, dashes and underscores do not count.
fn same(left: &str, right: &str) -> bool {
    let letters = |text: &str| {
        text.chars()
            .filter(|letter| !"-_".contains(*letter))
            .map(|letter| letter.to_ascii_lowercase())
            .collect::<String>()
    };
    letters(left) == letters(right)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn normal(line: &str) -> String {
        let argv = line.split_whitespace().map(OsString::from).collect();
        let output = normalise(&Cli::command(), argv);
        output.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_accepted_in_every_spelling() {
        assert_eq!(normal("a DBSTATUS demo -Element"), "a dbStatus demo --element");
        assert_eq!(normal("a dbstatus demo --replicaSet -all"), "a dbStatus demo --replicaset --all");
        assert_eq!(normal("a dbCreate demo -replica-sets 3"), "a dbCreate demo --replica-sets 3");
        assert_eq!(normal("a dbcreate demo -replicaSets=3"), "a dbCreate demo --replica-sets=3");
        assert_eq!(normal("a -AT h:1 gridcreate g -K 3"), "a --at h:1 gridCreate g --k 3");
    }

    #[test]
    fn values_are_left_alone() {
        assert_eq!(normal("a dbCreate demo -instance -Element"), "a dbCreate demo --instance -Element");
        assert_eq!(normal("a dbStatus dbStatus"), "a dbStatus dbStatus");
        assert_eq!(normal("a --at dbstatus dbSTATUS DEMO"), "a --at dbstatus dbStatus DEMO");
        assert_eq!(normal("a dbStatus -- -Element"), "a dbStatus -- -Element");
    }

    #[test]
    fn the_time_to_wait_may_be_left_out() {
        assert_eq!(normal("a dbLoad -wait demo"), "a dbLoad --wait demo");
        assert_eq!(normal("a dbLoad -Wait 10 demo"), "a dbLoad --wait=10 demo");
        assert_eq!(normal("a dbLoad demo --wait=10"), "a dbLoad demo --wait=10");
        assert_eq!(normal("a dbLoad demo -noWait"), "a dbLoad demo --nowait");
    }

    #[test]
    fn unknown_words_reach_the_parser_as_typed() {
        assert_eq!(normal("a dbFrobnicate Elephant"), "a dbFrobnicate Elephant");
        assert_eq!(normal("a -h -k3 -5 --what"), "a -h -k3 -5 --what");
        assert_eq!(normal("a dbStatus -sumary"), "a dbStatus --sumary", "one dash or two, a long name is a long name");
    }
}
