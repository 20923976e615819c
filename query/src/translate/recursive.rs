//! Recursive queries.
//!
//! One that depends on the rows around it is worked out for all of them at once, as other subqueries are: its rows, in the work table too, carry the
//! values that they are for.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::cte_worktable::CteWorkTable;

use super::*;

/// The rows that a recursive query found last, which its step starts from.
pub(super) struct Work {
    name: String,
    /// Its columns, those that rows carry first.
    schema: SchemaRef,
    /// The types of the columns that rows carry.
    carried: Vec<Type>,
    /// How many subqueries there are around the recursive query.
    depth: usize,
}

impl Translator {
    pub(super) fn recursive(&mut self, id: usize, first: &Node, step: &Node, all: bool) -> Result<Relation, Error> {
        let refers = first.refers_outside() || step.refers_outside();
        let first = self.node(first)?;
        // Also what begins with the work table of a recursive query around it.
        let carries = refers || !first.domain.is_empty();
        let carried = if carries { self.domain_types()? } else { Vec::new() };
        let first = self.term(first, carries)?;
        let types = first.types.clone();
        if !all && types[carried.len()..].iter().any(has_several_forms) {
            return Err(Error::unsupported(
                "UNION in a recursive query over numeric without a scale, interval or arrays",
                "Use UNION ALL, or cast the columns.",
            ));
        }
        let name = format!("work{id}");
        let fields: Vec<Field> =
            first.columns.iter().zip(&types).map(|(name, ty)| Field::new(name, data_type(ty), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let whole = carried.len();
        self.work.insert(id, Work { name: name.clone(), schema, carried, depth: self.frames.len() });
        let step = self.node(step)?;
        let step = self.term(step, carries)?;
        let plan = build(start(first.plan).to_recursive_query(name, step.plan, !all))?;
        let found = self.renamed(plan, types)?;
        Ok(found.carrying(whole))
    }

    /// One of the two terms: its plan has exactly its columns in their order, those that rows carry first.
    fn term(&mut self, relation: Relation, carries: bool) -> Result<Relation, Error> {
        if !carries && !relation.domain.is_empty() {
            return Err(Error::unsupported(
                "a recursive query whose step alone reads another recursive query that depends on the rows around it",
                "Join with its result.",
            ));
        }
        exact(if carries { self.carried_first(relation)? } else { relation })
    }

    /// What the step reads.
    pub(super) fn work(&mut self, id: usize, types: &[Type]) -> Result<Relation, Error> {
        let work = self.work.get(&id).ok_or_else(|| Error::internal("a work table without its query"))?;
        let whole = work.carried.len();
        if whole > 0 && work.depth != self.frames.len() {
            return Err(Error::unsupported(
                "a recursive query that refers to the query around it, and to itself in a subquery",
                "Join with its result.",
            ));
        }
        let source = provider_as_source(Arc::new(CteWorkTable::new(&work.name, work.schema.clone())));
        let types = [&work.carried, types].concat();
        let plan = build(LogicalPlanBuilder::scan(work.name.clone(), source, None))?;
        Ok(self.renamed(plan, types)?.carrying(whole))
    }
}
