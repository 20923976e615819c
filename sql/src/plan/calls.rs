//! Binding of calls: functions, aggregates, the forms that SQL writes with words of their own, and subqueries.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::binder::{Binder, Prerequisite, Typed};
use super::expression::{Comparison, Expr};
use super::from::is_set_returning;
use super::level::{AggregateCall, Aggregates, Level};
use super::literals::or_empty;
use super::operators::unnested;
use super::relational::{Member, Subquery, SubqueryKind};
use super::select::SelectPlan;
use crate::cast::{CastContext, resolve_cast};
use crate::error::{Error, SqlState};
use crate::functions::{
    BinaryOp, is_aggregate, resolve_aggregate, resolve_binary, resolve_function, subscript_function,
};
use crate::parse::fold;
use crate::session::Column;
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// The rest of [`Binder::expression`]: whatever calls something.
    pub(super) fn call_form(&mut self, expr: &ast::Expr) -> Result<Typed, Error> {
        match expr {
            ast::Expr::Function(function) => self.function(function),
            ast::Expr::Extract { field, expr, .. } => {
                let field = Typed::new(
                    Expr::Constant(Value::text(field.to_string().trim_matches(['\'', '"']).to_lowercase())),
                    Type::Text,
                );
                let operand = self.expression(expr)?;
                self.call("extract", vec![field, operand])
            }
            ast::Expr::Ceil { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.call_over("ceil", &[expr])
            }
            ast::Expr::Floor { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.call_over("floor", &[expr])
            }
            ast::Expr::Position { expr, r#in } => self.call_over("strpos", &[r#in, expr]),
            ast::Expr::Substring { expr, substring_from, substring_for, .. } => {
                let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
                let mut arguments: Vec<&ast::Expr> = vec![expr];
                match (substring_from, substring_for) {
                    (Some(from), Some(length)) => arguments.extend([&**from, &**length]),
                    (Some(from), None) => arguments.push(from),
                    (None, Some(length)) => arguments.extend([&one, &**length]),
                    (None, None) => {}
                }
                self.call_over("substring", &arguments)
            }
            ast::Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    Some(ast::TrimWhereField::Both) | None => "btrim",
                };
                let mut arguments: Vec<&ast::Expr> = vec![expr];
                arguments.extend(trim_what.as_deref());
                arguments.extend(trim_characters.iter().flatten());
                self.call_over(name, &arguments)
            }
            ast::Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments: Vec<&ast::Expr> = vec![expr, overlay_what, overlay_from];
                arguments.extend(overlay_for.as_deref());
                self.call_over("overlay", &arguments)
            }
            ast::Expr::Subquery(query) => self.scalar_subquery(query),
            ast::Expr::Exists { subquery, negated } => self.exists(subquery, *negated),
            ast::Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            ast::Expr::Tuple(_) => Err(Error::unsupported("a row value here", "Name the columns one by one.")),
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                if let Some((name, array)) = expanded(root, access_chain) {
                    let mut arguments = vec![self.expression(array)?];
                    if name == "generate_subscripts" {
                        arguments.push(Typed::new(Expr::Constant(Value::Int32(1)), Type::Int32));
                    }
                    return self.set_returning(name, arguments);
                }
                let refused = || Error::unsupported("this form of a subscript", "Write array[n].");
                let Some((ast::AccessExpr::Subscript(ast::Subscript::Index { index }), names)) =
                    access_chain.split_last()
                else {
                    return Err(refused());
                };
                if names.is_empty() {
                    return self.subscript(root, index);
                }
                // A qualified name before the subscript.
                let parts: Option<Vec<ast::Ident>> = std::iter::once(&**root)
                    .chain(names.iter().filter_map(|name| match name {
                        ast::AccessExpr::Dot(name) => Some(name),
                        ast::AccessExpr::Subscript(_) => None,
                    }))
                    .map(|part| if let ast::Expr::Identifier(ident) = part { Some(ident.clone()) } else { None })
                    .collect();
                match parts {
                    Some(parts) if parts.len() == names.len() + 1 => {
                        self.subscript(&ast::Expr::CompoundIdentifier(parts), index)
                    }
                    _ => Err(refused()),
                }
            }
            ast::Expr::SimilarTo { .. } => Err(Error::unsupported("SIMILAR TO", "Use LIKE or the operator ~.")),
            ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => {
                Err(Error::unsupported("GROUPING SETS", "Use one GROUP BY a statement."))
            }
            other => Err(Error::unsupported(format_args!("the expression {other}"), "")),
        }
    }

    /// `array[n]`
    fn subscript(&mut self, array: &ast::Expr, index: &ast::Expr) -> Result<Typed, Error> {
        let array = self.expression(array)?;
        let Type::Array(element) = array.ty.clone() else {
            let message = format!("cannot subscript type {} because it does not support subscripting", array.ty);
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
        };
        let index = self.expression(index)?;
        let index = self.coerce(index, &Type::Int32, CastContext::Assignment)?;
        let function = subscript_function(array.ty.clone(), (*element).clone());
        Ok(Typed::new(Expr::Function(Box::new(function), vec![array.expr, index]), *element))
    }

    fn call_over(&mut self, name: &str, arguments: &[&ast::Expr]) -> Result<Typed, Error> {
        let arguments = arguments.iter().map(|argument| self.expression(argument)).collect::<Result<_, _>>()?;
        self.call(name, arguments)
    }

    /// Calls a function with bound arguments.
    ///
    /// # Errors
    /// 42883, 42725.
    pub fn call(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed, Error> {
        let types: Vec<Type> = arguments.iter().map(|argument| argument.ty.clone()).collect();
        let function = resolve_function(name, &types)?;
        let mut arguments = arguments
            .into_iter()
            .zip(function.arguments.clone())
            .map(|(argument, target)| self.coerce(argument, &target, CastContext::Implicit))
            .collect::<Result<Vec<_>, _>>()?;
        if matches!(name, "array_append" | "array_prepend") {
            for (argument, ty) in arguments.iter_mut().zip(&function.arguments) {
                if let Type::Array(element) = ty {
                    *argument = or_empty(std::mem::replace(argument, Expr::Constant(Value::Null)), element);
                }
            }
        }
        let ty = function.result.clone();
        Ok(Typed::new(Expr::Function(Box::new(function), arguments), ty))
    }

    fn function(&mut self, function: &ast::Function) -> Result<Typed, Error> {
        let parts: Option<Vec<String>> = function.name.0.iter().map(|part| part.as_ident().map(fold)).collect();
        let name = match parts.as_deref() {
            Some([name]) => name.clone(),
            Some([schema, name]) if schema == "pg_catalog" => name.clone(),
            _ => {
                return Err(Error::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("function {} does not exist", function.name),
                ));
            }
        };
        if let Some(over) = &function.over {
            return self.window(&name, function, over);
        }
        if !function.within_group.is_empty() {
            return Err(Error::unsupported("WITHIN GROUP", ""));
        }
        if function.null_treatment.is_some() || !matches!(function.parameters, FunctionArguments::None) {
            return Err(Error::syntax(format!("the form of the call of {name} is not known")));
        }
        if let ("array", FunctionArguments::Subquery(query)) = (name.as_str(), &function.args) {
            let (list, element) = self.list_subquery(query)?;
            return Ok(Typed::new(list, Type::Array(Box::new(element))));
        }
        if is_aggregate(&name) {
            return self.aggregate(&name, function);
        }
        if function.filter.is_some() {
            let message = format!("FILTER specified, but {name} is not an aggregate function");
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        let arguments = match &function.args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::Subquery(_) => {
                return Err(Error::unsupported("a subquery as the only argument", "Put it into parentheses."));
            }
            FunctionArguments::List(list) => {
                if list.duplicate_treatment.is_some() {
                    return Err(Error::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("DISTINCT specified, but {name} is not an aggregate function"),
                    ));
                }
                if !list.clauses.is_empty() {
                    return Err(Error::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("ORDER BY specified, but {name} is not an aggregate function"),
                    ));
                }
                list.args.iter().map(plain_argument).collect::<Result<Vec<_>, _>>()?
            }
        };
        let bound = arguments.iter().map(|argument| self.expression(argument)).collect::<Result<Vec<_>, _>>()?;
        self.named_call(&name, bound)
    }

    pub(super) fn named_call(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed, Error> {
        match (name, arguments.len()) {
            ("coalesce", 1..) => {
                let (operands, ty) = self.alike("COALESCE", arguments)?;
                Ok(Typed::new(Expr::Coalesce(operands), ty))
            }
            ("greatest" | "least", 1..) => {
                let greatest = name == "greatest";
                let (operands, ty) = self.alike(if greatest { "GREATEST" } else { "LEAST" }, arguments)?;
                Ok(Typed::new(Expr::Extreme { operands, greatest }, ty))
            }
            ("nullif", 2) => self.null_if(arguments),
            ("current_timestamp", 0) => self.call("now", Vec::new()),
            ("localtimestamp", 0) => self.now_as(&Type::Timestamp(None)),
            ("current_date", 0) => self.now_as(&Type::Date),
            ("localtime", 0) => self.now_as(&Type::Time(None)),
            ("current_role" | "user", 0) => self.call("current_user", Vec::new()),
            ("current_catalog", 0) => self.call("current_database", Vec::new()),
            ("current_timestamp" | "localtimestamp", 1) => {
                Err(Error::unsupported("a precision of CURRENT_TIMESTAMP", "Cast it to timestamptz(n)."))
            }
            ("txid_current" | "pg_current_xact_id", 0) => {
                Ok(Typed::new(self.slot(Prerequisite::TxidCurrent), Type::Int64))
            }
            ("txid_status", 1) => {
                let id = arguments.into_iter().next().expect("counted above");
                let id = self.coerce(id, &Type::Int64, CastContext::Implicit)?;
                if id.uses_columns() {
                    return Err(Error::unsupported("txid_status() of a column", "Ask for one id at a time."));
                }
                Ok(Typed::new(self.slot(Prerequisite::TxidStatus(id)), Type::Text))
            }
            (
                "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "ntile" | "lag" | "lead"
                | "first_value" | "last_value" | "nth_value",
                _,
            ) => {
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("window function {name} requires an OVER clause")))
            }
            _ if is_set_returning(name) => self.set_returning(name, arguments),
            ("grouping", 1..) => {
                self.level.grouping = true;
                Ok(Typed::new(Expr::Grouping(arguments.into_iter().map(|key| key.expr).collect()), Type::Int32))
            }
            // Pools give up all locks of a session that they take back; there are none.
            _ if (name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_"))
                && name != "pg_advisory_unlock_all" =>
            {
                Err(Error::unsupported("an advisory lock", "Lock a row with SELECT ... FOR UPDATE."))
            }
            ("nextval" | "currval" | "setval" | "lastval", _) => {
                Err(Error::unsupported("a sequence", "Use gen_random_uuid() or ids made by the application."))
            }
            _ => self.call(name, arguments),
        }
    }

    /// A set-returning function in a select list.
    fn set_returning(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed, Error> {
        let refused = |message: String| Error::new(SqlState::FEATURE_NOT_SUPPORTED, message);
        if !self.level.allow_sets {
            return Err(match self.level.allow_aggregates {
                Aggregates::NotIn(clause) if !clause.is_empty() => {
                    refused(format!("set-returning functions are not allowed in {clause}"))
                }
                _ => refused("set-returning functions are not allowed in calls of aggregates".to_owned()),
            });
        }
        let mut nested = false;
        for argument in &arguments {
            argument.expr.walk(&mut |part| nested |= matches!(part, Expr::Element(_)));
        }
        if nested {
            return Err(Error::unsupported("a set-returning function of another one", "Put one into a FROM subquery."));
        }
        let (array, element) = self.set_of(name, arguments)?;
        self.level.sets.push((array, element.clone()));
        Ok(Typed::new(Expr::Element(self.level.sets.len() - 1), element))
    }

    fn now_as(&mut self, target: &Type) -> Result<Typed, Error> {
        let now = self.call("now", Vec::new())?;
        Ok(Typed::new(self.coerce(now, target, CastContext::Explicit)?, target.clone()))
    }

    fn null_if(&mut self, arguments: Vec<Typed>) -> Result<Typed, Error> {
        let mut arguments = arguments.into_iter();
        let (Some(operand), Some(value)) = (arguments.next(), arguments.next()) else {
            return Err(Error::internal("NULLIF was counted wrong"));
        };
        let op = resolve_binary(BinaryOp::Equal, &operand.ty, &value.ty)?;
        let value = self.coerce(value, &op.right, CastContext::Implicit)?;
        // What is given is what was compared.
        let operand = if operand.ty.same_base(&op.left) {
            operand
        } else {
            Typed::new(self.coerce(operand, &op.left, CastContext::Implicit)?, op.left.clone())
        };
        let cast = resolve_cast(&operand.ty, &op.left, CastContext::Implicit)?;
        let comparison = Comparison { op, cast: (!cast.is_identity()).then_some(cast), value };
        Ok(Typed::new(Expr::NullIf(Box::new((operand.expr, comparison))), operand.ty))
    }

    fn aggregate(&mut self, name: &str, function: &ast::Function) -> Result<Typed, Error> {
        if let Aggregates::NotIn(clause) = self.level.allow_aggregates {
            let message = match clause {
                "" => "aggregate function calls cannot be nested".to_owned(),
                clause => format!("aggregate functions are not allowed in {clause}"),
            };
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        let FunctionArguments::List(list) = &function.args else {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("{name}(*) must be used to call a parameterless aggregate function"),
            ));
        };
        // Inside, no further aggregate may stand.
        self.level.allow_aggregates = Aggregates::NotIn("");
        let windows = std::mem::take(&mut self.level.allow_windows);
        let sets = std::mem::take(&mut self.level.allow_sets);
        let call = self.aggregate_call(name, list, function.filter.as_deref());
        self.level.allow_windows = windows;
        self.level.allow_sets = sets;
        self.level.allow_aggregates = Aggregates::Allowed;
        let call = call?;
        let of_outer = |expr: &Expr| expr.refers_out() && expr.columns().is_empty();
        if !call.arguments.is_empty() && call.arguments.iter().all(of_outer) {
            return Err(Error::unsupported(
                "an aggregate of the query around this one",
                "Work it out in a FROM subquery.",
            ));
        }
        let ty = call.function.result.clone();
        self.level.aggregates.push(call);
        Ok(Typed::new(Expr::Aggregate(self.level.aggregates.len() - 1), ty))
    }

    pub(super) fn aggregate_call(
        &mut self,
        name: &str,
        list: &ast::FunctionArgumentList,
        filter: Option<&ast::Expr>,
    ) -> Result<AggregateCall, Error> {
        let star = matches!(&list.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let mut bound = Vec::new();
        if !star {
            for argument in &list.args {
                bound.push(self.expression(plain_argument(argument)?)?);
            }
            if bound.is_empty() && name == "count" {
                return Err(Error::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    "count(*) must be used to call a parameterless aggregate function",
                ));
            }
        } else if name != "count" || distinct {
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}() does not exist")));
        }
        let types: Vec<Type> = bound.iter().map(|argument| argument.ty.clone()).collect();
        let function = resolve_aggregate(name, &types)?;
        let arguments = bound
            .into_iter()
            .zip(function.arguments.clone())
            .map(|(argument, target)| self.coerce(argument, &target, CastContext::Implicit))
            .collect::<Result<Vec<_>, _>>()?;
        let mut order_by = Vec::new();
        for clause in &list.clauses {
            let ast::FunctionArgumentClause::OrderBy(keys) = clause else {
                return Err(Error::unsupported(format_args!("{clause} in a call of an aggregate"), ""));
            };
            for key in keys {
                let typed = self.expression(&key.expr)?;
                let descending = key.options.asc == Some(false);
                let Typed { expr, ty, .. } = self.settle(typed)?;
                order_by.push((expr, ty, descending, key.options.nulls_first.unwrap_or(descending)));
            }
        }
        // As PostgreSQL has it, which finds what is distinct by sorting; what is put together in an order shows that one.
        if distinct && order_by.is_empty() && matches!(name, "string_agg" | "array_agg") {
            let sorted = |(argument, ty): (&Expr, &Type)| (argument.clone(), ty.clone(), false, false);
            order_by = arguments.iter().zip(&function.arguments).map(sorted).collect();
        }
        let filter = match filter {
            Some(filter) => {
                let typed = self.expression(filter)?;
                Some(self.condition(typed, "FILTER")?)
            }
            None => None,
        };
        Ok(AggregateCall { function, arguments, distinct, filter, order_by })
    }

    /// A new slot for what has to be worked out first.
    fn slot(&mut self, prerequisite: Prerequisite) -> Expr {
        self.prerequisites.push(prerequisite);
        Expr::Slot(self.prerequisites.len() - 1)
    }

    /// Plans a subquery at a level of its own, from which names of the present level can be seen.
    fn subquery(&mut self, query: &ast::Query) -> Result<SelectPlan, Error> {
        self.deeper(|binder| {
            let level = std::mem::replace(&mut binder.level, Level::new(None, "this clause"));
            binder.outer.push(level);
            let plan = binder.query(query);
            binder.level = binder.outer.pop().expect("it was pushed above");
            plan
        })
    }

    fn one_column(&mut self, query: &ast::Query) -> Result<(SelectPlan, Type), Error> {
        let plan = self.subquery(query)?;
        match &plan.columns[..] {
            [column] => {
                let ty = column.ty.clone();
                Ok((plan, ty))
            }
            _ => Err(Error::syntax("subquery must return only one column")),
        }
    }

    fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Typed, Error> {
        let (plan, ty) = self.one_column(query)?;
        let expr = match plan.correlated() {
            Ok(mut plan) => {
                let guards = plan.take_guards();
                let subquery = if plan.refers_outside() {
                    Expr::Subquery(Box::new(Subquery { kind: SubqueryKind::Scalar, plan, ty: ty.clone() }))
                } else {
                    let columns = [Column::plain("?column?", ty.clone())].into();
                    self.slot(Prerequisite::Scalar(Box::new(SelectPlan::of_node(plan, columns))))
                };
                if guards.is_empty() {
                    subquery
                } else {
                    let otherwise = Box::new(Expr::Constant(Value::Null));
                    Expr::Case { branches: vec![(Expr::And(guards), subquery)], otherwise }
                }
            }
            Err(plan) => self.slot(Prerequisite::Scalar(plan)),
        };
        Ok(Typed::new(expr, ty))
    }

    /// A subquery whose column becomes an array, and the type of its elements.
    pub(super) fn list_subquery(&mut self, query: &ast::Query) -> Result<(Expr, Type), Error> {
        let (plan, element) = self.one_column(query)?;
        let expr = match plan.correlated() {
            Ok(plan) => {
                let ty = Type::Array(Box::new(element.clone()));
                Expr::Subquery(Box::new(Subquery { kind: SubqueryKind::Array(element.clone()), plan, ty }))
            }
            Err(plan) => self.slot(Prerequisite::List(plan, element.clone())),
        };
        Ok((expr, element))
    }

    fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        let plan = self.subquery(query)?;
        let exists = match plan.correlated() {
            Ok(plan) => Expr::Subquery(Box::new(Subquery { kind: SubqueryKind::Exists, plan, ty: Type::Bool })),
            Err(plan) => self.slot(Prerequisite::Exists(plan)),
        };
        Ok(Typed::new(if negated { Expr::Not(Box::new(exists)) } else { exists }, Type::Bool))
    }

    /// `operand IN (query)`. A short answer of a query on its own is worked out once, as an array; what may be long is left to a join.
    fn in_subquery(&mut self, operand: &ast::Expr, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        let operands = match unnested(operand) {
            ast::Expr::Tuple(parts) => parts.iter().map(|part| self.expression(part)).collect::<Result<Vec<_>, _>>()?,
            _ => vec![self.expression(operand)?],
        };
        let plan = self.subquery(query)?;
        if plan.columns.len() != operands.len() {
            let how = if plan.columns.len() < operands.len() { "few" } else { "many" };
            return Err(Error::syntax(format!("subquery has too {how} columns")));
        }
        let types: Vec<Type> = plan.columns.iter().map(|column| column.ty.clone()).collect();
        let plan = match (plan.correlated(), &operands[..], &types[..]) {
            (Ok(plan), ..) => plan,
            (Err(plan), [operand], [element]) => {
                let slot = self.slot(Prerequisite::List(plan, element.clone()));
                let list = Typed::new(slot, Type::Array(Box::new(element.clone())));
                return self.quantified_over(BinaryOp::Equal, operand.clone(), list, false, negated);
            }
            (Err(plan), ..) => plan.into_node(),
        };
        let mut members = Vec::with_capacity(operands.len());
        for (operand, element) in operands.into_iter().zip(&types) {
            let equal = resolve_binary(BinaryOp::Equal, &operand.ty, element)?;
            let operand = self.coerce(operand, &equal.left, CastContext::Implicit)?;
            let cast = resolve_cast(element, &equal.right, CastContext::Implicit)?;
            members.push(Member { operand, equal, cast: (!cast.is_identity()).then_some(cast) });
        }
        let kind = SubqueryKind::In(members);
        let found = Expr::Subquery(Box::new(Subquery { kind, plan, ty: Type::Bool }));
        Ok(Typed::new(if negated { Expr::Not(Box::new(found)) } else { found }, Type::Bool))
    }
}

pub(super) fn plain_argument(argument: &FunctionArg) -> Result<&ast::Expr, Error> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        FunctionArg::Unnamed(_) => Err(Error::syntax("* is an argument of count only")),
        FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
            Err(Error::unsupported("a named argument", "Give the arguments in their order."))
        }
    }
}

/// `(information_schema._pg_expandarray(array)).x` and `.n`, the elements of an array and their numbers, by which JDBC asks for indexes: the
/// function here that gives the same rows, and the array.
fn expanded<'e>(root: &'e ast::Expr, access: &[ast::AccessExpr]) -> Option<(&'static str, &'e ast::Expr)> {
    let (ast::Expr::Function(function), [ast::AccessExpr::Dot(ast::Expr::Identifier(field))]) =
        (unnested(root), access)
    else {
        return None;
    };
    let parts: Vec<String> = function.name.0.iter().filter_map(|part| part.as_ident().map(fold)).collect();
    let ([schema, name], FunctionArguments::List(list)) = (&parts[..], &function.args) else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] = &list.args[..] else { return None };
    let name = match (schema.as_str(), name.as_str(), fold(field).as_str()) {
        ("information_schema", "_pg_expandarray", "x") => "unnest",
        ("information_schema", "_pg_expandarray", "n") => "generate_subscripts",
        _ => return None,
    };
    Some((name, array))
}
