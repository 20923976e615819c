//! EXPLAIN: the plan as lines of text.
//!
//! It says how rows are found (by key, in a range, all of them), in which slot if that is known already, what is locked, and what is done with
//! the rows where they are read.

use super::access::{Access, KeyValues, Path};
use super::binder::Prerequisite;
use super::expression::{Expr, Special};
use super::pushdown::{conditions, pushdown};
use super::relational::{JoinKind, Node, SubqueryKind};
use super::select::{SelectPlan, Source};
use super::write::{ChangePlan, InsertPlan, InsertSource};
use super::{Body, Plan};
use crate::catalog::Distribution;
use crate::format::{FormatSettings, to_text};
use crate::key::{SLOTS, slot};
use crate::value::Value;

/// The lines for a plan.
pub fn lines(plan: &Plan, verbose: bool) -> Vec<String> {
    let mut out = Lines { lines: Vec::new(), depth: 0, verbose };
    match &plan.body {
        Body::Select(select) => out.select(select),
        Body::Insert(insert) => out.insert(insert),
        Body::Change(change) => out.change(change),
        Body::CopyIn(_) | Body::CopyOut(..) | Body::Explain(_) | Body::Utility(_) => out.line("Utility statement"),
    }
    for (n, prerequisite) in plan.prerequisites.iter().enumerate() {
        match prerequisite {
            Prerequisite::Scalar(select)
            | Prerequisite::List(select, _)
            | Prerequisite::Exists(select)
            | Prerequisite::Rows(select) => {
                out.line(&format!("First, slot {n}:"));
                out.nested(|out| out.select(select));
            }
            Prerequisite::TxidCurrent => out.line(&format!("First, slot {n}: the transaction's id")),
            Prerequisite::TxidStatus(_) => out.line(&format!("First, slot {n}: a transaction's status")),
        }
    }
    out.lines
}

struct Lines {
    lines: Vec<String>,
    depth: usize,
    verbose: bool,
}

impl Lines {
    fn line(&mut self, text: &str) {
        self.lines.push(format!("{:1$}{text}", "", self.depth * 2));
    }

    fn nested(&mut self, print: impl FnOnce(&mut Lines)) {
        self.depth += 1;
        print(self);
        self.depth -= 1;
    }

    fn select(&mut self, plan: &SelectPlan) {
        let before = self.depth;
        let stage = |out: &mut Lines, text: String| {
            out.line(&text);
            out.depth += 1;
        };
        if let Some(limit) = &plan.limit {
            stage(self, format!("Limit {}", show(limit, &[])));
        }
        if let Some(offset) = &plan.offset {
            stage(self, format!("Offset {}", show(offset, &[])));
        }
        if !plan.order_by.is_empty() {
            let keys: Vec<String> = plan
                .order_by
                .iter()
                .map(|key| {
                    let name = plan
                        .columns
                        .get(key.place)
                        .map_or_else(|| format!("#{}", key.place + 1), |column| column.name.clone());
                    format!("{name}{}", if key.descending { " DESC" } else { "" })
                })
                .collect();
            stage(self, format!("Sort by {}", keys.join(", ")));
        }
        if plan.distinct {
            stage(self, "Distinct".to_owned());
        }
        let names = self.names(&plan.source);
        if let Some(grouping) = &plan.grouping {
            let keys: Vec<String> = grouping.keys.iter().map(|key| show(key, &names)).collect();
            stage(self, if keys.is_empty() { "Aggregate".to_owned() } else { format!("Group by {}", keys.join(", ")) });
        } else if self.verbose {
            let output: Vec<String> = plan.output.iter().map(|expr| show(expr, &names)).collect();
            stage(self, format!("Output {}", output.join(", ")));
        }
        self.source(&plan.source, &names);
        self.nested(|out| out.filter(plan, &names));
        self.depth = before;
    }

    /// WHERE, and what else is done where the rows are read.
    fn filter(&mut self, plan: &SelectPlan, names: &[String]) {
        let all = conditions(&plan.filter);
        let shown = |part: &[Expr]| match (part, &plan.filter) {
            ([one], _) => show(one, names),
            (part, Some(filter)) if part.len() == all.len() => show(filter, names),
            (part, _) => show(&Expr::And(part.to_vec()), names),
        };
        let pushed = pushdown(plan);
        let (there, here) = all.split_at(pushed.as_ref().map_or(0, |pushed| pushed.conditions));
        if !there.is_empty() {
            self.line(&format!("Filter (at the replicas): {}", shown(there)));
        }
        if let Some(pushed) = pushed {
            if pushed.groups {
                self.line("Partial aggregate (at the replicas)");
            } else {
                let columns: Vec<&str> =
                    pushed.places.iter().filter_map(|place| names.get(*place)).map(String::as_str).collect();
                let columns = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
                self.line(&format!("Columns (from the replicas): {columns}"));
            }
            if plan.limit.is_some() && plan.streams() && here.is_empty() && !there.is_empty() {
                self.line("Limit (at the replicas)");
            }
        }
        if !here.is_empty() {
            self.line(&format!("Filter: {}", shown(here)));
        }
    }

    fn names(&self, source: &Source) -> Vec<String> {
        match source {
            Source::Table(access) => column_names(access),
            Source::Virtual(table, wanted) => {
                wanted.iter().map(|column| table.columns()[*column].0.to_owned()).collect()
            }
            Source::Subquery(plan, wanted) => wanted.iter().map(|column| plan.columns[*column].name.clone()).collect(),
            Source::OneRow
            | Source::Values(_)
            | Source::Series(_)
            | Source::Unnest(_)
            | Source::Kept(_)
            | Source::Relational(_) => Vec::new(),
        }
    }

    fn source(&mut self, source: &Source, names: &[String]) {
        match source {
            Source::OneRow => self.line("One row"),
            Source::Values(rows) => self.line(&format!("Values: {} rows", rows.len())),
            Source::Series(series) => self.line(&format!(
                "Series from {} to {} by {}",
                show(&series.start, &[]),
                show(&series.stop, &[]),
                show(&series.step, &[])
            )),
            Source::Unnest(array) => self.line(&format!("Elements of {}", show(array, &[]))),
            Source::Kept(slot) => self.line(&format!("Rows of slot {slot}")),
            Source::Virtual(table, _) => self.line(&format!("System table in {}", table.schema())),
            Source::Subquery(plan, _) => {
                self.line("Subquery");
                self.nested(|out| out.select(plan));
            }
            Source::Table(access) => self.access(access, names),
            Source::Relational(node) => self.node(node),
        }
    }

    /// A tree of operators, and the names of its columns as far as they have any.
    fn node(&mut self, node: &Node) {
        let names: Vec<String> = node.inputs().into_iter().flat_map(node_names).collect();
        let all = |exprs: &mut dyn Iterator<Item = &Expr>| {
            exprs.map(|expr| show(expr, &names)).collect::<Vec<_>>().join(", ")
        };
        match node {
            Node::Rows(plan) => return self.select(plan),
            Node::Filter { conditions, .. } => {
                let shown: Vec<String> = conditions.iter().map(|expr| show(expr, &names)).collect();
                self.line(&format!("Filter: {}", shown.join(" AND ")));
            }
            Node::Project { input, output } => {
                if !self.verbose {
                    return self.node(input);
                }
                self.line(&format!("Output {}", all(&mut output.iter().map(|(expr, _)| expr))));
            }
            Node::Join { kind, on, .. } | Node::Lateral { kind, on, .. } => {
                let lateral = matches!(node, Node::Lateral { .. });
                let word = match kind {
                    JoinKind::Inner if lateral => "Lateral join".to_owned(),
                    JoinKind::Inner if on.is_empty() => "Cross join".to_owned(),
                    JoinKind::Inner => "Join".to_owned(),
                    other if lateral => format!("{other:?} lateral join"),
                    other => format!("{other:?} join"),
                };
                let shown: Vec<String> = on.iter().map(|expr| show(expr, &names)).collect();
                let on = if shown.is_empty() { String::new() } else { format!(" on {}", shown.join(" AND ")) };
                self.line(&format!("{word}{on}"));
            }
            Node::Expand { arrays, .. } => {
                self.line(&format!("Elements of {}", all(&mut arrays.iter().map(|(array, _)| array))));
            }
            Node::Group { keys, sets, .. } => {
                let keys = all(&mut keys.iter().map(|(expr, _)| expr));
                match sets {
                    None if keys.is_empty() => self.line("Aggregate"),
                    None => self.line(&format!("Group by {keys}")),
                    Some(sets) => self.line(&format!("Group by {} sets of {keys}", sets.len())),
                }
            }
            Node::Window { calls, .. } => self.line(&format!("Window functions: {}", calls.len())),
            Node::Distinct { on: None, .. } => self.line("Distinct"),
            Node::Distinct { on: Some((count, _)), .. } => self.line(&format!("Distinct on {count} columns")),
            Node::Sort { keys, .. } => {
                let name = |key: &super::select::SortKey| {
                    let name = names.get(key.place).cloned().unwrap_or_else(|| format!("#{}", key.place + 1));
                    format!("{name}{}", if key.descending { " DESC" } else { "" })
                };
                self.line(&format!("Sort by {}", keys.iter().map(name).collect::<Vec<_>>().join(", ")));
            }
            Node::Limit { limit, offset, .. } => {
                let part = |word: &str, expr: &Option<Expr>| {
                    expr.as_ref().map(|expr| format!("{word} {}", show(expr, &[]))).unwrap_or_default()
                };
                self.line(format!("{} {}", part("Limit", limit), part("Offset", offset)).trim());
            }
            Node::Set { kind, all, .. } => {
                self.line(&format!("{kind:?}{}", if *all { " all" } else { "" }));
            }
            Node::Recursive { .. } => self.line("Recursive union"),
            Node::Work { .. } => self.line("Rows of the last round"),
        }
        self.nested(|out| node.inputs().into_iter().for_each(|input| out.node(input)));
    }

    fn access(&mut self, access: &Access, names: &[String]) {
        let table = &access.table;
        let key_name = |n: usize| table.columns[table.key_columns()[n]].name.as_str();
        match &access.path {
            Path::Keys(columns) => {
                let single = columns.iter().all(|column| matches!(column, KeyValues::One(_)));
                self.line(&format!("{} on {}", if single { "Point get" } else { "Point gets" }, table.name));
                let conditions: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(n, values)| match values {
                        KeyValues::One(value) => format!("{} = {}", key_name(n), show(value, names)),
                        KeyValues::List(values) => {
                            let shown: Vec<String> = values.iter().map(|value| show(value, names)).collect();
                            format!("{} IN ({})", key_name(n), shown.join(", "))
                        }
                        KeyValues::Array(array) => format!("{} = ANY ({})", key_name(n), show(array, names)),
                    })
                    .collect();
                let hash: Option<Vec<&Expr>> = table
                    .hash_columns()
                    .iter()
                    .map(|column| {
                        let place = table.key_columns().iter().position(|key| key == column)?;
                        if let KeyValues::One(value) = &columns[place] { Some(value) } else { None }
                    })
                    .collect();
                self.nested(|out| {
                    out.line(&format!("Key: {}", conditions.join(" AND ")));
                    out.line(&place(access, hash));
                });
            }
            Path::Range(range) => {
                let mut conditions: Vec<String> = range
                    .prefix
                    .iter()
                    .enumerate()
                    .map(|(n, value)| format!("{} = {}", key_name(n), show(value, names)))
                    .collect();
                let next = range.prefix.len();
                if let Some((lower, inclusive)) = &range.lower {
                    conditions.push(format!(
                        "{} {} {}",
                        key_name(next),
                        if *inclusive { ">=" } else { ">" },
                        show(lower, names)
                    ));
                }
                if let Some((upper, inclusive)) = &range.upper {
                    conditions.push(format!(
                        "{} {} {}",
                        key_name(next),
                        if *inclusive { "<=" } else { "<" },
                        show(upper, names)
                    ));
                }
                let order = match (access.ordered, access.reverse) {
                    (true, true) => " in descending key order",
                    (true, false) => " in key order",
                    _ => "",
                };
                self.line(&format!(
                    "{} on {}{order}",
                    if conditions.is_empty() { "Scan" } else { "Range scan" },
                    table.name
                ));
                self.nested(|out| {
                    if !conditions.is_empty() {
                        out.line(&format!("Key: {}", conditions.join(" AND ")));
                    }
                    out.line(&place(access, range.slot.as_ref().map(|slot| slot.iter().collect())));
                    if access.limited {
                        out.line("Reads no more rows than LIMIT wants");
                    }
                });
            }
        }
        if access.lock {
            let how = if matches!(access.path, Path::Keys(_)) {
                "Locks: the keys"
            } else {
                "Locks: the keys found, then checks them again"
            };
            self.nested(|out| out.line(how));
        }
    }

    fn insert(&mut self, plan: &InsertPlan) {
        self.line(&format!("Insert on {}", plan.target.table.name));
        self.nested(|out| {
            out.line(&match &plan.target.table.distribution {
                Distribution::Hash(columns) => {
                    let names: Vec<&str> =
                        columns.iter().map(|column| plan.target.table.columns[*column].name.as_str()).collect();
                    format!("Placement: by hash of {}", names.join(", "))
                }
                Distribution::RowId => "Placement: with the rows that the transaction writes already".to_owned(),
                Distribution::Duplicate => "Placement: all replica sets".to_owned(),
            });
            match &plan.source {
                InsertSource::Rows(rows) => out.line(&format!("Values: {} rows", rows.len())),
                InsertSource::Query(query, _) => out.select(query),
            }
        });
    }

    fn change(&mut self, plan: &ChangePlan) {
        self.line(&format!("{} on {}", if plan.is_update() { "Update" } else { "Delete" }, plan.access.table.name));
        let names = column_names(&plan.access);
        self.nested(|out| {
            out.access(&plan.access, &names);
            if let Some(filter) = &plan.filter {
                out.nested(|out| out.line(&format!("Filter: {}", show(filter, &names))));
            }
        });
    }
}

fn column_names(access: &Access) -> Vec<String> {
    access.columns.iter().map(|column| access.table.columns[*column].name.clone()).collect()
}

/// Where the rows are, as far as it can be known without the parameters.
fn place(access: &Access, hash: Option<Vec<&Expr>>) -> String {
    match (&access.table.distribution, hash) {
        (Distribution::Duplicate, _) => "Placement: any replica set".to_owned(),
        (Distribution::Hash(_), Some(values)) => {
            let constants: Option<Vec<&Value>> =
                values.iter().map(|value| if let Expr::Constant(value) = value { Some(value) } else { None }).collect();
            match constants.map(slot) {
                Some(Ok(slot)) => format!("Placement: slot {slot} of {SLOTS}"),
                _ => "Placement: one slot, by the values".to_owned(),
            }
        }
        _ => "Placement: all replica sets".to_owned(),
    }
}

fn node_names(node: &Node) -> Vec<String> {
    match node {
        Node::Rows(plan) => plan.columns.iter().map(|column| column.name.clone()).collect(),
        Node::Filter { input, .. } | Node::Sort { input, .. } | Node::Limit { input, .. } => node_names(input),
        Node::Join { left, right, .. } | Node::Lateral { left, right, .. } => {
            [node_names(left), node_names(right)].concat()
        }
        Node::Project { input, output } => {
            let names = node_names(input);
            output.iter().map(|(expr, _)| show(expr, &names)).collect()
        }
        other => (1..=other.types().len()).map(|n| format!("#{n}")).collect(),
    }
}

/// An expression, roughly as SQL.
fn show(expr: &Expr, names: &[String]) -> String {
    let several = |operands: &[Expr], word: &str| {
        operands.iter().map(|operand| show(operand, names)).collect::<Vec<_>>().join(word)
    };
    match expr {
        Expr::Constant(Value::Null) => "NULL".to_owned(),
        Expr::Constant(value) => match value.as_str() {
            Some(text) => format!("'{}'", text.trim_end().replace('\'', "''")),
            None => to_text(value, &FormatSettings::default()),
        },
        Expr::Parameter(n) => format!("${}", n + 1),
        Expr::Column(n) => names.get(*n).cloned().unwrap_or_else(|| format!("#{}", n + 1)),
        Expr::Slot(n) => format!("(slot {n})"),
        Expr::Aggregate(n) => format!("(aggregate {n})"),
        Expr::Window(n) => format!("(window function {n})"),
        Expr::Element(n) => format!("(element {n})"),
        Expr::Grouping(keys) => format!("GROUPING({})", several(keys, ", ")),
        Expr::Series(series) => {
            format!("generate_series({}, {})", show(&series.start, names), show(&series.stop, names))
        }
        Expr::Outer { levels, place } => format!("(column {} of {levels} out)", place + 1),
        Expr::Subquery(subquery) => match &subquery.kind {
            SubqueryKind::Exists => "EXISTS (subquery)".to_owned(),
            SubqueryKind::In(members) => {
                let operands: Vec<String> = members.iter().map(|member| show(&member.operand, names)).collect();
                format!("({} IN (subquery))", operands.join(", "))
            }
            SubqueryKind::Scalar | SubqueryKind::Array(_) => "(subquery)".to_owned(),
        },
        Expr::Unary(unary) => format!("{}{}", "-", show(&unary.1, names)),
        Expr::Binary(binary) => {
            format!("({} {} {})", show(&binary.1, names), binary.0.op.symbol(), show(&binary.2, names))
        }
        Expr::Function(function, arguments) => format!("{}({})", function.name, several(arguments, ", ")),
        Expr::Cast(cast) => format!("{}::{}", show(&cast.1, names), cast.0.to),
        Expr::And(operands) => format!("({})", several(operands, " AND ")),
        Expr::Or(operands) => format!("({})", several(operands, " OR ")),
        Expr::Not(operand) => format!("(NOT {})", show(operand, names)),
        Expr::IsNull { operand, negated } => {
            format!("({} IS {}NULL)", show(operand, names), if *negated { "NOT " } else { "" })
        }
        Expr::IsTruth { operand, truth, negated } => {
            format!(
                "({} IS {}{})",
                show(operand, names),
                if *negated { "NOT " } else { "" },
                if *truth { "TRUE" } else { "FALSE" }
            )
        }
        Expr::Distinct { operands, negated } => {
            format!(
                "({} IS {}DISTINCT FROM {})",
                show(&operands.0, names),
                if *negated { "NOT " } else { "" },
                show(&operands.1, names)
            )
        }
        Expr::Case { .. } | Expr::CaseOf { .. } => "CASE ... END".to_owned(),
        Expr::Coalesce(operands) => format!("COALESCE({})", several(operands, ", ")),
        Expr::NullIf(both) => format!("NULLIF({}, {})", show(&both.0, names), show(&both.1.value, names)),
        Expr::Extreme { operands, greatest } => {
            format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, several(operands, ", "))
        }
        Expr::In { operand, list, negated } => {
            let shown: Vec<String> = list.iter().map(|comparison| show(&comparison.value, names)).collect();
            format!("({} {}IN ({}))", show(operand, names), if *negated { "NOT " } else { "" }, shown.join(", "))
        }
        Expr::Quantified(any) => {
            format!(
                "({} {} {} ({}))",
                show(&any.operand, names),
                any.op.op.symbol(),
                if any.all { "ALL" } else { "ANY" },
                show(&any.array, names)
            )
        }
        Expr::Array(_, values) => format!("ARRAY[{}]", several(values, ", ")),
        Expr::Special(Special::Like { operands, negated, .. }) => {
            format!(
                "({} {}LIKE {})",
                show(&operands.0, names),
                if *negated { "NOT " } else { "" },
                show(&operands.1, names)
            )
        }
    }
}
