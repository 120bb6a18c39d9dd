//! `ring3 run --json`: one documented object on standard output.

use std::collections::BTreeMap;

use ring3_nt::bugcheck_codes;
use ring3_nt::machine::Stop;
use ring3_nt::machine::finding::Place;
use serde::Serialize;

use super::{Check, Outcome, Report};
use crate::imports::{Import, Status};

/// Version of the object's schema.
pub const SCHEMA: &str = "ring3-run/1";

/// The object. Addresses, codes, statuses and parameters are hexadecimal strings.
#[derive(Debug, Serialize)]
pub struct Run {
    schema: &'static str,
    driver: String,
    seed: u64,
    cpus: usize,
    recording: Option<String>,
    outcome: Outcome,
    checks: Vec<Check>,
    driver_entry: Option<String>,
    bugcheck: Option<BugcheckJson>,
    unmodelled: Option<Unmodelled>,
    error: Option<String>,
    hang: Option<String>,
    findings: Vec<FindingJson>,
    devices: Vec<String>,
    links: Vec<String>,
    interfaces: Vec<String>,
    dbgprint: Vec<String>,
    imports: Imports,
    calls: BTreeMap<String, u64>,
    instructions: u64,
    virtual_time_ns: u64,
    trace_hash: String,
}

#[derive(Debug, Serialize)]
struct BugcheckJson {
    code: String,
    name: Option<&'static str>,
    parameters: Vec<String>,
    module: String,
    rva: String,
    symbol: Option<String>,
    source: Option<String>,
    irql: u8,
    thread: String,
    stack: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Unmodelled {
    routine: String,
    module: String,
    caller: String,
    arguments: Vec<String>,
    stack: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FindingJson {
    rule: &'static str,
    severity: &'static str,
    message: String,
    module: String,
    rva: String,
    symbol: Option<String>,
    source: Option<String>,
    stack: Vec<String>,
    accepted: Option<String>,
}

#[derive(Debug, Serialize)]
struct Imports {
    total: usize,
    modelled: usize,
    missing: Vec<String>,
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn status(value: u32) -> String {
    format!("{value:#010x}")
}

fn stack(places: &[Place]) -> Vec<String> {
    places.iter().map(ToString::to_string).collect()
}

impl Run {
    /// The object for a report.
    #[must_use]
    pub fn new(report: &Report<'_>, imports: &[Import]) -> Self {
        let machine = report.machine;
        let bugcheck = report.bugcheck().map(|b| BugcheckJson {
            code: status(b.code),
            name: bugcheck_codes::name(b.code),
            parameters: b.parameters.iter().map(|p| hex(*p)).collect(),
            module: b.place.module.clone(),
            rva: hex(b.place.rva),
            symbol: b.place.symbol.clone(),
            source: b.place.source.clone(),
            irql: b.irql,
            thread: b.thread.clone(),
            stack: stack(&b.stack),
        });
        let unmodelled = match &machine.stop {
            Some(Stop::NotModelled {
                what,
                caller,
                arguments,
                stack: places,
            }) => Some(Unmodelled {
                routine: what.clone(),
                module: caller.module.clone(),
                caller: caller.to_string(),
                arguments: arguments.iter().map(|a| hex(*a)).collect(),
                stack: stack(places),
            }),
            _ => None,
        };
        let findings = machine
            .findings
            .iter()
            .map(|f| FindingJson {
                rule: f.rule,
                severity: f.severity.word(),
                message: f.message.clone(),
                module: f.place.module.clone(),
                rva: hex(f.place.rva),
                symbol: f.place.symbol.clone(),
                source: f.place.source.clone(),
                stack: stack(&f.stack),
                accepted: report.policy.acceptance(f).map(|a| a.reason.clone()),
            })
            .collect();
        let missing: Vec<String> = imports
            .iter()
            .filter(|i| i.status == Status::Missing)
            .map(|i| format!("{}!{}", i.module, i.name))
            .collect();
        let calls = machine
            .calls
            .iter()
            .filter_map(|(number, count)| {
                Some((
                    machine.exports.get(*number as usize)?.name.to_owned(),
                    *count,
                ))
            })
            .collect();
        Self {
            schema: SCHEMA,
            driver: report.driver.clone(),
            seed: report.seed,
            cpus: machine.processors.len(),
            recording: None,
            outcome: report.outcome(),
            checks: report.story.checks.clone(),
            driver_entry: report.story.driver_entry.map(status),
            bugcheck,
            unmodelled,
            error: report.story.error.clone(),
            hang: report.story.hang.clone(),
            findings,
            devices: report.story.devices.clone(),
            links: report.story.links.clone(),
            interfaces: report.story.interfaces.clone(),
            dbgprint: machine
                .dbg
                .messages
                .iter()
                .map(|m| m.text.clone())
                .collect(),
            imports: Imports {
                total: imports.len(),
                modelled: imports.len() - missing.len(),
                missing,
            },
            calls,
            instructions: machine.instructions(),
            virtual_time_ns: machine.clock.elapsed_ns(),
            trace_hash: format!("{:016x}", machine.trace.hash()),
        }
    }
}
