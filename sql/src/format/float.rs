//! Floats as text: the shortest digits that read back the same, or a fixed number of them.

/// A float as PostgreSQL prints it: with `extra` above 0 the shortest digits that read back the same, else 15 + `extra` digits.
///
/// # Errors
/// Those of `out`.
pub fn write_float8(value: f64, extra: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if extra <= 0 {
        return write_general(value, 15 + extra, out);
    }
    let shortest = format!("{value:e}");
    write_shortest(value, &on_no_border(shortest, value, 53, |digits| format!("{value:.digits$e}")), 15, out)
}

/// The same for `real`, of 6 digits.
///
/// # Errors
/// Those of `out`.
pub fn write_float4(value: f32, extra: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let wide = f64::from(value);
    if extra <= 0 {
        return write_general(wide, 6 + extra, out);
    }
    let shortest = format!("{value:e}");
    write_shortest(wide, &on_no_border(shortest, wide, 24, |digits| format!("{value:.digits$e}")), 6, out)
}

fn write_not_finite(value: f64, out: &mut impl std::fmt::Write) -> Option<std::fmt::Result> {
    if value.is_nan() {
        Some(out.write_str("NaN"))
    } else if value.is_infinite() {
        Some(out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" }))
    } else {
        None
    }
}

/// PostgreSQL never prints a number that lies just between two floats, though reading it back rounds to the right one (to the even
/// mantissa); Rust does where that is shorter. It can happen to integers beyond the mantissa only; then one more digit is shown.
fn on_no_border(shortest: String, value: f64, mantissa_bits: u32, precise: impl Fn(usize) -> String) -> String {
    let magnitude = value.abs();
    if !(magnitude >= (1u64 << mantissa_bits) as f64 && magnitude < 1e38) {
        return shortest;
    }
    let exact = magnitude as u128;
    // The spacing of floats here; below a power of two it is half of that above.
    let spacing = 1u128 << (128 - exact.leading_zeros() - mantissa_bits);
    let mut text = shortest;
    let mut digits = 0;
    loop {
        let (printed, count) = integer(&text);
        let half = if printed < exact && exact.is_power_of_two() { spacing / 4 } else { spacing / 2 };
        if half == 0 || printed.abs_diff(exact) != half {
            return text;
        }
        digits = digits.max(count - 1) + 1;
        text = precise(digits);
    }
}

/// The integer that a number in scientific notation is, and its digits.
fn integer(scientific: &str) -> (u128, usize) {
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent");
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let zeros = exponent.parse::<u32>().expect("an integer's exponent") + 1 - digits.len() as u32;
    (digits.parse::<u128>().expect("at most 17 digits") * 10u128.pow(zeros), digits.len())
}

fn write_shortest(value: f64, text: &str, fixed_below: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if let Some(result) = write_not_finite(value, out) {
        return result;
    }
    let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
    write_digits(mantissa, exponent.parse().expect("Rust writes a number"), fixed_below, out)
}

/// C's `%.*g`.
fn write_general(value: f64, digits: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if let Some(result) = write_not_finite(value, out) {
        return result;
    }
    let digits = digits.max(1);
    let text = format!("{value:.*e}", digits as usize - 1);
    let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    write_digits(mantissa, exponent.parse().expect("Rust writes a number"), digits, out)
}

/// `mantissa` × 10^`exponent`, as a plain number if the exponent is from -4 to below `fixed_below`.
fn write_digits(mantissa: &str, exponent: i32, fixed_below: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if !(-4..fixed_below).contains(&exponent) {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.write_str(sign)?;
    if exponent < 0 {
        let zeros = exponent.unsigned_abs() as usize - 1;
        return write!(out, "0.{:0<zeros$}{digits}", "");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        write!(out, "{digits:0<whole$}")
    } else {
        write!(out, "{}.{}", &digits[..whole], &digits[whole..])
    }
}
