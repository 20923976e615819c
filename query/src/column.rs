//! Values as Arrow columns and back.
//!
//! Each SQL type has one Arrow form. Where Arrow's own comparison and hashing agree with PostgreSQL's, the form is plain; the values of other types
//! ([`is_keyed`]) are carried as bytes of the row codec, and what compares, groups or joins them does so by their order-preserving key ([`key`]).
//! Dates and times keep PostgreSQL's own numbers, infinities included; nothing here does arithmetic on them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringBuilder,
};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt32Type,
};
use datafusion::common::ScalarValue;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::row::RowCodec;
use quorate_sql::types::Type;
use quorate_sql::value::Value;

/// The Arrow form of a type.
pub fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Bool => DataType::Boolean,
        Type::Int16 => DataType::Int16,
        Type::Int32 | Type::Date => DataType::Int32,
        Type::Int64 | Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_) => DataType::Int64,
        Type::Oid | Type::Regclass | Type::Regtype => DataType::UInt32,
        Type::Float4 => DataType::Float32,
        Type::Float8 => DataType::Float64,
        Type::Varchar(_) | Type::Text | Type::InternalChar | Type::Name | Type::Unknown => DataType::Utf8,
        Type::Uuid => DataType::FixedSizeBinary(16),
        Type::Bytea
        | Type::Char(_)
        | Type::Numeric(_)
        | Type::Interval
        | Type::Array(_)
        | Type::Void
        | Type::Record => DataType::Binary,
    }
}

/// Whether equal values of a type may have different Arrow forms, or their order another one than their forms have.
pub fn is_keyed(ty: &Type) -> bool {
    matches!(ty, Type::Char(_) | Type::Numeric(_) | Type::Interval | Type::Array(_) | Type::Record | Type::Void)
}

/// Whether equal values of a type may have different Arrow forms. Of columns with a declared scale or length they have not.
pub fn has_several_forms(ty: &Type) -> bool {
    is_keyed(ty) && !matches!(ty, Type::Numeric(Some(_)) | Type::Char(Some(_)))
}

/// Bytes that are equal for equal values and ordered as they are.
pub fn key(value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        Value::Array(array) => {
            for element in array.values() {
                if element.is_null() {
                    // Behind all other elements, as NULL is.
                    out.push(2);
                } else {
                    out.push(1);
                    key(element, out)?;
                }
            }
            out.push(0);
            Ok(())
        }
        other => quorate_sql::key::encode_value(other, out),
    }
}

/// Collects values of one type into an Arrow array.
pub struct ColumnBuilder {
    kind: Kind,
}

enum Kind {
    Bool(BooleanBuilder),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Boxed(BinaryBuilder, RowCodec),
}

/// The codec of a boxed value. The length of `char(n)` is what its blanks are told by.
fn codec(ty: &Type) -> RowCodec {
    RowCodec::new([if matches!(ty, Type::Char(_)) { ty.clone() } else { ty.base() }])
}

/// Refuses what an Arrow array cannot hold: its places are counted in 31 bits.
fn fits(held: usize, more: usize) -> Result<(), Error> {
    if held.saturating_add(more) <= i32::MAX as usize {
        return Ok(());
    }
    let detail = "The values of one column in one batch of rows take more than 2 GiB.";
    Err(Error::new(SqlState::OUT_OF_MEMORY, "out of memory")
        .with_detail(detail)
        .with_hint("Make fewer or shorter values at once."))
}

fn misfit(ty: &str, value: &Value) -> Error {
    Error::internal(format!("a value {value:?} in a column of {ty}"))
}

impl ColumnBuilder {
    /// A column of this type with room for so many values.
    pub fn new(ty: &Type, capacity: usize) -> ColumnBuilder {
        let kind = match data_type(ty) {
            DataType::Boolean => Kind::Bool(BooleanBuilder::with_capacity(capacity)),
            DataType::Int16 => Kind::Int16(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Int32 => Kind::Int32(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Int64 => Kind::Int64(PrimitiveBuilder::with_capacity(capacity)),
            DataType::UInt32 => Kind::UInt32(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Float32 => Kind::Float4(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Float64 => Kind::Float8(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Utf8 => Kind::Text(StringBuilder::with_capacity(capacity, capacity * 16)),
            DataType::FixedSizeBinary(_) => Kind::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16)),
            _ if matches!(ty, Type::Bytea) => Kind::Bytes(BinaryBuilder::with_capacity(capacity, capacity * 16)),
            _ => Kind::Boxed(BinaryBuilder::with_capacity(capacity, capacity * 16), codec(ty)),
        };
        ColumnBuilder { kind }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// XX000 for a value of another type, 53200 for more than an array can hold.
    pub fn push(&mut self, value: &Value) -> Result<(), Error> {
        match (&mut self.kind, value) {
            (Kind::Bool(column), Value::Null) => column.append_null(),
            (Kind::Bool(column), Value::Bool(value)) => column.append_value(*value),
            (Kind::Int16(column), Value::Null) => column.append_null(),
            (Kind::Int16(column), Value::Int16(value)) => column.append_value(*value),
            (Kind::Int32(column), Value::Null) => column.append_null(),
            (Kind::Int32(column), Value::Int32(value) | Value::Date(value)) => column.append_value(*value),
            (Kind::Int64(column), Value::Null) => column.append_null(),
            (
                Kind::Int64(column),
                Value::Int64(value) | Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value),
            ) => column.append_value(*value),
            (Kind::UInt32(column), Value::Null) => column.append_null(),
            (Kind::UInt32(column), Value::Oid(value)) => column.append_value(*value),
            (Kind::Float4(column), Value::Null) => column.append_null(),
            // One form for all NaNs, and for both zeros, which are equal.
            (Kind::Float4(column), Value::Float4(value)) => {
                column.append_value(if value.is_nan() { f32::NAN } else { *value + 0.0 });
            }
            (Kind::Float8(column), Value::Null) => column.append_null(),
            (Kind::Float8(column), Value::Float8(value)) => {
                column.append_value(if value.is_nan() { f64::NAN } else { *value + 0.0 });
            }
            (Kind::Text(column), Value::Null) => column.append_null(),
            (Kind::Text(column), Value::Text(value) | Value::Char(value)) => {
                fits(column.values_slice().len(), value.len())?;
                column.append_value(value);
            }
            (Kind::Bytes(column), Value::Null) => column.append_null(),
            (Kind::Bytes(column), Value::Bytes(value)) => {
                fits(column.values_slice().len(), value.len())?;
                column.append_value(value);
            }
            (Kind::Uuid(column), Value::Null) => column.append_null(),
            (Kind::Uuid(column), Value::Uuid(value)) => {
                column.append_value(value.as_bytes()).map_err(|error| Error::internal(error.to_string()))?;
            }
            (Kind::Boxed(column, _), Value::Null) => column.append_null(),
            (Kind::Boxed(column, codec), value) => {
                let bytes = codec.encode(std::slice::from_ref(value))?;
                fits(column.values_slice().len(), bytes.len())?;
                column.append_value(bytes);
            }
            (Kind::Bool(_), value) => return Err(misfit("boolean", value)),
            (Kind::Int16(_), value) => return Err(misfit("smallint", value)),
            (Kind::Int32(_), value) => return Err(misfit("integer or date", value)),
            (Kind::Int64(_), value) => return Err(misfit("bigint or timestamps", value)),
            (Kind::UInt32(_), value) => return Err(misfit("oid", value)),
            (Kind::Float4(_) | Kind::Float8(_), value) => return Err(misfit("floating point numbers", value)),
            (Kind::Text(_), value) => return Err(misfit("text", value)),
            (Kind::Bytes(_), value) => return Err(misfit("bytea", value)),
            (Kind::Uuid(_), value) => return Err(misfit("uuid", value)),
        }
        Ok(())
    }

    /// The column.
    pub fn finish(self) -> ArrayRef {
        match self.kind {
            Kind::Bool(mut column) => Arc::new(column.finish()),
            Kind::Int16(mut column) => Arc::new(column.finish()),
            Kind::Int32(mut column) => Arc::new(column.finish()),
            Kind::Int64(mut column) => Arc::new(column.finish()),
            Kind::UInt32(mut column) => Arc::new(column.finish()),
            Kind::Float4(mut column) => Arc::new(column.finish()),
            Kind::Float8(mut column) => Arc::new(column.finish()),
            Kind::Text(mut column) => Arc::new(column.finish()),
            Kind::Bytes(mut column) | Kind::Boxed(mut column, _) => Arc::new(column.finish()),
            Kind::Uuid(mut column) => Arc::new(column.finish()),
        }
    }
}

/// Reads an Arrow array as values of one type.
pub struct ColumnReader {
    array: ArrayRef,
    ty: Type,
    codec: Option<RowCodec>,
}

impl ColumnReader {
    /// The values of `array`, which has the form of `ty`.
    ///
    /// # Errors
    /// XX000 if it has another form.
    pub fn new(array: ArrayRef, ty: &Type) -> Result<ColumnReader, Error> {
        if *array.data_type() != data_type(ty) {
            return Err(Error::internal(format!("a column of {ty} came as {}", array.data_type())));
        }
        let boxed = array.data_type() == &DataType::Binary && !matches!(ty, Type::Bytea);
        Ok(ColumnReader { array, ty: ty.clone(), codec: boxed.then(|| codec(ty)) })
    }

    /// The value at a place.
    ///
    /// # Errors
    /// XX000 for bytes that are no value.
    pub fn value(&self, row: usize) -> Result<Value, Error> {
        let array = &self.array;
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        fn at<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
            array.as_primitive::<T>().value(row)
        }
        Ok(match &self.ty {
            Type::Bool => Value::Bool(array.as_boolean().value(row)),
            Type::Int16 => Value::Int16(at::<Int16Type>(array, row)),
            Type::Int32 => Value::Int32(at::<Int32Type>(array, row)),
            Type::Date => Value::Date(at::<Int32Type>(array, row)),
            Type::Int64 => Value::Int64(at::<Int64Type>(array, row)),
            Type::Time(_) => Value::Time(at::<Int64Type>(array, row)),
            Type::Timestamp(_) => Value::Timestamp(at::<Int64Type>(array, row)),
            Type::TimestampTz(_) => Value::TimestampTz(at::<Int64Type>(array, row)),
            Type::Oid | Type::Regclass | Type::Regtype => Value::Oid(at::<UInt32Type>(array, row)),
            Type::Float4 => Value::Float4(at::<Float32Type>(array, row)),
            Type::Float8 => Value::Float8(at::<Float64Type>(array, row)),
            Type::Varchar(_) | Type::Text | Type::InternalChar | Type::Name | Type::Unknown => {
                Value::text(array.as_string::<i32>().value(row))
            }
            Type::Bytea => Value::bytes(array.as_binary::<i32>().value(row)),
            Type::Uuid => {
                let bytes = array.as_fixed_size_binary().value(row);
                Value::Uuid(uuid::Uuid::from_slice(bytes).map_err(|error| Error::internal(error.to_string()))?)
            }
            _ => {
                let codec = self.codec.as_ref().ok_or_else(|| Error::internal("a boxed column without codec"))?;
                codec.decode_column(array.as_binary::<i32>().value(row), 0)?
            }
        })
    }
}

/// One value as an Arrow constant.
///
/// # Errors
/// XX000 for a value of another type.
pub fn scalar(value: &Value, ty: &Type) -> Result<ScalarValue, Error> {
    let mut column = ColumnBuilder::new(ty, 1);
    column.push(value)?;
    ScalarValue::try_from_array(&column.finish(), 0).map_err(crate::error::from_engine)
}
