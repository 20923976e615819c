//! CREATE, ALTER and DROP TABLE and TRUNCATE.
//!
//! `DISTRIBUTE BY` and `DUPLICATE` are ours: their tokens are taken out before the library reads the rest.

use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation, ColumnOption, TableConstraint};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::data_type::data_type;
use super::statement::{
    AlterOperation, AlterTable, ColumnDefinition, CreateTable, DistributeBy, KeyDefinition, Statement, TableName,
};
use super::{Positions, Reader, Stop, fold};
use crate::error::{Error, SqlState};
use crate::keywords;

/// Storage parameters of PostgreSQL that change nothing here; others are refused.
const ACCEPTED_OPTIONS: &[&str] =
    &["fillfactor", "autovacuum_enabled", "parallel_workers", "toast_tuple_target", "user_catalog_table"];

impl Reader<'_> {
    /// CREATE TABLE: `tokens` is the whole statement.
    pub(super) fn create_table(&mut self, tokens: &[TokenWithSpan]) -> Result<Statement, Stop> {
        let (rest, clause) = take_out_distribution(tokens);
        let distribute_by = match clause {
            Some(clause) => Some(self.distribution(clause)?),
            None => None,
        };
        self.parser =
            Parser::new(&super::DIALECT).with_recursion_limit(super::MAX_NESTING).with_tokens_with_locations(rest);
        match self.parser.parse_statement()? {
            ast::Statement::CreateTable(table) => {
                Ok(Statement::CreateTable(Box::new(create_table(table, distribute_by, self.positions)?)))
            }
            _ => self.unexpected(),
        }
    }

    fn distribution(&mut self, clause: Vec<TokenWithSpan>) -> Result<DistributeBy, Stop> {
        let mut reader = Reader {
            parser: Parser::new(&super::DIALECT).with_tokens_with_locations(clause),
            positions: self.positions,
        };
        if reader.word("DUPLICATE") {
            return Ok(DistributeBy::Duplicate);
        }
        reader.expect_word("DISTRIBUTE")?;
        reader.expect_word("BY")?;
        if reader.word("REFERENCE") {
            return Err(Error::unsupported(
                "DISTRIBUTE BY REFERENCE",
                "Distribute both tables by the hash of the same columns.",
            )
            .into());
        }
        reader.expect_word("HASH")?;
        Ok(DistributeBy::Hash(reader.names_in_parentheses()?))
    }

    /// `(a, b)`
    pub(super) fn names_in_parentheses(&mut self) -> Result<Vec<(String, Option<u32>)>, Stop> {
        self.parser.expect_token(&Token::LParen)?;
        let mut names = Vec::new();
        loop {
            let position = self.position();
            names.push((self.identifier()?, position));
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// `[schema.]table`
    pub(super) fn table_name(&mut self) -> Result<TableName, Stop> {
        let name = self.parser.parse_object_name(false)?;
        Ok(TableName::new(&name, self.positions)?)
    }

    /// DROP TABLE, both words already read.
    pub(super) fn drop_table(&mut self) -> Result<Statement, Stop> {
        let if_exists = self.words(&["IF", "EXISTS"]);
        let names = self.table_names()?;
        // Nothing depends on a table here, so both words mean the same.
        let _ = self.word("CASCADE") || self.word("RESTRICT");
        Ok(Statement::DropTable { names, if_exists })
    }

    /// TRUNCATE, its first word already read.
    pub(super) fn truncate(&mut self) -> Result<Statement, Stop> {
        self.word("TABLE");
        self.word("ONLY");
        let names = self.table_names()?;
        let _ = self.words(&["RESTART", "IDENTITY"]) || self.words(&["CONTINUE", "IDENTITY"]);
        let _ = self.word("CASCADE") || self.word("RESTRICT");
        Ok(Statement::Truncate(names))
    }

    pub(super) fn table_names(&mut self) -> Result<Vec<TableName>, Stop> {
        let mut names = vec![self.table_name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.table_name()?);
        }
        Ok(names)
    }

    /// ALTER TABLE, nothing read yet.
    pub(super) fn alter_table(&mut self) -> Result<Statement, Stop> {
        let ast::Statement::AlterTable(alter) = self.parser.parse_statement()? else {
            return self.unexpected();
        };
        let operations = alter
            .operations
            .into_iter()
            .map(|operation| alter_operation(operation, self.positions))
            .collect::<Result<_, _>>()?;
        let name = TableName::new(&alter.name, self.positions)?;
        Ok(Statement::AlterTable(Box::new(AlterTable { name, if_exists: alter.if_exists, operations })))
    }
}

impl TableName {
    /// # Errors
    /// 0A000 for a name with a database, 42601 for what is no name.
    pub fn new(name: &ast::ObjectName, positions: &Positions) -> Result<TableName, Error> {
        let parts: Option<Vec<&ast::Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let parts = parts.ok_or_else(|| Error::syntax(format!("{name} is not the name of a table")))?;
        let position = parts.first().and_then(|first| positions.at(first.span.start));
        if let Some(word) =
            parts.first().filter(|part| part.quote_style.is_none() && !keywords::can_name_a_table(&part.value))
        {
            let error = Error::syntax(format!("syntax error at or near \"{}\"", word.value));
            return Err(match position {
                Some(position) => error.at(position),
                None => error,
            });
        }
        match parts[..] {
            [name] => Ok(TableName { schema: None, name: fold(name), position }),
            [schema, name] => Ok(TableName { schema: Some(fold(schema)), name: fold(name), position }),
            _ => Err(Error::unsupported("a reference to another database", "Connect to that database.")),
        }
    }
}

/// Splits the tokens of CREATE TABLE into those of SQL and those of the distribution clause.
fn take_out_distribution(tokens: &[TokenWithSpan]) -> (Vec<TokenWithSpan>, Option<Vec<TokenWithSpan>>) {
    let is_word = |token: &TokenWithSpan, word: &str| matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let mut depth = 0usize;
    let mut columns_seen = false;
    for (n, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                columns_seen = true;
            }
            _ if depth > 0 || !columns_seen => {}
            _ if is_word(token, "DUPLICATE") => {
                let rest = [&tokens[..n], &tokens[n + 1..]].concat();
                return (rest, Some(vec![token.clone()]));
            }
            _ if is_word(token, "DISTRIBUTE") => {
                // To the closing parenthesis, or to the end if there is none.
                let end = tokens[n..]
                    .iter()
                    .position(|token| token.token == Token::RParen)
                    .map_or(tokens.len(), |close| n + close + 1);
                let rest = [&tokens[..n], &tokens[end..]].concat();
                return (rest, Some(tokens[n..end].to_vec()));
            }
            _ => {}
        }
    }
    (tokens.to_vec(), None)
}

fn create_table(
    table: ast::CreateTable,
    distribute_by: Option<DistributeBy>,
    positions: &Positions,
) -> Result<CreateTable, Error> {
    let refused: &[(bool, &str, &str)] = &[
        (table.query.is_some(), "CREATE TABLE AS", "Create the table, then fill it with INSERT ... SELECT."),
        (table.like.is_some(), "CREATE TABLE LIKE", "Write the columns out."),
        (table.inherits.is_some(), "INHERITS", "Write the columns out."),
        (
            table.partition_by.is_some() || table.partition_of.is_some(),
            "PARTITION BY",
            "Rows are spread by DISTRIBUTE BY HASH.",
        ),
        (table.on_commit.is_some(), "ON COMMIT", ""),
        (table.temporary, "CREATE TEMPORARY TABLE", ""),
    ];
    if let Some((_, feature, hint)) = refused.iter().find(|(present, ..)| *present) {
        return Err(Error::unsupported(feature, *hint));
    }
    match &table.table_options {
        ast::CreateTableOptions::None => {}
        ast::CreateTableOptions::With(options) => options.iter().try_for_each(accept_option)?,
        _ => return Err(Error::unsupported("this table option", "Leave it out.")),
    }
    let mut columns = Vec::with_capacity(table.columns.len());
    let mut primary_key: Option<KeyDefinition> = None;
    let mut set_key = |key: KeyDefinition| match primary_key.replace(key) {
        None => Ok(()),
        Some(_) => {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
            Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message))
        }
    };
    for column in table.columns {
        let (column, key_name) = column_definition(column, positions)?;
        if column.primary_key {
            set_key(KeyDefinition { name: key_name, columns: vec![(column.name.clone(), column.position)] })?;
        }
        columns.push(column);
    }
    for constraint in table.constraints {
        set_key(key_definition(constraint, positions)?)?;
    }
    Ok(CreateTable {
        name: TableName::new(&table.name, positions)?,
        if_not_exists: table.if_not_exists,
        columns,
        primary_key,
        distribute_by,
    })
}

fn accept_option(option: &ast::SqlOption) -> Result<(), Error> {
    let ast::SqlOption::KeyValue { key, .. } = option else {
        return Err(Error::unsupported("this table option", "Leave it out."));
    };
    let name = fold(key);
    if ACCEPTED_OPTIONS.contains(&name.as_str()) {
        return Ok(());
    }
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\"")))
}

fn column_definition(
    column: ast::ColumnDef,
    positions: &Positions,
) -> Result<(ColumnDefinition, Option<String>), Error> {
    let position = positions.at(column.name.span.start);
    let locate = |error: Error| position.map_or(error.clone(), |position| error.at(position));
    let mut definition = ColumnDefinition {
        name: fold(&column.name),
        position,
        ty: data_type(&column.data_type).map_err(locate)?,
        not_null: false,
        default: None,
        primary_key: false,
    };
    let mut key_name = None;
    for option in column.options {
        match option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => definition.not_null = true,
            ColumnOption::Default(default) => definition.default = Some(default),
            ColumnOption::PrimaryKey(_) => {
                definition.primary_key = true;
                key_name = option.name.as_ref().map(fold);
            }
            ColumnOption::Unique(_) => return Err(locate(unique())),
            ColumnOption::Check(_) => return Err(locate(check())),
            ColumnOption::ForeignKey(_) => return Err(locate(foreign_key())),
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                let hint = "Use DEFAULT gen_random_uuid(), or values made by the application.";
                return Err(locate(Error::unsupported("a generated or identity column", hint)));
            }
            ColumnOption::Collation(name)
                if !matches!(name.to_string().to_lowercase().as_str(), "\"c\"" | "\"posix\"" | "\"default\"") =>
            {
                return Err(locate(Error::unsupported(
                    format_args!("collation {name}"),
                    "Text is ordered by its bytes (\"C\").",
                )));
            }
            ColumnOption::Collation(_) => {}
            other => {
                return Err(locate(Error::unsupported(format_args!("the column option {other}"), "Leave it out.")));
            }
        }
    }
    Ok((definition, key_name))
}

fn unique() -> Error {
    Error::unsupported("UNIQUE", "Make the columns the primary key; it is the only unique constraint.")
}

fn check() -> Error {
    Error::unsupported("CHECK", "Check the values in the application.")
}

fn foreign_key() -> Error {
    Error::unsupported("FOREIGN KEY", "Check the reference in the same transaction; transactions are serializable.")
}

fn key_definition(constraint: TableConstraint, positions: &Positions) -> Result<KeyDefinition, Error> {
    let key = match constraint {
        TableConstraint::PrimaryKey(key) => key,
        TableConstraint::Unique(_) => return Err(unique()),
        TableConstraint::Check(_) => return Err(check()),
        TableConstraint::ForeignKey(_) => return Err(foreign_key()),
        other => return Err(Error::unsupported(format_args!("the constraint {other}"), "Leave it out.")),
    };
    let columns = key.columns.iter().map(|column| match &column.column.expr {
        ast::Expr::Identifier(ident) => Ok((fold(ident), positions.at(ident.span.start))),
        other => Err(Error::syntax(format!("{other} is not a column"))),
    });
    Ok(KeyDefinition { name: key.name.as_ref().map(fold), columns: columns.collect::<Result<_, _>>()? })
}

fn alter_operation(operation: AlterTableOperation, positions: &Positions) -> Result<AlterOperation, Error> {
    Ok(match operation {
        AlterTableOperation::AddConstraint { constraint, .. } => {
            AlterOperation::AddPrimaryKey(key_definition(constraint, positions)?)
        }
        AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
            let (column, _) = column_definition(column_def, positions)?;
            if column.primary_key {
                return Err(Error::unsupported(
                    "ADD COLUMN ... PRIMARY KEY",
                    "Add the column first, then the primary key.",
                ));
            }
            AlterOperation::AddColumn { column, if_not_exists }
        }
        AlterTableOperation::DropColumn { column_names, if_exists, .. } => match &column_names[..] {
            [name] => AlterOperation::DropColumn { name: fold(name), if_exists },
            _ => return Err(Error::syntax("DROP COLUMN takes one column")),
        },
        AlterTableOperation::RenameTable { table_name } => {
            let (ast::RenameTableNameKind::To(name) | ast::RenameTableNameKind::As(name)) = table_name;
            AlterOperation::RenameTable(TableName::new(&name, positions)?.name)
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            AlterOperation::RenameColumn { from: fold(&old_column_name), to: fold(&new_column_name) }
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            let column = fold(&column_name);
            match op {
                AlterColumnOperation::SetDefault { value } => {
                    AlterOperation::SetDefault { column, default: Some(value) }
                }
                AlterColumnOperation::DropDefault => AlterOperation::SetDefault { column, default: None },
                AlterColumnOperation::SetNotNull => AlterOperation::SetNotNull(column),
                AlterColumnOperation::DropNotNull => AlterOperation::DropNotNull(column),
                other => {
                    return Err(Error::unsupported(
                        format_args!("ALTER COLUMN {other}"),
                        "Create a new table and copy the rows with INSERT ... SELECT.",
                    ));
                }
            }
        }
        other => {
            let text = other.to_string();
            let name: Vec<&str> = text
                .split_whitespace()
                .take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()))
                .take(3)
                .collect();
            return Err(Error::unsupported(
                format_args!("ALTER TABLE {}", name.join(" ")),
                "Create a new table and copy the rows with INSERT ... SELECT.",
            ));
        }
    })
}
