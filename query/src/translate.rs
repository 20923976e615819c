//! From the SQL engine's tree of operators to the relational engine's logical plan.
//!
//! Columns get names that are unique in the whole plan, so that joins and subqueries never confuse them. Wherever values are grouped, joined or made
//! distinct and equal ones may have different forms (`1.0` and `1.00`), it is done by their keys, and any one of the values is shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column, NullEquality, ScalarValue, Spans};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::count::count_udaf;
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
use quorate_sql::plan::binder::{AggregateCall, WindowCall};
use quorate_sql::plan::expression::Expr;
use quorate_sql::plan::relational::{
    Frame, FrameBound, FrameUnit, JoinKind, Node, SetKind, Subquery, SubqueryKind, WindowFunction,
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

mod expressions;

/// A plan with the names and types of its columns, in order.
#[derive(Clone)]
pub struct Relation {
    pub plan: LogicalPlan,
    pub columns: Vec<String>,
    pub types: Vec<Type>,
}

/// Translates one query.
pub struct Translator {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    scans: Arc<AtomicU64>,
    /// The plans of the leaves, by number.
    pub leaves: Vec<SelectPlan>,
    names: usize,
    /// The rows that expressions may refer to: the last is the one at hand.
    scopes: Vec<(Vec<String>, Vec<Type>)>,
    /// Work tables of recursive queries: their name and form.
    work: HashMap<usize, (String, SchemaRef)>,
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
            work: HashMap::new(),
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// Translates an operator and all below it.
    ///
    /// # Errors
    /// 0A000 for what the engine cannot do; what evaluating constants reports.
    pub fn node(&mut self, node: &Node) -> Result<Relation, Error> {
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
            Node::Join { left, right, kind, on } => self.join(left, right, *kind, on),
            Node::Group { input, keys, sets, aggregates } => {
                let input = self.node(input)?;
                self.grouped(input, keys, sets.as_deref(), aggregates)
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
            Node::Limit { input, limit, offset } => {
                let input = self.node(input)?;
                let limit = self.count(limit.as_ref(), "LIMIT", SqlState::INVALID_ROW_COUNT_IN_LIMIT)?;
                let offset = self.count(offset.as_ref(), "OFFSET", SqlState::INVALID_ROW_COUNT_IN_OFFSET)?;
                Ok(Relation { plan: build(start(input.plan).limit(offset.unwrap_or(0), limit))?, ..input })
            }
            Node::Set { kind, all, left, right } => self.set(*kind, *all, left, right),
            Node::Recursive { id, first, step, all } => self.recursive(*id, first, step, *all),
            Node::Work { id, types } => {
                let (name, schema) =
                    self.work.get(id).cloned().ok_or_else(|| Error::internal("a work table without its query"))?;
                let source = provider_as_source(Arc::new(CteWorkTable::new(&name, schema)));
                let plan = build(LogicalPlanBuilder::scan(name, source, None))?;
                self.renamed(plan, types.clone())
            }
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
        Ok(Relation { plan: build(start(plan).project(exprs))?, columns, types })
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

    /// Translates expressions over the rows of `input`.
    fn over<T>(
        &mut self,
        columns: &[String],
        types: &[Type],
        translate: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.scopes.push((columns.to_vec(), types.to_vec()));
        let translated = translate(self);
        self.scopes.pop();
        translated
    }

    fn filtered(&mut self, input: Relation, conditions: &[Expr]) -> Result<Relation, Error> {
        let Relation { mut plan, columns, types } = input;
        let conditions = self.over(&columns, &types, |this| {
            conditions.iter().map(|condition| this.condition(condition)).collect::<Result<Vec<_>, _>>()
        })?;
        // One filter: the engine takes a subquery apart by the conditions of a single one.
        if let Some(all) = conditions.into_iter().reduce(EngineExpr::and) {
            plan = build(start(plan).filter(all))?;
        }
        Ok(Relation { plan, columns, types })
    }

    fn projected(&mut self, input: Relation, output: &[(Expr, Type)]) -> Result<Relation, Error> {
        let exprs = self.over(&input.columns, &input.types, |this| {
            output.iter().map(|(expr, ty)| this.expression(expr, ty)).collect::<Result<Vec<_>, _>>()
        })?;
        let columns: Vec<String> = output.iter().map(|_| self.name()).collect();
        let exprs: Vec<EngineExpr> = exprs.into_iter().zip(&columns).map(|(expr, name)| expr.alias(name)).collect();
        let types = output.iter().map(|(_, ty)| ty.clone()).collect();
        Ok(Relation { plan: build(start(input.plan).project(exprs))?, columns, types })
    }

    fn join(&mut self, left: &Node, right: &Node, kind: JoinKind, on: &[Expr]) -> Result<Relation, Error> {
        let (left, right) = (self.node(left)?, self.node(right)?);
        let columns = [left.columns, right.columns].concat();
        let types = [left.types, right.types].concat();
        if kind == JoinKind::Inner && (on.is_empty() || on.iter().any(Expr::has_subquery)) {
            let plan = build(start(left.plan).cross_join(right.plan))?;
            return self.filtered(Relation { plan, columns, types }, on);
        }
        if on.iter().any(Expr::is_relational) {
            return Err(Error::unsupported(
                "a subquery in the condition of an outer join",
                "Join with a subquery in FROM.",
            ));
        }
        let conditions = self.over(&columns, &types, |this| {
            on.iter().map(|condition| this.condition(condition)).collect::<Result<Vec<_>, _>>()
        })?;
        let kind = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
        };
        let conditions = if conditions.is_empty() { vec![lit(true)] } else { conditions };
        Ok(Relation { plan: build(start(left.plan).join_on(right.plan, kind, conditions))?, columns, types })
    }

    /// Adds columns to a relation: those worked out by `more`.
    fn extended(&mut self, input: Relation, more: Vec<(EngineExpr, Type)>) -> Result<(Relation, Vec<String>), Error> {
        let names: Vec<String> = more.iter().map(|_| self.name()).collect();
        let mut exprs: Vec<EngineExpr> = input.columns.iter().map(|name| column(name)).collect();
        exprs.extend(more.iter().zip(&names).map(|((expr, _), name)| expr.clone().alias(name)));
        let plan = build(start(input.plan).project(exprs))?;
        let columns = input.columns.into_iter().chain(names.iter().cloned()).collect();
        let types = input.types.into_iter().chain(more.into_iter().map(|(_, ty)| ty)).collect();
        Ok((Relation { plan, columns, types }, names))
    }

    fn grouped(
        &mut self,
        input: Relation,
        keys: &[(Expr, Type)],
        sets: Option<&[Vec<usize>]>,
        aggregates: &[AggregateCall],
    ) -> Result<Relation, Error> {
        // Keys, arguments and filters are columns first; then the grouping has only names to do with.
        let worked_out = self.over(&input.columns, &input.types, |this| {
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
        let group_by = match sets {
            None => group_by,
            Some(sets) => {
                if keys.iter().any(|(_, ty)| has_several_forms(ty)) {
                    return Err(Error::unsupported(
                        "GROUPING SETS of numeric without a scale, interval or arrays",
                        "Cast the keys, for example to numeric(20,2) or text.",
                    ));
                }
                let sets = sets.iter().map(|set| set.iter().map(|key| group_by[*key].clone()).collect()).collect();
                vec![EngineExpr::GroupingSet(datafusion::logical_expr::GroupingSet::GroupingSets(sets))]
            }
        };
        // Groups of nothing at all: rows are counted, and the count is not shown.
        if calls.is_empty() && group_by.is_empty() {
            calls.push(aggregate(count_udaf(), vec![lit(1_i64)], None).alias(self.name()));
        }
        let plan = build(start(input.plan).aggregate(group_by, calls))?;
        let shown: Vec<EngineExpr> = columns.iter().map(|name| column(name)).collect();
        if shown.is_empty() {
            let name = self.name();
            let plan = build(start(plan).project(vec![lit(true).alias(&name)]))?;
            return Ok(Relation { plan, columns: vec![name], types: vec![Type::Bool] });
        }
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types })
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

    fn windowed(&mut self, input: Relation, width: usize, call: &WindowCall) -> Result<Relation, Error> {
        let (columns, types) = (&input.columns[..width], &input.types[..width]);
        let (arguments, partition_by, order_by, filter) = self.over(columns, types, |this| {
            let mut arguments = Vec::with_capacity(call.arguments.len());
            let types = match &call.function {
                WindowFunction::Aggregate(function) => function.arguments.clone(),
                WindowFunction::Ntile => vec![Type::Int64],
                _ => vec![call.ty.clone(), Type::Int64, call.ty.clone()],
            };
            for (n, (argument, ty)) in call.arguments.iter().zip(&types).enumerate() {
                let value = n == 0 && !matches!(call.function, WindowFunction::Ntile);
                arguments.push(match &call.function {
                    WindowFunction::Aggregate(_) => this.expression(argument, ty)?,
                    _ if value => this.expression(argument, ty)?,
                    _ => this.constant(argument, ty)?,
                });
            }
            let partition_by = call
                .partition_by
                .iter()
                .map(|(expr, ty)| Ok(comparable(this.expression(expr, ty)?, ty)))
                .collect::<Result<Vec<_>, Error>>()?;
            let order_by = call
                .order_by
                .iter()
                .map(|(expr, ty, descending, nulls_first)| {
                    let key = comparable(this.expression(expr, ty)?, ty);
                    Ok(SortExpr { expr: key, asc: !descending, nulls_first: *nulls_first })
                })
                .collect::<Result<Vec<_>, Error>>()?;
            let filter = call.filter.as_ref().map(|filter| this.expression(filter, &Type::Bool)).transpose()?;
            Ok((arguments, partition_by, order_by, filter))
        })?;
        let definition = match &call.function {
            WindowFunction::Aggregate(function) if function.name == "count" => {
                WindowFunctionDefinition::AggregateUDF(count_udaf())
            }
            WindowFunction::Aggregate(function) => {
                let types = function.arguments.clone();
                let result = function.result.clone();
                let of = Function::Of(function.clone());
                WindowFunctionDefinition::AggregateUDF(Aggregate::function(of, types, Vec::new(), false, result))
            }
            WindowFunction::RowNumber => WindowFunctionDefinition::WindowUDF(row_number_udwf()),
            WindowFunction::Rank => WindowFunctionDefinition::WindowUDF(rank_udwf()),
            WindowFunction::DenseRank => WindowFunctionDefinition::WindowUDF(dense_rank_udwf()),
            WindowFunction::PercentRank => WindowFunctionDefinition::WindowUDF(percent_rank_udwf()),
            WindowFunction::CumeDist => WindowFunctionDefinition::WindowUDF(cume_dist_udwf()),
            WindowFunction::Ntile => WindowFunctionDefinition::WindowUDF(ntile_udwf()),
            WindowFunction::Lag => WindowFunctionDefinition::WindowUDF(lag_udwf()),
            WindowFunction::Lead => WindowFunctionDefinition::WindowUDF(lead_udwf()),
            WindowFunction::FirstValue => WindowFunctionDefinition::WindowUDF(first_value_udwf()),
            WindowFunction::LastValue => WindowFunctionDefinition::WindowUDF(last_value_udwf()),
            WindowFunction::NthValue => WindowFunctionDefinition::WindowUDF(nth_value_udwf()),
        };
        let args = if arguments.is_empty() && matches!(definition, WindowFunctionDefinition::AggregateUDF(_)) {
            vec![lit(1_i64)]
        } else {
            arguments
        };
        let window_frame = self.frame(&call.frame, !order_by.is_empty())?;
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter: filter.map(Box::new),
            null_treatment: None,
            distinct: false,
        };
        let raw = self.name();
        let expr = EngineExpr::WindowFunction(Box::new(EngineWindow { fun: definition, params })).alias(&raw);
        let plan = build(start(input.plan).window(vec![expr]))?;
        // The engine numbers rows without a sign.
        let shown = datafusion::logical_expr::cast(column(&raw), data_type(&call.ty));
        let (relation, _) = self
            .extended(Relation { plan, columns: input.columns, types: input.types }, vec![(shown, call.ty.clone())])?;
        Ok(relation)
    }

    fn frame(&self, frame: &Frame, ordered: bool) -> Result<WindowFrame, Error> {
        if !ordered && frame.unit == FrameUnit::Range {
            // All rows are equal in an order by nothing.
            let all = (
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::Following(ScalarValue::UInt64(None)),
            );
            return Ok(WindowFrame::new_bounds(WindowFrameUnits::Rows, all.0, all.1));
        }
        let unit = match frame.unit {
            FrameUnit::Rows => WindowFrameUnits::Rows,
            // Without offsets both mean the same, and groups are told apart for values of any form.
            FrameUnit::Range | FrameUnit::Groups => WindowFrameUnits::Groups,
        };
        let unbounded = ScalarValue::UInt64(None);
        let bound = |bound: &FrameBound, which: &str| -> Result<WindowFrameBound, Error> {
            let offset = |expr: &Expr| -> Result<ScalarValue, Error> {
                let value = expr.eval(&self.shared.scope(), &[])?;
                let Some(count) = value.as_i64() else {
                    let message = format!("frame {which} offset must not be null");
                    return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
                };
                let count = u64::try_from(count).map_err(|_| {
                    let message = format!("frame {which} offset must not be negative");
                    Error::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message)
                })?;
                Ok(ScalarValue::UInt64(Some(count)))
            };
            Ok(match bound {
                FrameBound::Start => WindowFrameBound::Preceding(unbounded.clone()),
                FrameBound::Preceding(expr) => WindowFrameBound::Preceding(offset(expr)?),
                FrameBound::Current => WindowFrameBound::CurrentRow,
                FrameBound::Following(expr) => WindowFrameBound::Following(offset(expr)?),
                FrameBound::End => WindowFrameBound::Following(unbounded.clone()),
            })
        };
        Ok(WindowFrame::new_bounds(unit, bound(&frame.start, "starting")?, bound(&frame.end, "ending")?))
    }

    fn distinct(&mut self, input: Relation) -> Result<Relation, Error> {
        if input.types.iter().any(has_several_forms) {
            let keys: Vec<(Expr, Type)> =
                input.types.iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty.clone())).collect();
            return self.grouped(input, &keys, None, &[]);
        }
        Ok(Relation { plan: build(start(input.plan).distinct())?, ..input })
    }

    fn distinct_on(&mut self, input: Relation, on: usize, keys: &[SortKey]) -> Result<Relation, Error> {
        let sorts = self.sorts(&input, keys);
        // Sorted first; then the first row of each group is the one that is kept.
        let by: Vec<EngineExpr> = (0..on).map(|n| comparable(column(&input.columns[n]), &input.types[n])).collect();
        let mut order = sorts;
        if order.is_empty() {
            order = by.iter().map(|expr| SortExpr { expr: expr.clone(), asc: true, nulls_first: false }).collect();
        }
        let raw = self.name();
        let params = WindowFunctionParams {
            args: Vec::new(),
            partition_by: by,
            order_by: order,
            window_frame: WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::CurrentRow,
            ),
            filter: None,
            null_treatment: None,
            distinct: false,
        };
        let fun = WindowFunctionDefinition::WindowUDF(row_number_udwf());
        let number = EngineExpr::WindowFunction(Box::new(EngineWindow { fun, params })).alias(&raw);
        let plan = build(start(input.plan).window(vec![number]))?;
        let plan = build(start(plan).filter(column(&raw).eq(lit(1_u64))))?;
        let columns = input.columns[on..].to_vec();
        let shown: Vec<EngineExpr> = columns.iter().map(|name| column(name)).collect();
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types: input.types[on..].to_vec() })
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

    fn set(&mut self, kind: SetKind, all: bool, left: &Node, right: &Node) -> Result<Relation, Error> {
        let (left, right) = (self.node(left)?, self.node(right)?);
        let types = left.types.clone();
        if kind == SetKind::Union {
            let plan = build(start(left.plan).union(right.plan))?;
            let union = self.renamed(plan, types)?;
            return if all { Ok(union) } else { self.distinct(union) };
        }
        // Rows of the left side with, or without, an equal one on the right; with ALL the n-th of equal rows goes with the n-th.
        let side = |this: &mut Self, side: Relation| -> Result<(Relation, Vec<String>), Error> {
            let side = if all { side } else { this.distinct(side)? };
            let width = side.columns.len();
            let keys: Vec<(EngineExpr, Type)> = side
                .columns
                .iter()
                .zip(&side.types)
                .map(|(name, ty)| (comparable(column(name), ty), if is_keyed(ty) { Type::Bytea } else { ty.clone() }))
                .collect();
            let (side, mut keys) = this.extended(side, keys)?;
            if !all {
                return Ok((side, keys));
            }
            let by = |name: &String| {
                let place = side.columns.iter().position(|column| column == name).unwrap_or(width);
                (Expr::Column(place), side.types[place].clone())
            };
            let call = WindowCall {
                function: WindowFunction::RowNumber,
                arguments: Vec::new(),
                filter: None,
                partition_by: keys.iter().map(by).collect(),
                order_by: Vec::new(),
                frame: Frame { unit: FrameUnit::Rows, start: FrameBound::Start, end: FrameBound::Current },
                ty: Type::Int64,
            };
            let width = side.columns.len();
            let numbered = this.windowed(side, width, &call)?;
            keys.extend(numbered.columns.last().cloned());
            Ok((numbered, keys))
        };
        let width = types.len();
        let (left, left_keys) = side(self, left)?;
        let (right, right_keys) = side(self, right)?;
        let kind = if kind == SetKind::Intersect { JoinType::LeftSemi } else { JoinType::LeftAnti };
        let keys = |names: Vec<String>| names.into_iter().map(Column::new_unqualified).collect::<Vec<_>>();
        let joined = start(left.plan).join_detailed(
            right.plan,
            kind,
            (keys(left_keys), keys(right_keys)),
            None,
            NullEquality::NullEqualsNull,
        );
        let plan = build(joined)?;
        let columns = left.columns[..width].to_vec();
        let shown: Vec<EngineExpr> = columns.iter().map(|name| column(name)).collect();
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types })
    }

    fn recursive(&mut self, id: usize, first: &Node, step: &Node, all: bool) -> Result<Relation, Error> {
        let first = self.node(first)?;
        if !all && first.types.iter().any(has_several_forms) {
            return Err(Error::unsupported(
                "UNION in a recursive query over numeric without a scale, interval or arrays",
                "Use UNION ALL, or cast the columns.",
            ));
        }
        let name = format!("work{id}");
        let fields: Vec<Field> =
            first.columns.iter().zip(&first.types).map(|(name, ty)| Field::new(name, data_type(ty), true)).collect();
        self.work.insert(id, (name.clone(), Arc::new(Schema::new(fields))));
        let step = self.node(step)?;
        let plan = build(start(first.plan).to_recursive_query(name, step.plan, !all))?;
        self.renamed(plan, first.types)
    }
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
