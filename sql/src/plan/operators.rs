//! Binding of expressions: literals, columns, operators, CASE, IN, BETWEEN and the like.

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::binder::{Binder, Typed};
use super::expression::{Comparison, Expr, Quantified, Special};
use super::literals::{number, or_empty};
use crate::cast::{CastContext, resolve_cast};
use crate::error::{Error, SqlState};
use crate::functions::{BinaryOp, UnaryOp, resolve_binary, resolve_unary};
use crate::parse::data_type;
use crate::types::{Type, common_type};
use crate::value::{Array, Value};

impl Binder<'_> {
    /// Binds an expression.
    ///
    /// # Errors
    /// Unknown names, types that do not fit, forms that are refused: each with its SQLSTATE and, where known, position.
    pub fn expression(&mut self, expr: &ast::Expr) -> Result<Typed, Error> {
        self.deeper(|binder| binder.form(expr))
            .map_err(|error| if error.position.is_some() { error } else { self.locate(error, expr) })
    }

    fn form(&mut self, expr: &ast::Expr) -> Result<Typed, Error> {
        match expr {
            ast::Expr::Nested(inner) => self.form(inner),
            ast::Expr::Identifier(ident) => match without_parentheses(ident) {
                Some(name) if self.level.relations.is_empty() || self.column(std::slice::from_ref(ident)).is_err() => {
                    self.named_call(name, Vec::new())
                }
                _ => self.column(std::slice::from_ref(ident)),
            },
            ast::Expr::CompoundIdentifier(parts) => self.column(parts),
            ast::Expr::Value(value) => {
                let literal = self.literal(&value.value)?;
                Ok(Typed { at: self.place_of_expr(expr), ..literal })
            }
            ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } => self.junction(left, right, true),
            ast::Expr::BinaryOp { left, op: BinaryOperator::Or, right } => self.junction(left, right, false),
            ast::Expr::BinaryOp { left, op, right } => {
                let op = binary_operator(op)?;
                if let (ast::Expr::Tuple(left), ast::Expr::Tuple(right)) = (unnested(left), unnested(right)) {
                    return self.row_comparison(op, left, right);
                }
                let (left, right) = (self.expression(left)?, self.expression(right)?);
                self.binary(op, left, right)
            }
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            ast::Expr::IsNull(operand) => self.is_null(operand, false),
            ast::Expr::IsNotNull(operand) => self.is_null(operand, true),
            ast::Expr::IsTrue(operand) => self.is_truth(operand, true, false),
            ast::Expr::IsNotTrue(operand) => self.is_truth(operand, true, true),
            ast::Expr::IsFalse(operand) => self.is_truth(operand, false, false),
            ast::Expr::IsNotFalse(operand) => self.is_truth(operand, false, true),
            ast::Expr::IsUnknown(operand) => {
                let operand = self.bind_truth(operand, "IS UNKNOWN")?;
                Ok(Typed::new(Expr::IsNull { operand: Box::new(operand), negated: false }, Type::Bool))
            }
            ast::Expr::IsNotUnknown(operand) => {
                let operand = self.bind_truth(operand, "IS NOT UNKNOWN")?;
                Ok(Typed::new(Expr::IsNull { operand: Box::new(operand), negated: true }, Type::Bool))
            }
            ast::Expr::IsDistinctFrom(left, right) => self.distinct(left, right, false),
            ast::Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, true),
            ast::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            ast::Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, false)
            }
            ast::Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, true)
            }
            ast::Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            ast::Expr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type: target, ..
            } => {
                if let Some(function) = alias_type(target) {
                    let operand = self.expression(expr)?;
                    return self.call(function, vec![operand]);
                }
                let target = data_type(target)?;
                // An empty array has the type that it is cast to, and no other.
                if let (ast::Expr::Array(array), Type::Array(element)) = (unnested(expr), &target)
                    && array.elem.is_empty()
                {
                    let empty = Array::new((**element).clone(), Vec::new());
                    return Ok(Typed::new(Expr::Constant(Value::Array(empty.into())), target));
                }
                let operand = self.expression(expr)?;
                Ok(Typed::new(self.coerce(operand, &target, CastContext::Explicit)?, target))
            }
            ast::Expr::TypedString(typed) => {
                let target = data_type(&typed.data_type)?;
                let literal = self.literal(&typed.value.value)?;
                Ok(Typed::new(self.coerce(literal, &target, CastContext::Explicit)?, target))
            }
            ast::Expr::Interval(interval) => self.interval(interval),
            ast::Expr::AtTimeZone { timestamp, time_zone } => {
                let (timestamp, zone) = (self.expression(timestamp)?, self.expression(time_zone)?);
                self.binary(BinaryOp::AtTimeZone, timestamp, zone)
            }
            ast::Expr::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false),
            ast::Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true),
            ast::Expr::Array(array) => self.array(array),
            ast::Expr::Collate { expr, collation } => match collation.to_string().to_lowercase().as_str() {
                "\"c\"" | "\"posix\"" | "\"default\"" | "c" => self.expression(expr),
                "pg_catalog.default" | "pg_catalog.\"default\"" | "pg_catalog.\"c\"" | "pg_catalog.\"posix\"" => {
                    self.expression(expr)
                }
                other => {
                    Err(Error::unsupported(format_args!("collation {other}"), "Text is ordered by its bytes (\"C\")."))
                }
            },
            _ => self.call_form(expr),
        }
    }

    /// `left op right` with operands that are bound already.
    ///
    /// # Errors
    /// 42883, 42725, and what reading a literal reports.
    pub fn binary(&mut self, op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Error> {
        let function = resolve_binary(op, &left.ty, &right.ty)?;
        // || takes anything on one side, which is then converted as for storing into text.
        let context = if op == BinaryOp::Concat { CastContext::Assignment } else { CastContext::Implicit };
        let mut left = self.coerce(left, &function.left, context)?;
        let mut right = self.coerce(right, &function.right, context)?;
        match (op, &function.left, &function.right) {
            (BinaryOp::Concat, Type::Array(_), Type::Array(_)) => {}
            (BinaryOp::Concat, Type::Array(element), _) => left = or_empty(left, element),
            (BinaryOp::Concat, _, Type::Array(element)) => right = or_empty(right, element),
            _ => {}
        }
        let ty = function.result.clone();
        Ok(Typed::new(Expr::Binary(Box::new((function, left, right))), ty))
    }

    /// AND and OR of any length without recursion along their left side.
    fn junction(&mut self, left: &ast::Expr, right: &ast::Expr, and: bool) -> Result<Typed, Error> {
        let wanted = if and { BinaryOperator::And } else { BinaryOperator::Or };
        let mut operands = vec![right];
        let mut rest = left;
        while let ast::Expr::BinaryOp { left, op, right } = rest {
            if *op != wanted {
                break;
            }
            operands.push(right);
            rest = left;
        }
        operands.push(rest);
        let clause = if and { "AND" } else { "OR" };
        let bound = operands
            .into_iter()
            .rev()
            .map(|operand| self.bind_truth(operand, clause))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Typed::new(if and { Expr::And(bound) } else { Expr::Or(bound) }, Type::Bool))
    }

    fn bind_truth(&mut self, operand: &ast::Expr, clause: &str) -> Result<Expr, Error> {
        let typed = self.expression(operand)?;
        self.condition(typed, clause).map_err(|error| self.locate(error, operand))
    }

    fn unary(&mut self, op: UnaryOperator, operand: &ast::Expr) -> Result<Typed, Error> {
        if op == UnaryOperator::Not {
            let operand = self.bind_truth(operand, "NOT")?;
            return Ok(Typed::new(Expr::Not(Box::new(operand)), Type::Bool));
        }
        // The sign belongs to the number: -9223372036854775808 is a bigint.
        if let (UnaryOperator::Minus, ast::Expr::Value(value)) = (op, operand)
            && let ast::Value::Number(text, _) = &value.value
        {
            return number(&format!("-{text}"));
        }
        let op = match op {
            UnaryOperator::Plus => UnaryOp::Plus,
            UnaryOperator::Minus => UnaryOp::Minus,
            UnaryOperator::BitwiseNot => UnaryOp::BitNot,
            UnaryOperator::PGAbs => UnaryOp::Abs,
            UnaryOperator::PGSquareRoot => UnaryOp::SquareRoot,
            other => return Err(Error::unsupported(format_args!("the operator {other}"), "")),
        };
        let operand = self.expression(operand)?;
        let function = resolve_unary(op, &operand.ty)?;
        let operand = self.coerce(operand, &function.argument, CastContext::Implicit)?;
        let ty = function.result.clone();
        Ok(Typed::new(Expr::Unary(Box::new((function, operand))), ty))
    }

    fn is_null(&mut self, operand: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        let operand = self.expression(operand)?;
        let operand = self.settle(operand)?;
        Ok(Typed::new(Expr::IsNull { operand: Box::new(operand.expr), negated }, Type::Bool))
    }

    fn is_truth(&mut self, operand: &ast::Expr, truth: bool, negated: bool) -> Result<Typed, Error> {
        let clause = match (truth, negated) {
            (true, false) => "IS TRUE",
            (true, true) => "IS NOT TRUE",
            (false, false) => "IS FALSE",
            (false, true) => "IS NOT FALSE",
        };
        let operand = self.bind_truth(operand, clause)?;
        Ok(Typed::new(Expr::IsTruth { operand: Box::new(operand), truth, negated }, Type::Bool))
    }

    fn distinct(&mut self, left: &ast::Expr, right: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        // The equality operator says whether the two can be compared, and how each is converted; then one type must remain.
        let equal = resolve_binary(BinaryOp::Equal, &left.ty, &right.ty)?;
        let ty = common_type("IS DISTINCT FROM", &[equal.left, equal.right])?;
        let left = self.coerce(left, &ty, CastContext::Implicit)?;
        let right = self.coerce(right, &ty, CastContext::Implicit)?;
        Ok(Typed::new(Expr::Distinct { operands: Box::new((left, right)), negated }, Type::Bool))
    }

    fn between(
        &mut self,
        operand: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Typed, Error> {
        let operand = self.expression(operand)?;
        let (low, high) = (self.expression(low)?, self.expression(high)?);
        let (first, second) =
            if negated { (BinaryOp::Less, BinaryOp::Greater) } else { (BinaryOp::GreaterEqual, BinaryOp::LessEqual) };
        let first = self.binary(first, operand.clone(), low)?;
        // A parameter whose type the first comparison has settled must not be taken as unknown again.
        let operand = self.refreshed(operand);
        let second = self.binary(second, operand, high)?;
        let both = vec![first.expr, second.expr];
        Ok(Typed::new(if negated { Expr::Or(both) } else { Expr::And(both) }, Type::Bool))
    }

    fn refreshed(&self, typed: Typed) -> Typed {
        match typed.expr {
            Expr::Parameter(n) if matches!(typed.ty, Type::Unknown) => {
                Typed::new(typed.expr, self.parameters[n].clone().unwrap_or(Type::Unknown))
            }
            _ => typed,
        }
    }

    /// The comparison `operand op value`, the operand to be given at evaluation.
    fn comparison(&mut self, op: BinaryOp, operand: &Typed, value: Typed) -> Result<Comparison, Error> {
        let function = resolve_binary(op, &operand.ty, &value.ty)?;
        let value = self.coerce(value, &function.right, CastContext::Implicit)?;
        let cast = resolve_cast(&operand.ty, &function.left, CastContext::Implicit)?;
        Ok(Comparison { op: function, cast: (!cast.is_identity()).then_some(cast), value })
    }

    fn in_list(&mut self, operand: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed, Error> {
        if let ast::Expr::Tuple(left) = unnested(operand) {
            return self.row_in_list(left, list, negated);
        }
        let mut operand = self.expression(operand)?;
        let mut values = list.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>, _>>()?;
        if matches!(operand.ty, Type::Unknown) {
            let types: Vec<Type> = values.iter().map(|value| value.ty.clone()).collect();
            let ty = common_type("IN", &types)?;
            operand = Typed::new(self.coerce(operand, &ty, CastContext::Implicit)?, ty);
        }
        let list = values
            .drain(..)
            .map(|value| self.comparison(BinaryOp::Equal, &operand, value))
            .collect::<Result<_, _>>()?;
        Ok(Typed::new(Expr::In { operand: Box::new(operand.expr), list, negated }, Type::Bool))
    }

    /// `(a, b) op (c, d)`: equality column by column, order as in a dictionary.
    fn row_comparison(&mut self, op: BinaryOp, left: &[ast::Expr], right: &[ast::Expr]) -> Result<Typed, Error> {
        if left.len() != right.len() {
            return Err(Error::syntax("unequal number of entries in row expressions"));
        }
        let mut pairs = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            pairs.push((self.expression(left)?, self.expression(right)?));
        }
        match op {
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let parts = pairs
                    .into_iter()
                    .map(|(left, right)| Ok(self.binary(op, left, right)?.expr))
                    .collect::<Result<Vec<_>, Error>>()?;
                Ok(Typed::new(if op == BinaryOp::Equal { Expr::And(parts) } else { Expr::Or(parts) }, Type::Bool))
            }
            BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
                let strict =
                    if matches!(op, BinaryOp::Less | BinaryOp::LessEqual) { BinaryOp::Less } else { BinaryOp::Greater };
                let mut result: Option<Expr> = None;
                for (left, right) in pairs.into_iter().rev() {
                    let here =
                        self.binary(if result.is_none() { op } else { strict }, left.clone(), right.clone())?.expr;
                    result = Some(match result {
                        None => here,
                        Some(rest) => {
                            let (left, right) = (self.refreshed(left), self.refreshed(right));
                            let equal = self.binary(BinaryOp::Equal, left, right)?.expr;
                            Expr::Or(vec![here, Expr::And(vec![equal, rest])])
                        }
                    });
                }
                Ok(Typed::new(result.unwrap_or(Expr::boolean(false)), Type::Bool))
            }
            _ => Err(Error::unsupported("this operator between rows", "Compare the columns one by one.")),
        }
    }

    fn row_in_list(&mut self, left: &[ast::Expr], list: &[ast::Expr], negated: bool) -> Result<Typed, Error> {
        let mut parts = Vec::with_capacity(list.len());
        for row in list {
            let ast::Expr::Tuple(right) = unnested(row) else {
                return Err(Error::syntax("unequal number of entries in row expressions"));
            };
            parts.push(self.row_comparison(BinaryOp::Equal, left, right)?.expr);
        }
        let any = Expr::Or(parts);
        Ok(Typed::new(if negated { Expr::Not(Box::new(any)) } else { any }, Type::Bool))
    }

    fn like(
        &mut self,
        text: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        insensitive: bool,
    ) -> Result<Typed, Error> {
        let (text, pattern) = (self.expression(text)?, self.expression(pattern)?);
        let op = match (insensitive, negated) {
            (false, false) => BinaryOp::Like,
            (false, true) => BinaryOp::NotLike,
            (true, false) => BinaryOp::ILike,
            (true, true) => BinaryOp::NotILike,
        };
        let Some(escape) = escape else { return self.binary(op, text, pattern) };
        let ast::Value::SingleQuotedString(escape) = &escape.value else {
            return Err(Error::unsupported("an ESCAPE that is no string literal", "Write the escape character out."));
        };
        let mut characters = escape.chars();
        let escape = match (characters.next(), characters.next()) {
            (escape, None) => escape,
            _ => {
                return Err(Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                    .with_hint("Escape string must be empty or one character."));
            }
        };
        let function = resolve_binary(op, &text.ty, &pattern.ty)?;
        let text = self.coerce(text, &function.left, CastContext::Implicit)?;
        let pattern = self.coerce(pattern, &function.right, CastContext::Implicit)?;
        Ok(Typed::new(
            Expr::Special(Special::Like { operands: Box::new((text, pattern)), escape, insensitive, negated }),
            Type::Bool,
        ))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed, Error> {
        let sets = self.level.sets.len();
        let operand = match operand {
            Some(operand) => {
                let operand = self.expression(operand)?;
                Some(self.settle(operand)?)
            }
            None => None,
        };
        let mut results = Vec::with_capacity(conditions.len() + 1);
        let mut plain = Vec::new();
        let mut compared = Vec::new();
        for branch in conditions {
            match &operand {
                Some(operand) => {
                    let value = self.expression(&branch.condition)?;
                    compared.push(self.comparison(BinaryOp::Equal, operand, value)?);
                }
                None => plain.push(self.bind_truth(&branch.condition, "CASE/WHEN")?),
            }
            results.push(self.expression(&branch.result)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.expression(otherwise)?,
            None => Typed::new(Expr::Constant(Value::Null), Type::Unknown),
        });
        let (mut results, ty) = self.alike("CASE", results)?;
        if self.level.sets.len() > sets {
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "set-returning functions are not allowed in CASE"));
        }
        let otherwise = Box::new(results.pop().expect("the ELSE was pushed above"));
        let expr = match operand {
            Some(operand) => Expr::CaseOf {
                operand: Box::new(operand.expr),
                branches: compared.into_iter().zip(results).collect(),
                otherwise,
            },
            None => Expr::Case { branches: plain.into_iter().zip(results).collect(), otherwise },
        };
        Ok(Typed::new(expr, ty))
    }

    /// Converts all to their common type.
    ///
    /// # Errors
    /// 42804 if there is none.
    pub fn alike(&mut self, context: &str, values: Vec<Typed>) -> Result<(Vec<Expr>, Type), Error> {
        let types: Vec<Type> = values.iter().map(|value| value.ty.clone()).collect();
        let ty = common_type(context, &types)?;
        let values =
            values.into_iter().map(|value| self.coerce(value, &ty, CastContext::Implicit)).collect::<Result<_, _>>()?;
        Ok((values, ty))
    }

    fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        all: bool,
    ) -> Result<Typed, Error> {
        let op = binary_operator(op)?;
        let operand = self.expression(left)?;
        if let ast::Expr::Subquery(query) = unnested(right) {
            let (slot, element) = self.list_subquery(query)?;
            return self.quantified_over(op, operand, Typed::new(slot, Type::Array(Box::new(element))), all, false);
        }
        let array = self.expression(right)?;
        self.quantified_over(op, operand, array, all, false)
    }

    /// `operand op ANY (array)` with both sides bound.
    ///
    /// # Errors
    /// 42809 if the right side is no array, 42883 if the operator does not exist.
    pub fn quantified_over(
        &mut self,
        op: BinaryOp,
        operand: Typed,
        array: Typed,
        all: bool,
        negated: bool,
    ) -> Result<Typed, Error> {
        let element = match &array.ty {
            Type::Array(element) => (**element).clone(),
            Type::Unknown => Type::Unknown,
            _ => {
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, "op ANY/ALL (array) requires array on right side"));
            }
        };
        let function = resolve_binary(op, &operand.ty, &element)?;
        if !matches!(function.result, Type::Bool) {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                "op ANY/ALL (array) requires operator to yield boolean",
            ));
        }
        let operand = self.coerce(operand, &function.left, CastContext::Implicit)?;
        let array = self.coerce(array, &Type::Array(Box::new(function.right.clone())), CastContext::Implicit)?;
        Ok(Typed::new(
            Expr::Quantified(Box::new(Quantified { op: function, operand, array, all, negated })),
            Type::Bool,
        ))
    }

    fn array(&mut self, array: &ast::Array) -> Result<Typed, Error> {
        let values = array.elem.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>, _>>()?;
        if values.is_empty() {
            return Err(Error::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let (values, element) = self.alike("ARRAY", values)?;
        if matches!(element, Type::Array(_)) {
            return Err(Error::unsupported("an array of arrays", ""));
        }
        Ok(Typed::new(Expr::Array(element.clone(), values), Type::Array(Box::new(element))))
    }
}

/// The expression inside any parentheses.
pub fn unnested(mut expr: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The function that a cast to one of PostgreSQL's names for OIDs is here: a name becomes the OID, and an OID the name.
fn alias_type(target: &ast::DataType) -> Option<&'static str> {
    let ast::DataType::Custom(name, _) = target else { return None };
    let name = name.to_string().to_lowercase();
    match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "regnamespace" => Some("regnamespace"),
        "regrole" => Some("regrole"),
        "regproc" | "regprocedure" => Some("regproc"),
        _ => None,
    }
}

/// Functions that SQL writes without parentheses and the library reads as names.
fn without_parentheses(ident: &ast::Ident) -> Option<&'static str> {
    const NAMES: &[&str] =
        &["current_schema", "current_role", "current_catalog", "current_user", "session_user", "user"];
    if ident.quote_style.is_some() {
        return None;
    }
    NAMES.iter().find(|name| ident.value.eq_ignore_ascii_case(name)).copied()
}

fn binary_operator(op: &BinaryOperator) -> Result<BinaryOp, Error> {
    Ok(match op {
        BinaryOperator::Plus => BinaryOp::Add,
        BinaryOperator::Minus => BinaryOp::Subtract,
        BinaryOperator::Multiply => BinaryOp::Multiply,
        BinaryOperator::Divide => BinaryOp::Divide,
        BinaryOperator::Modulo => BinaryOp::Modulo,
        BinaryOperator::PGExp | BinaryOperator::BitwiseXor => BinaryOp::Power,
        BinaryOperator::StringConcat => BinaryOp::Concat,
        BinaryOperator::Eq => BinaryOp::Equal,
        BinaryOperator::NotEq => BinaryOp::NotEqual,
        BinaryOperator::Lt => BinaryOp::Less,
        BinaryOperator::LtEq => BinaryOp::LessEqual,
        BinaryOperator::Gt => BinaryOp::Greater,
        BinaryOperator::GtEq => BinaryOp::GreaterEqual,
        BinaryOperator::PGLikeMatch => BinaryOp::Like,
        BinaryOperator::PGNotLikeMatch => BinaryOp::NotLike,
        BinaryOperator::PGILikeMatch => BinaryOp::ILike,
        BinaryOperator::PGNotILikeMatch => BinaryOp::NotILike,
        BinaryOperator::PGRegexMatch => BinaryOp::Match,
        BinaryOperator::PGRegexNotMatch => BinaryOp::NotMatch,
        BinaryOperator::PGRegexIMatch => BinaryOp::MatchInsensitive,
        BinaryOperator::PGRegexNotIMatch => BinaryOp::NotMatchInsensitive,
        BinaryOperator::BitwiseAnd => BinaryOp::BitAnd,
        BinaryOperator::BitwiseOr => BinaryOp::BitOr,
        BinaryOperator::PGBitwiseXor => BinaryOp::BitXor,
        BinaryOperator::PGBitwiseShiftLeft => BinaryOp::ShiftLeft,
        BinaryOperator::PGBitwiseShiftRight => BinaryOp::ShiftRight,
        // psql and others write pg_catalog's operators out in full.
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str) {
            Some("=") => BinaryOp::Equal,
            Some("<>") => BinaryOp::NotEqual,
            Some("~") => BinaryOp::Match,
            Some("!~") => BinaryOp::NotMatch,
            Some("~*") => BinaryOp::MatchInsensitive,
            Some("!~*") => BinaryOp::NotMatchInsensitive,
            Some("!~~") => BinaryOp::NotLike,
            Some("~~*") => BinaryOp::ILike,
            Some("!~~*") => BinaryOp::NotILike,
            Some("<") => BinaryOp::Less,
            Some("<=") => BinaryOp::LessEqual,
            Some(">") => BinaryOp::Greater,
            Some(">=") => BinaryOp::GreaterEqual,
            Some("~~") => BinaryOp::Like,
            Some("||") => BinaryOp::Concat,
            Some("+") => BinaryOp::Add,
            Some("-") => BinaryOp::Subtract,
            Some("*") => BinaryOp::Multiply,
            _ => return Err(Error::unsupported(format_args!("the operator {op}"), "")),
        },
        other => return Err(Error::unsupported(format_args!("the operator {other}"), "")),
    })
}
