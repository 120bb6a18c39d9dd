//! Trace lines, made from declarations.

use super::Machine;
use super::apply::Site;
use super::finding::Severity;
use super::trace::Line;
use crate::export::{Call, Export, irql};
use crate::flow::Flow;

impl Machine {
    /// Prints a line of the given kind; the caller has asked whether it is wanted.
    pub fn trace_line(&mut self, text: String) {
        let depth = self
            .thread()
            .frames
            .iter()
            .filter(|f| f.export.is_some())
            .count();
        let line = Line {
            thread: self.thread().name.clone(),
            irql: self.irql(),
            depth,
            text,
        };
        self.trace.lines.push(line);
    }

    fn arguments(&self, export: &Export, call: &Call) -> String {
        let shown: Vec<String> = export
            .args
            .iter()
            .enumerate()
            .map(|(i, arg)| {
                let value = (arg.show)(self, call, i);
                if value == "..." {
                    value
                } else {
                    format!("{}={value}", arg.name)
                }
            })
            .collect();
        shown.join(", ")
    }

    /// Every call goes into the hash, with its arguments.
    pub(crate) fn trace_call(&mut self, export: &Export, call: &Call) {
        let mut values = [0u64; 6];
        values[0] = u64::from(self.processor().current.0) << 8 | u64::from(self.irql());
        values[1] = call.caller;
        for (i, slot) in values[2..]
            .iter_mut()
            .enumerate()
            .take(export.args.len().min(4))
        {
            *slot = call.raw(self, i).unwrap_or(0);
        }
        self.trace.event(export.name, &values);
    }

    /// A call that returned at once: one line.
    pub(crate) fn trace_flat(&mut self, export: &Export, call: &Call, flow: &Flow) {
        let Flow::Return(value) = flow else { return };
        self.trace.event("=", &[*value]);
        if !self.trace.set.api {
            return;
        }
        let arguments = self.arguments(export, call);
        let result = (export.ret.show)(*value);
        let mut text = format!("{}({arguments})", export.name);
        if !result.is_empty() {
            text.push_str(" = ");
            text.push_str(&result);
        }
        self.trace_line(text);
    }

    /// A call that goes on: its line is closed when it returns.
    pub(crate) fn trace_open(&mut self, export: &Export, call: &Call) {
        if self.trace.set.api {
            let text = format!("{}({}) ...", export.name, self.arguments(export, call));
            self.trace_line(text);
        }
    }

    /// The end of a call that went on.
    pub(crate) fn trace_return(&mut self, site: &Site, value: u64) {
        let Some(export) = site.export.and_then(|n| self.exports.get(n as usize)) else {
            return;
        };
        self.trace.event("=", &[value]);
        if self.trace.set.api {
            let result = (export.ret.show)(value);
            let text = if result.is_empty() {
                format!("... {} returned", export.name)
            } else {
                format!("... {} = {result}", export.name)
            };
            self.trace_line(text);
        }
    }

    pub(crate) fn count_call(&mut self, export: u32) {
        *self.calls.entry(export).or_insert(0) += 1;
    }

    /// The declared IRQL range, as a rule.
    pub(crate) fn check_irql(&mut self, export: &Export, call: &Call) {
        let level = self.irql();
        if export.irql.contains(level) || self.modules.at(call.caller).is_some_and(|m| m.modelled) {
            return;
        }
        let allowed = if export.irql.min == export.irql.max {
            irql::name(export.irql.min).to_owned()
        } else if export.irql.min == 0 {
            format!("at most {}", irql::name(export.irql.max))
        } else {
            format!(
                "{} to {}",
                irql::name(export.irql.min),
                irql::name(export.irql.max)
            )
        };
        let text = format!(
            "{} called at {} ({level}); allowed: {allowed}",
            export.name,
            irql::name(level)
        );
        self.report("irql/export", Severity::Error, text);
    }
}
