//! The flags of `quorate start`: one for each key of the configuration, and `--config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::KEYS;

/// Where the configuration of an instance comes from. Flatten it into the arguments of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigArgs {
    /// The file.
    pub config: Option<PathBuf>,
    /// Keys that flags set, with their text.
    pub flags: Vec<(&'static str, String)>,
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file, TOML; its keys have the names of the flags below, with _ for -");
        KEYS.iter().fold(command.arg(file), |command, key| {
            let help = match key.default {
                Some(default) => format!("{} [default: {default}]", key.help),
                None => key.help.to_owned(),
            };
            let mut flag = Arg::new(key.name)
                .long(key.flag)
                .value_name(key.value)
                .help(help)
                .help_heading("Keys of the configuration");
            if key.name != key.flag {
                flag = flag.alias(key.name);
            }
            if key.value == "BOOLEAN" {
                flag = flag.num_args(0..=1).default_missing_value("true");
            }
            command.arg(flag)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &'static str| matches.get_one::<String>(name).map(|value| (name, value.clone()));
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned(),
            flags: KEYS.iter().filter_map(|key| given(key.name)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
