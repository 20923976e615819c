//! Subqueries and LATERAL relations in general: what is worked out for each row of a relation becomes a join with it.
//!
//! The values that a subquery takes from the rows around it are its *domain*: the distinct ones, as a relation of their own. The subquery is translated
//! with the domain in it: where it first needs a value of the row around it, it is joined with the domain, and from there on every row carries the
//! values that it is for ([`Relation::domain`]). Groupings, windows, DISTINCT and LIMIT then work for each of them apart. The result is joined with the rows
//! around by these values. So any subquery can be taken apart, whatever it is made of and however many levels out it refers.
//!
//! The price is that the relation around is read once more for the domain. What the engine can turn into a join by itself is left to it
//! ([`engine_takes`]).

use datafusion::common::{NullHandling, UnnestOptions};
use datafusion::functions_aggregate::bool_and_or::bool_or_udaf;
use datafusion::logical_expr::{Operator, binary_expr, when};

use super::*;
use crate::expression::Elements;

/// How a subquery gets at the rows around it.
pub(super) enum Frame {
    /// The engine does it, when it takes the subquery apart.
    Engine,
    /// By its domain.
    Domain(Box<Domain>),
}

/// The values that a subquery takes from the rows around it.
pub(super) struct Domain {
    plan: LogicalPlan,
    types: Vec<Type>,
    /// What the first columns stand for: how far out the row is, seen from the subquery, and the column of it.
    references: Vec<(usize, usize)>,
}

/// Whether the engine can take a subquery apart: it may refer to the row around it in the conditions next to its output only. Where there is
/// one value for each row, the conditions have to be equalities with columns.
pub(super) fn engine_takes(subquery: &Subquery, as_value: bool) -> bool {
    let scalar = matches!(subquery.kind, SubqueryKind::Scalar);
    subquery.plan.references().iter().all(|(levels, _)| *levels == 1)
        && takes(&subquery.plan, as_value || scalar, scalar)
}

fn takes(node: &Node, equalities: bool, groups: bool) -> bool {
    match node {
        Node::Project { input, output } => {
            output.iter().all(|(expr, _)| !expr.refers_out()) && takes(input, equalities, groups)
        }
        Node::Group { input, keys, sets: None, aggregates, .. } if groups && keys.is_empty() => {
            !aggregates.iter().flat_map(AggregateCall::parts).any(Expr::refers_out) && takes(input, true, false)
        }
        Node::Filter { input, conditions } => {
            let taken = |condition: &Expr| {
                !condition.refers_out() || (!condition.has_subquery() && (!equalities || is_plain_equality(condition)))
            };
            !input.refers_outside() && conditions.iter().all(taken)
        }
        other => !other.refers_outside(),
    }
}

/// Whether a condition is `column = value of the row around`, in a form that both engines compare alike.
fn is_plain_equality(condition: &Expr) -> bool {
    let Expr::Binary(binary) = condition else { return false };
    let (function, left, right) = &**binary;
    let plain = |column: &Expr, own: &Type, value: &Expr, other: &Type| {
        matches!(column, Expr::Column(_)) && value.columns().is_empty() && !is_keyed(own) && own == other
    };
    function.op == BinaryOp::Equal
        && (plain(left, &function.left, right, &function.right) || plain(right, &function.right, left, &function.left))
}

/// Whether each pair of columns is the same, NULLs included; `None` without pairs.
fn same_values(left: &[String], right: &[String]) -> Option<EngineExpr> {
    let same = |(a, b): (&String, &String)| binary_expr(column(a), Operator::IsNotDistinctFrom, column(b));
    left.iter().zip(right).map(same).reduce(EngineExpr::and)
}

impl Relation {
    /// The first columns are those that rows carry.
    pub(super) fn carrying(self, whole: usize) -> Relation {
        let Relation { plan, mut columns, mut types, mut domain } = self;
        domain.extend(columns.drain(..whole));
        types.drain(..whole);
        Relation { plan, columns, types, domain }
    }
}

impl Translator {
    fn domain(&self) -> Option<&Domain> {
        match self.frames.last() {
            Some(Frame::Domain(domain)) => Some(domain),
            _ => None,
        }
    }

    /// A value of a row around, where it is carried by the rows of `relation`.
    pub(super) fn carried(&self, relation: &Relation, levels: usize, place: usize) -> Option<(String, Type)> {
        let domain = self.domain()?;
        let at = domain.references.iter().position(|reference| *reference == (levels, place))?;
        Some((relation.domain.get(at)?.clone(), domain.types[at].clone()))
    }

    /// The types of the columns that rows carry at the present place.
    pub(super) fn domain_types(&self) -> Result<Vec<Type>, Error> {
        let domain = self.domain().ok_or_else(|| Error::internal("rows carry values outside a subquery"))?;
        Ok(domain.types.clone())
    }

    /// Another copy of the domain, with column names of its own.
    fn domain_again(&mut self) -> Result<Relation, Error> {
        let domain = self.domain().ok_or_else(|| Error::internal("a subquery without a domain"))?;
        let (plan, types) = (domain.plan.clone(), domain.types.clone());
        self.renamed(plan, types)
    }

    /// Makes the rows of a relation carry the values that they are for: each row for all of them, if it does not depend on them.
    pub(super) fn with_domain(&mut self, relation: Relation) -> Result<Relation, Error> {
        if !relation.domain.is_empty() || self.domain().is_none() {
            return Ok(relation);
        }
        let domain = self.domain_again()?;
        let plan = build(start(domain.plan).cross_join(relation.plan))?;
        Ok(Relation { plan, domain: domain.columns, ..relation })
    }

    /// A relation whose first columns, of its plan too, are those that its rows carry: for what goes by position.
    pub(super) fn carried_first(&mut self, relation: Relation) -> Result<Relation, Error> {
        let Relation { plan, columns, types, domain } = self.with_domain(relation)?;
        let columns = [domain, columns].concat();
        let types = [self.domain_types()?, types].concat();
        let shown: Vec<EngineExpr> = columns.iter().map(|name| column(name)).collect();
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types, domain: Vec::new() })
    }

    /// As [`Self::with_domain`], if one of these expressions over its rows needs it.
    pub(super) fn within_domain<'e>(
        &mut self,
        relation: Relation,
        mut exprs: impl Iterator<Item = &'e Expr>,
    ) -> Result<Relation, Error> {
        if relation.domain.is_empty() && self.domain().is_some() && exprs.any(Expr::refers_out) {
            return self.with_domain(relation);
        }
        Ok(relation)
    }

    /// Both sides of a join, made to carry what the join needs, and the condition that they belong to the same row around.
    pub(super) fn joined_domains(
        &mut self,
        left: Relation,
        right: Relation,
        kind: JoinKind,
        on: &[Expr],
    ) -> Result<(Relation, Relation, Option<EngineExpr>), Error> {
        if self.domain().is_none() {
            return Ok((left, right, None));
        }
        let (of_left, of_right) = (!left.domain.is_empty(), !right.domain.is_empty());
        let any = of_left || of_right || on.iter().any(Expr::refers_out);
        // The side whose rows are kept has to carry; of an inner join one of them.
        let (left_needs, right_needs) = match kind {
            JoinKind::Inner => (any && !of_right, false),
            JoinKind::Left => (any, false),
            JoinKind::Right => (false, any),
            JoinKind::Full => (any, any),
        };
        let left = if left_needs { self.with_domain(left)? } else { left };
        let right = if right_needs { self.with_domain(right)? } else { right };
        let belongs = same_values(&left.domain, &right.domain);
        Ok((left, right, belongs))
    }

    /// After a full join: what rows carry is what either side carried.
    pub(super) fn either_domain(
        &mut self,
        joined: Relation,
        left: &[String],
        right: &[String],
    ) -> Result<Relation, Error> {
        let names: Vec<String> = left.iter().map(|_| self.name()).collect();
        let mut shown: Vec<EngineExpr> = joined.columns.iter().map(|name| column(name)).collect();
        for ((left, right), name) in left.iter().zip(right).zip(&names) {
            let either =
                when(column(left).is_not_null(), column(left)).otherwise(column(right)).map_err(from_engine)?;
            shown.push(either.alias(name));
        }
        Ok(Relation { plan: build(start(joined.plan).project(shown))?, domain: names, ..joined })
    }

    /// Aggregates without keys have a row for each row around, also where there was nothing to aggregate.
    pub(super) fn also_empty(&mut self, grouped: Relation, aggregates: &[AggregateCall]) -> Result<Relation, Error> {
        let domain = self.domain_again()?;
        let joined = self.joined_by(domain.plan, JoinType::Left, &domain.columns, grouped.plan, &grouped.domain)?;
        let mut shown: Vec<EngineExpr> = domain.columns.iter().map(|name| column(name)).collect();
        let mut columns = Vec::with_capacity(grouped.columns.len());
        for (n, name) in grouped.columns.iter().enumerate() {
            let empty = match aggregates.get(n) {
                Some(call) => call.function.new_state().finish()?,
                None => Value::Null,
            };
            let shown_name = self.name();
            let value = if empty.is_null() {
                column(name)
            } else {
                let empty = EngineExpr::Literal(scalar(&empty, &grouped.types[n])?, None);
                when(column(name).is_not_null(), column(name)).otherwise(empty).map_err(from_engine)?
            };
            shown.push(value.alias(&shown_name));
            columns.push(shown_name);
        }
        let plan = build(start(joined).project(shown))?;
        Ok(Relation { plan, columns, types: grouped.types, domain: domain.columns })
    }

    /// LIMIT for each row around.
    pub(super) fn limited_each(
        &mut self,
        input: Relation,
        below: &Node,
        limit: Option<usize>,
        offset: usize,
    ) -> Result<Relation, Error> {
        let order = match below {
            Node::Sort { keys, .. } => self.sorts(&input, keys),
            _ => Vec::new(),
        };
        let parts = input.domain.iter().map(|name| column(name)).collect();
        let (plan, number) = self.numbered(input.plan.clone(), parts, order)?;
        let mut conditions = vec![column(&number).gt(lit(offset as u64))];
        conditions.extend(limit.map(|limit| column(&number).lt_eq(lit(offset.saturating_add(limit) as u64))));
        let plan = match conditions.into_iter().reduce(EngineExpr::and) {
            Some(all) => build(start(plan).filter(all))?,
            None => plan,
        };
        exact(Relation { plan, ..input })
    }

    fn joined_by(
        &self,
        left: LogicalPlan,
        kind: JoinType,
        left_keys: &[String],
        right: LogicalPlan,
        right_keys: &[String],
    ) -> Result<LogicalPlan, Error> {
        let keys = |names: &[String]| names.iter().map(Column::new_unqualified).collect::<Vec<_>>();
        let keys = (keys(left_keys), keys(right_keys));
        build(start(left).join_detailed(right, kind, keys, None, NullEquality::NullEqualsNull))
    }

    /// The names under which the values of references are found in `relation`, the rows around.
    fn sources(&self, relation: &Relation, references: &[(usize, usize)]) -> Result<Vec<(String, Type)>, Error> {
        let source = |(levels, place): &(usize, usize)| {
            let found = if *levels == 1 {
                relation.columns.get(*place).cloned().zip(relation.types.get(*place).cloned())
            } else {
                self.carried(relation, levels - 1, *place)
            };
            found.ok_or_else(|| Error::internal("a subquery refers to a row that is not there"))
        };
        references.iter().map(source).collect()
    }

    /// Translates a query for each of the values in `sources`, which are columns of `plan`; the first of them stand for `references`.
    fn for_each(
        &mut self,
        query: &Node,
        plan: &LogicalPlan,
        references: Vec<(usize, usize)>,
        sources: &[(String, Type)],
    ) -> Result<Relation, Error> {
        let values: Vec<EngineExpr> = sources.iter().map(|(from, _)| column(from)).collect();
        let (plan, _) = self.aggregated(plan.clone(), values, Vec::new())?;
        let types = sources.iter().map(|(_, ty)| ty.clone()).collect();
        self.frames.push(Frame::Domain(Box::new(Domain { plan, types, references })));
        let relation = self.node(query).and_then(|relation| self.with_domain(relation));
        self.frames.pop();
        relation
    }

    /// A relation of FROM that refers to those on its left.
    pub(super) fn lateral(
        &mut self,
        left: Relation,
        right: &Node,
        kind: JoinKind,
        on: &[Expr],
    ) -> Result<Relation, Error> {
        let references = right.references();
        if references.is_empty() {
            let right = self.node(right)?;
            return self.join(left, right, kind, on);
        }
        let further = references.iter().any(|(levels, _)| *levels > 1) || on.iter().any(Expr::refers_out);
        let left = if further { self.with_domain(left)? } else { left };
        let sources = self.sources(&left, &references)?;
        let right = self.for_each(right, &left.plan, references, &sources)?;
        let names: Vec<String> = sources.into_iter().map(|(name, _)| name).collect();
        let both = Relation {
            columns: [&left.columns[..], &right.columns[..]].concat(),
            types: [&left.types[..], &right.types[..]].concat(),
            domain: left.domain,
            plan: left.plan.clone(),
        };
        if kind == JoinKind::Inner {
            let plan = self.joined_by(left.plan, JoinType::Inner, &names, right.plan, &right.domain)?;
            return self.filtered(Relation { plan, ..both }, on);
        }
        if on.iter().any(Expr::has_subquery) {
            return Err(Error::unsupported(
                "a subquery in the condition of an outer join",
                "Join with a subquery in FROM.",
            ));
        }
        let (conditions, both) = self.over(both, |this| this.conditions(on, true))?;
        let conditions = conditions.into_iter().chain(same_values(&names, &right.domain));
        let plan = build(start(left.plan).join_on(right.plan, JoinType::Left, conditions))?;
        Ok(Relation { plan, ..both })
    }

    /// Set-returning functions: a row for each element.
    pub(super) fn expanded(&mut self, input: Relation, arrays: &[(Expr, Type)]) -> Result<Relation, Error> {
        let input = self.within_domain(input, arrays.iter().map(|(array, _)| array))?;
        let (lists, input) = self.over(input, |this| {
            let list = |(array, element): &(Expr, Type)| {
                let array = this.expression(array, &Type::Array(Box::new(element.clone())))?;
                let list = ScalarFunction::new_udf(Elements::function(element), vec![array]);
                Ok((EngineExpr::ScalarFunction(list), element.clone()))
            };
            arrays.iter().map(list).collect::<Result<Vec<_>, Error>>()
        })?;
        let (relation, names) = self.extended(input, lists)?;
        let columns = names.iter().map(Column::new_unqualified).collect();
        let options = UnnestOptions { null_handling: NullHandling::Drop, ..UnnestOptions::default() };
        let plan = build(start(relation.plan).unnest_columns_with_options(columns, options))?;
        Ok(Relation { plan, ..relation })
    }

    /// The value of a subquery for each row at hand, as a further column of them.
    pub(super) fn attached(&mut self, subquery: &Subquery) -> Result<EngineExpr, Error> {
        let mut operands = Vec::new();
        for member in subquery.kind.members() {
            operands.push((self.expression(&member.operand, &member.equal.left)?, member.equal.left.clone()));
        }
        let mut around =
            self.scopes.last().cloned().ok_or_else(|| Error::internal("a subquery without rows around it"))?;
        let references = subquery.plan.references();
        let mut sources = self.sources(&around, &references)?;
        if !operands.is_empty() {
            // Whatever the plan has already stays in it: expressions refer to it.
            let mut shown: Vec<EngineExpr> =
                around.plan.schema().columns().into_iter().map(EngineExpr::Column).collect();
            for (operand, ty) in operands {
                let name = self.name();
                shown.push(operand.alias(&name));
                sources.push((name, ty));
            }
            around.plan = build(start(around.plan).project(shown))?;
        }
        let own = references.len();
        let found = self.for_each(&subquery.plan, &around.plan, references, &sources)?;
        let (found, value) = self.reduced(subquery, found, own)?;
        let names: Vec<String> = sources.into_iter().map(|(name, _)| name).collect();
        let plan = self.joined_by(around.plan, JoinType::Left, &names, found.plan, &found.domain)?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.plan = plan;
        }
        Ok(value)
    }

    /// One row for each row around, and the value that it gives there; without a row the value is that of no rows.
    fn reduced(&mut self, subquery: &Subquery, found: Relation, own: usize) -> Result<(Relation, EngineExpr), Error> {
        let by: Vec<EngineExpr> = found.domain.iter().map(|name| column(name)).collect();
        let element = found.types.first().cloned().unwrap_or(Type::Bool);
        match &subquery.kind {
            SubqueryKind::Scalar => {
                if expressions::is_one_row(&subquery.plan) {
                    let value = column(&found.columns[0]);
                    return Ok((found, value));
                }
                let only = Aggregate::function(Function::Only, vec![element.clone()], Vec::new(), false, element);
                let name = self.name();
                let call = aggregate(only, vec![column(&found.columns[0])], None).alias(&name);
                let (plan, domain) = self.aggregated(found.plan, by, vec![call])?;
                Ok((Relation { plan, domain, ..found }, column(&name)))
            }
            SubqueryKind::Exists => {
                let (plan, domain) = self.aggregated(found.plan, by, Vec::new())?;
                let name = self.name();
                let mut shown: Vec<EngineExpr> = domain.iter().map(|name| column(name)).collect();
                shown.push(lit(true).alias(&name));
                let plan = build(start(plan).project(shown))?;
                Ok((Relation { plan, domain, ..found }, column(&name).is_not_null()))
            }
            SubqueryKind::Array(_) => {
                let function = resolve_aggregate("array_agg", std::slice::from_ref(&element))?;
                let keys = order_of(&subquery.plan);
                let mut types = function.arguments.clone();
                let mut arguments = vec![column(&found.columns[0])];
                let mut directions = Vec::new();
                for key in keys {
                    types.push(found.types[key.place].clone());
                    arguments.push(column(&found.columns[key.place]));
                    directions.push((key.descending, key.nulls_first));
                }
                let result = function.result.clone();
                let function = Aggregate::function(Function::Of(function), types, directions, false, result);
                let name = self.name();
                let call = aggregate(function, arguments, None).alias(&name);
                let (plan, domain) = self.aggregated(found.plan, by, vec![call])?;
                Ok((Relation { plan, domain, ..found }, self.or_empty_array(column(&name), subquery)))
            }
            SubqueryKind::In(members) => {
                let operands = found.domain[own..].to_vec();
                let (matches, found) = self.over(found, |this| {
                    let mut all: Option<EngineExpr> = None;
                    for (n, (member, operand)) in members.iter().zip(&operands).enumerate() {
                        let one = this.equal_to_column(member, column(operand), n)?;
                        all = Some(all.map_or(one.clone(), |before| before.and(one)));
                    }
                    all.ok_or_else(|| Error::internal("IN of nothing"))
                })?;
                let unknown = matches.clone().is_null();
                let (found, names) = self.extended(found, vec![(matches, Type::Bool), (unknown, Type::Bool)])?;
                let (is_in, is_unknown) = (self.name(), self.name());
                let calls = vec![
                    aggregate(bool_or_udaf(), vec![column(&names[0])], None).alias(&is_in),
                    aggregate(bool_or_udaf(), vec![column(&names[1])], None).alias(&is_unknown),
                ];
                let (plan, domain) = self.aggregated(found.plan, by, calls)?;
                let value = when(column(&is_in).is_true(), lit(true))
                    .when(column(&is_unknown).is_true(), lit(ScalarValue::Boolean(None)))
                    .otherwise(lit(false))
                    .map_err(from_engine)?;
                Ok((Relation { plan, domain, ..found }, value))
            }
        }
    }
}

/// The order of a query's rows, by columns that come out of it.
fn order_of(node: &Node) -> Vec<SortKey> {
    match node {
        Node::Sort { keys, .. } => keys.clone(),
        Node::Limit { input, .. } => order_of(input),
        _ => Vec::new(),
    }
}
