//! Names and types: what all parts of the planner share while one statement is bound.
//!
//! PostgreSQL's rules: string literals and untyped parameters are `unknown` until an operator, a function or a column gives them a
//! type; a parameter keeps the first type it gets.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

use super::expression::Expr;
use super::level::{Aggregates, Level};
use super::select::SelectPlan;
use super::similar::column_hint;
use super::with::WithQuery;
use crate::cast::{CastContext, resolve_cast};
use crate::catalog::{Catalog, Table};
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::parse::{Positions, TableName, fold};
use crate::types::Type;
use crate::value::Value;

/// How deep expressions may be nested: more than what the parser lets through, a chain of operators included.
const MAX_DEPTH: usize = 1_200;
/// With less stack left than this, more is made.
const STACK_LEFT: usize = 256 << 10;
/// How much is made.
const STACK_MORE: usize = 2 << 20;
/// The highest parameter number, as in the protocol.
const MAX_PARAMETERS: usize = 65_535;

/// An expression with its type.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The expression.
    pub expr: Expr,
    /// Its type; `Unknown` for literals and parameters whose type the context has to give.
    pub ty: Type,
    /// Where a literal stands in the text, for the error that reading it may give.
    pub at: Option<u32>,
}

impl Typed {
    /// An expression of a known type.
    pub fn new(expr: Expr, ty: Type) -> Typed {
        Typed { expr, ty, at: None }
    }
}

/// What has to be worked out before the first row, in this order; each fills the slot of its position.
#[derive(Clone, Debug)]
pub enum Prerequisite {
    /// A subquery with one column and at most one row.
    Scalar(Box<SelectPlan>),
    /// A subquery with one column; the slot gets an array.
    List(Box<SelectPlan>, Type),
    /// Whether a subquery has any row.
    Exists(Box<SelectPlan>),
    /// All rows of a relation that is read several times and may be different each time.
    Rows(Box<SelectPlan>),
    /// `txid_current()`.
    TxidCurrent,
    /// `txid_status(expr)`.
    TxidStatus(Expr),
}

/// Binds one statement.
pub struct Binder<'a> {
    /// The tables.
    pub catalog: &'a Arc<Catalog>,
    /// The session, for literals whose meaning depends on it.
    pub context: &'a dyn EvalContext,
    positions: &'a Positions,
    /// Types of parameters as far as they are known.
    pub parameters: Vec<Option<Type>>,
    /// What was found to be worked out first.
    pub prerequisites: Vec<Prerequisite>,
    /// Tables used.
    pub tables: Vec<Arc<Table>>,
    /// Whether the answer shows what is in the catalog.
    pub shows_catalog: bool,
    /// The level being bound.
    pub level: Level,
    /// The levels around it, the outermost first.
    pub outer: Vec<Level>,
    /// Queries of WITH that can be named here, the innermost last.
    pub(super) with: Vec<WithQuery>,
    /// Columns of the SELECT planned last that are literals without a type.
    pub(super) untyped: Vec<usize>,
    /// Recursive queries so far.
    pub(super) recursions: usize,
    depth: usize,
}

impl<'a> Binder<'a> {
    /// A binder for a statement whose parameters have the given types as far as the client said.
    pub fn new(
        catalog: &'a Arc<Catalog>,
        context: &'a dyn EvalContext,
        positions: &'a Positions,
        parameters: &[Option<Type>],
    ) -> Binder<'a> {
        Binder {
            catalog,
            context,
            positions,
            parameters: parameters.to_vec(),
            prerequisites: Vec::new(),
            tables: Vec::new(),
            shows_catalog: false,
            level: Level::new(None, "this clause"),
            outer: Vec::new(),
            with: Vec::new(),
            untyped: Vec::new(),
            recursions: 0,
            depth: 0,
        }
    }

    /// The types of all parameters.
    ///
    /// # Errors
    /// 42P18 for one whose type nothing gave.
    pub fn parameter_types(&self) -> Result<Vec<Type>, Error> {
        let typed = |(n, ty): (usize, &Option<Type>)| {
            ty.clone().ok_or_else(|| {
                Error::new(
                    SqlState::INDETERMINATE_DATATYPE,
                    format!("could not determine data type of parameter ${}", n + 1),
                )
            })
        };
        self.parameters.iter().enumerate().map(typed).collect()
    }

    /// `error` with the place of `expr`.
    pub fn locate(&self, error: Error, expr: &ast::Expr) -> Error {
        self.locate_at(error, self.place_of_expr(expr))
    }

    /// `error` with a place, if there is one.
    pub fn locate_at(&self, error: Error, position: Option<u32>) -> Error {
        match position {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// The place of an expression.
    pub fn place_of_expr(&self, expr: &ast::Expr) -> Option<u32> {
        start_of(expr).and_then(|location| self.positions.at(location))
    }

    /// The place of an identifier.
    pub fn place_of(&self, ident: &ast::Ident) -> Option<u32> {
        self.positions.at(ident.span.start)
    }

    /// A table's name as a statement has it.
    ///
    /// # Errors
    /// As [`TableName::new`].
    pub fn table_name(&self, name: &ast::ObjectName) -> Result<TableName, Error> {
        TableName::new(name, self.positions)
    }

    /// The table of this name; it counts as used.
    ///
    /// # Errors
    /// 42P01.
    pub fn table(&mut self, name: &TableName) -> Result<Arc<Table>, Error> {
        let table = find_table(self.catalog, name)?.clone();
        if !self.tables.iter().any(|used| used.id == table.id) {
            self.tables.push(table.clone());
        }
        Ok(table)
    }

    /// One step deeper into an expression.
    ///
    /// # Errors
    /// 54001 at the bottom.
    pub fn deeper<T>(&mut self, bind: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "the expression is nested too deeply"));
        }
        self.depth += 1;
        // Levels take kilobytes, and the stack of a task is not long.
        let result = stacker::maybe_grow(STACK_LEFT, STACK_MORE, || bind(self));
        self.depth -= 1;
        result
    }

    /// A column by its name, perhaps qualified.
    ///
    /// # Errors
    /// 42703, 42P01 for an unknown qualifier, 0A000 for a column of an outer query.
    pub fn column(&mut self, parts: &[ast::Ident]) -> Result<Typed, Error> {
        let position = parts.first().and_then(|first| self.place_of(first));
        let names: Vec<String> = parts.iter().map(fold).collect();
        let (qualifier, name) = match &names[..] {
            [name] => (None, name),
            [table, name] => (Some((None, table)), name),
            [schema, table, name] => (Some((Some(schema), table)), name),
            _ => return Err(self.locate_at(Error::syntax("improper qualified name (too many dotted names)"), position)),
        };
        if let Some((found, ty)) =
            self.level.find(qualifier, name, position).map_err(|e| self.locate_at(e, position))?
        {
            return Ok(Typed::new(found, ty));
        }
        for (levels, outer) in (1..).zip(self.outer.iter_mut().rev()) {
            let Some((mut found, ty)) = outer.find(qualifier, name, position)? else { continue };
            found.push_out(levels);
            return Ok(Typed::new(found, ty));
        }
        let refusal = match qualifier {
            Some((_, table)) if !self.level.relations.iter().any(|relation| relation.alias == *table) => {
                Error::new(SqlState::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""))
            }
            Some((_, table)) if !self.level.is_visible(table) => Error::new(
                SqlState::UNDEFINED_TABLE,
                format!("invalid reference to FROM-clause entry for table \"{table}\""),
            ),
            Some((_, table)) => Error::new(SqlState::UNDEFINED_COLUMN, format!("column {table}.{name} does not exist")),
            None => Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")),
        };
        // Those that a name may refer to here.
        let levels = std::iter::once(&self.level).chain(&self.outer);
        let visible = levels.flat_map(|level| level.relations.get(level.visible.clone()).unwrap_or_default());
        let table = qualifier.map(|(_, table)| table.as_str());
        let refusal = match column_hint(name, table, visible) {
            Some(hint) if refusal.code == SqlState::UNDEFINED_COLUMN => refusal.with_hint(hint),
            _ => refusal,
        };
        Err(self.locate_at(refusal, position))
    }

    /// `$n`.
    ///
    /// # Errors
    /// 42601 for other placeholders, 42P02 for a number out of range.
    pub fn parameter(&mut self, text: &str) -> Result<Typed, Error> {
        let number: usize = text
            .strip_prefix('$')
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Error::syntax(format!("syntax error at or near \"{text}\"")))?;
        if number == 0 || number > MAX_PARAMETERS {
            return Err(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}")));
        }
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let ty = self.parameters[number - 1].clone().unwrap_or(Type::Unknown);
        Ok(Typed::new(Expr::Parameter(number - 1), ty))
    }

    /// Converts `typed` to `target` as far as `context` allows. Literals are read by the target's rules; untyped parameters get its type.
    ///
    /// # Errors
    /// 42846 if there is no such cast; what reading a literal reports.
    pub fn coerce(&mut self, typed: Typed, target: &Type, context: CastContext) -> Result<Expr, Error> {
        let Typed { expr, mut ty, at } = typed;
        if matches!(ty, Type::Unknown) {
            match expr {
                Expr::Constant(Value::Null) => return Ok(expr),
                Expr::Constant(value) => {
                    let cast = resolve_cast(&Type::Unknown, target, context)?;
                    let read = cast.apply(self.context, value.clone()).map_err(|error| self.locate_at(error, at))?;
                    return Ok(if cast.is_immutable() {
                        Expr::Constant(read)
                    } else {
                        Expr::Cast(Box::new((cast, Expr::Constant(value))))
                    });
                }
                Expr::Parameter(n) => {
                    // Used twice before its type was known: the first use has settled it.
                    ty = self.parameters[n]
                        .get_or_insert_with(|| match target {
                            // A relation's name is looked up among the tables that the statement sees, which are not known when its values come.
                            Type::Unknown | Type::Regclass => Type::Text,
                            target => target.base(),
                        })
                        .clone();
                }
                _ => ty = Type::Text,
            }
        }
        if ty == *target || matches!(target, Type::Unknown) {
            return Ok(expr);
        }
        let cast = resolve_cast(&ty, target, context)?;
        if cast.is_identity() {
            return Ok(expr);
        }
        // A constant is converted once. One that does not fit is left for the rows that need it.
        if let (Expr::Constant(value), true) = (&expr, cast.is_immutable())
            && let Ok(converted) = cast.apply(self.context, value.clone())
        {
            return Ok(Expr::Constant(converted));
        }
        Ok(Expr::Cast(Box::new((cast, expr))))
    }

    /// Converts what is still unknown to text, as the result of a query must be.
    ///
    /// # Errors
    /// None for literals and parameters.
    pub fn settle(&mut self, typed: Typed) -> Result<Typed, Error> {
        if !matches!(typed.ty, Type::Unknown) {
            return Ok(typed);
        }
        if let Expr::Parameter(n) = typed.expr
            && let Some(ty) = self.parameters[n].clone()
        {
            return Ok(Typed::new(typed.expr, ty));
        }
        Ok(Typed::new(self.coerce(typed, &Type::Text, CastContext::Implicit)?, Type::Text))
    }

    /// Converts to boolean, as WHERE and its kin want it.
    ///
    /// # Errors
    /// 42804.
    pub fn condition(&mut self, typed: Typed, clause: &str) -> Result<Expr, Error> {
        match typed.ty {
            Type::Bool => Ok(typed.expr),
            Type::Unknown => self.coerce(typed, &Type::Bool, CastContext::Implicit),
            other => Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {clause} must be type boolean, not type {}", other.plain_name()),
            )),
        }
    }

    /// Binds a condition where no aggregates may stand.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn bind_condition(&mut self, expr: &ast::Expr, clause: &'static str) -> Result<Expr, Error> {
        let before = std::mem::replace(&mut self.level.allow_aggregates, Aggregates::NotIn(clause));
        let result = self
            .expression(expr)
            .and_then(|typed| self.condition(typed, clause).map_err(|error| self.locate(error, expr)));
        self.level.allow_aggregates = before;
        result
    }

    /// Converts for storing into a column.
    ///
    /// # Errors
    /// 42804 with PostgreSQL's words.
    pub fn assign(&mut self, typed: Typed, name: &str, target: &Type) -> Result<Expr, Error> {
        let from = typed.ty.clone();
        self.coerce(typed, target, CastContext::Assignment).map_err(|error| {
            if error.code != SqlState::CANNOT_COERCE {
                return error;
            }
            let message = format!(
                "column \"{name}\" is of type {} but expression is of type {}",
                target.plain_name(),
                from.plain_name()
            );
            Error::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You will need to rewrite or cast the expression.")
        })
    }
}

/// Where an expression begins, found along its left side without recursion.
fn start_of(mut expr: &ast::Expr) -> Option<Location> {
    loop {
        expr = match expr {
            ast::Expr::BinaryOp { left, .. } | ast::Expr::AnyOp { left, .. } | ast::Expr::AllOp { left, .. } => left,
            ast::Expr::Nested(inner)
            | ast::Expr::IsNull(inner)
            | ast::Expr::IsNotNull(inner)
            | ast::Expr::IsTrue(inner)
            | ast::Expr::IsNotTrue(inner)
            | ast::Expr::IsFalse(inner)
            | ast::Expr::IsNotFalse(inner)
            | ast::Expr::IsUnknown(inner)
            | ast::Expr::IsNotUnknown(inner)
            | ast::Expr::IsDistinctFrom(inner, _)
            | ast::Expr::IsNotDistinctFrom(inner, _) => inner,
            ast::Expr::UnaryOp { expr, .. }
            | ast::Expr::Cast { expr, .. }
            | ast::Expr::Between { expr, .. }
            | ast::Expr::InList { expr, .. }
            | ast::Expr::InSubquery { expr, .. }
            | ast::Expr::Like { expr, .. }
            | ast::Expr::ILike { expr, .. }
            | ast::Expr::SimilarTo { expr, .. }
            | ast::Expr::Extract { expr, .. }
            | ast::Expr::Ceil { expr, .. }
            | ast::Expr::Floor { expr, .. }
            | ast::Expr::Position { expr, .. }
            | ast::Expr::Substring { expr, .. }
            | ast::Expr::Trim { expr, .. }
            | ast::Expr::Overlay { expr, .. }
            | ast::Expr::Collate { expr, .. } => expr,
            ast::Expr::AtTimeZone { timestamp, .. } => timestamp,
            ast::Expr::CompoundFieldAccess { root, .. } => root,
            ast::Expr::Interval(interval) => &interval.value,
            ast::Expr::Identifier(ident) => return Some(ident.span.start),
            ast::Expr::CompoundIdentifier(parts) => return parts.first().map(|ident| ident.span.start),
            ast::Expr::Value(value) => return Some(value.span.start),
            ast::Expr::TypedString(typed) => return Some(typed.value.span.start),
            ast::Expr::Function(function) => {
                return function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
            }
            ast::Expr::Case { case_token, .. } => return Some(case_token.0.span.start),
            ast::Expr::Subquery(query) | ast::Expr::Exists { subquery: query, .. } => match &*query.body {
                ast::SetExpr::Select(select) => return Some(select.select_token.0.span.start),
                _ => return None,
            },
            ast::Expr::Tuple(parts) => parts.first()?,
            ast::Expr::Array(array) => array.elem.first()?,
            ast::Expr::GroupingSets(sets) | ast::Expr::Cube(sets) | ast::Expr::Rollup(sets) => sets.first()?.first()?,
            _ => return None,
        };
    }
}

/// The table that a statement names.
///
/// # Errors
/// 42P01 with its position.
pub fn find_table<'c>(catalog: &'c Catalog, name: &TableName) -> Result<&'c Arc<Table>, Error> {
    let found = match name.schema.as_deref() {
        None | Some(crate::catalog::PUBLIC) => catalog.table(&name.name),
        Some(_) => None,
    };
    found.ok_or_else(|| no_table(name))
}

/// `relation "t" does not exist`.
pub fn no_table(name: &TableName) -> Error {
    let written = match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    };
    let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{written}\" does not exist"));
    match name.position {
        Some(position) => error.at(position),
        None => error,
    }
}
