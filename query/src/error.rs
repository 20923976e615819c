//! Errors on their way through the engine: ours travel inside its own and come out as they were.

use datafusion::common::DataFusionError;
use quorate_sql::error::{Error, SqlState};

/// Ours, for the engine to carry.
pub fn to_engine(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The engine's, or ours that it carried.
pub fn from_engine(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::internal(other.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_engine(*inner),
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => from_engine(inner),
            // Several operators have been told of it.
            Err(shared) => match shared.find_root() {
                DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
                    Some(own) => own.clone(),
                    None => Error::internal(inner.to_string()),
                },
                DataFusionError::ResourcesExhausted(text) => exhausted(text),
                other => Error::internal(other.to_string()),
            },
        },
        DataFusionError::ArrowError(inner, _) => match *inner {
            datafusion::arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => match other.downcast::<DataFusionError>() {
                    Ok(inner) => from_engine(*inner),
                    Err(other) => Error::internal(other.to_string()),
                },
            },
            other => Error::internal(other.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => exhausted(&text),
        DataFusionError::NotImplemented(text) => Error::unsupported(text, "Write the query in another way."),
        DataFusionError::Plan(text) if text.contains("subquery") => {
            Error::unsupported(format_args!("this form of a subquery ({text})"), "Write it as a join.")
        }
        other => Error::internal(other.to_string()),
    }
}

fn exhausted(detail: &str) -> Error {
    Error::new(SqlState::OUT_OF_MEMORY, "out of memory")
        .with_detail(detail.to_owned())
        .with_hint("Select fewer rows or columns, or raise memory_limit.")
}
