//! Plans that change rows: INSERT, UPDATE, DELETE, and COPY FROM.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr};

use super::access::{Access, choose_access, codec, conjuncts};
use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::joins::FromTree;
use super::level::{Aggregates, Level, Relation};
use super::operators::unnested;
use super::relational::Node;
use super::select::{SelectPlan, Source, conjunction, null};
use crate::cast::CastContext;
use crate::catalog::Table;
use crate::catalog::virtual_tables::VirtualTable;
use crate::error::{Error, SqlState};
use crate::format::copy::CopyOptions;
use crate::parse::{TableName, fold, parse_expression};
use crate::row::RowCodec;
use crate::session::Column;
use crate::types::Type;

/// RETURNING.
#[derive(Clone, Debug)]
pub struct Returning {
    /// Over the whole row, in the table's order.
    pub output: Vec<Expr>,
    /// The columns of the result.
    pub columns: Arc<[Column]>,
}

/// INSERT.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    /// Into this table.
    pub target: Target,
    /// Where rows come from.
    pub source: InsertSource,
    /// RETURNING.
    pub returning: Option<Returning>,
}

/// A table that is written, with what writing needs.
#[derive(Clone, Debug)]
pub struct Target {
    /// The table.
    pub table: Arc<Table>,
    /// Writes its rows.
    pub codec: Arc<RowCodec>,
}

/// Rows to insert.
#[derive(Clone, Debug)]
pub enum InsertSource {
    /// VALUES: whole rows, in the table's order.
    Rows(Vec<Vec<Expr>>),
    /// A query, and over its output the whole rows.
    Query(Box<SelectPlan>, Vec<Expr>),
}

/// UPDATE or DELETE.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    /// The rows. For UPDATE they hold all columns.
    pub access: Access,
    /// WHERE as far as the access does not see to it; checked again on the locked row.
    pub filter: Option<Expr>,
    /// UPDATE: the whole new row over the old one. `None` for DELETE.
    pub new_row: Option<Vec<Expr>>,
    /// With FROM, USING, or subqueries that refer to the row: a query that finds the rows instead. Its columns are the whole old row, then for UPDATE
    /// the whole new one. What it reads is not locked, but validated with the transaction.
    pub found_by: Option<Box<SelectPlan>>,
    /// Whether the primary key may change.
    pub moves: bool,
    /// RETURNING.
    pub returning: Option<Returning>,
}

/// COPY FROM STDIN.
#[derive(Clone, Debug)]
pub struct CopyInPlan {
    /// Into this table.
    pub target: Target,
    /// The columns that a line has, as positions in the table.
    pub columns: Vec<usize>,
    /// Values of all columns that a line does not have; NULL for the others.
    pub defaults: Vec<Expr>,
    /// How lines look.
    pub options: CopyOptions,
}

/// What stands in FROM or USING beside the table that is changed, which comes first.
struct Others {
    sources: Vec<Source>,
    tree: Option<FromTree>,
}

impl Target {
    fn new(table: Arc<Table>) -> Target {
        Target { codec: Arc::new(codec(&table)), table }
    }
}

impl ChangePlan {
    /// Whether it is an UPDATE.
    pub fn is_update(&self) -> bool {
        self.new_row.is_some()
    }
}

impl Binder<'_> {
    /// Plans INSERT.
    ///
    /// # Errors
    /// What is wrong with it; 0A000 for ON CONFLICT and its kin.
    pub fn insert(&mut self, insert: &ast::Insert) -> Result<InsertPlan, Error> {
        match &insert.on {
            Some(ast::OnInsert::OnConflict(_)) => {
                return Err(Error::unsupported(
                    "ON CONFLICT",
                    "Read the row first in the same transaction, then INSERT or UPDATE.",
                ));
            }
            Some(_) => return Err(Error::syntax("syntax error at or near \"ON\"")),
            None => {}
        }
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(Error::unsupported("INSERT into anything but a table", ""));
        };
        let foreign = insert.or.is_some()
            || insert.ignore
            || insert.overwrite
            || insert.partitioned.is_some()
            || insert.replace_into
            || insert.output.is_some()
            || !insert.assignments.is_empty()
            || !insert.after_columns.is_empty()
            || insert.priority.is_some()
            || insert.insert_alias.is_some()
            || insert.settings.is_some()
            || insert.format_clause.is_some()
            || insert.multi_table_insert_type.is_some();
        if foreign {
            return Err(Error::unsupported("this clause of INSERT", ""));
        }
        let table = self.written_table(name)?;
        let mut named = Vec::with_capacity(insert.columns.len());
        for column in &insert.columns {
            match column.0.last().and_then(|part| part.as_ident()) {
                Some(ident) if column.0.len() == 1 => named.push((fold(ident), self.place_of(ident))),
                _ => {
                    return Err(Error::unsupported(
                        "a qualified name in the column list of INSERT",
                        "Leave the qualifier out.",
                    ));
                }
            }
        }
        let columns = named_columns(&table, &named)?;
        let source = match &insert.source {
            // DEFAULT VALUES.
            None => InsertSource::Rows(vec![self.defaults(&table, &[])?]),
            Some(query) => self.insert_source(query, &table, &columns, !named.is_empty())?,
        };
        let returning = match &insert.returning {
            Some(items) => {
                Some(self.over_row(&table, insert.table_alias.as_ref().map(|alias| fold(&alias.alias)), items)?)
            }
            None => None,
        };
        Ok(InsertPlan { target: Target::new(table), source, returning })
    }

    /// Bare parameters in the select list of an INSERT have the types of the columns.
    fn type_parameters(&mut self, items: &[ast::SelectItem], table: &Table, columns: &[usize]) -> Result<(), Error> {
        use ast::SelectItem::{ExprWithAlias, UnnamedExpr};

        for (item, column) in items.iter().zip(columns) {
            // Behind a star the places are others.
            let (UnnamedExpr(expr) | ExprWithAlias { expr, .. }) = item else { break };
            if let ast::Expr::Value(value) = expr
                && let ast::Value::Placeholder(text) = &value.value
            {
                let typed = self.parameter(text)?;
                self.coerce(typed, &table.columns[*column].ty.base(), CastContext::Assignment)?;
            }
        }
        Ok(())
    }

    fn insert_source(
        &mut self,
        query: &ast::Query,
        table: &Arc<Table>,
        columns: &[usize],
        explicit: bool,
    ) -> Result<InsertSource, Error> {
        let too_many = || Error::syntax("INSERT has more expressions than target columns");
        let too_few = || Error::syntax("INSERT has more target columns than expressions");
        let plain =
            query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
        if let (SetExpr::Values(values), true) = (&*query.body, plain) {
            self.level = Level::new(None, "VALUES");
            let mut rows = Vec::with_capacity(values.rows.len());
            let width = values.rows.first().map_or(0, |row| row.content.len());
            for row in &values.rows {
                if row.content.len() != width {
                    return Err(Error::syntax("VALUES lists must all be the same length"));
                }
                if row.content.len() > columns.len() {
                    return Err(self.locate(too_many(), &row.content[columns.len()]));
                }
                // Without a list of columns, those left over get their defaults.
                if explicit && row.content.len() < columns.len() {
                    return Err(too_few());
                }
                let given = &columns[..row.content.len()];
                let mut whole = self.defaults(table, given)?;
                for (value, column) in row.content.iter().zip(given) {
                    let target = &table.columns[*column];
                    whole[*column] = if is_default(value) {
                        self.default_of(table, *column)?
                    } else {
                        self.assigned(value, &target.name, &target.ty)?
                    };
                }
                rows.push(whole);
            }
            return Ok(InsertSource::Rows(rows));
        }
        if let SetExpr::Select(select) = &*query.body {
            self.type_parameters(&select.projection, table, columns)?;
        }
        let plan = self.query(query)?;
        if plan.columns.len() > columns.len() {
            return Err(too_many());
        }
        if explicit && plan.columns.len() < columns.len() {
            return Err(too_few());
        }
        let given = &columns[..plan.columns.len()];
        let mut whole = self.defaults(table, given)?;
        for (n, (source, column)) in plan.columns.iter().zip(given).enumerate() {
            let target = &table.columns[*column];
            // A literal takes the column's type, as it does in VALUES.
            whole[*column] = match literal_item(query, n) {
                Some(literal) => self.assigned(literal, &target.name, &target.ty)?,
                None => self.assign(Typed::new(Expr::Column(n), source.ty.clone()), &target.name, &target.ty)?,
            };
        }
        Ok(InsertSource::Query(Box::new(plan), whole))
    }

    fn assigned(&mut self, value: &ast::Expr, name: &str, ty: &Type) -> Result<Expr, Error> {
        let typed = self.expression(value)?;
        self.assign(typed, name, ty).map_err(|error| self.locate(error, value))
    }

    /// A whole row of defaults, NULL for the columns in `given`.
    fn defaults(&mut self, table: &Arc<Table>, given: &[usize]) -> Result<Vec<Expr>, Error> {
        (0..table.columns.len())
            .map(|column| if given.contains(&column) { Ok(null()) } else { self.default_of(table, column) })
            .collect()
    }

    fn default_of(&mut self, table: &Arc<Table>, column: usize) -> Result<Expr, Error> {
        let column = &table.columns[column];
        match &column.default {
            None => Ok(null()),
            Some(text) => self.default_expression(text, &column.name, &column.ty),
        }
    }

    /// A stored default, converted to its column's type. Its positions mean nothing in the statement at hand.
    ///
    /// # Errors
    /// 0A000 for subqueries, 42703 for columns, 42804 for a type that does not fit.
    pub fn default_expression(&mut self, text: &str, name: &str, ty: &Type) -> Result<Expr, Error> {
        let parsed = parse_expression(text)?;
        let level = std::mem::replace(&mut self.level, Level::new(None, "DEFAULT expressions"));
        let before = self.prerequisites.len();
        let bound = self.expression(&parsed).and_then(|typed| {
            if matches!(typed.expr, Expr::Parameter(_)) || self.prerequisites.len() > before {
                return Err(Error::unsupported("a subquery or parameter in a DEFAULT expression", ""));
            }
            self.assign(typed, name, ty)
        });
        self.level = level;
        bound.map_err(|mut error| {
            error.position = None;
            error
        })
    }

    fn over_row(
        &mut self,
        table: &Arc<Table>,
        alias: Option<String>,
        items: &[ast::SelectItem],
    ) -> Result<Returning, Error> {
        self.level = Level::new(Some(Relation::of_table(table, alias)), "RETURNING");
        self.level.use_all();
        let (output, columns) = self.returning(items)?;
        Ok(Returning { output, columns })
    }

    fn written_table(&mut self, name: &ast::ObjectName) -> Result<Arc<Table>, Error> {
        let name = self.table_name(name)?;
        self.writable(&name)
    }

    fn writable(&mut self, name: &TableName) -> Result<Arc<Table>, Error> {
        if VirtualTable::find(name.schema.as_deref(), &name.name).is_some() {
            let message = format!("permission denied: \"{}\" is a system catalog", name.name);
            return Err(self.locate_at(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message), name.position));
        }
        self.table(name)
    }

    fn target_relation(
        &mut self,
        target: &ast::TableWithJoins,
        command: &str,
    ) -> Result<(Arc<Table>, Relation), Error> {
        if !target.joins.is_empty() {
            return Err(Error::unsupported(format_args!("JOIN in {command}"), "Use a subquery in WHERE."));
        }
        let ast::TableFactor::Table { name, alias, args: None, .. } = &target.relation else {
            return Err(Error::unsupported(format_args!("{command} of anything but a table"), ""));
        };
        let table = self.written_table(name)?;
        let relation = Relation::of_table(&table, alias.as_ref().map(|alias| fold(&alias.name)));
        Ok((table, relation))
    }

    /// Plans UPDATE.
    ///
    /// # Errors
    /// What is wrong with it; 0A000 for FROM.
    pub fn update(&mut self, update: &ast::Update) -> Result<ChangePlan, Error> {
        let from = match &update.from {
            None => &[][..],
            Some(ast::UpdateTableFromKind::AfterSet(from)) => from,
            Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
                return Err(Error::syntax("syntax error at or near \"FROM\""));
            }
        };
        if update.or.is_some() || update.limit.is_some() || !update.order_by.is_empty() || update.output.is_some() {
            return Err(Error::unsupported("this clause of UPDATE", ""));
        }
        let (table, relation) = self.target_relation(&update.table, "UPDATE")?;
        self.level = Level::new(Some(relation), "UPDATE");
        self.level.use_all();
        let others = self.others(&table, from)?;
        let mut new_row: Vec<Expr> = (0..table.columns.len()).map(Expr::Column).collect();
        let mut changed = vec![false; table.columns.len()];
        for assignment in &update.assignments {
            for (name, value) in assigned_pairs(assignment)? {
                let ident = name.0.first().and_then(|part| part.as_ident()).filter(|_| name.0.len() == 1);
                let Some(ident) = ident else {
                    return Err(Error::unsupported("a qualified name before = in UPDATE", "Leave the qualifier out."));
                };
                let (column_name, position) = (fold(ident), self.place_of(ident));
                let column = table
                    .column(&column_name)
                    .ok_or_else(|| self.locate_at(no_column(&table, &column_name), position))?;
                if std::mem::replace(&mut changed[column], true) {
                    let message = format!("multiple assignments to same column \"{column_name}\"");
                    return Err(self.locate_at(Error::syntax(message), position));
                }
                let target = &table.columns[column];
                new_row[column] = if is_default(value) {
                    self.default_of(&table, column)?
                } else {
                    self.assigned(value, &target.name, &target.ty)?
                };
            }
        }
        let moves = table.key_columns().iter().any(|column| changed[*column]);
        self.change(table, others, update.selection.as_ref(), Some(new_row), moves, update.returning.as_deref())
    }

    /// Plans DELETE.
    ///
    /// # Errors
    /// What is wrong with it; 0A000 for USING.
    pub fn delete(&mut self, delete: &ast::Delete) -> Result<ChangePlan, Error> {
        if !delete.tables.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() || delete.output.is_some()
        {
            return Err(Error::unsupported("this clause of DELETE", ""));
        }
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let [target] = &from[..] else { return Err(Error::syntax("DELETE takes one table")) };
        let (table, relation) = self.target_relation(target, "DELETE")?;
        self.level = Level::new(Some(relation), "DELETE");
        if delete.returning.is_some() {
            self.level.use_all();
        }
        let others = self.others(&table, delete.using.as_deref().unwrap_or_default())?;
        self.change(table, others, delete.selection.as_ref(), None, false, delete.returning.as_deref())
    }

    /// The relations that rows are changed by the help of.
    fn others(&mut self, table: &Arc<Table>, from: &[ast::TableWithJoins]) -> Result<Others, Error> {
        let mut sources = vec![Source::Table(Box::new(Access::everything(table.clone())))];
        let mut tree = Some(FromTree::Relation(0));
        self.join_all(from, &mut sources, &mut tree)?;
        Ok(Others { sources, tree })
    }

    /// A change of rows that a query finds.
    fn change_found(
        &mut self,
        table: Arc<Table>,
        others: Others,
        filter: Option<Expr>,
        new_row: Option<Vec<Expr>>,
        moves: bool,
        returning: Option<Returning>,
    ) -> Result<ChangePlan, Error> {
        if table.primary_key.is_none() {
            return Err(Error::unsupported(
                "a change of rows without a primary key by the help of other rows",
                "Give the table a primary key, or use a condition on its own columns.",
            ));
        }
        let old: Vec<usize> = (0..table.columns.len()).map(|column| self.level.place(0, column, None)).collect();
        let (node, layout) = self.join_tree(others.sources, others.tree, conjuncts(filter))?;
        let mut place = |column: usize| {
            layout.iter().position(|used| *used == column).expect("every column used comes out of FROM")
        };
        let types = table.columns.iter().map(|column| column.ty.clone());
        let mut output: Vec<(Expr, Type)> = old.iter().map(|column| Expr::Column(*column)).zip(types.clone()).collect();
        let is_update = new_row.is_some();
        output.extend(new_row.into_iter().flatten().zip(types));
        // RETURNING is over the row as it is afterwards, which is whole, and behind it what it wants of the other relations.
        let mut others: Vec<usize> = Vec::new();
        let returning = returning.map(|mut returning| {
            for expr in &mut returning.output {
                expr.map_columns(&mut |place| {
                    let used = self.level.used[place];
                    if used.relation == 0 {
                        return used.column;
                    }
                    let known = others.iter().position(|other| *other == place);
                    table.columns.len()
                        + known.unwrap_or_else(|| {
                            others.push(place);
                            others.len() - 1
                        })
                });
            }
            returning
        });
        output.extend(others.iter().map(|place| (Expr::Column(*place), self.level.column_at(*place).1.ty.clone())));
        output.iter_mut().for_each(|(expr, _)| expr.map_columns(&mut place));
        let shown = |(_, ty): &(Expr, Type)| Column::plain("?column?", ty.clone());
        let columns = output.iter().map(shown).collect();
        let rows = SelectPlan::of_node(Node::Project { input: Box::new(node), output }, columns);
        let whole = (0..table.columns.len()).map(Expr::Column).collect();
        let access = Access::everything(table.clone()).wanting((0..table.columns.len()).collect());
        let found_by = Some(Box::new(rows));
        Ok(ChangePlan { access, filter: None, new_row: is_update.then_some(whole), found_by, moves, returning })
    }

    fn change(
        &mut self,
        table: Arc<Table>,
        others: Others,
        selection: Option<&ast::Expr>,
        new_row: Option<Vec<Expr>>,
        moves: bool,
        returning: Option<&[ast::SelectItem]>,
    ) -> Result<ChangePlan, Error> {
        self.level.allow_aggregates = Aggregates::NotIn("WHERE");
        let filter = match selection {
            Some(selection) => Some(self.bind_condition(selection, "WHERE")?),
            None => None,
        };
        let returning = match returning {
            Some(items) => {
                let (output, columns) = self.returning(items)?;
                Some(Returning { output, columns })
            }
            None => None,
        };
        let of_rows = |expr: &Expr| expr.is_relational();
        if others.sources.len() > 1 || filter.iter().chain(new_row.iter().flatten()).any(of_rows) {
            return self.change_found(table, others, filter, new_row, moves, returning);
        }
        let used = self.level.used_of(0);
        let mut filter = conjuncts(filter);
        let access = choose_access(table, used, &mut filter, true);
        Ok(ChangePlan { access, filter: conjunction(filter), new_row, found_by: None, moves, returning })
    }

    /// Plans COPY FROM STDIN.
    ///
    /// # Errors
    /// 42P01, 42703, 42701.
    pub fn copy_in(
        &mut self,
        name: &TableName,
        columns: &[(String, Option<u32>)],
        options: &CopyOptions,
    ) -> Result<CopyInPlan, Error> {
        let table = self.writable(name)?;
        let columns = named_columns(&table, columns)?;
        let defaults = self.defaults(&table, &columns)?;
        Ok(CopyInPlan { target: Target::new(table), columns, defaults, options: options.clone() })
    }
}

/// The positions of the columns named; all if none is.
///
/// # Errors
/// 42703 and 42701 with positions.
pub fn named_columns(table: &Table, names: &[(String, Option<u32>)]) -> Result<Vec<usize>, Error> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut columns = Vec::with_capacity(names.len());
    for (name, position) in names {
        let located = |error: Error| position.map_or(error.clone(), |position| error.at(position));
        let column = table.column(name).ok_or_else(|| located(no_column(table, name)))?;
        if columns.contains(&column) {
            return Err(located(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            )));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// `column "c" of relation "t" does not exist`.
pub fn no_column(table: &Table, name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" of relation \"{}\" does not exist", table.name))
}

/// DEFAULT where a value may stand; the library reads the word as a name.
fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The columns of one assignment with their values: `a = 1`, or `(a, b) = (1, 2)`.
fn assigned_pairs(assignment: &ast::Assignment) -> Result<Vec<(&ast::ObjectName, &ast::Expr)>, Error> {
    match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => Ok(vec![(name, &assignment.value)]),
        ast::AssignmentTarget::Tuple(names) => match unnested(&assignment.value) {
            ast::Expr::Tuple(values) if values.len() == names.len() => Ok(names.iter().zip(values).collect()),
            ast::Expr::Tuple(_) => Err(Error::syntax("number of columns does not match number of values")),
            _ => Err(Error::unsupported("a row assigned from a subquery", "Assign the columns one by one.")),
        },
    }
}

/// The item at this place of a select list, if it is a literal without a type of its own.
fn literal_item(query: &ast::Query, place: usize) -> Option<&ast::Expr> {
    use ast::SelectItem::{ExprWithAlias, UnnamedExpr};

    let SetExpr::Select(select) = &*query.body else { return None };
    // A star would move the places.
    if !select.projection.iter().all(|item| matches!(item, UnnamedExpr(_) | ExprWithAlias { .. })) {
        return None;
    }
    let (UnnamedExpr(expr) | ExprWithAlias { expr, .. }) = select.projection.get(place)? else { return None };
    let ast::Expr::Value(value) = expr else { return None };
    matches!(value.value, ast::Value::Null | ast::Value::SingleQuotedString(_)).then_some(expr)
}
