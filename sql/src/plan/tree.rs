//! The stages of a compiled query as a tree of relational operators, for what holds more rows than a compiled query may.

use super::expression::Expr;
use super::relational::Node;
use super::select::SelectPlan;
use crate::session::Column;
use crate::types::Type;

impl SelectPlan {
    /// The query without LIMIT and OFFSET as a tree: its rows are read and filtered as before, and what holds them is left to the engine.
    pub fn as_tree(&self) -> Node {
        let shown: Vec<Type> = self.columns.iter().map(|column| column.ty.clone()).collect();
        let types: Vec<Type> = shown.iter().chain(&self.hidden).cloned().collect();
        let mut node = match &self.grouping {
            None => self.leaf(self.output.clone(), &types),
            Some(grouping) => {
                // Keys and arguments are worked out where the rows are read.
                let (mut exprs, mut given) = (grouping.keys.clone(), grouping.types.clone());
                let mut aggregates = grouping.aggregates.clone();
                for call in &mut aggregates {
                    let mut take = |expr: &mut Expr, ty: &Type| {
                        exprs.push(std::mem::replace(expr, Expr::Column(exprs.len())));
                        given.push(ty.clone());
                    };
                    call.arguments.iter_mut().zip(&call.function.arguments).for_each(|(expr, ty)| take(expr, ty));
                    call.filter.iter_mut().for_each(|expr| take(expr, &Type::Bool));
                    call.order_by.iter_mut().for_each(|(expr, ty, ..)| take(expr, ty));
                }
                if exprs.is_empty() {
                    exprs.push(Expr::boolean(true));
                    given.push(Type::Bool);
                }
                let keys = grouping.types.iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty.clone())).collect();
                let input = Box::new(self.leaf(exprs, &given));
                let mut node = Node::Group { input, keys, sets: None, aggregates, groupings: Vec::new() };
                if let Some(having) = &grouping.having {
                    node = Node::Filter { input: Box::new(node), conditions: vec![having.clone()] };
                }
                let output = self.output.iter().cloned().zip(types).collect();
                Node::Project { input: Box::new(node), output }
            }
        };
        if self.distinct {
            node = Node::Distinct { input: Box::new(node), on: None };
        }
        if !self.order_by.is_empty() {
            node = Node::Sort { input: Box::new(node), keys: self.order_by.clone() };
        }
        if !self.hidden.is_empty() {
            let output = shown.into_iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty)).collect();
            node = Node::Project { input: Box::new(node), output };
        }
        node
    }

    /// The rows of the source for which the condition holds, as these columns.
    fn leaf(&self, output: Vec<Expr>, types: &[Type]) -> Node {
        Node::Rows(Box::new(SelectPlan {
            source: self.source.clone(),
            filter: self.filter.clone(),
            grouping: None,
            output,
            columns: types.iter().map(|ty| Column::plain("?column?", ty.clone())).collect(),
            hidden: Vec::new(),
            distinct: false,
            order_by: Vec::new(),
            limit: None,
            offset: None,
        }))
    }
}
