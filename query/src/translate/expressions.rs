//! Expressions and the subqueries in them.
//!
//! EXISTS and IN become joins where they are conditions; elsewhere a subquery is one value, made by an aggregate if its form does not say that it has one row.

use quorate_sql::cast::{CastContext, can_cast};

use super::dependent::{Frame, engine_takes};
use super::*;

/// Whether working it out for a row that others exclude may be an error.
fn may_fail(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        found |= match part {
            Expr::Function(..) | Expr::Unary(_) => part.uses_columns(),
            Expr::Binary(binary) => {
                let op = binary.0.op;
                let calculates = matches!(
                    op,
                    BinaryOp::Add
                        | BinaryOp::Subtract
                        | BinaryOp::Multiply
                        | BinaryOp::Divide
                        | BinaryOp::Modulo
                        | BinaryOp::Power
                );
                calculates && part.uses_columns()
            }
            Expr::Cast(cast) => !can_cast(&cast.0.from, &cast.0.to, CastContext::Implicit) && part.uses_columns(),
            _ => false,
        }
    });
    found
}

/// Whether it is an equality, which a join may find its partners by.
fn is_equality(expr: &Expr) -> bool {
    matches!(expr, Expr::Binary(binary) if binary.0.op == BinaryOp::Equal)
}

impl Translator {
    /// The conditions of a filter or, `joining`, of a join. One that may fail is worked out together with those before it that say which of its rows
    /// count; conditions about other columns are left apart, so that each can be worked out as early as its columns are there. Equalities of a join are left as
    /// they are: PostgreSQL, too, works them out for all rows, to find the partners.
    pub(super) fn conditions(&mut self, conditions: &[Expr], joining: bool) -> Result<Vec<EngineExpr>, Error> {
        let mut translated: Vec<Option<EngineExpr>> = Vec::with_capacity(conditions.len());
        let by_engine = matches!(self.frames.last(), Some(Frame::Engine));
        for (n, condition) in conditions.iter().enumerate() {
            let apart = n == 0 || condition.has_subquery() || !may_fail(condition);
            // An equality with a value of the row around is what the engine takes a subquery apart by.
            if apart || (is_equality(condition) && (joining || (by_engine && condition.refers_out()))) {
                translated.push(Some(self.condition(condition)?));
                continue;
            }
            let own = condition.columns();
            let mut parts = Vec::new();
            for (place, guard) in conditions[..n].iter().enumerate() {
                let columns = guard.columns();
                // What refers to the row around the query may stand in forms only that the engine knows how to take apart.
                let apart = guard.has_subquery() || guard.refers_out() || guard.is_volatile();
                if apart || columns.is_empty() || !columns.iter().all(|column| own.contains(column)) {
                    continue;
                }
                parts.push(guard.clone());
                // What is worked out with the new one as well, with all that guards it, is not worked out twice.
                if may_fail(guard) && !is_equality(guard) && columns.len() == own.len() {
                    translated[place] = None;
                }
            }
            parts.push(condition.clone());
            translated.push(Some(if parts.len() > 1 {
                self.compiled(&Expr::And(parts), &Type::Bool)?
            } else {
                self.condition(condition)?
            }));
        }
        Ok(translated.into_iter().flatten().collect())
    }

    /// A condition of WHERE, ON or HAVING: EXISTS and IN become joins there.
    pub(super) fn condition(&mut self, expr: &Expr) -> Result<EngineExpr, Error> {
        match expr {
            Expr::Subquery(subquery) => self.membership(subquery, false),
            Expr::Not(inner) => match &**inner {
                Expr::Subquery(subquery) => self.membership(subquery, true),
                _ => self.expression(expr, &Type::Bool),
            },
            Expr::And(parts) => self.junction(parts, true, true),
            Expr::Or(parts) => self.junction(parts, false, true),
            _ => self.expression(expr, &Type::Bool),
        }
    }

    fn junction(&mut self, parts: &[Expr], and: bool, of_conditions: bool) -> Result<EngineExpr, Error> {
        // The engine may work out all parts for all rows; the SQL engine stops at the part that decides.
        if parts.iter().skip(1).any(may_fail) && !parts.iter().any(Expr::has_subquery) {
            let whole = if and { Expr::And(parts.to_vec()) } else { Expr::Or(parts.to_vec()) };
            return self.compiled(&whole, &Type::Bool);
        }
        let mut joined: Option<EngineExpr> = None;
        for part in parts {
            let part = if of_conditions { self.condition(part)? } else { self.expression(part, &Type::Bool)? };
            joined = Some(match joined {
                None => part,
                Some(before) if and => before.and(part),
                Some(before) => before.or(part),
            });
        }
        Ok(joined.unwrap_or_else(|| lit(and)))
    }

    fn subplan(&mut self, plan: LogicalPlan) -> EngineSubquery {
        let outer_ref_columns = plan.all_out_ref_exprs();
        EngineSubquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
    }

    fn membership(&mut self, subquery: &Subquery, negated: bool) -> Result<EngineExpr, Error> {
        match &subquery.kind {
            SubqueryKind::Exists if engine_takes(subquery, false) => {
                let relation = self.by_engine(&subquery.plan)?;
                let subquery = self.subplan(relation.plan);
                Ok(EngineExpr::Exists(Exists { subquery, negated }))
            }
            // The engine's way to leave out what is in a set knows one set for all rows.
            SubqueryKind::In(members)
                if members.len() == 1
                    && engine_takes(subquery, false)
                    && (!negated || subquery.plan.references().is_empty()) =>
            {
                let member = &members[0];
                let element_type = element_type(member, &subquery.plan);
                let operand = comparable(self.expression(&member.operand, &member.equal.left)?, &member.equal.left);
                let operand = widened(operand, &member.equal.left, &element_type);
                let relation = self.by_engine(&subquery.plan)?;
                let (element, relation) = self.over(relation, |this| this.element(member, &element_type, 0))?;
                let name = self.name();
                let plan = build(start(relation.plan).project(vec![element.alias(name)]))?;
                let subquery = self.subplan(plan);
                Ok(EngineExpr::InSubquery(InSubquery { expr: Box::new(operand), subquery, negated }))
            }
            // Where NULL is as good as false, a row of values among others is a row that exists.
            SubqueryKind::In(_) if !negated && !subquery.plan.refers_outside() => match subquery.as_exists() {
                Some(exists) => self.membership(&exists, false),
                None => self.attached(subquery),
            },
            _ => {
                let value = self.scalar_subquery(subquery)?;
                Ok(if negated { EngineExpr::Not(Box::new(value)) } else { value })
            }
        }
    }

    /// Translates a query that the engine takes apart.
    fn by_engine(&mut self, query: &Node) -> Result<Relation, Error> {
        self.frames.push(Frame::Engine);
        let relation = self.query(query);
        self.frames.pop();
        relation
    }

    /// The column that a member of IN is compared with, in the form in which it is compared.
    fn element(&mut self, member: &Member, ty: &Type, place: usize) -> Result<EngineExpr, Error> {
        let element = match &member.cast {
            Some(cast) => Expr::Cast(Box::new((cast.clone(), Expr::Column(place)))),
            None => Expr::Column(place),
        };
        let element = self.expression(&element, ty)?;
        Ok(widened(comparable(element, ty), ty, &member.equal.left))
    }

    /// Whether an operand of IN equals a column of the row at hand.
    pub(super) fn equal_to_column(
        &mut self,
        member: &Member,
        operand: EngineExpr,
        place: usize,
    ) -> Result<EngineExpr, Error> {
        let own = self.scopes.last().and_then(|scope| scope.types.get(place)).cloned();
        let own = own.ok_or_else(|| Error::internal("IN of a column that is not there"))?;
        let ty = if member.cast.is_some() { member.equal.right.clone() } else { own };
        let left = &member.equal.left;
        let operand = widened(comparable(operand, left), left, &ty);
        Ok(operand.eq(self.element(member, &ty, place)?))
    }

    /// The value of a subquery for the row at hand.
    fn scalar_subquery(&mut self, subquery: &Subquery) -> Result<EngineExpr, Error> {
        if !engine_takes(subquery, true) || subquery.plan.references().is_empty() {
            return self.attached(subquery);
        }
        match &subquery.kind {
            SubqueryKind::Scalar => {
                let relation = self.by_engine(&subquery.plan)?;
                // One row by its form already, and in a form that the engine can take out of the subquery.
                let plan = if is_one_row(&subquery.plan) {
                    relation.plan
                } else {
                    let own = relation.types[0].clone();
                    let only = Aggregate::function(Function::Only, vec![own.clone()], Vec::new(), false, own);
                    let name = self.name();
                    let call = aggregate(only, vec![column(&relation.columns[0])], None).alias(name);
                    build(start(relation.plan).aggregate(Vec::<EngineExpr>::new(), vec![call]))?
                };
                Ok(EngineExpr::ScalarSubquery(self.subplan(plan)))
            }
            SubqueryKind::Exists => {
                let relation = self.by_engine(&subquery.plan)?;
                let name = self.name();
                let counted = aggregate(count_udaf(), vec![lit(1_i64)], None).alias(&name);
                let plan = build(start(relation.plan).aggregate(Vec::<EngineExpr>::new(), vec![counted]))?;
                let found = self.name();
                let plan = build(start(plan).project(vec![column(&name).gt(lit(0_i64)).alias(found)]))?;
                Ok(EngineExpr::ScalarSubquery(self.subplan(plan)))
            }
            SubqueryKind::Array(_) | SubqueryKind::In(_) => self.attached(subquery),
        }
    }

    /// No rows are an empty array, not NULL.
    pub(super) fn or_empty_array(&mut self, value: EngineExpr, subquery: &Subquery) -> EngineExpr {
        let SubqueryKind::Array(element) = &subquery.kind else { return value };
        let empty = Value::Array(Arc::new(Array::new(element.clone(), Vec::new())));
        let coalesce = Expr::Coalesce(vec![Expr::Column(0), Expr::Constant(empty)]);
        let function =
            Compiled::function(coalesce, vec![subquery.ty.clone()], subquery.ty.clone(), self.shared.clone());
        EngineExpr::ScalarFunction(ScalarFunction::new_udf(function, vec![value]))
    }

    /// A reference to a column of a row, with its type.
    fn reference(&self, levels: usize, place: usize) -> Result<(EngineExpr, Type), Error> {
        let gone = || Error::internal("a reference to a row that is not there");
        let at_hand = self.scopes.last().ok_or_else(gone)?;
        if levels > 0
            && let Some((name, ty)) = self.carried(at_hand, levels, place)
        {
            return Ok((column(&name), ty));
        }
        let scope = self.scopes.len().checked_sub(1 + levels).and_then(|n| self.scopes.get(n)).ok_or_else(gone)?;
        if levels > 1 || (levels == 1 && !matches!(self.frames.last(), Some(Frame::Engine))) {
            return Err(gone());
        }
        let (name, ty) = scope.columns.get(place).zip(scope.types.get(place)).ok_or_else(gone)?;
        let expr = if levels == 0 {
            column(name)
        } else {
            let field = Arc::new(Field::new(name, data_type(ty), true));
            EngineExpr::OuterReferenceColumn(field, Column::new_unqualified(name))
        };
        Ok((expr, ty.clone()))
    }

    /// The value of an expression that may not depend on rows.
    pub(super) fn constant(&self, expr: &Expr, ty: &Type) -> Result<EngineExpr, Error> {
        if expr.uses_columns() {
            return Err(Error::unsupported(
                "an argument of a window function that differs from row to row",
                "Use a constant.",
            ));
        }
        let value = expr.eval(&self.shared.scope(), &[])?;
        let value = match (value, ty) {
            (Value::Int32(value), Type::Int64) => Value::Int64(i64::from(value)),
            (value, _) => value,
        };
        Ok(EngineExpr::Literal(scalar(&value, ty)?, None))
    }

    /// Translates an expression of a type.
    pub(super) fn expression(&mut self, expr: &Expr, ty: &Type) -> Result<EngineExpr, Error> {
        match expr {
            Expr::Column(place) => Ok(self.reference(0, *place)?.0),
            Expr::Outer { levels, place } => Ok(self.reference(*levels, *place)?.0),
            Expr::Subquery(subquery) => self.scalar_subquery(subquery),
            Expr::And(parts) => self.junction(parts, true, false),
            Expr::Or(parts) => self.junction(parts, false, false),
            Expr::Not(inner) => Ok(EngineExpr::Not(Box::new(self.expression(inner, &Type::Bool)?))),
            Expr::IsNull { operand, negated } => match &**operand {
                Expr::Column(_) | Expr::Outer { .. } => {
                    let operand = Box::new(self.expression(operand, ty)?);
                    Ok(if *negated { EngineExpr::IsNotNull(operand) } else { EngineExpr::IsNull(operand) })
                }
                _ => self.compiled(expr, ty),
            },
            Expr::Binary(binary) if binary.0.op.is_comparison() && expr.uses_columns() => {
                let (function, left, right) = &**binary;
                if !alike(&function.left, &function.right) {
                    return self.compiled(expr, ty);
                }
                let one = widened(
                    comparable(self.expression(left, &function.left)?, &function.left),
                    &function.left,
                    &function.right,
                );
                let other = widened(
                    comparable(self.expression(right, &function.right)?, &function.right),
                    &function.right,
                    &function.left,
                );
                Ok(match function.op {
                    BinaryOp::Equal => one.eq(other),
                    BinaryOp::NotEqual => one.not_eq(other),
                    BinaryOp::Less => one.lt(other),
                    BinaryOp::LessEqual => one.lt_eq(other),
                    BinaryOp::Greater => one.gt(other),
                    BinaryOp::GreaterEqual => one.gt_eq(other),
                    _ => return self.compiled(expr, ty),
                })
            }
            Expr::In { operand, list, negated } if matches!(**operand, Expr::Column(_)) => {
                let plain = list.iter().all(|one| {
                    one.cast.is_none()
                        && !one.value.uses_columns()
                        && !one.value.is_volatile()
                        && !is_keyed(&one.op.left)
                        && one.op.left == one.op.right
                });
                let first = list.first().map(|one| one.op.left.clone());
                let (Some(ty_of), true) = (first, plain) else { return self.compiled(expr, ty) };
                if list.iter().any(|one| one.op.left != ty_of) {
                    return self.compiled(expr, ty);
                }
                let column = self.expression(operand, &ty_of)?;
                let list = list.iter().map(|one| self.expression(&one.value, &ty_of)).collect::<Result<Vec<_>, _>>()?;
                Ok(EngineExpr::InList(InList { expr: Box::new(column), list, negated: *negated }))
            }
            _ => self.compiled(expr, ty),
        }
    }

    /// An expression that stays compiled, as a function of what it refers to.
    fn compiled(&mut self, expr: &Expr, ty: &Type) -> Result<EngineExpr, Error> {
        if !expr.uses_columns() && !expr.is_volatile() {
            // What fails is left for the rows that need it.
            if let Ok(value) = expr.eval(&self.shared.scope(), &[]) {
                return Ok(EngineExpr::Literal(scalar(&value, ty)?, None));
            }
        }
        let mut arguments: Vec<EngineExpr> = Vec::new();
        let mut types: Vec<Type> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut failed = None;
        let mut expr = expr.clone();
        expr.rewrite(&mut |part| {
            let (levels, place) = match part {
                Expr::Column(place) => (0, *place),
                Expr::Outer { levels, place } => (*levels, *place),
                Expr::Subquery(subquery) => {
                    return match self.scalar_subquery(subquery) {
                        Ok(value) => {
                            arguments.push(value);
                            types.push(subquery.ty.clone());
                            places.push((usize::MAX, arguments.len()));
                            Some(Expr::Column(arguments.len() - 1))
                        }
                        Err(error) => {
                            failed.get_or_insert(error);
                            None
                        }
                    };
                }
                _ => return None,
            };
            if let Some(known) = places.iter().position(|known| *known == (levels, place)) {
                return Some(Expr::Column(known));
            }
            match self.reference(levels, place) {
                Ok((argument, ty)) => {
                    arguments.push(argument);
                    types.push(ty);
                    places.push((levels, place));
                    Some(Expr::Column(arguments.len() - 1))
                }
                Err(error) => {
                    failed.get_or_insert(error);
                    None
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if arguments.is_empty() {
            arguments.push(lit(true));
            types.push(Type::Bool);
        }
        let function = Compiled::function(expr, types, ty.clone(), self.shared.clone());
        Ok(EngineExpr::ScalarFunction(ScalarFunction::new_udf(function, arguments)))
    }
}

/// The type in which a member of IN is compared with the first column of a query.
fn element_type(member: &Member, query: &Node) -> Type {
    match (&member.cast, query.types().first()) {
        (None, Some(own)) => own.clone(),
        _ => member.equal.right.clone(),
    }
}

/// Whether values of two types can be compared by their forms or keys.
fn alike(a: &Type, b: &Type) -> bool {
    a.same_base(b)
        || (a.is_integer() && b.is_integer())
        || (!is_keyed(a) && !is_keyed(b) && data_type(a) == data_type(b) && data_type(a) == DataType::Utf8)
}

/// The smaller of two integers in the form of the larger.
fn widened(expr: EngineExpr, own: &Type, other: &Type) -> EngineExpr {
    let width = |ty: &Type| match ty {
        Type::Int16 => 1,
        Type::Int32 => 2,
        Type::Int64 => 3,
        _ => 0,
    };
    if width(own) > 0 && width(own) < width(other) {
        datafusion::logical_expr::cast(expr, data_type(other))
    } else {
        expr
    }
}

/// Whether a query gives exactly one row whatever its input.
pub(super) fn is_one_row(node: &Node) -> bool {
    match node {
        Node::Group { keys, sets, .. } => keys.is_empty() && sets.is_none(),
        Node::Project { input, .. } | Node::Sort { input, .. } => is_one_row(input),
        _ => false,
    }
}
