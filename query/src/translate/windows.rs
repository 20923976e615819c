//! Window functions, and the numbering of rows that other operators are made of.

use super::*;

impl Translator {
    pub(super) fn windowed(&mut self, input: Relation, width: usize, call: &WindowCall) -> Result<Relation, Error> {
        let input = self.within_domain(input, call.parts())?;
        let frame = self.frame(&call.frame, !call.order_by.is_empty())?;
        if self.is_null(call)? || (frame.is_none() && is_of_frame(&call.function)) {
            let null = EngineExpr::Literal(scalar(&Value::Null, &call.ty)?, None);
            return Ok(self.extended(input, vec![(null, call.ty.clone())])?.0);
        }
        let (columns, types) = (input.columns.clone(), input.types.clone());
        let seen = Relation { columns: columns[..width].to_vec(), types: types[..width].to_vec(), ..input };
        let ((arguments, partition_by, order_by, filter), input) = self.over(seen, |this| {
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
                    WindowFunction::Ntile | WindowFunction::NthValue => {
                        let made = this.constant(argument, ty)?;
                        let given = argument.eval(&this.shared.scope(), &[])?.as_i64();
                        if given.is_some_and(|number| number <= 0) {
                            return Err(match call.function {
                                WindowFunction::Ntile => Error::new(
                                    SqlState::INVALID_ARGUMENT_FOR_NTILE_FUNCTION,
                                    "argument of ntile must be greater than zero",
                                ),
                                _ => Error::new(
                                    SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE_FUNCTION,
                                    "argument of nth_value must be greater than zero",
                                ),
                            });
                        }
                        made
                    }
                    _ => this.constant(argument, ty)?,
                });
            }
            let mut partition_by = call
                .partition_by
                .iter()
                .map(|(expr, ty)| Ok(comparable(this.expression(expr, ty)?, ty)))
                .collect::<Result<Vec<_>, Error>>()?;
            partition_by.extend(
                this.scopes.iter().next_back().into_iter().flat_map(|scope| &scope.domain).map(|name| column(name)),
            );
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
        // An aggregate over a frame without rows is one over rows none of which counts.
        let filter = if frame.is_some() { filter } else { Some(lit(false)) };
        let window_frame = frame.unwrap_or_else(whole_partition);
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
        let (relation, _) =
            self.extended(Relation { plan, columns, types, domain: input.domain }, vec![(shown, call.ty.clone())])?;
        Ok(relation)
    }

    /// Whether a call gives NULL for every row, since it is asked for a row, or for parts, of an unknown number.
    fn is_null(&self, call: &WindowCall) -> Result<bool, Error> {
        let number = match call.function {
            WindowFunction::Ntile => call.arguments.first(),
            WindowFunction::Lag | WindowFunction::Lead | WindowFunction::NthValue => call.arguments.get(1),
            _ => None,
        };
        match number.filter(|number| !number.uses_columns()) {
            Some(number) => Ok(number.eval(&self.shared.scope(), &[])?.is_null()),
            None => Ok(false),
        }
    }

    /// The engine's frame; `None` if there is never a row in it.
    fn frame(&self, frame: &Frame, ordered: bool) -> Result<Option<WindowFrame>, Error> {
        if !ordered && frame.unit == FrameUnit::Range {
            // All rows are equal in an order by nothing.
            return Ok(Some(whole_partition()));
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
        let (start, end) = (bound(&frame.start, "starting")?, bound(&frame.end, "ending")?);
        let crossed = match (&start, &end) {
            (
                WindowFrameBound::Preceding(ScalarValue::UInt64(Some(start))),
                WindowFrameBound::Preceding(ScalarValue::UInt64(Some(end))),
            ) => start < end,
            (
                WindowFrameBound::Following(ScalarValue::UInt64(Some(start))),
                WindowFrameBound::Following(ScalarValue::UInt64(Some(end))),
            ) => start > end,
            _ => false,
        };
        Ok((!crossed).then(|| WindowFrame::new_bounds(unit, start, end)))
    }

    /// Numbers rows from 1 within each part, in an order; gives the plan and the name of the number.
    pub(super) fn numbered(
        &mut self,
        plan: LogicalPlan,
        partition_by: Vec<EngineExpr>,
        order_by: Vec<SortExpr>,
    ) -> Result<(LogicalPlan, String), Error> {
        let name = self.name();
        let params = WindowFunctionParams {
            args: Vec::new(),
            partition_by,
            order_by,
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
        let number = EngineExpr::WindowFunction(Box::new(EngineWindow { fun, params })).alias(&name);
        Ok((build(start(plan).window(vec![number]))?, name))
    }
}

fn whole_partition() -> WindowFrame {
    WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    )
}

/// Whether it gives a value of a row of the frame.
fn is_of_frame(function: &WindowFunction) -> bool {
    matches!(function, WindowFunction::FirstValue | WindowFunction::LastValue | WindowFunction::NthValue)
}
