//! One level of a query while it is bound: its relations, the columns that are used of them, and the aggregates and windows met so far.

use sqlparser::ast;

use super::expression::Expr;
use super::relational::{Frame, WindowFunction};
use crate::error::{Error, SqlState};
use crate::functions::AggregateSig;
use crate::types::Type;

/// A column that a query can name.
#[derive(Clone, Debug)]
pub struct RelationColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub ty: Type,
    /// The column's number in its table, from 1; 0 if it is not one of a table.
    pub number: i16,
}

/// What FROM gives.
#[derive(Clone, Debug)]
pub struct Relation {
    /// The name by which columns may be qualified.
    pub alias: String,
    /// The schema by which the name may be qualified; `None` once there is an alias.
    pub schema: Option<String>,
    /// The table's id, or 0.
    pub table: u32,
    /// All columns.
    pub columns: Vec<RelationColumn>,
}

/// A column of a level's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The relation, by its place in FROM.
    pub relation: usize,
    /// The column in it.
    pub column: usize,
    /// Where it was first named, for errors.
    pub position: Option<u32>,
}

/// A column that JOIN ... USING or NATURAL JOIN makes of two.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The name.
    pub name: String,
    /// Its value.
    pub expr: Expr,
    /// The type of both sides.
    pub ty: Type,
    /// The columns that it stands for: relation and column. An unqualified name means it, and `*` gives it once.
    pub hides: Vec<(usize, usize)>,
}

/// A call of an aggregate function.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateSig,
    /// Its arguments, converted.
    pub arguments: Vec<Expr>,
    /// Equal arguments count once.
    pub distinct: bool,
    /// FILTER.
    pub filter: Option<Expr>,
    /// ORDER BY inside the call: expression, type, descending, NULLs first.
    pub order_by: Vec<(Expr, Type, bool, bool)>,
}

/// Whether aggregates may stand where an expression is being bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregates {
    /// They may.
    Allowed,
    /// They may not, in this clause.
    NotIn(&'static str),
}

/// A column of `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Star {
    /// A relation's.
    Column {
        /// The relation, by its place in FROM.
        relation: usize,
        /// The column in it.
        column: usize,
    },
    /// One made by USING, by its place in [`Level::merged`].
    Merged(usize),
}

/// A window function's call.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// What is worked out.
    pub function: WindowFunction,
    /// Its arguments, converted.
    pub arguments: Vec<Expr>,
    /// FILTER, for aggregates.
    pub filter: Option<Expr>,
    /// PARTITION BY, with types.
    pub partition_by: Vec<(Expr, Type)>,
    /// ORDER BY: expression, type, descending, NULLs first.
    pub order_by: Vec<(Expr, Type, bool, bool)>,
    /// Which rows of the partition count.
    pub frame: Frame,
    /// The type of the result.
    pub ty: Type,
}

/// One query level.
#[derive(Debug)]
pub struct Level {
    /// FROM, from left to right.
    pub relations: Vec<Relation>,
    /// Those that names refer to at the moment: all, or those of one JOIN while its condition is bound.
    pub visible: std::ops::Range<usize>,
    /// The row that expressions see holds these columns, in this order.
    pub used: Vec<Used>,
    /// Those of FROM that refer to others on their left.
    pub lateral: Vec<usize>,
    /// Columns made by USING.
    pub merged: Vec<Merged>,
    /// What `*` stands for.
    pub star: Vec<Star>,
    /// WINDOW.
    pub named_windows: Vec<ast::NamedWindowDefinition>,
    /// Aggregates found so far.
    pub aggregates: Vec<AggregateCall>,
    /// Window functions found so far.
    pub windows: Vec<WindowCall>,
    /// Set-returning functions found so far: their arrays, with the type of the elements.
    pub sets: Vec<(Expr, Type)>,
    /// Whether GROUPING was found.
    pub grouping: bool,
    /// Whether more aggregates may come.
    pub allow_aggregates: Aggregates,
    /// Whether window functions may come: only in the select list and ORDER BY.
    pub allow_windows: bool,
    /// Whether set-returning functions may come: only in the select list and ORDER BY.
    pub allow_sets: bool,
    /// Whether FROM is certain to give no rows.
    pub void: bool,
}

impl Level {
    /// A level without aggregates.
    pub fn new(relation: Option<Relation>, clause: &'static str) -> Level {
        let relations: Vec<Relation> = relation.into_iter().collect();
        let columns = relations.first().map_or(0, |relation| relation.columns.len());
        Level {
            visible: 0..relations.len(),
            star: (0..columns).map(|column| Star::Column { relation: 0, column }).collect(),
            named_windows: Vec::new(),
            relations,
            used: Vec::new(),
            lateral: Vec::new(),
            merged: Vec::new(),
            aggregates: Vec::new(),
            windows: Vec::new(),
            sets: Vec::new(),
            grouping: false,
            allow_aggregates: Aggregates::NotIn(clause),
            allow_windows: false,
            allow_sets: false,
            void: false,
        }
    }

    /// The column that a name means here; `None` if there is none.
    ///
    /// # Errors
    /// 42702 for a name that several relations have.
    pub(super) fn find(
        &mut self,
        qualifier: Option<(Option<&String>, &String)>,
        name: &str,
        position: Option<u32>,
    ) -> Result<Option<(Expr, Type)>, Error> {
        let named = |relation: &Relation| {
            qualifier.is_none_or(|(schema, table)| {
                relation.alias == *table && schema.is_none_or(|schema| relation.schema.as_ref() == Some(schema))
            })
        };
        let mut found: Vec<(usize, usize)> = Vec::new();
        for relation in self.visible.clone() {
            let candidate = &self.relations[relation];
            if named(candidate) {
                let columns = candidate.columns.iter().enumerate().filter(|(_, column)| column.name == name);
                found.extend(columns.map(|(column, _)| (relation, column)));
            }
        }
        if qualifier.is_none() {
            // The latest merge of a name stands for the earlier ones.
            if let Some(merged) = self.merged.iter().rev().find(|merged| merged.name == name)
                && merged.hides.iter().any(|hidden| found.contains(hidden))
                && found.iter().all(|column| merged.hides.contains(column))
            {
                return Ok(Some((merged.expr.clone(), merged.ty.clone())));
            }
        }
        match found[..] {
            [] => Ok(None),
            [(relation, column)] => {
                let ty = self.relations[relation].columns[column].ty.clone();
                Ok(Some((Expr::Column(self.place(relation, column, position)), ty)))
            }
            _ => Err(Error::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"))),
        }
    }

    pub(super) fn is_visible(&self, alias: &str) -> bool {
        self.visible.clone().any(|relation| self.relations[relation].alias == alias)
    }

    /// The place of a column in the rows, which is made if there is none yet.
    pub fn place(&mut self, relation: usize, column: usize, position: Option<u32>) -> usize {
        let known = self.used.iter().position(|used| (used.relation, used.column) == (relation, column));
        known.unwrap_or_else(|| {
            self.used.push(Used { relation, column, position });
            self.used.len() - 1
        })
    }

    /// Makes the rows hold all columns of the first relation in their order, before any other use.
    pub fn use_all(&mut self) {
        let columns = self.relations.first().map_or(0, |relation| relation.columns.len());
        self.used = (0..columns).map(|column| Used { relation: 0, column, position: None }).collect();
    }

    /// The columns used of one relation.
    pub fn used_of(&self, relation: usize) -> Vec<usize> {
        self.used.iter().filter(|used| used.relation == relation).map(|used| used.column).collect()
    }

    /// The column at a place of the rows, and its relation.
    pub fn column_at(&self, place: usize) -> (&Relation, &RelationColumn) {
        let used = self.used[place];
        let relation = &self.relations[used.relation];
        (relation, &relation.columns[used.column])
    }
}
