//! `to_char` and `to_number` for numbers: the patterns `9 0 . , D G S MI PL SG PR L FM EEEE V TH RN` and quoted text.

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::value::{Numeric, Value, mismatch};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// `9`
    Digit,
    /// `0`
    Zero,
    /// `.` and `D`
    Point,
    /// `,` and `G`
    Group,
    /// `S`: a sign where it stands
    Sign,
    /// `MI`: a minus or a blank
    Minus,
    /// `PL`: a plus or a blank
    Plus,
    /// `SG`: a sign always
    SignHere,
    /// `L`: the currency's sign, which the C locale does not have
    Currency,
    /// `TH`, `th`
    Ordinal(bool),
    /// `V`
    Shift,
    /// Anything else, as it is
    Literal(String),
}

#[derive(Default)]
struct Pattern {
    parts: Vec<Part>,
    fill: bool,
    angle: bool,
    scientific: bool,
    /// `RN`: capitals or not
    roman: Option<bool>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern> {
        let mut pattern = Pattern { fill: true, ..Pattern::default() };
        let mut rest = text;
        let mut literal = String::new();
        while !rest.is_empty() {
            let upper = rest.get(..2).unwrap_or(rest).to_ascii_uppercase();
            let (part, length) = match upper.as_str() {
                "FM" => {
                    pattern.fill = false;
                    (None, 2)
                }
                "PR" => {
                    pattern.angle = true;
                    (None, 2)
                }
                "RN" => {
                    pattern.roman = Some(rest.starts_with('R'));
                    (None, 2)
                }
                "EE" if rest.get(..4).is_some_and(|four| four.eq_ignore_ascii_case("EEEE")) => {
                    pattern.scientific = true;
                    (None, 4)
                }
                "MI" => (Some(Part::Minus), 2),
                "PL" => (Some(Part::Plus), 2),
                "SG" => (Some(Part::SignHere), 2),
                "TH" => (Some(Part::Ordinal(rest.starts_with('T'))), 2),
                _ => match rest.as_bytes()[0] {
                    b'9' => (Some(Part::Digit), 1),
                    b'0' => (Some(Part::Zero), 1),
                    b'.' | b'D' | b'd' => (Some(Part::Point), 1),
                    b',' | b'G' | b'g' => (Some(Part::Group), 1),
                    b'S' | b's' => (Some(Part::Sign), 1),
                    b'L' | b'l' => (Some(Part::Currency), 1),
                    b'V' | b'v' => (Some(Part::Shift), 1),
                    b'"' => {
                        let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
                        literal.push_str(rest[1..end].trim_end_matches('"'));
                        (None, end)
                    }
                    _ => {
                        let c = rest.chars().next().expect("the rest is not empty");
                        literal.push(c);
                        rest = &rest[c.len_utf8()..];
                        continue;
                    }
                },
            };
            if !literal.is_empty() {
                pattern.parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            pattern.parts.extend(part);
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            pattern.parts.push(Part::Literal(literal));
        }
        if pattern.parts.iter().filter(|part| **part == Part::Point).count() > 1 {
            return Err(Error::syntax("multiple decimal points"));
        }
        Ok(pattern)
    }

    /// Digits before and after the point.
    fn digits(&self) -> (usize, usize) {
        let point = self.parts.iter().position(|part| matches!(part, Part::Point | Part::Shift)).unwrap_or(self.parts.len());
        let count = |parts: &[Part]| parts.iter().filter(|part| matches!(part, Part::Digit | Part::Zero)).count();
        (count(&self.parts[..point]), count(&self.parts[point..]))
    }
}

/// `to_char(number, pattern)`
pub(super) fn to_char(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let pattern = Pattern::parse(a[1].as_str().ok_or_else(|| mismatch("text", &a[1]))?)?;
    let number = match &a[0] {
        Value::Float4(value) => Numeric::from_f32(*value)?,
        Value::Float8(value) => Numeric::from_f64(*value)?,
        other => crate::functions::arithmetic::as_numeric(other)?,
    };
    if let Some(capitals) = pattern.roman {
        return Ok(Value::text(roman(&number, pattern.fill, capitals)));
    }
    if pattern.scientific {
        return scientific(&number, &pattern).map(Value::text);
    }
    Ok(Value::text(write(&number, &pattern)?))
}

fn write(number: &Numeric, pattern: &Pattern) -> Result<String> {
    let (whole_places, fraction_places) = pattern.digits();
    let shifted = pattern.parts.contains(&Part::Shift);
    let rounded = if shifted {
        number.mul(&Numeric::from(10i32).power(&Numeric::from(fraction_places as i64))?)?.round(0)?
    } else {
        number.round(fraction_places as i32)?
    };
    let negative = rounded.signum() < 0;
    let text = rounded.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let places = whole_places + if shifted { fraction_places } else { 0 };
    let whole = if whole == "0" && places > 0 && fraction_places > 0 && !shifted { "" } else { whole };
    let overflow = whole.len() > places || !number.is_finite();
    // Each digit of the pattern takes one of the number's, from the right; those in front are blank, or zero from the first 0 on.
    let mut first_zero = pattern.parts.iter().filter(|p| matches!(p, Part::Digit | Part::Zero | Part::Point)).position(|p| *p == Part::Zero);
    if first_zero.is_some_and(|at| at >= places) {
        first_zero = None;
    }
    let has_sign_part = pattern.parts.iter().any(|p| matches!(p, Part::Sign | Part::Minus | Part::SignHere));
    let leading_sign = pattern.parts.iter().position(|p| *p == Part::Sign) < pattern.parts.iter().position(|p| matches!(p, Part::Digit | Part::Zero));
    let floating = !has_sign_part || (leading_sign && pattern.parts.contains(&Part::Sign));
    let mut out = String::new();
    let mut sign_written = !floating;
    let mut place = 0;
    let mut after_point = false;
    let mut fraction_digits = fraction.chars();
    // Without filling, zeros at the end of the fraction go, down to the last 0 of the pattern.
    let shown_fraction = if pattern.fill {
        fraction_places
    } else {
        let asked = last_zero_after_point(pattern);
        fraction.trim_end_matches('0').len().max(asked)
    };
    let mut fraction_at = 0;
    let sign_text = |plus: &'static str| match (negative, pattern.angle) {
        (true, true) => "<",
        (true, false) => "-",
        (false, _) => plus,
    };
    let floating_plus = if pattern.parts.contains(&Part::Sign) { "+" } else if pattern.fill { " " } else { "" };
    for part in &pattern.parts {
        match part {
            Part::Digit | Part::Zero if after_point && !shifted => {
                let digit = fraction_digits.next().unwrap_or('0');
                if overflow {
                    out.push('#');
                } else if fraction_at < shown_fraction {
                    out.push(digit);
                }
                fraction_at += 1;
            }
            Part::Digit | Part::Zero => {
                let missing = places.saturating_sub(whole.len());
                let digit = if overflow {
                    Some('#')
                } else if place >= missing {
                    whole[place - missing..].chars().next()
                } else if first_zero.is_some_and(|zero| place >= zero) {
                    Some('0')
                } else {
                    None
                };
                match digit {
                    Some(digit) => {
                        if !sign_written {
                            out.push_str(sign_text(floating_plus));
                            sign_written = true;
                        }
                        out.push(digit);
                    }
                    None if pattern.fill => out.push(' '),
                    None => {}
                }
                place += 1;
            }
            Part::Point => {
                after_point = true;
                if !sign_written {
                    out.push_str(sign_text(floating_plus));
                    sign_written = true;
                }
                if pattern.fill || shown_fraction > 0 || last_zero_after_point(pattern) > 0 || !overflow {
                    out.push('.');
                }
            }
            Part::Group => {
                let missing = places.saturating_sub(whole.len());
                let begun = overflow || place > missing || first_zero.is_some_and(|zero| place > zero);
                if begun {
                    out.push(',');
                } else if pattern.fill {
                    out.push(' ');
                }
            }
            Part::Sign if floating => {}
            Part::Sign | Part::SignHere => out.push(if negative { '-' } else { '+' }),
            Part::Minus => {
                if negative {
                    out.push('-');
                } else if pattern.fill {
                    out.push(' ');
                }
            }
            Part::Plus => {
                if !negative {
                    out.push('+');
                } else if pattern.fill {
                    out.push(' ');
                }
            }
            Part::Currency => out.push(' '),
            Part::Ordinal(capitals) => {
                if !negative && !overflow && fraction_places == 0 {
                    let ending = ordinal(whole);
                    out.push_str(&if *capitals { ending.to_uppercase() } else { ending.to_owned() });
                }
            }
            Part::Shift => after_point = true,
            Part::Literal(text) => out.push_str(text),
        }
    }
    if !sign_written && negative {
        out.push_str(sign_text(""));
    }
    if pattern.angle {
        if negative {
            out.push('>');
        } else if pattern.fill {
            out.push(' ');
        }
    }
    Ok(out)
}

/// Up to which digit after the point a `0` of the pattern demands one.
fn last_zero_after_point(pattern: &Pattern) -> usize {
    let Some(point) = pattern.parts.iter().position(|part| *part == Part::Point) else { return 0 };
    let digits: Vec<&Part> = pattern.parts[point..].iter().filter(|part| matches!(part, Part::Digit | Part::Zero)).collect();
    digits.iter().rposition(|part| **part == Part::Zero).map_or(0, |last| last + 1)
}

pub(super) fn ordinal(number: &str) -> &'static str {
    let last = number.bytes().last().unwrap_or(b'0');
    let teen = number.len() > 1 && number.as_bytes()[number.len() - 2] == b'1';
    match (last, teen) {
        (b'1', false) => "st",
        (b'2', false) => "nd",
        (b'3', false) => "rd",
        _ => "th",
    }
}

fn scientific(number: &Numeric, pattern: &Pattern) -> Result<String> {
    let (_, fraction_places) = pattern.digits();
    if !number.is_finite() {
        return Ok(format!(" {}", "#".repeat(fraction_places + 6)));
    }
    let coefficient = number.coefficient().unsigned_abs();
    let digits = coefficient.to_string();
    let mut exponent = if coefficient == 0 { 0 } else { digits.len() as i32 - 1 - i32::from(number.scale()) };
    // Rounded to the digits shown, which may carry into one more.
    let scale = digits.len() as u8 - 1;
    let mut mantissa = Numeric::new(coefficient as i128, if coefficient == 0 { 0 } else { scale })?.round(fraction_places as i32)?;
    if mantissa >= Numeric::from(10i32) {
        mantissa = mantissa.div(&Numeric::from(10i32))?.round(fraction_places as i32)?;
        exponent += 1;
    }
    let sign = if number.signum() < 0 { "-" } else if pattern.fill { " " } else { "" };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    Ok(format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs()))
}

fn roman(number: &Numeric, fill: bool, capitals: bool) -> String {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"),
        (4, "IV"), (1, "I"),
    ];
    let mut out = String::new();
    match number.to_i64() {
        Some(mut rest @ 1..=3999) => {
            for (value, numeral) in NUMERALS {
                while rest >= value {
                    out.push_str(numeral);
                    rest -= value;
                }
            }
        }
        _ => out = "#".repeat(15),
    }
    let out = if capitals { out } else { out.to_lowercase() };
    if fill { format!("{out:>15}") } else { out }
}

/// `to_number(text, pattern)`: the digits, sign and point found in the text, at the scale of the pattern.
pub(super) fn to_number(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let input = a[0].as_str().ok_or_else(|| mismatch("text", &a[0]))?;
    let pattern = Pattern::parse(a[1].as_str().ok_or_else(|| mismatch("text", &a[1]))?)?;
    let (whole_places, fraction_places) = pattern.digits();
    let negative = input.contains('-') || (pattern.angle && input.contains('<'));
    let (mut whole, mut fraction, mut after_point) = (String::new(), String::new(), false);
    for c in input.chars() {
        match c {
            '0'..='9' if after_point && fraction.len() < fraction_places => fraction.push(c),
            '0'..='9' if !after_point && whole.len() < whole_places => whole.push(c),
            '.' if pattern.parts.contains(&Part::Point) => after_point = true,
            _ => {}
        }
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type numeric: \"{input}\"")));
    }
    let number = Numeric::parse(&format!("{whole}.{fraction}"))?;
    Ok(Value::Numeric(if negative { number.neg() } else { number }))
}
