//! What travels comes back as it was, and programs give what the expressions themselves give.

use super::*;
use crate::functions::{BinaryOp, resolve_aggregate, resolve_binary, resolve_function, test_context};
use crate::plan::expression::Scope;
use crate::value::{Array, Interval, Numeric};

fn number(text: &str) -> Value {
    Value::Numeric(Numeric::parse(text).unwrap())
}

fn binary(op: BinaryOp, left: (Expr, Type), right: (Expr, Type)) -> Expr {
    Expr::Binary(Box::new((resolve_binary(op, &left.1, &right.1).unwrap(), left.0, right.0)))
}

fn int(value: i32) -> (Expr, Type) {
    (Expr::Constant(Value::Int32(value)), Type::Int32)
}

fn column(place: usize, ty: Type) -> (Expr, Type) {
    (Expr::Column(place), ty)
}

fn codec() -> RowCodec {
    RowCodec::new([Type::Int32, Type::Text, Type::Int32, Type::Numeric(None)]).with_missing(3, number("7.50"))
}

/// Rows `(n, name, n % 3 or NULL)`, the last column missing.
fn stored(count: i32) -> Vec<(Bytes, Bytes)> {
    let old = RowCodec::new([Type::Int32, Type::Text, Type::Int32]);
    let row = |n: i32| {
        let rest = if n % 5 == 0 { Value::Null } else { Value::Int32(n % 3) };
        let row = old.encode(&[Value::Int32(n), Value::text(format!("row {n}")), rest]).unwrap();
        (Bytes::from(n.to_be_bytes().to_vec()), row)
    };
    (1..=count).map(row).collect()
}

fn program(filter: &[Expr], output: Wanted<'_>, limit: Option<u64>) -> Bytes {
    let parts = Parts { codec: &codec(), ordinals: &[0, 1, 2, 3], filter, output, limit };
    encode(&parts, &mut |expr| {
        let context = test_context();
        expr.eval(&Scope { context: &context, parameters: &[], slots: &[] }, &[]).ok()
    })
    .expect("travels")
}

#[test]
fn every_value_comes_back_as_it_was() {
    let array = Array::new(Type::Text, vec![Value::text("a"), Value::Null]);
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int16(-3),
        Value::Int32(i32::MIN),
        Value::Int64(i64::MAX),
        Value::Float4(-0.0),
        Value::Float8(f64::NAN),
        number("1.500"),
        number("-99999999999999999999999999999999999999"),
        number("NaN"),
        number("Infinity"),
        number("-Infinity"),
        Value::text("héllo"),
        Value::Char("ab   ".into()),
        Value::bytes(vec![0, 255]),
        Value::Date(-5),
        Value::Time(7),
        Value::Timestamp(-8),
        Value::TimestampTz(9),
        Value::Interval(Interval { micros: -1, days: 2, months: -3 }),
        Value::Uuid(uuid::Uuid::from_u128(77)),
        Value::Oid(u32::MAX),
        Value::Array(array.into()),
    ];
    for value in values {
        let mut bytes = Vec::new();
        put(&value, &mut bytes).unwrap();
        let mut rest = bytes.as_slice();
        let back: Value = take(&mut rest).unwrap();
        assert_eq!((format!("{back:?}"), rest.len()), (format!("{value:?}"), 0));
    }
}

#[test]
fn an_error_comes_back_whole() {
    let error = Error::division_by_zero().with_detail("d").with_hint("h").with_table("s", "t").with_column("c").at(4);
    assert_eq!(decode_error(&encode_error(&error)), error);
    assert_eq!(decode_error(b"\xff").code, crate::error::SqlState::INTERNAL_ERROR);
}

#[test]
fn what_depends_on_the_session_and_the_row_stays() {
    let lower = resolve_function("lower", &[Type::Text]).unwrap();
    assert!(travels(&Expr::Function(Box::new(lower), vec![Expr::Column(1)])));
    let now = resolve_function("now", &[]).unwrap();
    let now = || (Expr::Function(Box::new(now.clone()), Vec::new()), Type::TimestampTz(None));
    let past = |zoned: Type| binary(BinaryOp::Less, column(0, zoned), now());
    assert!(travels(&past(Type::TimestampTz(None))), "now() is the same for all rows");
    assert!(!travels(&past(Type::Date)), "midnight depends on the time zone");
    let random = resolve_function("random", &[]).unwrap();
    let random = (Expr::Function(Box::new(random), Vec::new()), Type::Float8);
    assert!(!travels(&binary(BinaryOp::Less, column(0, Type::Float8), random)));
    let text = |from: Type| {
        let cast = crate::cast::resolve_cast(&from, &Type::Text, crate::cast::CastContext::Explicit).unwrap();
        Expr::Cast(Box::new((cast, Expr::Column(0))))
    };
    assert!(travels(&text(Type::Int32)));
    assert!(!travels(&text(Type::Date)), "it depends on DateStyle");
    assert!(!travels(&text(Type::Float8)), "it depends on extra_float_digits");
    let call = |name: &str, ty: Type, distinct: bool| AggregateCall {
        function: resolve_aggregate(name, std::slice::from_ref(&ty)).unwrap(),
        arguments: vec![Expr::Column(0)],
        distinct,
        filter: None,
        order_by: Vec::new(),
    };
    assert!(call_travels(&call("sum", Type::Int32, false)));
    assert!(!call_travels(&call("sum", Type::Int32, true)));
    assert!(!call_travels(&call("sum", Type::Float8, false)), "it depends on the order of rows");
    assert!(!call_travels(&call("array_agg", Type::Int32, false)));
}

#[test]
fn rows_are_filtered_and_cut_down_to_the_columns_wanted() {
    let even = binary(BinaryOp::Equal, (binary(BinaryOp::Modulo, column(0, Type::Int32), int(2)), Type::Int32), int(0));
    let places = [1, 3];
    let code = program(std::slice::from_ref(&even), Wanted::Rows { places: &places, keyed: false }, None);
    let (output, stopped) = over(&code, &stored(5)).unwrap();
    assert!(stopped.is_none());
    let row = |name: &str| vec![Value::Null, Value::text(name), Value::Null, number("7.50")];
    assert_eq!(rows(&output, 4, &places, false), Ok(vec![row("row 2"), row("row 4")]));

    let code = program(std::slice::from_ref(&even), Wanted::Rows { places: &places, keyed: true }, Some(2));
    let mut runner = Runner::new(&code).unwrap();
    let full: Vec<bool> = stored(4).iter().map(|(key, row)| runner.take(key, row).unwrap()).collect();
    assert_eq!(full, [false, false, false, true], "the page ends with the second row that passes");
    let keyed = keyed_rows(&runner.finish().unwrap()).unwrap();
    assert_eq!(keyed.iter().map(|(key, _)| key.last().copied()).collect::<Vec<_>>(), [Some(2), Some(4)]);
    let again = from_keyed_rows(&keyed).unwrap();
    assert_eq!(rows(&again, 4, &places, true), Ok(vec![row("row 2"), row("row 4")]));

    let code = program(&[even], Wanted::Rows { places: &[], keyed: false }, None);
    let (output, _) = over(&code, &stored(5)).unwrap();
    assert_eq!(rows(&output, 4, &[], false).unwrap().len(), 2, "their number alone");
}

#[test]
fn groups_begun_apart_are_what_they_are_begun_together() {
    let call = |name: &str, arguments: Vec<Expr>, types: &[Type]| AggregateCall {
        function: resolve_aggregate(name, types).unwrap(),
        arguments,
        distinct: false,
        filter: None,
        order_by: Vec::new(),
    };
    let n = || vec![Expr::Column(0)];
    let calls = [
        call("count", Vec::new(), &[]),
        call("count", vec![Expr::Column(2)], &[Type::Int32]),
        call("sum", n(), &[Type::Int32]),
        call("avg", n(), &[Type::Int32]),
        call("min", vec![Expr::Column(1)], &[Type::Text]),
        call("max", vec![Expr::Column(3)], &[Type::Numeric(None)]),
    ];
    let keys = [Expr::Column(2)];
    let code = program(&[], Wanted::Groups { keys: &keys, calls: &calls }, None);
    let merged = |pieces: Vec<Vec<(Bytes, Bytes)>>| {
        let mut groups: Vec<(Row, Vec<Box<dyn crate::functions::Accumulator>>)> = Vec::new();
        for piece in pieces {
            let (output, _) = over(&code, &piece).unwrap();
            for partial in super::groups(&output, 1, &calls).unwrap() {
                let place = groups.iter().position(|(key, _)| *key == partial.key).unwrap_or_else(|| {
                    let states = calls.iter().map(|call| call.function.new_state()).collect();
                    groups.push((partial.key.clone(), states));
                    groups.len() - 1
                });
                for (state, saved) in groups[place].1.iter_mut().zip(&partial.states) {
                    state.merge(saved).unwrap();
                }
            }
        }
        let finish = |states: Vec<Box<dyn crate::functions::Accumulator>>| {
            states.iter().map(|state| state.finish().unwrap()).collect::<Row>()
        };
        groups.into_iter().map(|(key, states)| (key, finish(states))).collect::<Vec<_>>()
    };
    let rows = stored(50);
    let together = merged(vec![rows.clone()]);
    assert_eq!(together.len(), 4, "0, 1, 2 and NULL");
    assert_eq!(merged(rows.chunks(7).map(<[_]>::to_vec).collect()), together);
    let (output, _) = over(&code, &[]).unwrap();
    assert!(output.is_empty(), "no rows, no groups");
}

#[test]
fn many_groups_end_the_page() {
    let keys = [Expr::Column(0)];
    let code = program(&[], Wanted::Groups { keys: &keys, calls: &[] }, None);
    let mut runner = Runner::new(&code).unwrap();
    let rows = stored(10_000);
    let taken = rows.iter().take_while(|(key, row)| !runner.take(key, row).unwrap()).count();
    assert!(taken < 5000, "{taken} groups are held");
}

#[test]
fn a_row_that_fails_keeps_what_came_before_it() {
    let three = binary(BinaryOp::Subtract, column(0, Type::Int32), int(3));
    let inverse = binary(BinaryOp::Divide, int(6), (three, Type::Int32));
    let negative = binary(BinaryOp::Less, (inverse, Type::Int32), int(0));
    let code = program(&[negative], Wanted::Rows { places: &[0], keyed: false }, None);
    let (output, stopped) = over(&code, &stored(5)).unwrap();
    let stopped = stopped.unwrap();
    assert_eq!((stopped.at, stopped.error), (2, Error::division_by_zero()));
    assert_eq!(rows(&output, 4, &[0], false).unwrap().len(), 2);
}

#[test]
fn damage_is_an_error() {
    let code = program(&[], Wanted::Rows { places: &[0], keyed: false }, None);
    for length in 0..code.len() {
        assert!(Runner::new(&code[..length]).is_err(), "{length} bytes of a program");
    }
    assert!(rows(b"\xff\xff", 4, &[0], false).is_err());
}
