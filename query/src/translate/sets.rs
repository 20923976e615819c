//! UNION, INTERSECT and EXCEPT.

use super::*;

impl Translator {
    pub(super) fn set(&mut self, kind: SetKind, all: bool, left: &Node, right: &Node) -> Result<Relation, Error> {
        let (left, right) = (self.node(left)?, self.node(right)?);
        if left.domain.is_empty() && right.domain.is_empty() {
            return self.combined(kind, all, exact(left)?, exact(right)?);
        }
        // What a row is for is a part of it.
        let whole = self.domain_types()?.len();
        let (left, right) = (self.carried_first(left)?, self.carried_first(right)?);
        Ok(self.combined(kind, all, left, right)?.carrying(whole))
    }

    fn combined(&mut self, kind: SetKind, all: bool, left: Relation, right: Relation) -> Result<Relation, Error> {
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
        Ok(Relation { plan: build(start(plan).project(shown))?, columns, types, domain: Vec::new() })
    }
}
