//! From the SQL engine's tree of operators to the relational engine's logical plan.
//!
//! Columns get names that are unique in the whole plan, so that joins and subqueries never confuse them. Wherever values are grouped, joined or made
//! distinct and equal ones may have different forms (`1.0` and `1.00`), it is done by their keys, and any one of the values is shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column, NullEquality, ScalarValue, Spans};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::grouping::grouping_udaf;
use datafusion::functions_window::cume_dist::cume_dist_udwf;
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::nth_value::{first_value_udwf, last_value_udwf, nth_value_udwf};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, percent_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{
    AggregateFunction, Exists, InList, InSubquery, ScalarFunction, WindowFunction as EngineWindow, WindowFunctionParams,
};
use datafusion::logical_expr::{
    Expr as EngineExpr, JoinType, LogicalPlan, LogicalPlanBuilder, SortExpr, Subquery as EngineSubquery, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, lit,
};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::functions::{BinaryOp, resolve_aggregate};
use quorate_sql::plan::expression::Expr;
use quorate_sql::plan::level::{AggregateCall, WindowCall};
use quorate_sql::plan::relational::{
    Frame, FrameBound, FrameUnit, JoinKind, Member, Node, SetKind, Subquery, SubqueryKind, WindowFunction,
};
use quorate_sql::plan::select::{SelectPlan, SortKey};
use quorate_sql::types::Type;
use quorate_sql::value::{Array, Value};
use tokio::sync::mpsc;

use crate::aggregate::{Aggregate, Function};
use crate::column::{data_type, has_several_forms, is_keyed, scalar};
use crate::error::from_engine;
use crate::expression::{Compiled, Key, Shared};
use crate::rows::{Leaf, Request};

mod dependent;
mod expressions;
mod recursive;
mod sets;
mod windows;

/// A plan with the names and types of its columns, in order. The plan may have further columns.
#[derive(Clone)]
pub struct Relation {
    pub plan: LogicalPlan,
    pub columns: Vec<String>,
    pub types: Vec<Type>,
    /// The columns that tell which row of the query around it a row is for ([`dependent`]); none if it is the same for all.
    domain: Vec<String>,
}

/// Translates one query.
pub struct Translator {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    scans: Arc<AtomicU64>,
    /// The plans of the leaves, by number.
    pub leaves: Vec<SelectPlan>,
    names: usize,
    /// The relations whose rows expressions may refer to: the last is the one at hand.
    scopes: Vec<Relation>,
    /// How the subqueries around the present place get at the rows around them, the innermost last.
    frames: Vec<dependent::Frame>,
    /// Work tables of recursive queries.
    work: HashMap<usize, recursive::Work>,
}

fn column(name: &str) -> EngineExpr {
    EngineExpr::Column(Column::new_unqualified(name))
}

/// Applies a builder's step.
fn build(builder: Result<LogicalPlanBuilder, datafusion::common::DataFusionError>) -> Result<LogicalPlan, Error> {
    builder.and_then(LogicalPlanBuilder::build).map_err(from_engine)
}

fn start(plan: LogicalPlan) -> LogicalPlanBuilder {
    LogicalPlanBuilder::from(plan)
}

/// What equal values have in common: their key, or the value itself.
fn comparable(expr: EngineExpr, ty: &Type) -> EngineExpr {
    if is_keyed(ty) { EngineExpr::ScalarFunction(ScalarFunction::new_udf(Key::function(ty), vec![expr])) } else { expr }
}

impl Translator {
    /// A translator for one execution.
    pub fn new(shared: Arc<Shared>, requests: mpsc::UnboundedSender<Request>) -> Translator {
        Translator {
            shared,
            requests,
            scans: Arc::default(),
            leaves: Vec::new(),
            names: 0,
            scopes: Vec::new(),
            frames: Vec::new(),
            work: HashMap::new(),
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// Translates a query: its plan has exactly the columns that it says.
    ///
    /// # Errors
    /// 0A000 for what the engine cannot do; what evaluating constants reports.
    pub fn query(&mut self, node: &Node) -> Result<Relation, Error> {
        let relation = self.node(node)?;
        exact(relation)
    }

    /// Translates an operator and all below it.
    fn node(&mut self, node: &Node) -> Result<Relation, Error> {
        match node {
            Node::Rows(plan) => self.leaf(plan),
            Node::Filter { input, conditions } => {
                let input = self.node(input)?;
                self.filtered(input, conditions)
            }
            Node::Project { input, output } => {
                let input = self.node(input)?;
                self.projected(input, output)
            }
            Node::Join { left, right, kind, on } => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                self.join(left, right, *kind, on)
            }
            Node::Lateral { left, right, kind, on } => {
                let left = self.node(left)?;
                self.lateral(left, right, *kind, on)
            }
            Node::Expand { input, arrays } => {
                let input = self.node(input)?;
                self.expanded(input, arrays)
            }
            Node::Group { input, keys, sets, aggregates, groupings } => {
                let input = self.node(input)?;
                self.grouped(input, keys, sets.as_deref(), aggregates, groupings)
            }
            Node::Window { input, calls } => {
                let mut relation = self.node(input)?;
                let width = relation.columns.len();
                for call in calls {
                    relation = self.windowed(relation, width, call)?;
                }
                Ok(relation)
            }
            Node::Distinct { input, on: None } => {
                let input = self.node(input)?;
                self.distinct(input)
            }
            Node::Distinct { input, on: Some((on, keys)) } => {
                let input = self.node(input)?;
                self.distinct_on(input, *on, keys)
            }
            Node::Sort { input, keys } => {
                let input = self.node(input)?;
                let sorts = self.sorts(&input, keys);
                Ok(Relation { plan: build(start(input.plan).sort(sorts))?, ..input })
            }
            Node::Limit { input: below, limit, offset } => {
                let input = self.node(below)?;
                let limit = self.count(limit.as_ref(), "LIMIT", SqlState::INVALID_ROW_COUNT_IN_LIMIT)?;
                let offset = self.count(offset.as_ref(), "OFFSET", SqlState::INVALID_ROW_COUNT_IN_OFFSET)?;
                if !input.domain.is_empty() {
                    return self.limited_each(input, below, limit, offset.unwrap_or(0));
                }
                Ok(Relation { plan: build(start(input.plan).limit(offset.unwrap_or(0), limit))?, ..input })
            }
            Node::Set { kind, all, left, right } => self.set(*kind, *all, left, right),
            Node::Recursive { id, first, step, all } => self.recursive(*id, first, step, *all),
            Node::Work { id, types } => self.work(*id, types),
        }
    }

    /// Gives all columns of a plan new names without a qualifier.
    fn renamed(&mut self, plan: LogicalPlan, types: Vec<Type>) -> Result<Relation, Error> {
        let columns: Vec<String> = types.iter().map(|_| self.name()).collect();
        let exprs: Vec<EngineExpr> = plan
            .schema()
            .columns()
            .into_iter()
            .zip(&columns)
            .map(|(from, to)| EngineExpr::Column(from).alias(to))
            .collect();
        Ok(Relation { plan: build(start(plan).project(exprs))?, columns, types, domain: Vec::new() })
    }

    fn leaf(&mut self, plan: &SelectPlan) -> Result<Relation, Error> {
        let types: Vec<Type> = plan.columns.iter().map(|column| column.ty.clone()).collect();
        let fields: Vec<Field> =
            types.iter().enumerate().map(|(n, ty)| Field::new(format!("v{n}"), data_type(ty), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let number = self.leaves.len();
        self.leaves.push(plan.clone());
        let leaf = Leaf::new(number, schema.clone(), types.clone(), self.requests.clone(), self.scans.clone());
        let table = StreamingTable::try_new(schema, vec![Arc::new(leaf)]).map_err(from_engine)?;
        let source = provider_as_source(Arc::new(table));
        let plan = build(LogicalPlanBuilder::scan(format!("leaf{number}"), source, None))?;
        self.renamed(plan, types)
    }

    /// Translates expressions over the rows of `input`. Subqueries in them may add columns to its plan.
    fn over<T>(
        &mut self,
        input: Relation,
        translate: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<(T, Relation), Error> {
        self.scopes.push(input);
        let translated = translate(self);
        let input = self.scopes.pop().ok_or_else(|| Error::internal("a scope is gone"))?;
        Ok((translated?, input))
    }

    fn filtered(&mut self, input: Relation, conditions: &[Expr]) -> Result<Relation, Error> {
        let input = self.within_domain(input, conditions.iter())?;
        let before = input.plan.schema().fields().len();
        let (conditions, mut input) = self.over(input, |this| this.conditions(conditions, false))?;
        let grown = input.plan.schema().fields().len() > before;
        // One filter: the engine takes a subquery apart by the conditions of a single one.
        if let Some(all) = conditions.into_iter().reduce(EngineExpr::and) {
            input.plan = build(start(input.plan).filter(all))?;
        }
        if grown { exact(input) } else { Ok(input) }
    }

    fn projected(&mut self, input: Relation, output: &[(Expr, Type)]) -> Result<Relation, Error> {
        let input = self.within_domain(input, output.iter().map(|(expr, _)| expr))?;
        let (exprs, input) = self.over(input, |this| {
            output.iter().map(|(expr, ty)| this.expression(expr, ty)).collect::<Result<Vec<_>, _>>()
        })?;
        let columns: Vec<String> = output.iter().map(|_| self.name()).collect();
        let mut exprs: Vec<EngineExpr> = exprs.into_iter().zip(&columns).map(|(expr, name)| expr.alias(name)).collect();
        exprs.extend(input.domain.iter().map(|name| column(name)));
        let types = output.iter().map(|(_, ty)| ty.clone()).collect();
        Ok(Relation { plan: build(start(input.plan).project(exprs))?, columns, types, domain: input.domain })
    }

    fn join(&mut self, left: Relation, right: Relation, kind: JoinKind, on: &[Expr]) -> Result<Relation, Error> {
        let (left, right, belongs) = self.joined_domains(left, right, kind, on)?;
        let columns = [&left.columns[..], &right.columns[..]].concat();
        let types = [&left.types[..], &right.types[..]].concat();
        let domain = match kind {
            JoinKind::Right if !right.domain.is_empty() => right.domain.clone(),
            _ if left.domain.is_empty() => right.domain.clone(),
            _ => left.domain.clone(),
        };
        let both = Relation { plan: left.plan.clone(), columns, types, domain };
        if kind == JoinKind::Inner && (on.is_empty() || on.iter().any(Expr::has_subquery)) {
            let plan = build(start(left.plan).cross_join(right.plan))?;
            let plan = match belongs {
                Some(belongs) => build(start(plan).filter(belongs))?,
                None => plan,
            };
            return self.filtered(Relation { plan, ..both }, on);
        }
        if on.iter().any(Expr::has_subquery) {
            return Err(Error::unsupported(
                "a subquery in the condition of an outer join",
                "Join with a subquery in FROM.",
            ));
        }
        let (conditions, both) = self.over(both, |this| this.conditions(on, true))?;
        let engine_kind = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
        };
        let conditions: Vec<EngineExpr> = conditions.into_iter().chain(belongs).collect();
        let conditions = if conditions.is_empty() { vec![lit(true)] } else { conditions };
        let (of_left, of_right) = (left.domain, right.domain);
        let plan = build(start(left.plan).join_on(right.plan, engine_kind, conditions))?;
        let joined = Relation { plan, ..both };
        if kind == JoinKind::Full && !joined.domain.is_empty() {
            return self.either_domain(joined, &of_left, &of_right);
        }
        Ok(joined)
    }

    /// Adds columns to a relation: those worked out by `more`.
    fn extended(&mut self, input: Relation, more: Vec<(EngineExpr, Type)>) -> Result<(Relation, Vec<String>), Error> {
        let names: Vec<String> = more.iter().map(|_| self.name()).collect();
        let mut exprs: Vec<EngineExpr> = input.columns.iter().chain(&input.domain).map(|name| column(name)).collect();
        exprs.extend(more.iter().zip(&names).map(|((expr, _), name)| expr.clone().alias(name)));
        let plan = build(start(input.plan).project(exprs))?;
        let columns = input.columns.into_iter().chain(names.iter().cloned()).collect();
        let types = input.types.into_iter().chain(more.into_iter().map(|(_, ty)| ty)).collect();
        Ok((Relation { plan, columns, types, domain: input.domain }, names))
    }

    fn grouped(
        &mut self,
        input: Relation,
        keys: &[(Expr, Type)],
        sets: Option<&[Vec<usize>]>,
        aggregates: &[AggregateCall],
        groupings: &[Vec<usize>],
    ) -> Result<Relation, Error> {
        let exprs = keys.iter().map(|(expr, _)| expr).chain(aggregates.iter().flat_map(AggregateCall::parts));
        let input = self.within_domain(input, exprs)?;
        // Keys, arguments and filters are columns first; then the grouping has only names to do with.
        let (worked_out, input) = self.over(input, |this| {
            let mut all = Vec::new();
            for (expr, ty) in keys {
                all.push((this.expression(expr, ty)?, ty.clone()));
            }
            for call in aggregates {
                for (argument, ty) in call.arguments.iter().zip(&call.function.arguments) {
                    all.push((this.expression(argument, ty)?, ty.clone()));
                }
                for (key, ty, ..) in &call.order_by {
                    all.push((this.expression(key, ty)?, ty.clone()));
                }
                if let Some(filter) = &call.filter {
                    all.push((this.expression(filter, &Type::Bool)?, Type::Bool));
                }
            }
            Ok(all)
        })?;
        let (input, names) = self.extended(input, worked_out)?;
        let domain = input.domain.clone();
        let mut names = names.into_iter();
        let mut group_by = Vec::with_capacity(keys.len());
        let mut calls: Vec<EngineExpr> = Vec::new();
        let mut columns = Vec::new();
        let mut types = Vec::new();
        let key_names: Vec<String> = names.by_ref().take(keys.len()).collect();
        for (name, (_, ty)) in key_names.iter().zip(keys) {
            if has_several_forms(ty) {
                group_by.push(comparable(column(name), ty).alias(self.name()));
                let any = Aggregate::function(Function::Any, vec![ty.clone()], Vec::new(), false, ty.clone());
                let shown = self.name();
                calls.push(aggregate(any, vec![column(name)], None).alias(&shown));
                columns.push(shown);
            } else {
                group_by.push(column(name));
                columns.push(name.clone());
            }
            types.push(ty.clone());
        }
        let keyed = group_by.len();
        for call in aggregates {
            let arguments: Vec<EngineExpr> =
                names.by_ref().take(call.arguments.len()).map(|name| column(&name)).collect();
            let order: Vec<EngineExpr> = names.by_ref().take(call.order_by.len()).map(|name| column(&name)).collect();
            let filter = call.filter.as_ref().and_then(|_| names.next()).map(|name| column(&name));
            let name = self.name();
            calls.push(self.call(call, arguments, order, filter).alias(&name));
            columns.push(name);
            types.push(call.function.result.clone());
        }
        for places in groupings {
            let name = self.name();
            let keys = places.iter().map(|place| group_by[*place].clone().unalias()).collect();
            calls.push(aggregate(grouping_udaf(), keys, None).alias(&name));
            columns.push(name);
            types.push(Type::Int32);
        }
        let of_domain: Vec<EngineExpr> = domain.iter().map(|name| column(name)).collect();
        let (group_by, domain) = match sets {
            None => {
                let named: Vec<(EngineExpr, String)> =
                    group_by.into_iter().chain(of_domain).map(|key| (key, self.name())).collect();
                for ((_, ty), (column, (_, name))) in keys.iter().zip(columns.iter_mut().zip(&named)) {
                    if !has_several_forms(ty) {
                        column.clone_from(name);
                    }
                }
                let domain = named[keyed..].iter().map(|(_, name)| name.clone()).collect();
                (named.into_iter().map(|(key, name)| key.unalias().alias(name)).collect(), domain)
            }
            Some(sets) => {
                if !domain.is_empty() && sets.iter().any(Vec::is_empty) {
                    return Err(Error::unsupported(
                        "the grouping set () in a subquery that refers to the query around it",
                        "Add it with UNION ALL.",
                    ));
                }
                if keys.iter().any(|(_, ty)| has_several_forms(ty)) {
                    return Err(Error::unsupported(
                        "GROUPING SETS of numeric without a scale, interval or arrays",
                        "Cast the keys, for example to numeric(20,2) or text.",
                    ));
                }
                let set = |set: &Vec<usize>| {
                    set.iter().map(|key| group_by[*key].clone()).chain(of_domain.iter().cloned()).collect()
                };
                let sets = sets.iter().map(set).collect();
                (vec![EngineExpr::GroupingSet(datafusion::logical_expr::GroupingSet::GroupingSets(sets))], domain)
            }
        };
        // Groups of nothing at all: rows are counted, and the count is not shown.
        if calls.is_empty() && group_by.is_empty() {
            calls.push(aggregate(count_udaf(), vec![lit(1_i64)], None).alias(self.name()));
        }
        let plan = build(start(input.plan).aggregate(group_by, calls))?;
        if !domain.is_empty() && keys.is_empty() && sets.is_none() {
            return self.also_empty(Relation { plan, columns, types, domain }, aggregates);
        }
        let shown: Vec<EngineExpr> = columns.iter().chain(&domain).map(|name| column(name)).collect();
        if shown.is_empty() {
            let name = self.name();
            let plan = build(start(plan).project(vec![lit(true).alias(&name)]))?;
            return Ok(Relation { plan, columns: vec![name], types: vec![Type::Bool], domain });
        }
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types, domain })
    }

    fn call(
        &mut self,
        call: &AggregateCall,
        arguments: Vec<EngineExpr>,
        order: Vec<EngineExpr>,
        filter: Option<EngineExpr>,
    ) -> EngineExpr {
        if call.function.name == "count" && !call.distinct {
            let counted = if arguments.is_empty() { vec![lit(1_i64)] } else { arguments };
            return aggregate(count_udaf(), counted, filter);
        }
        let mut types = call.function.arguments.clone();
        types.extend(call.order_by.iter().map(|(_, ty, ..)| ty.clone()));
        let directions =
            call.order_by.iter().map(|(_, _, descending, nulls_first)| (*descending, *nulls_first)).collect();
        let function = Function::Of(call.function.clone());
        let result = call.function.result.clone();
        let function = Aggregate::function(function, types, directions, call.distinct, result);
        aggregate(function, arguments.into_iter().chain(order).collect(), filter)
    }

    fn distinct(&mut self, input: Relation) -> Result<Relation, Error> {
        if input.types.iter().any(has_several_forms) {
            let keys: Vec<(Expr, Type)> =
                input.types.iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty.clone())).collect();
            return self.grouped(input, &keys, None, &[], &[]);
        }
        let by: Vec<EngineExpr> = input.columns.iter().chain(&input.domain).map(|name| column(name)).collect();
        if by.is_empty() {
            return Ok(Relation { plan: build(start(input.plan).limit(0, Some(1)))?, ..input });
        }
        let (plan, mut columns) = self.aggregated(input.plan, by, Vec::new())?;
        let domain = columns.split_off(input.columns.len());
        Ok(Relation { plan, columns, types: input.types, domain })
    }

    /// Groups by columns, which get new names, and gives these. Under their old names the engine would take for known of the groups what it
    /// knows of the rows: where some of the columns were unique before a join, it takes them for unique in the groups too, whatever else is grouped by.
    fn aggregated(
        &mut self,
        plan: LogicalPlan,
        by: Vec<EngineExpr>,
        calls: Vec<EngineExpr>,
    ) -> Result<(LogicalPlan, Vec<String>), Error> {
        let names: Vec<String> = by.iter().map(|_| self.name()).collect();
        let by: Vec<EngineExpr> = by.into_iter().zip(&names).map(|(key, name)| key.alias(name)).collect();
        Ok((build(start(plan).aggregate(by, calls))?, names))
    }

    fn distinct_on(&mut self, input: Relation, on: usize, keys: &[SortKey]) -> Result<Relation, Error> {
        let sorts = self.sorts(&input, keys);
        // Sorted first; then the first row of each group is the one that is kept.
        let by: Vec<EngineExpr> = (0..on).map(|n| comparable(column(&input.columns[n]), &input.types[n])).collect();
        let mut order = sorts;
        if order.is_empty() {
            order = by.iter().map(|expr| SortExpr { expr: expr.clone(), asc: true, nulls_first: false }).collect();
        }
        let mut parts = by;
        parts.extend(input.domain.iter().map(|name| column(name)));
        let (plan, number) = self.numbered(input.plan, parts, order)?;
        let plan = build(start(plan).filter(column(&number).eq(lit(1_u64))))?;
        let (columns, types) = (input.columns[on..].to_vec(), input.types[on..].to_vec());
        exact(Relation { plan, columns, types, domain: input.domain })
    }

    fn sorts(&self, input: &Relation, keys: &[SortKey]) -> Vec<SortExpr> {
        keys.iter()
            .map(|key| SortExpr {
                expr: comparable(column(&input.columns[key.place]), &input.types[key.place]),
                asc: !key.descending,
                nulls_first: key.nulls_first,
            })
            .collect()
    }

    fn count(&self, expr: Option<&Expr>, clause: &str, code: SqlState) -> Result<Option<usize>, Error> {
        let Some(expr) = expr else { return Ok(None) };
        match expr.eval(&self.shared.scope(), &[])?.as_i64() {
            None => Ok(None),
            Some(count) => {
                usize::try_from(count).map(Some).map_err(|_| Error::new(code, format!("{clause} must not be negative")))
            }
        }
    }
}

/// A relation whose plan has its columns and no others.
fn exact(relation: Relation) -> Result<Relation, Error> {
    if relation.plan.schema().fields().len() == relation.columns.len() + relation.domain.len() {
        return Ok(relation);
    }
    let shown: Vec<EngineExpr> = relation.columns.iter().chain(&relation.domain).map(|name| column(name)).collect();
    Ok(Relation { plan: build(start(relation.plan).project(shown))?, ..relation })
}

fn aggregate(
    function: Arc<datafusion::logical_expr::AggregateUDF>,
    arguments: Vec<EngineExpr>,
    filter: Option<EngineExpr>,
) -> EngineExpr {
    let arguments = if arguments.is_empty() { vec![lit(true)] } else { arguments };
    EngineExpr::AggregateFunction(AggregateFunction::new_udf(
        function,
        arguments,
        false,
        filter.map(Box::new),
        Vec::new(),
        None,
    ))
}
