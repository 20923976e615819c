//! The stages of a query above its FROM, as a tree of relational operators.

use super::access::conjuncts;
use super::binder::Binder;
use super::expression::Expr;
use super::joins::FromTree;
use super::level::WindowCall;
use super::relational::Node;
use super::select::{Grouping, SortKey, Source};
use crate::error::Error;
use crate::types::Type;

/// The parts of a SELECT above its FROM.
pub(super) struct Stages {
    pub(super) filter: Vec<Expr>,
    pub(super) grouping: Option<Grouping>,
    pub(super) windows: Vec<WindowCall>,
    pub(super) sets: Vec<(Expr, Type)>,
    pub(super) having: Option<Expr>,
    pub(super) output: Vec<Expr>,
    pub(super) types: Vec<Type>,
    pub(super) on: Option<Vec<usize>>,
    pub(super) distinct: bool,
    pub(super) order_by: Vec<SortKey>,
    pub(super) limit: Option<Expr>,
    pub(super) offset: Option<Expr>,
}

impl Binder<'_> {
    /// Puts the stages of a query above the tree of its FROM, in the order in which SQL has them.
    pub(super) fn stages(
        &mut self,
        sources: Vec<Source>,
        tree: Option<FromTree>,
        stages: Stages,
        visible: usize,
    ) -> Result<Node, Error> {
        let Stages {
            filter,
            mut grouping,
            mut windows,
            mut sets,
            having,
            mut output,
            types,
            on,
            distinct,
            order_by,
            limit,
            offset,
        } = stages;
        let (mut node, layout) = self.join_tree(sources, tree, filter)?;
        let mut place = |column: usize| {
            layout.iter().position(|used| *used == column).expect("every column used comes out of FROM")
        };
        // Columns of FROM are in its layout from now on; what stands above a grouping refers to the grouping.
        match &mut grouping {
            Some(grouping) => {
                grouping.keys.iter_mut().for_each(|key| key.map_columns(&mut place));
                for call in &mut grouping.aggregates {
                    call.expressions(&mut |expr| expr.map_columns(&mut place));
                }
            }
            None => {
                output.iter_mut().for_each(|expr| expr.map_columns(&mut place));
                for call in &mut windows {
                    call.expressions(&mut |expr| expr.map_columns(&mut place));
                }
                sets.iter_mut().for_each(|(expr, _)| expr.map_columns(&mut place));
            }
        }
        if let Some(Grouping { keys, types, sets, aggregates, groupings, .. }) = grouping {
            let keys = keys.into_iter().zip(types).collect();
            node = Node::Group { input: Box::new(node), keys, sets, aggregates, groupings };
            if let Some(having) = having {
                node = Node::Filter { input: Box::new(node), conditions: conjuncts(Some(having)) };
            }
        }
        if !windows.is_empty() {
            let width = node.types().len();
            node = Node::Window { input: Box::new(node), calls: windows };
            for expr in output.iter_mut().chain(sets.iter_mut().map(|(expr, _)| expr)) {
                expr.rewrite(&mut |part| match part {
                    Expr::Window(n) => Some(Expr::Column(width + n)),
                    _ => None,
                });
            }
        }
        if !sets.is_empty() {
            let width = node.types().len();
            node = Node::Expand { input: Box::new(node), arrays: sets };
            for expr in &mut output {
                expr.rewrite(&mut |part| match part {
                    Expr::Element(n) => Some(Expr::Column(width + n)),
                    _ => None,
                });
            }
        }
        let shown: Vec<Type> = types.iter().take(visible).cloned().collect();
        let hidden = output.len() > visible;
        let mut order_by = order_by;
        node = match on {
            None => Node::Project { input: Box::new(node), output: output.into_iter().zip(types).collect() },
            Some(on) => {
                // The columns of DISTINCT ON come first, and the sort keys are counted behind them.
                let width = on.len();
                let columns: Vec<(Expr, Type)> = output.into_iter().zip(types).collect();
                let first = on.iter().map(|place| columns[*place].clone()).collect::<Vec<_>>();
                let input = Node::Project { input: Box::new(node), output: first.into_iter().chain(columns).collect() };
                let keys = order_by.iter().map(|key| SortKey { place: key.place + width, ..*key }).collect();
                Node::Distinct { input: Box::new(input), on: Some((width, keys)) }
            }
        };
        if distinct {
            node = Node::Distinct { input: Box::new(node), on: None };
        }
        if !order_by.is_empty() {
            node = Node::Sort { input: Box::new(node), keys: std::mem::take(&mut order_by) };
        }
        if limit.is_some() || offset.is_some() {
            node = Node::Limit { input: Box::new(node), limit, offset };
        }
        if hidden {
            let output = shown.into_iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty)).collect();
            node = Node::Project { input: Box::new(node), output };
        }
        self.keep_what_is_read_again(&mut node)?;
        Ok(node)
    }
}
