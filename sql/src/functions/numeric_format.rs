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
        let point =
            self.parts.iter().position(|part| matches!(part, Part::Point | Part::Shift)).unwrap_or(self.parts.len());
        let count = |parts: &[Part]| parts.iter().filter(|part| matches!(part, Part::Digit | Part::Zero)).count();
        (count(&self.parts[..point]), count(&self.parts[point..]))
    }
}

/// `to_char(number, pattern)`
pub(super) fn to_char(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let pattern = Pattern::parse(a[1].as_str().ok_or_else(|| mismatch("text", &a[1]))?)?;
    if pattern.scientific {
        let number = match &a[0] {
            Value::Float4(value) => Numeric::from_f32(*value)?,
            Value::Float8(value) => Numeric::from_f64(*value)?,
            other => crate::functions::arithmetic::as_numeric(other)?,
        };
        return scientific(&number, &pattern).map(Value::text);
    }
    let shown = match &a[0] {
        Value::Float4(value) => rounded_float(f64::from(*value), f32::DIGITS, &pattern)?,
        Value::Float8(value) => rounded_float(*value, f64::DIGITS, &pattern)?,
        other => {
            let number = crate::functions::arithmetic::as_numeric(other)?;
            Shown { number, digits: pattern.digits().1, below_zero: false }
        }
    };
    Ok(Value::text(match pattern.roman {
        Some(capitals) => roman(&shown.number, pattern.fill, capitals),
        None => write(&shown, &pattern)?,
    }))
}

/// What is to be written by a pattern.
struct Shown {
    number: Numeric,
    /// So many of the pattern's digits after the point.
    digits: usize,
    /// Whether it has a minus even if nothing but zeros is left of it.
    below_zero: bool,
}

/// A floating point number with the digits after the point that the pattern shows of it: rounded as C's printf does it, the exact value to the
/// nearest and halves to even digits, and with no more digits in all than the type is good for.
fn rounded_float(value: f64, good: u32, pattern: &Pattern) -> Result<Shown> {
    let fraction_places = pattern.digits().1;
    if !value.is_finite() {
        return Ok(Shown { number: Numeric::from_f64(value)?, digits: fraction_places, below_zero: false });
    }
    let shifted = pattern.parts.contains(&Part::Shift);
    let power = if shifted { 10f64.powi(fraction_places as i32) } else { 1.0 };
    let whole_digits = format!("{:.0}", value.abs()).len();
    let left = if shifted || pattern.roman.is_some() { 0 } else { (good as usize).saturating_sub(whole_digits) };
    let places = fraction_places.min(left);
    // More digits than a numeric has are more than any pattern shows.
    let beyond = if value < 0.0 { Numeric::NEG_INFINITY } else { Numeric::INFINITY };
    let number = Numeric::parse(&format!("{:.places$}", value * power)).unwrap_or(beyond);
    let below_zero = value.is_sign_negative();
    if shifted {
        let number = number.div(&Numeric::from(10i32).power(&Numeric::from(fraction_places as i64))?)?;
        return Ok(Shown { number, digits: fraction_places, below_zero });
    }
    Ok(Shown { number, digits: places, below_zero })
}

fn write(shown: &Shown, pattern: &Pattern) -> Result<String> {
    let (number, digits) = (&shown.number, shown.digits);
    let (whole_places, fraction_places) = pattern.digits();
    let shifted = pattern.parts.contains(&Part::Shift);
    let rounded = if shifted {
        number.mul(&Numeric::from(10i32).power(&Numeric::from(fraction_places as i64))?)?.round(0)?
    } else {
        number.round(digits as i32)?
    };
    let text = rounded.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut writer = Writer::new(pattern, whole, fraction, whole_places, fraction_places);
    writer.fraction_digits = digits;
    writer.negative = rounded.signum() < 0 || shown.below_zero;
    writer.overflow |= !number.is_finite();
    for part in &pattern.parts {
        writer.part(part);
    }
    Ok(writer.finish())
}

/// A number being written by a pattern, part by part.
struct Writer<'a> {
    pattern: &'a Pattern,
    negative: bool,
    /// More digits than places: every digit is shown as `#`.
    overflow: bool,
    /// Digits before the point, and how many places of the pattern there are for them.
    whole: &'a str,
    places: usize,
    /// Which place comes next, and from which on zeros are shown instead of blanks.
    place: usize,
    first_zero: Option<usize>,
    fraction: std::str::Chars<'a>,
    fraction_places: usize,
    /// How many of these places are written.
    fraction_digits: usize,
    /// Digits after the point written so far, and how many are to be.
    fraction_at: usize,
    shown_fraction: usize,
    after_point: bool,
    shifted: bool,
    /// The sign goes before the first digit, and has not been written.
    sign_due: bool,
    out: String,
}

impl<'a> Writer<'a> {
    fn new(
        pattern: &'a Pattern,
        whole: &'a str,
        fraction: &'a str,
        whole_places: usize,
        fraction_places: usize,
    ) -> Self {
        let shifted = pattern.parts.contains(&Part::Shift);
        let places = whole_places + if shifted { fraction_places } else { 0 };
        // Without filling, zeros at the end of the fraction go, down to the last 0 of the pattern.
        let shown_fraction = if pattern.fill {
            fraction_places
        } else {
            fraction.trim_end_matches('0').len().max(last_zero_after_point(pattern))
        };
        // A zero before the point is not shown, unless nothing else would be.
        let hidden_zero = whole == "0" && places > 0 && fraction_places > 0 && !shifted && shown_fraction > 0;
        let whole = if hidden_zero { "" } else { whole };
        let digits = pattern.parts.iter().filter(|part| matches!(part, Part::Digit | Part::Zero | Part::Point));
        let first_zero = digits.clone().position(|part| *part == Part::Zero).filter(|at| *at < places);
        let is_digit = |part: &Part| matches!(part, Part::Digit | Part::Zero);
        let sign = pattern.parts.iter().position(|part| *part == Part::Sign);
        let leading = sign.is_some() && sign < pattern.parts.iter().position(is_digit);
        let placed = pattern.parts.iter().any(|part| matches!(part, Part::Sign | Part::Minus | Part::SignHere));
        Writer {
            pattern,
            negative: false,
            overflow: whole.len() > places,
            whole,
            places,
            place: 0,
            first_zero,
            fraction: fraction.chars(),
            fraction_places,
            fraction_digits: fraction_places,
            fraction_at: 0,
            shown_fraction,
            after_point: false,
            shifted,
            sign_due: leading || !placed,
            out: String::new(),
        }
    }

    /// Pushes `shown`, or a blank in its place if the pattern fills up.
    fn push_or_blank(&mut self, shown: Option<char>) {
        match shown {
            Some(c) => self.out.push(c),
            None if self.pattern.fill => self.out.push(' '),
            None => {}
        }
    }

    /// The sign, if it goes before what comes next.
    fn push_sign(&mut self) {
        if !std::mem::take(&mut self.sign_due) {
            return;
        }
        let plus = if self.pattern.parts.contains(&Part::Sign) { Some('+') } else { None };
        match (self.negative, self.pattern.angle) {
            (true, true) => self.out.push('<'),
            (true, false) => self.out.push('-'),
            (false, _) => self.push_or_blank(plus),
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Digit | Part::Zero if self.after_point && !self.shifted => self.fraction_digit(),
            Part::Digit | Part::Zero => self.whole_digit(),
            Part::Point => {
                self.after_point = true;
                self.push_sign();
                // A number of so many digits that none is left for the fraction has no point either.
                if self.overflow || self.fraction_digits > 0 || self.fraction_places == 0 {
                    self.out.push('.');
                }
            }
            Part::Group => {
                let missing = self.places.saturating_sub(self.whole.len());
                let zeros = self.first_zero.is_some_and(|zero| self.place > zero);
                let begun = self.overflow || self.place > missing || zeros;
                self.push_or_blank(begun.then_some(','));
            }
            Part::Sign if self.sign_due || self.place == 0 => {}
            Part::Sign | Part::SignHere => self.out.push(if self.negative { '-' } else { '+' }),
            Part::Minus => self.push_or_blank(self.negative.then_some('-')),
            Part::Plus => self.push_or_blank((!self.negative).then_some('+')),
            Part::Currency => self.out.push(' '),
            Part::Ordinal(capitals) => {
                if !self.negative && !self.overflow && self.fraction_places == 0 {
                    let ending = ordinal(self.whole);
                    self.out.push_str(&if *capitals { ending.to_uppercase() } else { ending.to_owned() });
                }
            }
            Part::Shift => self.after_point = true,
            Part::Literal(text) => self.out.push_str(text),
        }
    }

    fn fraction_digit(&mut self) {
        let digit = self.fraction.next().unwrap_or('0');
        if self.fraction_at >= self.fraction_digits {
            return;
        }
        if self.overflow {
            self.out.push('#');
        } else if self.fraction_at < self.shown_fraction {
            self.out.push(digit);
        }
        self.fraction_at += 1;
    }

    /// Each digit of the pattern takes one of the number's, from the right; those in front are blank, or zero from the first 0 on.
    fn whole_digit(&mut self) {
        let missing = self.places.saturating_sub(self.whole.len());
        let digit = if self.overflow {
            Some('#')
        } else if self.place >= missing {
            self.whole[self.place - missing..].chars().next()
        } else {
            self.first_zero.is_some_and(|zero| self.place >= zero).then_some('0')
        };
        if digit.is_some() {
            self.push_sign();
        }
        self.push_or_blank(digit);
        self.place += 1;
    }

    fn finish(mut self) -> String {
        if self.sign_due && self.negative {
            self.push_sign();
        }
        if self.pattern.angle {
            self.push_or_blank(self.negative.then_some('>'));
        }
        self.out
    }
}

/// Up to which digit after the point a `0` of the pattern demands one.
fn last_zero_after_point(pattern: &Pattern) -> usize {
    let Some(point) = pattern.parts.iter().position(|part| *part == Part::Point) else { return 0 };
    let digits: Vec<&Part> =
        pattern.parts[point..].iter().filter(|part| matches!(part, Part::Digit | Part::Zero)).collect();
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
    let exponent = if coefficient == 0 { 0 } else { digits.len() as i32 - 1 - i32::from(number.scale()) };
    // Rounded to the digits shown; what carries into one more stays there (10.0e+01), as in PostgreSQL.
    let scale = digits.len() as u8 - 1;
    let mantissa =
        Numeric::new(coefficient as i128, if coefficient == 0 { 0 } else { scale })?.round(fraction_places as i32)?;
    let sign = if number.signum() < 0 {
        "-"
    } else if pattern.fill {
        " "
    } else {
        ""
    };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    Ok(format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs()))
}

fn roman(number: &Numeric, fill: bool, capitals: bool) -> String {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
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
        return Err(Error::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type numeric: \"{input}\""),
        ));
    }
    let number = Numeric::parse(&format!("{whole}.{fraction}"))?;
    Ok(Value::Numeric(if negative { number.neg() } else { number }))
}
