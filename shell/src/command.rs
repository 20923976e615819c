//! The backslash commands: parsing, help, and the queries behind `\d` and `\l`.

/// A parsed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\timing [on|off]`
    Timing(Option<bool>),
    /// `\x [on|off]`
    Expanded(Option<bool>),
    /// `\t [on|off]`
    TuplesOnly(Option<bool>),
    /// `\a`
    Aligned,
    /// `\pset null TEXT`
    Null(String),
    /// `\d` and `\dt`: all tables
    Tables,
    /// `\d NAME`: one table, with its schema if one was given
    Table(Option<String>, String),
    /// `\l`
    Databases,
    /// `\conninfo`
    ConnectionInfo,
    /// `\c [DATABASE]`
    Connect(Option<String>),
    /// `\i FILE`
    Include(String),
    /// `\echo TEXT`
    Echo(String),
    /// `\errverbose`
    LastError,
    /// `\g` and `\gx`: run what was typed
    Go {
        /// Expanded, this once.
        expanded: bool,
    },
    /// `\p`
    ShowBuffer,
    /// `\r`
    ResetBuffer,
}

/// Shown by `\?`.
pub const HELP: &str = "\
General
  \\q                 leave (also exit, quit, Ctrl-D)
  \\?                 this help
  \\conninfo          where this session is connected
  \\c [DATABASE]      connect anew, to another database if one is named
  \\timing [on|off]   time of each statement
  \\errverbose        the last error with its SQLSTATE and all fields

Statements (a semicolon runs them; Ctrl-C cancels a running one)
  \\g, \\gx            run what was typed; \\gx shows one value a line
  \\p, \\r             show, forget what was typed
  \\i FILE            run a script
  \\echo TEXT         print TEXT

Tables
  \\d, \\dt            all tables
  \\d NAME            one table with its columns
  \\l                 databases

Results
  \\x [on|off]        one value a line
  \\t [on|off]        rows only, without headings and counts
  \\a                 aligned or unaligned
  \\pset null TEXT    show NULL as TEXT
";

/// The command that a line of one plain word stands for.
pub fn by_word(line: &str) -> Option<&'static str> {
    match line.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
        "help" => Some("?"),
        "exit" | "quit" => Some("q"),
        _ => None,
    }
}

impl Command {
    /// Parses a command without its backslash. `Err` is a message for the user.
    pub fn parse(text: &str) -> Result<Command, String> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let switch = || match rest.to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "on" | "1" | "true" => Ok(Some(true)),
            "off" | "0" | "false" => Ok(Some(false)),
            _ => Err(format!("\\{name}: \"{rest}\" is neither \"on\" nor \"off\"")),
        };
        let command = match name {
            "q" | "quit" => Command::Quit,
            "?" | "h" | "help" => Command::Help,
            "timing" => Command::Timing(switch()?),
            "x" => Command::Expanded(switch()?),
            "t" => Command::TuplesOnly(switch()?),
            "a" => Command::Aligned,
            "pset" => match rest.split_once(char::is_whitespace).unwrap_or((rest, "")) {
                ("null", value) => Command::Null(unquote(value)),
                _ => return Err("\\pset: only \"null\" can be set".to_string()),
            },
            "dt" | "d" | "d+" | "dt+" if rest.is_empty() => Command::Tables,
            "d" | "d+" => {
                let (schema, table) = table_name(rest).ok_or_else(|| format!("\\d: \"{rest}\" is no table name"))?;
                Command::Table(schema, table)
            }
            "dt" | "dt+" => return Err("\\dt takes no pattern; use \\d NAME".to_string()),
            "l" | "l+" | "list" => Command::Databases,
            "conninfo" => Command::ConnectionInfo,
            "c" | "connect" => Command::Connect((!rest.is_empty()).then(|| unquote(rest))),
            "i" | "include" if rest.is_empty() => return Err("\\i: a file name is missing".to_string()),
            "i" | "include" => Command::Include(unquote(rest)),
            "echo" => Command::Echo(unquote(rest)),
            "errverbose" => Command::LastError,
            "g" => Command::Go { expanded: false },
            "gx" => Command::Go { expanded: true },
            "p" | "print" => Command::ShowBuffer,
            "r" | "reset" => Command::ResetBuffer,
            _ => return Err(format!("invalid command \\{name}\nTry \\? for help.")),
        };
        Ok(command)
    }
}

/// Takes single quotes off an argument.
fn unquote(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => text.to_string(),
    }
}

/// Splits `[schema.]table` with SQL's rules: unquoted names are folded to lower case.
fn table_name(text: &str) -> Option<(Option<String>, String)> {
    let text = text.trim_end_matches(';');
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    if quoted || parts.iter().any(String::is_empty) {
        return None;
    }
    match <[String; 1]>::try_from(parts) {
        Ok([table]) => Some((None, table)),
        Err(parts) => <[String; 2]>::try_from(parts).ok().map(|[schema, table]| (Some(schema), table)),
    }
}

/// A string constant of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The query of `\dt`.
pub const TABLES: &str = "SELECT schemaname AS \"Schema\", tablename AS \"Name\", primary_key AS \"Primary key\", distribution AS \"Distribution\" \
     FROM pg_catalog.quorate_tables ORDER BY schemaname, tablename";

/// The query of `\l`.
pub const DATABASES: &str = "SELECT datname AS \"Name\" FROM pg_catalog.pg_database ORDER BY datname";

/// The query for a table of `\d`: schema, primary key, distribution.
pub fn table_query(schema: Option<&str>, table: &str) -> String {
    let schema = schema.map(|schema| format!(" AND schemaname = {}", literal(schema))).unwrap_or_default();
    format!(
        "SELECT schemaname, primary_key, distribution FROM pg_catalog.quorate_tables WHERE tablename = {}{schema} ORDER BY schemaname",
        literal(table)
    )
}

/// The query for the columns of a table of `\d`: name, type, nullable, default.
pub fn columns_query(schema: &str, table: &str) -> String {
    format!(
        "SELECT column_name, formatted_type, is_nullable, column_default FROM information_schema.columns \
         WHERE table_name = {} AND table_schema = {} ORDER BY ordinal_position",
        literal(table),
        literal(schema)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stand_for_commands() {
        assert_eq!(by_word(" EXIT; ").map(Command::parse), Some(Ok(Command::Quit)));
        assert_eq!(by_word("help").map(Command::parse), Some(Ok(Command::Help)));
        assert_eq!(by_word("help me"), None);
    }

    #[test]
    fn commands_are_parsed_with_their_arguments() {
        assert_eq!(Command::parse("timing"), Ok(Command::Timing(None)));
        assert_eq!(Command::parse("x on"), Ok(Command::Expanded(Some(true))));
        assert_eq!(Command::parse("pset null '∅'"), Ok(Command::Null("∅".into())));
        assert_eq!(Command::parse("d"), Ok(Command::Tables));
        assert_eq!(Command::parse("d Accounts;"), Ok(Command::Table(None, "accounts".into())));
        assert_eq!(
            Command::parse("d public.\"Odd.\"\"Name\""),
            Ok(Command::Table(Some("public".into()), "Odd.\"Name".into()))
        );
        assert!(Command::parse("x maybe").is_err());
        assert!(Command::parse("d a.b.c").is_err());
        assert!(Command::parse("nonsense").is_err());
    }

    #[test]
    fn names_cannot_break_out_of_the_query() {
        assert!(table_query(None, "x' OR 'a'='a").contains("'x'' OR ''a''=''a'"));
    }
}
