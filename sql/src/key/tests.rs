//! That keys sort as their values do, and that slots stay where they are.

use super::*;
use crate::value::Interval;

fn number(text: &str) -> Value {
    Value::Numeric(Numeric::parse(text).expect("a number"))
}

/// Pseudo-random numbers from a seed, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn value(&mut self, ty: &Type) -> Value {
        let bits = self.next();
        // Small and large magnitudes alike.
        let shifted = (self.next() as i64) >> (bits % 64);
        match ty {
            Type::Bool => Value::Bool(bits.is_multiple_of(2)),
            Type::Int16 => Value::Int16(shifted as i16),
            Type::Int32 => Value::Int32(shifted as i32),
            Type::Int64 => Value::Int64(shifted),
            Type::Float4 => Value::Float4(f32::from_bits(bits as u32)),
            Type::Float8 => Value::Float8(f64::from_bits(self.next())),
            Type::Numeric(_) => {
                let wide = (i128::from(self.next()) << 60 ^ i128::from(shifted)) >> (bits % 120);
                let sign = if bits & 1 << 40 == 0 { 1 } else { -1 };
                Value::Numeric(Numeric::new(wide % 10i128.pow(37) * sign, (bits >> 20) as u8 % 60).expect("fits"))
            }
            Type::Bytea => Value::bytes(
                (0..bits % 5).map(|i| [0, 1, 255, 7][(bits >> (i * 2 + 8)) as usize % 4]).collect::<Vec<u8>>(),
            ),
            Type::Char(_) => Value::Char(
                (0..bits % 4)
                    .map(|i| ['a', ' ', 'b', '\u{1}'][(bits >> (i * 2 + 8)) as usize % 4])
                    .collect::<String>()
                    .into(),
            ),
            Type::Text => Value::text(
                (0..bits % 5).map(|i| ['a', '\u{1}', 'ä', 'b'][(bits >> (i * 2 + 8)) as usize % 4]).collect::<String>(),
            ),
            Type::Date => Value::Date(shifted as i32),
            Type::Timestamp(_) => Value::Timestamp(shifted),
            Type::Interval => Value::Interval(Interval {
                months: (bits % 5) as i32 - 2,
                days: (bits >> 8) as i32 % 70,
                micros: shifted,
            }),
            Type::Uuid => Value::Uuid(uuid::Uuid::from_u128(u128::from(bits) << 64 | u128::from(self.next()))),
            _ => Value::Oid(bits as u32),
        }
    }
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_value(value, &mut out).expect("encodes");
    out
}

fn types() -> Vec<Type> {
    vec![
        Type::Bool,
        Type::Int16,
        Type::Int32,
        Type::Int64,
        Type::Float4,
        Type::Float8,
        Type::Numeric(None),
        Type::Bytea,
        Type::Char(None),
        Type::Text,
        Type::Date,
        Type::Timestamp(None),
        Type::Interval,
        Type::Uuid,
        Type::Oid,
    ]
}

#[test]
fn encodings_order_as_values_do() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for ty in types() {
        let mut values: Vec<Value> = (0..600).map(|_| random.value(&ty)).collect();
        values.push(Value::Null);
        for a in &values {
            for b in values.iter().step_by(7) {
                // bpchar is compared without trailing blanks, which the order of values knows.
                assert_eq!(encoded(a).cmp(&encoded(b)), a.cmp(b), "{a:?} against {b:?}");
            }
        }
    }
}

#[test]
fn edges_order_as_values_do() {
    let sorted = [
        vec![
            Value::Int64(i64::MIN),
            Value::Int32(i32::MIN),
            Value::Int16(-257),
            Value::Int64(-256),
            Value::Int32(-1),
            Value::Int16(0),
            Value::Int64(1),
            Value::Int32(255),
            Value::Int64(256),
            Value::Int64(i64::MAX),
            Value::Null,
        ],
        vec![
            Value::Float8(f64::NEG_INFINITY),
            Value::Float8(-1e300),
            Value::Float8(-5e-324),
            Value::Float8(0.0),
            Value::Float8(5e-324),
            Value::Float8(f64::INFINITY),
            Value::Float8(f64::NAN),
            Value::Null,
        ],
        [
            "-Infinity",
            "-1e37",
            "-123.45",
            "-123.4",
            "-100",
            "-0.001",
            "0",
            "1e-200",
            "0.001",
            "0.0011",
            "9",
            "10",
            "12",
            "100",
            "1e37",
            "Infinity",
            "NaN",
        ]
        .map(number)
        .to_vec(),
        vec![
            Value::bytes(vec![]),
            Value::bytes(vec![0]),
            Value::bytes(vec![0, 0]),
            Value::bytes(vec![0, 1]),
            Value::bytes(vec![0, 255]),
            Value::bytes(vec![1]),
            Value::bytes(vec![255]),
        ],
        vec![Value::text(""), Value::text("a"), Value::text("a\u{1}"), Value::text("aa"), Value::text("b")],
    ];
    for values in sorted {
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(encoded(a).cmp(&encoded(b)), i.cmp(&j), "{a:?} against {b:?}");
            }
        }
    }
}

#[test]
fn equal_values_have_one_encoding() {
    assert_eq!(encoded(&Value::Float8(-0.0)), encoded(&Value::Float8(0.0)));
    assert_eq!(encoded(&Value::Float8(-f64::NAN)), encoded(&Value::Float8(f64::NAN)));
    assert_eq!(encoded(&number("1.50")), encoded(&number("1.5")));
    assert_eq!(encoded(&number("100")), encoded(&number("1e2")));
    assert_eq!(encoded(&number("-0.0")), encoded(&number("0")));
    assert_eq!(encoded(&Value::Char("ab  ".into())), encoded(&Value::Char("ab".into())));
    assert_eq!(encoded(&Value::Int16(5)), encoded(&Value::Int64(5)));
    let month = Value::Interval(Interval { months: 1, days: 0, micros: 0 });
    assert_eq!(encoded(&month), encoded(&Value::Interval(Interval { months: 0, days: 30, micros: 0 })));
}

/// Whether decoding gives back the very value for a column of this type, and not only an equal one: then the row need not hold
/// it again. `character(n)` is padded again by its type; `numeric` without a declared scale, `interval` and floats (-0) are not.
fn is_lossless(ty: &Type) -> bool {
    match ty {
        Type::Numeric(modifier) => modifier.is_some(),
        Type::Char(length) => length.is_some(),
        Type::Interval | Type::Float4 | Type::Float8 => false,
        _ => true,
    }
}

#[test]
fn keys_decode_to_equal_values() {
    let mut random = Random(42);
    for ty in types() {
        for _ in 0..300 {
            let values = [random.value(&ty), Value::Null, random.value(&Type::Int32)];
            let key = encode_key(7, &values).expect("encodes");
            assert_eq!(storage_id(&key), Some(7));
            let types = [ty.clone(), Type::Text, Type::Int32];
            let back = decode_key(&key, &types).expect("decodes");
            assert_eq!(back, values, "{ty}");
            if is_lossless(&ty) {
                assert_eq!(format!("{back:?}"), format!("{values:?}"));
            }
            for length in 0..key.len() {
                assert!(decode_key(&key[..length], &types).is_err(), "cut to {length} bytes");
            }
        }
    }
    let padded = [Value::Char("ab   ".into()), number("1.50")];
    let key = encode_key(1, &padded).expect("encodes");
    let types = [Type::Char(Some(5)), Type::Numeric(Some((10, 2)))];
    assert_eq!(
        format!("{:?}", decode_key(&key, &types)),
        format!("Ok({padded:?})"),
        "the type restores blanks and scale"
    );
}

#[test]
fn a_prefix_ends_before_the_next() {
    assert_eq!(prefix_end(&[1, 2]).as_deref(), Some(&[1, 3][..]));
    assert_eq!(prefix_end(&[1, 0xFF, 0xFF]).as_deref(), Some(&[2][..]));
    assert_eq!(prefix_end(&[0xFF]), None);
    let range = prefix_range(encode_key(9, &[Value::Int32(1)]).expect("encodes"));
    let inside = encode_key(9, &[Value::Int32(1), Value::text("zzz")]).expect("encodes");
    let outside = encode_key(9, &[Value::Int32(2)]).expect("encodes");
    assert!(range.contains(&inside) && !range.contains(&outside));
}

#[test]
fn arrays_are_no_keys() {
    let array = Value::Array(std::sync::Arc::new(crate::value::Array::new(Type::Int32, vec![])));
    assert_eq!(encode_key(1, &[array]).map_err(|e| e.code), Err(SqlState::FEATURE_NOT_SUPPORTED));
}

/// The figures below are on disks: if this test fails, the change under it loses data.
#[test]
fn encodings_and_slots_are_pinned() {
    let hex_of = |value: Value| hex::encode(encoded(&value));
    assert_eq!(hex_of(Value::Null), "ff");
    assert_eq!(hex_of(Value::Bool(true)), "0101");
    assert_eq!(hex_of(Value::Int32(0)), "80");
    assert_eq!(hex_of(Value::Int32(1000)), "8203e8");
    assert_eq!(hex_of(Value::Int32(-1)), "7fff");
    assert_eq!(hex_of(Value::Int64(-256)), "7f00");
    assert_eq!(hex_of(Value::Int64(-257)), "7efeff");
    assert_eq!(hex_of(Value::Int64(i64::MIN)), "788000000000000000");
    assert_eq!(hex_of(Value::Float8(1.0)), "01bff0000000000000");
    assert_eq!(hex_of(Value::Float8(-1.0)), "01400fffffffffffff");
    assert_eq!(hex_of(number("123.4")), "010480030d2300");
    assert_eq!(hex_of(number("-123.4")), "01027ffcf2dcff");
    assert_eq!(hex_of(Value::text("ab")), "0161620000");
    assert_eq!(hex_of(Value::bytes(vec![0])), "0100ff0000");
    assert_eq!(hex::encode(encode_key(258, &[Value::Int32(5)]).expect("encodes")), "000001028105");
    let slots: Vec<u16> = (0..6).map(|i| slot(&[Value::Int32(i)]).expect("encodes")).collect();
    assert_eq!(slots, PINNED_SLOTS);
    assert_eq!(slot(&[Value::text("quorate"), Value::Null]), Ok(PINNED_TEXT_SLOT));
}

const PINNED_SLOTS: [u16; 6] = [2369, 2637, 1895, 1696, 2246, 3360];
const PINNED_TEXT_SLOT: u16 = 3599;

#[test]
fn slots_are_spread() {
    let mut counts = vec![0u32; usize::from(SLOTS)];
    for i in 0..100_000 {
        counts[usize::from(slot(&[Value::Int32(i)]).expect("encodes"))] += 1;
    }
    assert!(counts.iter().all(|count| (1..100).contains(count)), "about 24 a slot");
}
