//! The way to a table's rows: by whole primary keys, by a range of them, or all rows.
//!
//! Conditions `column op value` that the way itself fulfils are taken out of the filter. A value may be used only if it is encoded in a key as
//! the column's own values are: of the same type, or both integers, or both text.

use std::sync::Arc;

use super::expression::Expr;
use super::select::SortKey;
use crate::catalog::{Distribution, Table};
use crate::functions::BinaryOp;
use crate::row::RowCodec;
use crate::types::Type;

/// How a table is read.
#[derive(Clone, Debug)]
pub struct Access {
    /// The table.
    pub table: Arc<Table>,
    /// Reads its rows.
    pub codec: Arc<RowCodec>,
    /// The columns wanted, as positions in the table: the row that expressions see.
    pub columns: Vec<usize>,
    /// The same as places in the stored row.
    pub ordinals: Vec<usize>,
    /// The way.
    pub path: Path,
    /// Rows are wanted in the order of the primary key.
    pub ordered: bool,
    /// Descending.
    pub reverse: bool,
    /// Lock what is found, and read its newest version.
    pub lock: bool,
    /// Every row found is a row of the answer, so that LIMIT bounds the reading.
    pub limited: bool,
}

/// The way to the rows.
#[derive(Clone, Debug)]
pub enum Path {
    /// By the values of all primary key columns.
    Keys(Vec<KeyValues>),
    /// All rows whose key begins with some values, within bounds for the column after them.
    Range(RangePath),
}

/// Values for one column of the primary key.
#[derive(Clone, Debug)]
pub enum KeyValues {
    /// `column = value`
    One(Expr),
    /// `column IN (values)`
    List(Vec<Expr>),
    /// `column = ANY (array)`
    Array(Expr),
}

/// A range of keys; all of it is the whole table.
#[derive(Clone, Debug, Default)]
pub struct RangePath {
    /// Values of the first key columns.
    pub prefix: Vec<Expr>,
    /// `>` or `>=` (inclusive) for the next column.
    pub lower: Option<(Expr, bool)>,
    /// `<` or `<=` (inclusive) for the next column.
    pub upper: Option<(Expr, bool)>,
    /// Values of the distribution columns if all are known: one slot has it all.
    pub slot: Option<Vec<Expr>>,
}

impl Access {
    /// All rows of a table, no columns.
    pub fn everything(table: Arc<Table>) -> Access {
        Access {
            codec: Arc::new(codec(&table)),
            table,
            columns: Vec::new(),
            ordinals: Vec::new(),
            path: Path::Range(RangePath::default()),
            ordered: false,
            reverse: false,
            lock: false,
            limited: false,
        }
    }

    /// The same with these columns in its rows.
    pub fn wanting(mut self, columns: Vec<usize>) -> Access {
        self.ordinals = columns.iter().map(|column| self.table.columns[*column].id).collect();
        self.columns = columns;
        self
    }

    /// Takes over the order of ORDER BY, if reading by key gives it.
    pub fn give_order(&mut self, order_by: &[SortKey], output: &[Expr]) -> bool {
        let Path::Range(range) = &self.path else { return false };
        let Some(first) = order_by.first() else { return false };
        let key = self.table.key_columns();
        let fixed = &key[..range.prefix.len()];
        let mut rest = key[range.prefix.len()..].iter();
        for sort in order_by {
            let Expr::Column(place) = &output[sort.place] else { return false };
            let column = self.columns[*place];
            if fixed.contains(&column) {
                continue;
            }
            if sort.descending != first.descending || rest.next() != Some(&column) {
                return false;
            }
        }
        // NULLs need no place: key columns have none.
        self.ordered = true;
        self.reverse = first.descending;
        true
    }
}

/// The codec of a table's rows.
pub fn codec(table: &Table) -> RowCodec {
    let mut codec = RowCodec::new(table.layout.iter().cloned());
    for column in &table.columns {
        if let Some(missing) = &column.missing {
            let settings = crate::format::FormatSettings::default();
            // Written by ADD COLUMN from a value of this very type.
            if let Ok(value) = crate::format::decode_text(missing, &column.ty, &settings) {
                codec = codec.with_missing(column.id, value);
            }
        }
    }
    codec
}

/// The parts of an AND, to any depth.
pub fn conjuncts(filter: Option<Expr>) -> Vec<Expr> {
    let mut parts = Vec::new();
    let mut pending: Vec<Expr> = filter.into_iter().collect();
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::And(operands) => pending.extend(operands.into_iter().rev()),
            other => parts.push(other),
        }
    }
    parts
}

/// Chooses the way to the rows for which all of `filter` holds, and takes out of it what the way fulfils.
/// `columns` are those that the rows hold.
pub fn choose_access(table: Arc<Table>, columns: Vec<usize>, filter: &mut Vec<Expr>, lock: bool) -> Access {
    let path = choose_path(&table, &columns, filter);
    Access { path, lock, ..Access::everything(table).wanting(columns) }
}

fn choose_path(table: &Table, columns: &[usize], filter: &mut Vec<Expr>) -> Path {
    let key = table.key_columns();
    if key.is_empty() {
        return Path::Range(RangePath::default());
    }
    let place = |column: usize| columns.iter().position(|used| *used == column);
    let mut taken = vec![false; filter.len()];

    // Every key column by values: single rows.
    let values: Vec<Option<(usize, KeyValues)>> = key
        .iter()
        .map(|column| {
            let (place, ty) = (place(*column)?, &table.columns[*column].ty);
            let single =
                filter.iter().enumerate().find_map(|(n, part)| Some((n, KeyValues::One(equal_to(part, place, ty)?))));
            single.or_else(|| filter.iter().enumerate().find_map(|(n, part)| Some((n, one_of(part, place, ty)?))))
        })
        .collect();
    if values.iter().all(Option::is_some) {
        let mut by_key = Vec::with_capacity(values.len());
        for (n, value) in values.into_iter().flatten() {
            taken[n] = true;
            by_key.push(value);
        }
        keep_untaken(filter, &taken);
        return Path::Keys(by_key);
    }

    let mut range = RangePath::default();
    let mut next = None;
    for (column, value) in key.iter().zip(values) {
        match value {
            Some((n, KeyValues::One(value))) => {
                taken[n] = true;
                range.prefix.push(value);
            }
            _ => {
                next = Some(*column);
                break;
            }
        }
    }
    if let Some(column) = next
        && let Some(place) = place(column)
    {
        let ty = &table.columns[column].ty;
        for (n, part) in filter.iter().enumerate() {
            match bound(part, place, ty) {
                Some((BinaryOp::Greater, value)) if range.lower.is_none() => range.lower = Some((value, false)),
                Some((BinaryOp::GreaterEqual, value)) if range.lower.is_none() => range.lower = Some((value, true)),
                Some((BinaryOp::Less, value)) if range.upper.is_none() => range.upper = Some((value, false)),
                Some((BinaryOp::LessEqual, value)) if range.upper.is_none() => range.upper = Some((value, true)),
                _ => continue,
            }
            taken[n] = true;
        }
    }
    if let Distribution::Hash(hash) = &table.distribution {
        let value_of = |column: &usize| {
            let (place, ty) = (place(*column)?, &table.columns[*column].ty);
            filter.iter().find_map(|part| equal_to(part, place, ty))
        };
        range.slot = hash.iter().map(value_of).collect();
    }
    keep_untaken(filter, &taken);
    Path::Range(range)
}

fn keep_untaken(filter: &mut Vec<Expr>, taken: &[bool]) {
    let mut taken = taken.iter();
    filter.retain(|_| !taken.next().copied().unwrap_or(false));
}

/// Whether a value of type `other` is encoded in a key as the column's values are.
fn alike(column: &Type, other: &Type) -> bool {
    let text = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(_) | Type::Name);
    column.same_base(other) || (column.is_integer() && other.is_integer()) || (text(column) && text(other))
}

/// Whether a value is the same for all rows of a statement.
fn is_fixed(value: &Expr) -> bool {
    !value.uses_columns() && !value.is_volatile()
}

/// The comparison `column op value` in `part`, whichever side the column is on.
fn bound(part: &Expr, place: usize, ty: &Type) -> Option<(BinaryOp, Expr)> {
    let Expr::Binary(binary) = part else { return None };
    let (function, left, right) = &**binary;
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(n) if *n == place);
    if is_column(left) && is_fixed(right) && alike(ty, &function.right) {
        return function.op.is_comparison().then(|| (function.op, right.clone()));
    }
    if is_column(right) && is_fixed(left) && alike(ty, &function.left) {
        return Some((function.op.commuted()?, left.clone()));
    }
    None
}

fn equal_to(part: &Expr, place: usize, ty: &Type) -> Option<Expr> {
    match bound(part, place, ty)? {
        (BinaryOp::Equal, value) => Some(value),
        _ => None,
    }
}

/// `column IN (values)` or `column = ANY (array)`.
fn one_of(part: &Expr, place: usize, ty: &Type) -> Option<KeyValues> {
    match part {
        Expr::In { operand, list, negated: false } if matches!(**operand, Expr::Column(n) if n == place) => {
            let usable = |comparison: &super::expression::Comparison| {
                comparison.cast.is_none()
                    && is_fixed(&comparison.value)
                    && alike(ty, &comparison.op.right)
                    && comparison.op.op == BinaryOp::Equal
            };
            list.iter()
                .all(usable)
                .then(|| KeyValues::List(list.iter().map(|comparison| comparison.value.clone()).collect()))
        }
        Expr::Quantified(any) if !any.all && !any.negated && any.op.op == BinaryOp::Equal => {
            let usable = matches!(any.operand, Expr::Column(n) if n == place)
                && is_fixed(&any.array)
                && alike(ty, &any.op.right);
            usable.then(|| KeyValues::Array(any.array.clone()))
        }
        _ => None,
    }
}
