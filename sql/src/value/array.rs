//! One-dimensional arrays, as far as `= ANY($1)` and the catalog functions need them.

use crate::types::Type;
use crate::value::Value;

/// A one-dimensional array with lower bound 1.
#[derive(Clone, Debug)]
pub struct Array {
    element_type: Type,
    values: Vec<Value>,
}

impl Array {
    /// An array of `values`, each of which is NULL or of `element_type`.
    pub fn new(element_type: Type, values: Vec<Value>) -> Self {
        Self { element_type, values }
    }

    /// The type of the elements.
    pub fn element_type(&self) -> &Type {
        &self.element_type
    }

    /// The elements in order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}
