//! Option maps: `#{access: "rw", overlapped: true}`.

use rhai::{Dynamic, Map};

use super::shared::{Outcome, mistake};
use crate::session::{LoadOptions, OpenOptions, ProcessOptions};
use ring3_nt::se::token::Profile;

fn text(key: &str, value: &Dynamic) -> Outcome<String> {
    match value.clone().into_string() {
        Ok(text) => Ok(text),
        Err(kind) => mistake(format!("{key}: a string is needed, not {kind}")),
    }
}

fn flag(key: &str, value: &Dynamic) -> Outcome<bool> {
    match value.as_bool() {
        Ok(flag) => Ok(flag),
        Err(kind) => mistake(format!("{key}: true or false is needed, not {kind}")),
    }
}

/// Options of `app.open`.
pub(super) fn open(map: &Map) -> Outcome<OpenOptions> {
    let mut options = OpenOptions::default();
    for (key, value) in map {
        match key.as_str() {
            "access" => {
                let letters = text(key, value)?;
                options.read = letters.contains('r');
                options.write = letters.contains('w');
                if letters.chars().any(|c| c != 'r' && c != 'w') {
                    return mistake(format!(
                        "access: {letters:?}: letters r and w are understood"
                    ));
                }
            }
            "share" => {
                let letters = text(key, value)?;
                options.share = 0;
                for letter in letters.chars() {
                    options.share |= match letter {
                        'r' => 1,
                        'w' => 2,
                        'd' => 4,
                        _ => {
                            return mistake(format!(
                                "share: {letters:?}: letters r, w and d are understood"
                            ));
                        }
                    };
                }
            }
            "overlapped" => options.overlapped = flag(key, value)?,
            "create" => {
                options.disposition = match text(key, value)?.as_str() {
                    "supersede" => 0,
                    "open" => 1,
                    "create" => 2,
                    "open_if" => 3,
                    "overwrite" => 4,
                    "overwrite_if" => 5,
                    other => {
                        return mistake(format!(
                            "create: {other:?}: one of supersede, open, create, open_if, overwrite, overwrite_if is needed"
                        ));
                    }
                };
            }
            other => {
                return mistake(format!(
                    "open has no option {other:?}; it has access, share, overlapped, create"
                ));
            }
        }
    }
    Ok(options)
}

/// Options of `load`.
pub(super) fn load(map: &Map) -> Outcome<LoadOptions> {
    let mut options = LoadOptions::default();
    for (key, value) in map {
        match key.as_str() {
            "service" => options.service = Some(text(key, value)?),
            "start" => match value.as_int() {
                Ok(start @ 0..=4) => options.start = start as u32,
                _ => return mistake("start: a number from 0 (boot) to 4 (disabled) is needed"),
            },
            other => {
                return mistake(format!(
                    "load has no option {other:?}; it has service and start"
                ));
            }
        }
    }
    Ok(options)
}

/// Options of `process`.
pub(super) fn process(map: &Map) -> Outcome<ProcessOptions> {
    let mut options = ProcessOptions::default();
    for (key, value) in map {
        match key.as_str() {
            "bits" => match value.as_int() {
                Ok(64) => options.wow64 = false,
                Ok(32) => options.wow64 = true,
                _ => return mistake("bits: 32 or 64 is needed"),
            },
            "token" => {
                let name = text(key, value)?;
                options.token = match Profile::from_name(&name) {
                    Some(profile) => profile,
                    None => {
                        return mistake(format!(
                            "token: {name:?}: one of admin, user, low, system is needed"
                        ));
                    }
                };
            }
            other => {
                return mistake(format!(
                    "process has no option {other:?}; it has bits and token"
                ));
            }
        }
    }
    Ok(options)
}

/// Options of `driver().call`: the IRQL.
pub(super) fn call(map: &Map) -> Outcome<u8> {
    let mut irql = 0;
    for (key, value) in map {
        match (key.as_str(), value.as_int()) {
            ("irql", Ok(level @ 0..=2)) => irql = level as u8,
            ("irql", _) => return mistake("irql: 0, 1 or 2 is needed"),
            (other, _) => return mistake(format!("call has no option {other:?}; it has irql")),
        }
    }
    Ok(irql)
}
