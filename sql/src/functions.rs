//! Operators, functions and aggregates: how they are found, and how one is called.
//!
//! The binder asks [`resolve_unary`], [`resolve_binary`], [`resolve_function`] or [`resolve_aggregate`] once for each expression;
//! the answer names the types to which the arguments have to be cast ([`crate::cast`]), the type of the result, and holds a plain
//! function pointer. The rules of overloading are PostgreSQL's (see [`resolve`]); `Type::Unknown` stands for literals and parameters
//! whose type the context has to give.
//!
//! AND, OR, NOT, COALESCE, CASE and the like are no functions, since they don't evaluate all arguments; [`logic`] has their tables.

pub mod aggregate;
pub mod logic;

mod arithmetic;
mod arrays;
mod catalog;
mod date_make;
mod date_parts;
mod dates;
mod math;
mod numeric_format;
mod operators;
mod pattern;
mod regexp;
mod registry;
mod resolve;
mod strings;
mod system;
mod time_format;

use serde::{Deserialize, Serialize};

use crate::cast::Cast;
use crate::error::Error;
use crate::format::FormatSettings;
use crate::types::Type;
use crate::value::Value;

pub(crate) use registry::listed;

pub use aggregate::{Accumulator, AggregateSig, is_aggregate, resolve_aggregate};
pub use catalog::relation_text;
pub use date_parts::extract;
pub use operators::{resolve_binary, resolve_unary};
pub use pattern::{like, regex_matches};
pub use registry::{is_function, resolve_function};
pub use system::{format_type, quote_ident, quote_literal};

/// What evaluation may ask of the session. Times are microseconds since 2000-01-01 UTC, as in `Value::TimestampTz`.
pub trait EvalContext: Send + Sync {
    /// When the transaction began: `now()`.
    fn transaction_timestamp(&self) -> i64;
    /// When the statement arrived.
    fn statement_timestamp(&self) -> i64;
    /// The time now.
    fn clock_timestamp(&self) -> i64 {
        crate::value::timestamp_from_system(std::time::SystemTime::now())
    }
    /// Time zone, date style and the other settings on which text depends.
    fn format(&self) -> &FormatSettings;
    /// The value of a setting, as SHOW prints it; `None` if there is none of that name.
    fn setting(&self, name: &str) -> Option<String>;
    /// Asks for a setting to be changed once the statement has ended well; its value then, as SHOW prints it.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that makes no sense, 55P02 for what cannot be changed.
    fn change_setting(&self, name: &str, value: &str, local: bool) -> Result<String, Error>;
    /// The database connected to.
    fn database(&self) -> &str;
    /// The current user.
    fn user(&self) -> &str;
    /// The user who connected.
    fn session_user(&self) -> &str {
        self.user()
    }
    /// The schema in which new tables are made; `None` if the search path names none that exists.
    fn schema(&self) -> Option<String> {
        Some("public".to_owned())
    }
    /// The process id that was reported to the client.
    fn backend_pid(&self) -> i32;
    /// What `version()` says.
    fn version(&self) -> String {
        format!("PostgreSQL 15.0 (Quorate {})", env!("CARGO_PKG_VERSION"))
    }
    /// A random number in [0, 1).
    fn random(&self) -> f64 {
        rand::random()
    }
    /// The tables; `None` where there are none to tell of.
    fn catalog(&self) -> Option<&crate::catalog::Catalog> {
        None
    }
    /// The OID of a relation by its name as written (perhaps quoted, perhaps with a schema): `'t'::regclass`.
    fn relation_oid(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }
    /// The name of a relation, quoted where needed: `regclass` as text.
    fn relation_name(&self, oid: u32) -> Option<String> {
        let _ = oid;
        None
    }
}

/// How often a function may answer differently for the same arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    /// Never: may be folded when the plan is made.
    Immutable,
    /// Not within a statement: may be folded when the statement is run.
    Stable,
    /// At every call.
    Volatile,
}

/// The operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `||`
    Concat,
    /// `LIKE`
    Like,
    /// `NOT LIKE`
    NotLike,
    /// `ILIKE`
    ILike,
    /// `NOT ILIKE`
    NotILike,
    /// `~`
    Match,
    /// `!~`
    NotMatch,
    /// `~*`
    MatchInsensitive,
    /// `!~*`
    NotMatchInsensitive,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `#`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `AT TIME ZONE`: the zone is the right operand
    AtTimeZone,
}

impl BinaryOp {
    /// As PostgreSQL writes it; LIKE and its kin by the operators that stand behind them.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Power => "^",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "<>",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Concat => "||",
            BinaryOp::Like => "~~",
            BinaryOp::NotLike => "!~~",
            BinaryOp::ILike => "~~*",
            BinaryOp::NotILike => "!~~*",
            BinaryOp::Match => "~",
            BinaryOp::NotMatch => "!~",
            BinaryOp::MatchInsensitive => "~*",
            BinaryOp::NotMatchInsensitive => "!~*",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "#",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::AtTimeZone => "AT TIME ZONE",
        }
    }

    /// Whether it is one of the six comparisons.
    pub fn is_comparison(self) -> bool {
        self.comparison().is_some()
    }

    fn comparison(self) -> Option<fn(std::cmp::Ordering) -> bool> {
        use std::cmp::Ordering;
        Some(match self {
            BinaryOp::Equal => Ordering::is_eq,
            BinaryOp::NotEqual => Ordering::is_ne,
            BinaryOp::Less => Ordering::is_lt,
            BinaryOp::LessEqual => Ordering::is_le,
            BinaryOp::Greater => Ordering::is_gt,
            BinaryOp::GreaterEqual => Ordering::is_ge,
            _ => return None,
        })
    }

    /// The comparison with its operands swapped: `a < b` is `b > a`. `None` for other operators.
    pub fn commuted(self) -> Option<BinaryOp> {
        Some(match self {
            BinaryOp::Equal | BinaryOp::NotEqual => self,
            BinaryOp::Less => BinaryOp::Greater,
            BinaryOp::LessEqual => BinaryOp::GreaterEqual,
            BinaryOp::Greater => BinaryOp::Less,
            BinaryOp::GreaterEqual => BinaryOp::LessEqual,
            _ => return None,
        })
    }
}

/// The operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `~`
    BitNot,
    /// `@`: absolute value
    Abs,
    /// `|/`: square root
    SquareRoot,
}

impl UnaryOp {
    /// As PostgreSQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
            UnaryOp::BitNot => "~",
            UnaryOp::Abs => "@",
            UnaryOp::SquareRoot => "|/",
        }
    }
}

/// Code of a unary operator; the argument is not NULL and of the type resolved.
pub type UnaryEval = fn(&dyn EvalContext, &Value) -> Result<Value, Error>;
/// Code of a binary operator; the arguments are not NULL, but for `||` of arrays, and of the types resolved.
pub type BinaryEval = fn(&dyn EvalContext, &Value, &Value) -> Result<Value, Error>;
/// Code of a function; arguments of strict functions are not NULL, and all are of the types resolved.
pub type FunctionEval = fn(&dyn EvalContext, &[Value]) -> Result<Value, Error>;

/// A unary operator for a certain type.
#[derive(Clone, Debug)]
pub struct UnaryFn {
    /// Which operator.
    pub op: UnaryOp,
    /// The type to cast the operand to.
    pub argument: Type,
    /// The type of the result.
    pub result: Type,
    /// Code.
    pub eval: UnaryEval,
}

impl UnaryFn {
    /// Applies it. NULL gives NULL.
    ///
    /// # Errors
    /// What the operator finds wrong with its operand, e.g. 22003.
    #[inline]
    pub fn call(&self, context: &dyn EvalContext, argument: &Value) -> Result<Value, Error> {
        if argument.is_null() { Ok(Value::Null) } else { (self.eval)(context, argument) }
    }
}

/// A binary operator for certain types. All operators are strict, but for `||` of arrays.
#[derive(Clone, Debug)]
pub struct BinaryFn {
    /// Which operator.
    pub op: BinaryOp,
    /// The type to cast the left operand to.
    pub left: Type,
    /// The type to cast the right operand to.
    pub right: Type,
    /// The type of the result.
    pub result: Type,
    /// Whether it depends on settings such as the time zone.
    pub volatility: Volatility,
    /// Code.
    pub eval: BinaryEval,
}

impl BinaryFn {
    /// Applies it. NULL on either side gives NULL.
    ///
    /// # Errors
    /// What the operator finds wrong with its operands, e.g. 22012.
    #[inline]
    pub fn call(&self, context: &dyn EvalContext, left: &Value, right: &Value) -> Result<Value, Error> {
        if left.is_null() || right.is_null() { Ok(Value::Null) } else { (self.eval)(context, left, right) }
    }
}

/// A function for certain types.
#[derive(Clone, Debug)]
pub struct FunctionSig {
    /// Its name.
    pub name: String,
    /// The types to cast the arguments to: one for each argument given.
    pub arguments: Vec<Type>,
    /// The type of the result.
    pub result: Type,
    /// How often it may answer differently.
    pub volatility: Volatility,
    /// Whether NULL for any argument gives NULL without a call.
    pub strict: bool,
    pub(crate) body: Body,
}

/// What a function call comes down to.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Code
    Code(FunctionEval),
    /// Known from the types alone: `pg_typeof`
    Constant(Value),
    /// A cast in the shape of a function: `date(x)`
    Cast(Cast),
}

/// `array[n]`, for arrays of this type.
pub(crate) fn subscript_function(array: Type, element: Type) -> FunctionSig {
    FunctionSig {
        name: "array_subscript".to_owned(),
        arguments: vec![array, Type::Int32],
        result: element,
        volatility: Volatility::Immutable,
        strict: true,
        body: Body::Code(arrays::subscript),
    }
}

impl FunctionSig {
    /// Whether it is a cast in the shape of a function.
    pub(crate) fn is_cast(&self) -> bool {
        matches!(self.body, Body::Cast(_))
    }

    /// Calls it.
    ///
    /// # Errors
    /// What the function finds wrong with its arguments.
    pub fn call(&self, context: &dyn EvalContext, arguments: &[Value]) -> Result<Value, Error> {
        if self.strict && arguments.iter().any(Value::is_null) {
            return Ok(Value::Null);
        }
        match &self.body {
            Body::Code(eval) => eval(context, arguments),
            Body::Constant(value) => Ok(value.clone()),
            Body::Cast(cast) => cast.apply(context, arguments[0].clone()),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::test_context;
