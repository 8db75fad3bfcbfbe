//! A rate on the command line: so many a second.

/// Reads a rate as events a second.
///
/// # Errors
/// How to write one.
pub(super) fn read(text: &str) -> Result<f64, String> {
    let mend = "write so many a second as 40/s or 0.5/s, or 600/min, 1000/h";
    let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
    let per = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(mend.to_owned()),
    };
    let rate = count.trim().parse::<f64>().map_err(|_| mend.to_owned())? / per;
    if rate.is_finite() && rate > 0.0 && rate <= 100_000.0 { Ok(rate) } else { Err(mend.to_owned()) }
}
