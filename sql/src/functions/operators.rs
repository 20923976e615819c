//! The operators and the types they exist for, as in PostgreSQL's `pg_operator`.

use crate::error::{Error, SqlState};
use crate::functions::resolve::{Choice, choose};
use crate::functions::{
    BinaryEval, BinaryFn, BinaryOp, EvalContext, UnaryEval, UnaryFn, UnaryOp, Volatility, arithmetic, arrays, dates,
    pattern, strings,
};
use crate::types::{Category, Type};
use crate::value::Value;

struct Entry {
    op: BinaryOp,
    operands: [Type; 2],
    result: Type,
    eval: BinaryEval,
}

const INT2: Type = Type::Int16;
const INT4: Type = Type::Int32;
const INT8: Type = Type::Int64;
const FLOAT4: Type = Type::Float4;
const FLOAT8: Type = Type::Float8;
const NUMERIC: Type = Type::Numeric(None);
const TEXT: Type = Type::Text;
const BPCHAR: Type = Type::Char(None);
const NAME: Type = Type::Name;
const BYTEA: Type = Type::Bytea;
const DATE: Type = Type::Date;
const TIME: Type = Type::Time(None);
const TIMESTAMP: Type = Type::Timestamp(None);
const TIMESTAMPTZ: Type = Type::TimestampTz(None);
const INTERVAL: Type = Type::Interval;

macro_rules! operators {
    ($($op:ident ($left:expr, $right:expr) -> $result:expr, $eval:expr;)*) => {
        &[$(Entry { op: BinaryOp::$op, operands: [$left, $right], result: $result, eval: $eval }),*]
    };
}

const TABLE: &[Entry] = operators! {
    Add(INT2, INT2) -> INT2, arithmetic::integer_add;
    Add(INT4, INT4) -> INT4, arithmetic::integer_add;
    Add(INT8, INT8) -> INT8, arithmetic::integer_add;
    Add(INT2, INT4) -> INT4, arithmetic::integer_add;
    Add(INT4, INT2) -> INT4, arithmetic::integer_add;
    Add(INT2, INT8) -> INT8, arithmetic::integer_add;
    Add(INT8, INT2) -> INT8, arithmetic::integer_add;
    Add(INT4, INT8) -> INT8, arithmetic::integer_add;
    Add(INT8, INT4) -> INT8, arithmetic::integer_add;
    Add(FLOAT4, FLOAT4) -> FLOAT4, arithmetic::float_add;
    Add(FLOAT8, FLOAT8) -> FLOAT8, arithmetic::float_add;
    Add(FLOAT4, FLOAT8) -> FLOAT8, arithmetic::float_add;
    Add(FLOAT8, FLOAT4) -> FLOAT8, arithmetic::float_add;
    Add(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_add;
    Add(DATE, INT4) -> DATE, dates::date_plus_days;
    Add(INT4, DATE) -> DATE, |c, a, b| dates::date_plus_days(c, b, a);
    Add(DATE, INTERVAL) -> TIMESTAMP, dates::date_plus_interval;
    Add(INTERVAL, DATE) -> TIMESTAMP, |c, a, b| dates::date_plus_interval(c, b, a);
    Add(DATE, TIME) -> TIMESTAMP, dates::date_plus_time;
    Add(TIME, DATE) -> TIMESTAMP, |c, a, b| dates::date_plus_time(c, b, a);
    Add(TIME, INTERVAL) -> TIME, dates::time_plus_interval;
    Add(INTERVAL, TIME) -> TIME, |c, a, b| dates::time_plus_interval(c, b, a);
    Add(TIMESTAMP, INTERVAL) -> TIMESTAMP, dates::timestamp_plus_interval;
    Add(INTERVAL, TIMESTAMP) -> TIMESTAMP, |c, a, b| dates::timestamp_plus_interval(c, b, a);
    Add(TIMESTAMPTZ, INTERVAL) -> TIMESTAMPTZ, dates::timestamp_plus_interval;
    Add(INTERVAL, TIMESTAMPTZ) -> TIMESTAMPTZ, |c, a, b| dates::timestamp_plus_interval(c, b, a);
    Add(INTERVAL, INTERVAL) -> INTERVAL, dates::interval_add;

    Subtract(INT2, INT2) -> INT2, arithmetic::integer_subtract;
    Subtract(INT4, INT4) -> INT4, arithmetic::integer_subtract;
    Subtract(INT8, INT8) -> INT8, arithmetic::integer_subtract;
    Subtract(INT2, INT4) -> INT4, arithmetic::integer_subtract;
    Subtract(INT4, INT2) -> INT4, arithmetic::integer_subtract;
    Subtract(INT2, INT8) -> INT8, arithmetic::integer_subtract;
    Subtract(INT8, INT2) -> INT8, arithmetic::integer_subtract;
    Subtract(INT4, INT8) -> INT8, arithmetic::integer_subtract;
    Subtract(INT8, INT4) -> INT8, arithmetic::integer_subtract;
    Subtract(FLOAT4, FLOAT4) -> FLOAT4, arithmetic::float_subtract;
    Subtract(FLOAT8, FLOAT8) -> FLOAT8, arithmetic::float_subtract;
    Subtract(FLOAT4, FLOAT8) -> FLOAT8, arithmetic::float_subtract;
    Subtract(FLOAT8, FLOAT4) -> FLOAT8, arithmetic::float_subtract;
    Subtract(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_subtract;
    Subtract(DATE, DATE) -> INT4, dates::date_minus_date;
    Subtract(DATE, INT4) -> DATE, dates::date_minus_days;
    Subtract(DATE, INTERVAL) -> TIMESTAMP, dates::date_minus_interval;
    Subtract(TIME, TIME) -> INTERVAL, dates::time_minus_time;
    Subtract(TIME, INTERVAL) -> TIME, dates::time_minus_interval;
    Subtract(TIMESTAMP, TIMESTAMP) -> INTERVAL, dates::timestamp_minus_timestamp;
    Subtract(TIMESTAMPTZ, TIMESTAMPTZ) -> INTERVAL, dates::timestamp_minus_timestamp;
    Subtract(TIMESTAMP, INTERVAL) -> TIMESTAMP, dates::timestamp_minus_interval;
    Subtract(TIMESTAMPTZ, INTERVAL) -> TIMESTAMPTZ, dates::timestamp_minus_interval;
    Subtract(INTERVAL, INTERVAL) -> INTERVAL, dates::interval_subtract;

    Multiply(INT2, INT2) -> INT2, arithmetic::integer_multiply;
    Multiply(INT4, INT4) -> INT4, arithmetic::integer_multiply;
    Multiply(INT8, INT8) -> INT8, arithmetic::integer_multiply;
    Multiply(INT2, INT4) -> INT4, arithmetic::integer_multiply;
    Multiply(INT4, INT2) -> INT4, arithmetic::integer_multiply;
    Multiply(INT2, INT8) -> INT8, arithmetic::integer_multiply;
    Multiply(INT8, INT2) -> INT8, arithmetic::integer_multiply;
    Multiply(INT4, INT8) -> INT8, arithmetic::integer_multiply;
    Multiply(INT8, INT4) -> INT8, arithmetic::integer_multiply;
    Multiply(FLOAT4, FLOAT4) -> FLOAT4, arithmetic::float_multiply;
    Multiply(FLOAT8, FLOAT8) -> FLOAT8, arithmetic::float_multiply;
    Multiply(FLOAT4, FLOAT8) -> FLOAT8, arithmetic::float_multiply;
    Multiply(FLOAT8, FLOAT4) -> FLOAT8, arithmetic::float_multiply;
    Multiply(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_multiply;
    Multiply(INTERVAL, FLOAT8) -> INTERVAL, dates::interval_multiply;
    Multiply(FLOAT8, INTERVAL) -> INTERVAL, |c, a, b| dates::interval_multiply(c, b, a);

    Divide(INT2, INT2) -> INT2, arithmetic::integer_divide;
    Divide(INT4, INT4) -> INT4, arithmetic::integer_divide;
    Divide(INT8, INT8) -> INT8, arithmetic::integer_divide;
    Divide(INT2, INT4) -> INT4, arithmetic::integer_divide;
    Divide(INT4, INT2) -> INT4, arithmetic::integer_divide;
    Divide(INT2, INT8) -> INT8, arithmetic::integer_divide;
    Divide(INT8, INT2) -> INT8, arithmetic::integer_divide;
    Divide(INT4, INT8) -> INT8, arithmetic::integer_divide;
    Divide(INT8, INT4) -> INT8, arithmetic::integer_divide;
    Divide(FLOAT4, FLOAT4) -> FLOAT4, arithmetic::float_divide;
    Divide(FLOAT8, FLOAT8) -> FLOAT8, arithmetic::float_divide;
    Divide(FLOAT4, FLOAT8) -> FLOAT8, arithmetic::float_divide;
    Divide(FLOAT8, FLOAT4) -> FLOAT8, arithmetic::float_divide;
    Divide(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_divide;
    Divide(INTERVAL, FLOAT8) -> INTERVAL, dates::interval_divide;

    Modulo(INT2, INT2) -> INT2, arithmetic::integer_modulo;
    Modulo(INT4, INT4) -> INT4, arithmetic::integer_modulo;
    Modulo(INT8, INT8) -> INT8, arithmetic::integer_modulo;
    Modulo(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_modulo;

    Power(FLOAT8, FLOAT8) -> FLOAT8, arithmetic::float_power;
    Power(NUMERIC, NUMERIC) -> NUMERIC, arithmetic::numeric_power;

    BitAnd(INT2, INT2) -> INT2, arithmetic::bit_and;
    BitAnd(INT4, INT4) -> INT4, arithmetic::bit_and;
    BitAnd(INT8, INT8) -> INT8, arithmetic::bit_and;
    BitOr(INT2, INT2) -> INT2, arithmetic::bit_or;
    BitOr(INT4, INT4) -> INT4, arithmetic::bit_or;
    BitOr(INT8, INT8) -> INT8, arithmetic::bit_or;
    BitXor(INT2, INT2) -> INT2, arithmetic::bit_xor;
    BitXor(INT4, INT4) -> INT4, arithmetic::bit_xor;
    BitXor(INT8, INT8) -> INT8, arithmetic::bit_xor;
    ShiftLeft(INT2, INT4) -> INT2, arithmetic::shift_left;
    ShiftLeft(INT4, INT4) -> INT4, arithmetic::shift_left;
    ShiftLeft(INT8, INT4) -> INT8, arithmetic::shift_left;
    ShiftRight(INT2, INT4) -> INT2, arithmetic::shift_right;
    ShiftRight(INT4, INT4) -> INT4, arithmetic::shift_right;
    ShiftRight(INT8, INT4) -> INT8, arithmetic::shift_right;

    Concat(TEXT, TEXT) -> TEXT, strings::concat;
    Concat(BYTEA, BYTEA) -> BYTEA, strings::concat_bytes;

    Like(TEXT, TEXT) -> Type::Bool, pattern::op_like;
    NotLike(TEXT, TEXT) -> Type::Bool, pattern::op_not_like;
    ILike(TEXT, TEXT) -> Type::Bool, pattern::op_ilike;
    NotILike(TEXT, TEXT) -> Type::Bool, pattern::op_not_ilike;
    Like(BPCHAR, TEXT) -> Type::Bool, pattern::op_like;
    NotLike(BPCHAR, TEXT) -> Type::Bool, pattern::op_not_like;
    ILike(BPCHAR, TEXT) -> Type::Bool, pattern::op_ilike;
    NotILike(BPCHAR, TEXT) -> Type::Bool, pattern::op_not_ilike;
    Like(NAME, TEXT) -> Type::Bool, pattern::op_like;
    NotLike(NAME, TEXT) -> Type::Bool, pattern::op_not_like;
    ILike(NAME, TEXT) -> Type::Bool, pattern::op_ilike;
    NotILike(NAME, TEXT) -> Type::Bool, pattern::op_not_ilike;
    Match(TEXT, TEXT) -> Type::Bool, pattern::op_match;
    NotMatch(TEXT, TEXT) -> Type::Bool, pattern::op_not_match;
    MatchInsensitive(TEXT, TEXT) -> Type::Bool, pattern::op_match_insensitive;
    NotMatchInsensitive(TEXT, TEXT) -> Type::Bool, pattern::op_not_match_insensitive;
    Match(BPCHAR, TEXT) -> Type::Bool, pattern::op_match;
    NotMatch(BPCHAR, TEXT) -> Type::Bool, pattern::op_not_match;
    MatchInsensitive(BPCHAR, TEXT) -> Type::Bool, pattern::op_match_insensitive;
    NotMatchInsensitive(BPCHAR, TEXT) -> Type::Bool, pattern::op_not_match_insensitive;
    Match(NAME, TEXT) -> Type::Bool, pattern::op_match;
    NotMatch(NAME, TEXT) -> Type::Bool, pattern::op_not_match;
    MatchInsensitive(NAME, TEXT) -> Type::Bool, pattern::op_match_insensitive;
    NotMatchInsensitive(NAME, TEXT) -> Type::Bool, pattern::op_not_match_insensitive;

    AtTimeZone(TIMESTAMP, TEXT) -> TIMESTAMPTZ, dates::at_time_zone;
    AtTimeZone(TIMESTAMPTZ, TEXT) -> TIMESTAMP, dates::at_time_zone;
    AtTimeZone(TIMESTAMP, INTERVAL) -> TIMESTAMPTZ, dates::at_time_zone;
    AtTimeZone(TIMESTAMPTZ, INTERVAL) -> TIMESTAMP, dates::at_time_zone;
};

/// The pairs of types that can be compared; integers and floats of all widths, and dates with timestamps, across types.
const COMPARABLE: &[[Type; 2]] = &[
    [INT2, INT2],
    [INT4, INT4],
    [INT8, INT8],
    [INT2, INT4],
    [INT4, INT2],
    [INT2, INT8],
    [INT8, INT2],
    [INT4, INT8],
    [INT8, INT4],
    [FLOAT4, FLOAT4],
    [FLOAT8, FLOAT8],
    [FLOAT4, FLOAT8],
    [FLOAT8, FLOAT4],
    [NUMERIC, NUMERIC],
    [Type::Bool, Type::Bool],
    [TEXT, TEXT],
    [BPCHAR, BPCHAR],
    [NAME, NAME],
    [NAME, TEXT],
    [TEXT, NAME],
    [Type::InternalChar, Type::InternalChar],
    [BYTEA, BYTEA],
    [DATE, DATE],
    [TIME, TIME],
    [TIMESTAMP, TIMESTAMP],
    [TIMESTAMPTZ, TIMESTAMPTZ],
    [DATE, TIMESTAMP],
    [TIMESTAMP, DATE],
    [DATE, TIMESTAMPTZ],
    [TIMESTAMPTZ, DATE],
    [TIMESTAMP, TIMESTAMPTZ],
    [TIMESTAMPTZ, TIMESTAMP],
    [INTERVAL, INTERVAL],
    [Type::Uuid, Type::Uuid],
    [Type::Oid, Type::Oid],
];

const UNARY: &[(UnaryOp, [Type; 1], UnaryEval)] = &[
    (UnaryOp::Minus, [INT2], arithmetic::negate),
    (UnaryOp::Minus, [INT4], arithmetic::negate),
    (UnaryOp::Minus, [INT8], arithmetic::negate),
    (UnaryOp::Minus, [FLOAT4], arithmetic::negate),
    (UnaryOp::Minus, [FLOAT8], arithmetic::negate),
    (UnaryOp::Minus, [NUMERIC], arithmetic::negate),
    (UnaryOp::Minus, [INTERVAL], arithmetic::negate),
    (UnaryOp::Plus, [INT2], arithmetic::plus),
    (UnaryOp::Plus, [INT4], arithmetic::plus),
    (UnaryOp::Plus, [INT8], arithmetic::plus),
    (UnaryOp::Plus, [FLOAT4], arithmetic::plus),
    (UnaryOp::Plus, [FLOAT8], arithmetic::plus),
    (UnaryOp::Plus, [NUMERIC], arithmetic::plus),
    (UnaryOp::BitNot, [INT2], arithmetic::bit_not),
    (UnaryOp::BitNot, [INT4], arithmetic::bit_not),
    (UnaryOp::BitNot, [INT8], arithmetic::bit_not),
    (UnaryOp::Abs, [INT2], arithmetic::absolute),
    (UnaryOp::Abs, [INT4], arithmetic::absolute),
    (UnaryOp::Abs, [INT8], arithmetic::absolute),
    (UnaryOp::Abs, [FLOAT4], arithmetic::absolute),
    (UnaryOp::Abs, [FLOAT8], arithmetic::absolute),
    (UnaryOp::Abs, [NUMERIC], arithmetic::absolute),
    (UnaryOp::SquareRoot, [FLOAT8], arithmetic::square_root),
];

const HINT: &str = "No operator matches the given name and argument types. You might need to add explicit type casts.";

/// The operator for an operand of this type.
///
/// # Errors
/// 42883 `operator does not exist: - text`, 42725.
pub fn resolve_unary(op: UnaryOp, argument: &Type) -> Result<UnaryFn, Error> {
    let asked = [argument.base()];
    let candidates = UNARY.iter().filter(|(known, ..)| *known == op).map(|entry| (entry, &entry.1[..]));
    match choose(candidates, &asked) {
        Choice::One((_, [ty], eval)) => Ok(UnaryFn { op, argument: ty.clone(), result: ty.clone(), eval: *eval }),
        Choice::None => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("operator does not exist: {} {}", op.symbol(), argument.plain_name()),
        )
        .with_hint(HINT)),
        Choice::Ambiguous => Err(Error::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("operator is not unique: {} {}", op.symbol(), argument.plain_name()),
        )
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
    }
}

/// The operator for operands of these types.
///
/// # Errors
/// 42883 `operator does not exist: integer + boolean`, 42725.
pub fn resolve_binary(op: BinaryOp, left: &Type, right: &Type) -> Result<BinaryFn, Error> {
    let (left_base, right_base) = (left.base(), right.base());
    if let (true, Some(found)) = (op.is_comparison(), compare_arrays(op, &left_base, &right_base)) {
        return Ok(found);
    }
    // An operand of unknown type is first taken to be of the other's type.
    let asked = match (&left_base, &right_base) {
        (Type::Unknown, Type::Unknown) => [Type::Unknown, Type::Unknown],
        (Type::Unknown, known) => [known.clone(), known.clone()],
        (known, Type::Unknown) => [known.clone(), known.clone()],
        _ => [left_base.clone(), right_base.clone()],
    };
    let given = [left_base, right_base];
    let exact = |operands: &[Type]| operands.iter().zip(&asked).all(|(operand, asked)| operand.same_base(asked));
    if op.is_comparison() {
        if let Some(pair) = COMPARABLE.iter().find(|pair| exact(&pair[..])) {
            return Ok(comparison(op, pair));
        }
        return match choose(COMPARABLE.iter().map(|pair| (pair, &pair[..])), &given) {
            Choice::One(pair) => Ok(comparison(op, pair)),
            Choice::None => Err(no_operator(op, left, right)),
            Choice::Ambiguous => Err(ambiguous(op, left, right)),
        };
    }
    let build = |entry: &Entry| BinaryFn {
        op,
        left: entry.operands[0].clone(),
        right: entry.operands[1].clone(),
        result: entry.result.clone(),
        volatility: volatility(&entry.operands),
        eval: entry.eval,
    };
    if let Some(entry) = TABLE.iter().find(|entry| entry.op == op && exact(&entry.operands)) {
        return Ok(build(entry));
    }
    match choose(TABLE.iter().filter(|entry| entry.op == op).map(|entry| (entry, &entry.operands[..])), &given) {
        Choice::One(entry) => Ok(build(entry)),
        Choice::Ambiguous => Err(ambiguous(op, left, right)),
        Choice::None if op == BinaryOp::Concat => {
            let found = arrays::resolve_concat(left, right).or_else(|| concat_any(left, right));
            found.ok_or_else(|| no_operator(op, left, right))
        }
        Choice::None => Err(no_operator(op, left, right)),
    }
}

/// `text || anything`: both sides as text, as PostgreSQL's `textanycat`.
fn concat_any(left: &Type, right: &Type) -> Option<BinaryFn> {
    let text = |ty: &Type| ty.is_string() || matches!(ty, Type::Unknown);
    let plain = |ty: &Type| !matches!(ty.category(), Category::Pseudo | Category::Array);
    if !((text(left) && plain(right)) || (text(right) && plain(left))) {
        return None;
    }
    Some(BinaryFn {
        op: BinaryOp::Concat,
        left: Type::Text,
        right: Type::Text,
        result: Type::Text,
        volatility: Volatility::Stable,
        eval: strings::concat,
    })
}

fn compare_arrays(op: BinaryOp, left: &Type, right: &Type) -> Option<BinaryFn> {
    let ty = match (left, right) {
        (Type::Array(_), Type::Unknown) => left,
        (Type::Unknown, Type::Array(_)) => right,
        (Type::Array(_), Type::Array(_)) if left.same_base(right) => left,
        _ => return None,
    };
    Some(comparison(op, &[ty.clone(), ty.clone()]))
}

fn comparison(op: BinaryOp, pair: &[Type; 2]) -> BinaryFn {
    let mixed_dates = pair[0].category() == Category::DateTime && !pair[0].same_base(&pair[1]);
    let eval: BinaryEval = match (op, mixed_dates) {
        (BinaryOp::Equal, false) => |_, a, b| Ok(Value::Bool(a == b)),
        (BinaryOp::NotEqual, false) => |_, a, b| Ok(Value::Bool(a != b)),
        (BinaryOp::Less, false) => |_, a, b| Ok(Value::Bool(a < b)),
        (BinaryOp::LessEqual, false) => |_, a, b| Ok(Value::Bool(a <= b)),
        (BinaryOp::Greater, false) => |_, a, b| Ok(Value::Bool(a > b)),
        (_, false) => |_, a, b| Ok(Value::Bool(a >= b)),
        (BinaryOp::Equal, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::Equal),
        (BinaryOp::NotEqual, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::NotEqual),
        (BinaryOp::Less, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::Less),
        (BinaryOp::LessEqual, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::LessEqual),
        (BinaryOp::Greater, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::Greater),
        (_, true) => |c, a, b| compare_mixed(c, a, b, BinaryOp::GreaterEqual),
    };
    let depends = mixed_dates && pair.iter().any(|ty| matches!(ty, Type::TimestampTz(_)));
    BinaryFn {
        op,
        left: pair[0].clone(),
        right: pair[1].clone(),
        result: Type::Bool,
        volatility: if depends { Volatility::Stable } else { Volatility::Immutable },
        eval,
    }
}

fn compare_mixed(context: &dyn EvalContext, a: &Value, b: &Value, op: BinaryOp) -> Result<Value, Error> {
    let order = dates::compare(context, a, b)?;
    let test = op.comparison().expect("called for comparisons only");
    Ok(Value::Bool(test(order)))
}

/// Time zones come from the session only where months or days are added to a `timestamptz`, or dates become one.
fn volatility(operands: &[Type; 2]) -> Volatility {
    let zoned = operands.iter().any(|ty| matches!(ty, Type::TimestampTz(_)));
    let interval = operands.iter().any(|ty| matches!(ty, Type::Interval));
    if zoned && interval { Volatility::Stable } else { Volatility::Immutable }
}

#[cold]
fn no_operator(op: BinaryOp, left: &Type, right: &Type) -> Error {
    let message = format!("operator does not exist: {} {} {}", left.plain_name(), op.symbol(), right.plain_name());
    Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(HINT)
}

#[cold]
fn ambiguous(op: BinaryOp, left: &Type, right: &Type) -> Error {
    let message = format!("operator is not unique: {} {} {}", left.plain_name(), op.symbol(), right.plain_name());
    Error::new(SqlState::AMBIGUOUS_FUNCTION, message)
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}
