//! Casts: which are allowed where (PostgreSQL's `pg_cast`), and their conversions.
//!
//! The binder asks [`resolve_cast`] once and applies the [`Cast`] to each value. A literal of unknown type is read by the input
//! rules of its target. Lengths and precisions are part of it: an explicit cast to `varchar(3)` cuts, an assignment refuses (22001).

mod convert;

pub(crate) use convert::{date_to_timestamp, is_infinite};

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::types::{Category, Type};
use crate::value::Value;

/// Where a conversion is to take place; later ones allow all that earlier ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// In an expression, unasked.
    Implicit,
    /// Storing into a column.
    Assignment,
    /// `CAST(x AS t)`, `x::t`.
    Explicit,
}

/// A conversion that is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// From this type
    pub from: Type,
    /// to this one
    pub to: Type,
    explicit: bool,
    identity: bool,
}

impl Cast {
    /// Whether values go through unchanged, so that the cast may be left out.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Whether it was asked for by `CAST` or `::`.
    pub(crate) fn is_explicit(&self) -> bool {
        self.explicit
    }

    /// Whether the result depends on nothing but the value (not on the time zone, the catalog or the clock).
    pub fn is_immutable(&self) -> bool {
        let depends = |ty: &Type| matches!(ty, Type::TimestampTz(_) | Type::Regclass);
        let text = |ty: &Type| ty.is_string() || matches!(ty, Type::Unknown);
        let dates = |ty: &Type| ty.category() == Category::DateTime;
        self.identity
            || (self.from.same_base(&self.to))
            || !(depends(&self.from) || depends(&self.to) || (text(&self.from) && dates(&self.to)))
    }

    /// Converts a value. NULL stays NULL.
    ///
    /// # Errors
    /// What PostgreSQL reports: 22P02, 22003, 22001, 22007, 22008.
    pub fn apply(&self, context: &dyn EvalContext, value: Value) -> Result<Value, Error> {
        if self.identity || value.is_null() {
            return Ok(value);
        }
        let converted =
            if self.from.same_base(&self.to) { value } else { convert::convert(context, value, &self.from, &self.to)? };
        convert::coerce_length(converted, &self.to, self.explicit)
    }
}

/// The weakest context in which PostgreSQL casts one base type to another; `None` if never.
fn allowed(from: &Type, to: &Type) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    use Type::{
        Bool, Char, Date, Float4, Float8, Int16, Int32, Int64, InternalChar, Interval, Name, Numeric, Oid, Regclass,
        Regtype, Text, Time, Timestamp, TimestampTz, Unknown, Varchar,
    };
    if from.same_base(to) {
        return Some(Implicit);
    }
    match (from, to) {
        (_, Unknown | Type::Void | Type::Record) | (Type::Void | Type::Record, _) => None,
        (Unknown, _) => Some(Implicit),
        (Type::Array(a), Type::Array(b)) => allowed(a, b),

        (Int16, Int32 | Int64 | Float4 | Float8 | Numeric(_)) => Some(Implicit),
        (Int32, Int64 | Float4 | Float8 | Numeric(_)) => Some(Implicit),
        (Int64, Float4 | Float8 | Numeric(_)) => Some(Implicit),
        (Float4, Float8) | (Numeric(_), Float4 | Float8) => Some(Implicit),
        (Int32, Int16) | (Int64, Int16 | Int32) => Some(Assignment),
        (Float4, Int16 | Int32 | Int64 | Numeric(_)) => Some(Assignment),
        (Float8, Int16 | Int32 | Int64 | Float4 | Numeric(_)) => Some(Assignment),
        (Numeric(_), Int16 | Int32 | Int64) => Some(Assignment),
        (Int32, Bool) | (Bool, Int32) | (Int32, InternalChar) | (InternalChar, Int32) => Some(Explicit),

        (Int16 | Int32 | Int64, Oid | Regclass | Regtype) => Some(Implicit),
        (Oid, Regclass | Regtype) | (Regclass | Regtype, Oid) => Some(Implicit),
        (Oid | Regclass | Regtype, Int32 | Int64) => Some(Assignment),
        (Text | Varchar(_), Regclass) => Some(Implicit),

        (Text | Varchar(_) | Char(_), Text | Varchar(_) | Char(_)) => Some(Implicit),
        (Name, Text) | (Text | Varchar(_) | Char(_), Name) => Some(Implicit),
        (Name, Varchar(_) | Char(_)) => Some(Assignment),
        (InternalChar, Text) => Some(Implicit),
        (Text | Varchar(_) | Char(_), InternalChar) => Some(Assignment),

        (Date, Timestamp(_) | TimestampTz(_)) | (Timestamp(_), TimestampTz(_)) | (Time(_), Interval) => Some(Implicit),
        (Timestamp(_), Date | Time(_)) | (TimestampTz(_), Date | Time(_) | Timestamp(_)) | (Interval, Time(_)) => {
            Some(Assignment)
        }

        (_, to) if to.category() == Category::String => Some(Assignment),
        (from, _) if from.category() == Category::String => Some(Explicit),
        _ => None,
    }
}

/// Whether PostgreSQL converts one type to the other unasked.
pub fn is_implicit(from: &Type, to: &Type) -> bool {
    can_cast(from, to, CastContext::Implicit)
}

/// Whether a cast is allowed in a context.
pub fn can_cast(from: &Type, to: &Type, context: CastContext) -> bool {
    allowed(from, to).is_some_and(|weakest| weakest <= context)
}

/// The cast from one type to another.
///
/// # Errors
/// 42846 `cannot cast type a to b`. For assignments the binder knows the column and says it better (42804).
pub fn resolve_cast(from: &Type, to: &Type, context: CastContext) -> Result<Cast, Error> {
    if !can_cast(from, to, context) {
        return Err(Error::new(
            SqlState::CANNOT_COERCE,
            format!("cannot cast type {} to {}", from.plain_name(), to.plain_name()),
        ));
    }
    let identity = match (from, to) {
        (from, to) if from == to => true,
        // No modifier asked for: nothing to do. A longer varchar or text holds a shorter one.
        (from, to) if from.same_base(to) => to.modifier() < 0 || wider(from, to),
        (Type::Varchar(_) | Type::Name, Type::Text) | (Type::Text, Type::Varchar(None)) => true,
        (Type::Oid | Type::Regclass | Type::Regtype, Type::Oid | Type::Regclass | Type::Regtype) => true,
        _ => false,
    };
    Ok(Cast { from: from.clone(), to: to.clone(), explicit: context == CastContext::Explicit, identity })
}

fn wider(from: &Type, to: &Type) -> bool {
    matches!((from, to), (Type::Varchar(Some(a)), Type::Varchar(Some(b))) if a <= b)
}

/// Casts one value: [`resolve_cast`] and [`Cast::apply`] in one.
///
/// # Errors
/// As these two.
pub fn cast(
    context: &dyn EvalContext,
    value: Value,
    from: &Type,
    to: &Type,
    kind: CastContext,
) -> Result<Value, Error> {
    resolve_cast(from, to, kind)?.apply(context, value)
}

/// Fits a value that has the type's base already to its length or precision, as an assignment does: for values that come
/// from outside in binary form.
///
/// # Errors
/// 22001, 22003.
pub fn fit(value: Value, to: &Type) -> Result<Value, Error> {
    convert::coerce_length(value, to, false)
}
