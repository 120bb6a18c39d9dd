//! Figures beside their budgets.

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// What it may be; infinite if nothing is asked of it.
    pub budget: f64,
    /// The unit of both: `x`, `ns`, `us` or `ms`.
    pub unit: &'static str,
    /// More about it.
    pub note: String,
}

/// Prints the rows. Gives whether all are within their budgets.
#[must_use]
pub fn print(title: &str, rows: &[Row]) -> bool {
    println!("\n{title}");
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    let mut all = true;
    for row in rows {
        let within = row.value <= row.budget;
        all &= within;
        println!(
            "  {:width$}  {:>9.2} {:2}  {}  {}",
            row.what,
            row.value,
            row.unit,
            match row.budget {
                budget if budget.is_infinite() => String::new(),
                budget => format!(
                    "budget {budget:>5} {:2}  {}",
                    row.unit,
                    if within { "ok  " } else { "OVER" }
                ),
            },
            row.note
        );
    }
    all
}

/// What a benchmark ends with. A missed budget fails it only if `RING3_BENCH_STRICT` is set, as a busy
/// machine misses budgets too.
#[must_use]
pub fn exit(within: bool) -> std::process::ExitCode {
    if within || std::env::var_os("RING3_BENCH_STRICT").is_none() {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}
