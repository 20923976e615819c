//! Names that may have been meant by one that does not exist, found as PostgreSQL does: by the number of letters to change.

use crate::plan::level::Relation;

/// More changed letters than these make another name.
const CHANGES_MAX: usize = 3;

/// The hint for a column that none of the relations has: the one or two whose names are nearest.
pub fn column_hint<'r>(
    name: &str,
    qualifier: Option<&str>,
    relations: impl Iterator<Item = &'r Relation>,
) -> Option<String> {
    let bound = CHANGES_MAX.min(name.chars().count() / 2);
    let mut nearest: Vec<(usize, String)> = relations
        .filter(|relation| qualifier.is_none_or(|alias| relation.alias == alias))
        .flat_map(|relation| {
            let shown = |column: &str| match relation.alias.as_str() {
                "" => column.to_owned(),
                alias => format!("{alias}.{column}"),
            };
            relation.columns.iter().map(move |column| (strsim::levenshtein(name, &column.name), shown(&column.name)))
        })
        .filter(|(changes, _)| *changes <= bound)
        .collect();
    let least = nearest.iter().map(|(changes, _)| *changes).min()?;
    nearest.retain(|(changes, _)| *changes == least);
    match &nearest[..] {
        [(_, one)] => Some(format!("Perhaps you meant to reference the column \"{one}\".")),
        [(_, one), (_, other)] => {
            Some(format!("Perhaps you meant to reference the column \"{one}\" or the column \"{other}\"."))
        }
        // So many are no help.
        _ => None,
    }
}
