//! The stored form of a row: compact, versioned, and readable column by column.
//!
//! Layout, little endian:
//!
//! | Part | Bytes |
//! |---|---|
//! | header | 1: format version (low 6 bits, now 1); bit 7 set: offsets take 4 bytes instead of 2 |
//! | count | 2: columns in this row, n |
//! | nulls | ⌈n/8⌉: bit i set: column i is NULL |
//! | fixed | columns of fixed length in order of ordinals, NULLs too (as zeros) |
//! | ends | for each column of varying length: where its bytes end, counted from the start of the data |
//! | data | columns of varying length in order of ordinals |
//!
//! So the place of every column follows from the types and n alone, and reading one column touches nothing else. A row written before
//! a column was added has a smaller n; the columns it lacks read as the value given by [`RowCodec::with_missing`], else NULL. Columns
//! are only ever added at the end; a dropped one keeps its ordinal. Damage that shows (wrong version, lengths that run past the end)
//! is XX001; checksums are the storage's.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, SqlState};
use crate::format::{decode_binary, encode_binary};
use crate::key::pad;
use crate::types::Type;
use crate::value::{Interval, Numeric, Value};

const VERSION: u8 = 1;
const VERSION_MASK: u8 = 0x3F;
const WIDE: u8 = 0x80;
const HEADER: usize = 3;

/// Reads and writes the rows of one table.
#[derive(Clone, Debug)]
pub struct RowCodec {
    columns: Vec<ColumnLayout>,
    /// For n columns: bytes of the fixed part, and how many columns vary in length.
    prefixes: Vec<(u32, u32)>,
}

#[derive(Clone, Debug)]
struct ColumnLayout {
    ty: Type,
    /// Bytes of a fixed column; `None` for varying ones.
    width: Option<u8>,
    /// Fixed: offset in the fixed part. Varying: which of the varying columns it is.
    place: u32,
    missing: Value,
}

/// Where the parts of one row are.
struct Parts<'a> {
    count: usize,
    nulls: &'a [u8],
    fixed: &'a [u8],
    ends: &'a [u8],
    data: &'a [u8],
    wide: bool,
}

impl RowCodec {
    /// For a table with columns of these types, by ordinal.
    ///
    /// # Panics
    /// With more than 65535 columns; tables are limited far below.
    pub fn new(types: impl IntoIterator<Item = Type>) -> Self {
        let mut columns = Vec::new();
        let mut prefixes = vec![(0, 0)];
        let (mut fixed, mut varying) = (0, 0);
        for ty in types {
            let width = fixed_width(&ty);
            let place = if width.is_some() { fixed } else { varying };
            match width {
                Some(width) => fixed += u32::from(width),
                None => varying += 1,
            }
            columns.push(ColumnLayout { ty, width, place, missing: Value::Null });
            prefixes.push((fixed, varying));
        }
        assert!(columns.len() <= usize::from(u16::MAX), "a row has at most 65535 columns");
        Self { columns, prefixes }
    }

    /// What column `ordinal` reads as in rows that were written before it was added.
    pub fn with_missing(mut self, ordinal: usize, value: Value) -> Self {
        self.columns[ordinal].missing = value;
        self
    }

    /// How many columns the table has.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether the table has no columns.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The row, one value for each column. Values have been cast to the types of their columns.
    ///
    /// # Errors
    /// XX000 for a wrong count or type; 54000 for a row of 4 GiB and more.
    pub fn encode(&self, values: &[Value]) -> Result<Bytes, Error> {
        if values.len() != self.columns.len() {
            return Err(Error::internal(format!(
                "a row of {} columns got {} values",
                self.columns.len(),
                values.len()
            )));
        }
        let (fixed, varying) = self.prefixes[values.len()];
        let mut nulls = vec![0u8; values.len().div_ceil(8)];
        let mut fixed_part = vec![0u8; fixed as usize];
        let mut ends: Vec<u32> = Vec::with_capacity(varying as usize);
        let mut data = Vec::new();
        for (i, (column, value)) in self.columns.iter().zip(values).enumerate() {
            if value.is_null() {
                nulls[i / 8] |= 1 << (i % 8);
            } else if let Some(width) = column.width {
                let at = column.place as usize;
                write_fixed(&column.ty, value, &mut fixed_part[at..at + usize::from(width)])?;
            } else {
                write_varying(&column.ty, value, &mut data)?;
            }
            if column.width.is_none() {
                let end = u32::try_from(data.len());
                ends.push(end.map_err(|_| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "row is too big"))?);
            }
        }
        let wide = data.len() > usize::from(u16::MAX);
        let offset_width = if wide { 4 } else { 2 };
        let mut out =
            Vec::with_capacity(HEADER + nulls.len() + fixed_part.len() + ends.len() * offset_width + data.len());
        out.push(VERSION | if wide { WIDE } else { 0 });
        out.extend_from_slice(&(values.len() as u16).to_le_bytes());
        out.extend_from_slice(&nulls);
        out.extend_from_slice(&fixed_part);
        for end in ends {
            out.extend_from_slice(&end.to_le_bytes()[..offset_width]);
        }
        out.extend_from_slice(&data);
        Ok(out.into())
    }

    /// All columns of a row.
    ///
    /// # Errors
    /// XX001 for bytes that are no row of this table.
    pub fn decode(&self, row: &[u8]) -> Result<Vec<Value>, Error> {
        let parts = self.parts(row)?;
        (0..self.columns.len()).map(|ordinal| self.column(&parts, ordinal)).collect()
    }

    /// Appends the columns named by `ordinals`, in that order, to `out`.
    ///
    /// # Errors
    /// XX001 for bytes that are no row of this table.
    pub fn decode_columns(&self, row: &[u8], ordinals: &[usize], out: &mut Vec<Value>) -> Result<(), Error> {
        let parts = self.parts(row)?;
        out.reserve(ordinals.len());
        for &ordinal in ordinals {
            out.push(self.column(&parts, ordinal)?);
        }
        Ok(())
    }

    /// Puts columns into a row that is there already: pairs of its places and the ordinals of the columns.
    ///
    /// # Errors
    /// XX001 for bytes that are no row of this table.
    pub fn decode_into(&self, row: &[u8], wanted: &[(usize, usize)], out: &mut [Value]) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let parts = self.parts(row)?;
        for &(place, ordinal) in wanted {
            out[place] = self.column(&parts, ordinal)?;
        }
        Ok(())
    }

    /// The types of the columns, and what those that a row lacks read as.
    pub(crate) fn layout(&self) -> impl Iterator<Item = (&Type, &Value)> {
        self.columns.iter().map(|column| (&column.ty, &column.missing))
    }

    /// One column of a row.
    ///
    /// # Errors
    /// XX001 for bytes that are no row of this table.
    pub fn decode_column(&self, row: &[u8], ordinal: usize) -> Result<Value, Error> {
        self.column(&self.parts(row)?, ordinal)
    }

    fn parts<'a>(&self, row: &'a [u8]) -> Result<Parts<'a>, Error> {
        let (&[header, low, high], rest) = row.split_first_chunk::<HEADER>().ok_or_else(damaged)?;
        if header & VERSION_MASK != VERSION {
            return Err(Error::corrupted(format!(
                "a row has format version {}, known is {VERSION}",
                header & VERSION_MASK
            )));
        }
        let count = usize::from(u16::from_le_bytes([low, high]));
        let wide = header & WIDE != 0;
        let &(fixed, varying) = self.prefixes.get(count).ok_or_else(damaged)?;
        let (nulls, rest) = rest.split_at_checked(count.div_ceil(8)).ok_or_else(damaged)?;
        let (fixed, rest) = rest.split_at_checked(fixed as usize).ok_or_else(damaged)?;
        let (ends, data) = rest.split_at_checked(varying as usize * if wide { 4 } else { 2 }).ok_or_else(damaged)?;
        Ok(Parts { count, nulls, fixed, ends, data, wide })
    }

    fn column(&self, parts: &Parts<'_>, ordinal: usize) -> Result<Value, Error> {
        let column = &self.columns[ordinal];
        if ordinal >= parts.count {
            return Ok(column.missing.clone());
        }
        if parts.nulls[ordinal / 8] & (1 << (ordinal % 8)) != 0 {
            return Ok(Value::Null);
        }
        let place = column.place as usize;
        match column.width {
            Some(width) => read_fixed(&column.ty, &parts.fixed[place..place + usize::from(width)]),
            None => {
                let start = if place == 0 { 0 } else { parts.end(place - 1) };
                let bytes = parts.data.get(start..parts.end(place)).ok_or_else(damaged)?;
                read_varying(&column.ty, bytes)
            }
        }
    }
}

impl Parts<'_> {
    fn end(&self, place: usize) -> usize {
        if self.wide {
            let at = place * 4;
            u32::from_le_bytes([self.ends[at], self.ends[at + 1], self.ends[at + 2], self.ends[at + 3]]) as usize
        } else {
            usize::from(u16::from_le_bytes([self.ends[place * 2], self.ends[place * 2 + 1]]))
        }
    }
}

fn fixed_width(ty: &Type) -> Option<u8> {
    Some(match ty {
        Type::Bool => 1,
        Type::Int16 => 2,
        Type::Int32 | Type::Float4 | Type::Date | Type::Oid | Type::Regclass | Type::Regtype => 4,
        Type::Int64 | Type::Float8 | Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_) => 8,
        Type::Interval | Type::Uuid => 16,
        _ => return None,
    })
}

fn write_fixed(ty: &Type, value: &Value, out: &mut [u8]) -> Result<(), Error> {
    match (ty, value) {
        (Type::Bool, Value::Bool(value)) => out[0] = u8::from(*value),
        (Type::Int16, Value::Int16(value)) => out.copy_from_slice(&value.to_le_bytes()),
        (Type::Int32, Value::Int32(value)) | (Type::Date, Value::Date(value)) => {
            out.copy_from_slice(&value.to_le_bytes())
        }
        (Type::Int64, Value::Int64(value))
        | (Type::Time(_), Value::Time(value))
        | (Type::Timestamp(_), Value::Timestamp(value))
        | (Type::TimestampTz(_), Value::TimestampTz(value)) => out.copy_from_slice(&value.to_le_bytes()),
        (Type::Float4, Value::Float4(value)) => out.copy_from_slice(&value.to_le_bytes()),
        (Type::Float8, Value::Float8(value)) => out.copy_from_slice(&value.to_le_bytes()),
        (Type::Oid | Type::Regclass | Type::Regtype, Value::Oid(value)) => out.copy_from_slice(&value.to_le_bytes()),
        (Type::Uuid, Value::Uuid(value)) => out.copy_from_slice(value.as_bytes()),
        (Type::Interval, Value::Interval(value)) => {
            out[..8].copy_from_slice(&value.micros.to_le_bytes());
            out[8..12].copy_from_slice(&value.days.to_le_bytes());
            out[12..].copy_from_slice(&value.months.to_le_bytes());
        }
        (ty, value) => return Err(crate::value::mismatch(&ty.to_string(), value)),
    }
    Ok(())
}

fn read_fixed(ty: &Type, bytes: &[u8]) -> Result<Value, Error> {
    fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
        bytes.try_into().map_err(|_| damaged())
    }
    Ok(match ty {
        Type::Bool => Value::Bool(bytes[0] != 0),
        Type::Int16 => Value::Int16(i16::from_le_bytes(array(bytes)?)),
        Type::Int32 => Value::Int32(i32::from_le_bytes(array(bytes)?)),
        Type::Date => Value::Date(i32::from_le_bytes(array(bytes)?)),
        Type::Int64 => Value::Int64(i64::from_le_bytes(array(bytes)?)),
        Type::Time(_) => Value::Time(i64::from_le_bytes(array(bytes)?)),
        Type::Timestamp(_) => Value::Timestamp(i64::from_le_bytes(array(bytes)?)),
        Type::TimestampTz(_) => Value::TimestampTz(i64::from_le_bytes(array(bytes)?)),
        Type::Float4 => Value::Float4(f32::from_le_bytes(array(bytes)?)),
        Type::Float8 => Value::Float8(f64::from_le_bytes(array(bytes)?)),
        Type::Oid | Type::Regclass | Type::Regtype => Value::Oid(u32::from_le_bytes(array(bytes)?)),
        Type::Uuid => Value::Uuid(uuid::Uuid::from_bytes(array(bytes)?)),
        Type::Interval => Value::Interval(Interval {
            micros: i64::from_le_bytes(array(&bytes[..8])?),
            days: i32::from_le_bytes(array(&bytes[8..12])?),
            months: i32::from_le_bytes(array(&bytes[12..])?),
        }),
        _ => return Err(damaged()),
    })
}

fn write_varying(ty: &Type, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match (ty, value) {
        (Type::Char(_), Value::Char(text)) => out.extend_from_slice(text.trim_end_matches(' ').as_bytes()),
        (Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar, Value::Text(text)) => {
            out.extend_from_slice(text.as_bytes())
        }
        (Type::Bytea, Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        (Type::Numeric(_), Value::Numeric(value)) => write_numeric(value, out),
        (Type::Array(_), Value::Array(_)) => {
            let mut buffer = bytes::BytesMut::new();
            encode_binary(value, ty, &mut buffer)?;
            out.extend_from_slice(&buffer);
        }
        (ty, value) => return Err(crate::value::mismatch(&ty.to_string(), value)),
    }
    Ok(())
}

fn read_varying(ty: &Type, bytes: &[u8]) -> Result<Value, Error> {
    let text = || std::str::from_utf8(bytes).map_err(|_| damaged());
    Ok(match ty {
        Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar => Value::Text(Arc::from(text()?)),
        Type::Char(length) => Value::Char(pad(text()?.to_owned(), *length).into()),
        Type::Bytea => Value::Bytes(Arc::from(bytes)),
        Type::Numeric(_) => Value::Numeric(read_numeric(bytes)?),
        Type::Array(_) => decode_binary(bytes, ty).map_err(|_| damaged())?,
        _ => return Err(damaged()),
    })
}

/// Scale, then the coefficient, little endian without bytes that only repeat its sign. One byte alone names what is not finite.
fn write_numeric(value: &Numeric, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.push(if value.is_nan() {
            0
        } else if value.signum() < 0 {
            1
        } else {
            2
        });
        return;
    }
    let coefficient = value.coefficient();
    let significant = 129 - if coefficient < 0 { coefficient.leading_ones() } else { coefficient.leading_zeros() };
    out.push(value.scale());
    out.extend_from_slice(&coefficient.to_le_bytes()[..significant.div_ceil(8) as usize]);
}

fn read_numeric(bytes: &[u8]) -> Result<Numeric, Error> {
    let (&scale, coefficient) = bytes.split_first().ok_or_else(damaged)?;
    if coefficient.is_empty() {
        return match scale {
            0 => Ok(Numeric::NAN),
            1 => Ok(Numeric::NEG_INFINITY),
            2 => Ok(Numeric::INFINITY),
            _ => Err(damaged()),
        };
    }
    let negative = coefficient[coefficient.len() - 1] & 0x80 != 0;
    let mut whole = if negative { [0xFF; 16] } else { [0; 16] };
    whole.get_mut(..coefficient.len()).ok_or_else(damaged)?.copy_from_slice(coefficient);
    Numeric::new(i128::from_le_bytes(whole), scale).map_err(|_| damaged())
}

#[cold]
fn damaged() -> Error {
    Error::corrupted("a row cannot be decoded by the columns of its table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<Type>, Vec<Value>) {
        let number = |text| Value::Numeric(Numeric::parse(text).expect("a number"));
        let pairs = [
            (Type::Int32, Value::Int32(-7)),
            (Type::Text, Value::text("héllo")),
            (Type::Bool, Value::Bool(true)),
            (Type::Char(Some(5)), Value::Char("ab   ".into())),
            (Type::Int64, Value::Int64(i64::MIN)),
            (Type::Int16, Value::Int16(3)),
            (Type::Float4, Value::Float4(1.5)),
            (Type::Float8, Value::Float8(-0.25)),
            (Type::Numeric(None), number("-123456789012345678901234.5678")),
            (Type::Numeric(None), number("NaN")),
            (Type::Numeric(None), number("-Infinity")),
            (Type::Numeric(None), number("0.00")),
            (Type::Bytea, Value::bytes(vec![0, 255, 1])),
            (Type::Date, Value::Date(-1)),
            (Type::Time(None), Value::Time(1)),
            (Type::Timestamp(None), Value::Timestamp(5)),
            (Type::TimestampTz(None), Value::TimestampTz(-5)),
            (Type::Interval, Value::Interval(Interval { months: 1, days: -2, micros: 3 })),
            (Type::Uuid, Value::Uuid(uuid::Uuid::from_u128(42))),
            (Type::Oid, Value::Oid(u32::MAX)),
            (Type::Varchar(Some(9)), Value::text("")),
            (
                Type::Array(Box::new(Type::Int32)),
                Value::Array(Arc::new(crate::value::Array::new(Type::Int32, vec![Value::Int32(1), Value::Null]))),
            ),
        ];
        pairs.into_iter().unzip()
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let (types, values) = sample();
        let codec = RowCodec::new(types);
        let row = codec.encode(&values).expect("encodes");
        let back = codec.decode(&row).expect("decodes");
        assert_eq!(format!("{back:?}"), format!("{values:?}"));
        let mut some = vec![];
        codec.decode_columns(&row, &[8, 0, 3], &mut some).expect("decodes");
        assert_eq!(format!("{some:?}"), format!("{:?}", [&values[8], &values[0], &values[3]]));
    }

    #[test]
    fn any_column_may_be_null() {
        let (types, values) = sample();
        let codec = RowCodec::new(types);
        for i in 0..values.len() {
            let mut values = values.clone();
            values[i] = Value::Null;
            let row = codec.encode(&values).expect("encodes");
            assert_eq!(codec.decode(&row), Ok(values));
        }
    }

    #[test]
    fn columns_added_later_read_as_missing() {
        let old = RowCodec::new([Type::Int32, Type::Text]);
        let row = old.encode(&[Value::Int32(1), Value::text("x")]).expect("encodes");
        let new = RowCodec::new([Type::Int32, Type::Text, Type::Int64, Type::Text]).with_missing(2, Value::Int64(9));
        assert_eq!(new.decode(&row), Ok(vec![Value::Int32(1), Value::text("x"), Value::Int64(9), Value::Null]));
        let newer = new.encode(&[Value::Int32(1), Value::Null, Value::Null, Value::Null]).expect("encodes");
        assert!(old.decode(&newer).is_err(), "an older definition cannot read a newer row");
    }

    #[test]
    fn long_rows_use_wide_offsets() {
        let codec = RowCodec::new([Type::Text, Type::Text]);
        for length in [0usize, 65_534, 65_535, 65_536, 200_000] {
            let values = vec![Value::text("x".repeat(length)), Value::text("end")];
            let row = codec.encode(&values).expect("encodes");
            assert_eq!(codec.decode(&row), Ok(values));
        }
    }

    #[test]
    fn the_layout_is_pinned() {
        let codec = RowCodec::new([Type::Int32, Type::Int32, Type::Int32, Type::Char(Some(84))]);
        let row =
            codec.encode(&[Value::Int32(1000), Value::Int32(1), Value::Null, Value::Char("".into())]).expect("encodes");
        assert_eq!(hex::encode(&row), "010400".to_owned() + "04" + "e803000001000000" + "00000000" + "0000");
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let (types, values) = sample();
        let codec = RowCodec::new(types);
        let row = codec.encode(&values).expect("encodes");
        for length in 0..row.len() {
            // Cutting only the last, varying columns may leave a whole row before them; it must not panic either way.
            let _ = codec.decode(&row[..length]);
        }
        let mut other = row.to_vec();
        other[0] = 2;
        assert_eq!(codec.decode(&other).map_err(|e| e.code), Err(SqlState::DATA_CORRUPTED));
        assert!(codec.encode(&values[1..]).is_err());
        assert!(RowCodec::new([Type::Int32]).encode(&[Value::Int64(1)]).is_err());
    }
}
