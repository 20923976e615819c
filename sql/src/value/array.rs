//! One-dimensional arrays, as far as `= ANY($1)` and the catalog functions need them.

use std::collections::HashSet;
use std::sync::OnceLock;

use crate::types::Type;
use crate::value::Value;

/// A one-dimensional array with lower bound 1.
#[derive(Clone, Debug)]
pub struct Array {
    element_type: Type,
    values: Vec<Value>,
    /// The elements, once somebody has asked for many of them.
    lookup: OnceLock<HashSet<Value>>,
}

impl Array {
    /// An array of `values`, each of which is NULL or of `element_type`.
    pub fn new(element_type: Type, values: Vec<Value>) -> Self {
        Self { element_type, values, lookup: OnceLock::new() }
    }

    /// The type of the elements.
    pub fn element_type(&self) -> &Type {
        &self.element_type
    }

    /// The elements in order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether one of the elements equals a value of their type; `None` if that is not known, since there are NULLs. The first call takes as long as a
    /// search, later ones do not.
    pub fn has(&self, value: &Value) -> Option<bool> {
        if self.values.is_empty() {
            return Some(false);
        }
        if value.is_null() {
            return None;
        }
        let lookup = self.lookup.get_or_init(|| self.values.iter().cloned().collect());
        match (lookup.contains(value), lookup.contains(&Value::Null)) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }
}
