//! PostgreSQL's rules for choosing among overloaded operators and functions ("Type Conversion" in its manual;
//! `func_select_candidate` in its source), over any list of candidates.

use crate::cast::is_implicit;
use crate::types::{Category, Type};

/// In tables: a parameter that takes any type. Nothing has arguments of type `void`.
pub(super) const ANY: Type = Type::Void;

/// What came out of the choice.
pub(super) enum Choice<T> {
    /// This one.
    One(T),
    /// Several fit equally well.
    Ambiguous,
    /// Nothing fits.
    None,
}

/// Chooses among `candidates`, each with its parameter types. `arguments` are base types; `Type::Unknown` fits everything.
pub(super) fn choose<'a, T: Copy>(candidates: impl Iterator<Item = (T, &'a [Type])>, arguments: &[Type]) -> Choice<T> {
    let mut fitting = Vec::new();
    for (item, parameters) in candidates {
        if parameters.len() != arguments.len() {
            continue;
        }
        if parameters.iter().zip(arguments).all(|(p, a)| p.same_base(a) && !matches!(a, Type::Unknown)) {
            return Choice::One(item);
        }
        if parameters.iter().zip(arguments).all(|(p, a)| accepts(p, a)) {
            fitting.push((item, parameters));
        }
    }
    match fitting.len() {
        0 => Choice::None,
        1 => Choice::One(fitting[0].0),
        _ => narrow(fitting, arguments),
    }
}

fn accepts(parameter: &Type, argument: &Type) -> bool {
    matches!(argument, Type::Unknown)
        || parameter.same_base(&ANY)
        || parameter.same_base(argument)
        || is_implicit(argument, parameter)
}

fn narrow<T: Copy>(mut candidates: Vec<(T, &[Type])>, arguments: &[Type]) -> Choice<T> {
    let known = |i: &usize| !matches!(arguments[*i], Type::Unknown);
    let positions: Vec<usize> = (0..arguments.len()).collect();

    // Most exact matches, then most exact or preferred types.
    keep_best(&mut candidates, |parameters| {
        positions.iter().filter(|i| known(i) && parameters[**i].same_base(&arguments[**i])).count()
    });
    if candidates.len() > 1 {
        keep_best(&mut candidates, |parameters| {
            let good = |i: usize| {
                let (p, a) = (&parameters[i], &arguments[i]);
                p.same_base(a) || (p.is_preferred() && p.category() == a.category())
            };
            positions.iter().filter(|i| known(i) && good(**i)).count()
        });
    }
    if candidates.len() == 1 {
        return Choice::One(candidates[0].0);
    }
    let unknown: Vec<usize> = positions.iter().copied().filter(|i| !known(i)).collect();
    if unknown.is_empty() {
        return Choice::Ambiguous;
    }

    // The category that the candidates agree on at each unknown argument; strings win where they don't.
    let slots: Option<Vec<(usize, Category)>> = unknown
        .iter()
        .map(|&i| {
            let first = candidates[0].1[i].category();
            let agreed = candidates.iter().all(|(_, p)| p[i].category() == first);
            let text = candidates.iter().any(|(_, p)| p[i].category() == Category::String);
            (agreed || text).then_some((i, if agreed { first } else { Category::String }))
        })
        .collect();
    if let Some(slots) = slots {
        let fits = |parameters: &[Type]| {
            slots.iter().all(|&(i, category)| {
                let preferred = candidates.iter().any(|(_, p)| p[i].category() == category && p[i].is_preferred());
                parameters[i].category() == category && (!preferred || parameters[i].is_preferred())
            })
        };
        let kept: Vec<_> = candidates.iter().copied().filter(|(_, p)| fits(p)).collect();
        match kept.len() {
            0 => {}
            1 => return Choice::One(kept[0].0),
            _ => candidates = kept,
        }
    }

    // Last: take the unknown arguments to be of the one type that all known ones have.
    let mut types = arguments.iter().filter(|ty| !matches!(ty, Type::Unknown));
    if let Some(one) = types.next()
        && types.all(|ty| ty.same_base(one))
    {
        let mut fitting = candidates.iter().filter(|(_, p)| p.iter().all(|p| accepts(p, one)));
        if let (Some((item, _)), None) = (fitting.next(), fitting.next()) {
            return Choice::One(*item);
        }
    }
    Choice::Ambiguous
}

fn keep_best<T: Copy>(candidates: &mut Vec<(T, &[Type])>, score: impl Fn(&[Type]) -> usize) {
    let best = candidates.iter().map(|(_, p)| score(p)).max().unwrap_or(0);
    candidates.retain(|(_, p)| score(p) == best);
}
