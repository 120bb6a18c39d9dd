//! Keys and values in the form of the information classes. Documentation: wdm.h, KEY_INFORMATION_CLASS
//! and KEY_VALUE_INFORMATION_CLASS.

use ring3_memory::{Fault, Gva};

use super::tree::{Key, State, Value};
use crate::Machine;
use crate::ntstatus::{NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_SUCCESS};

/// Bytes of an answer, and how many of them its fixed part has.
pub type Answer = (Vec<u8>, usize);

/// No class: its offset.
const NONE: u32 = u32::MAX;

/// Writes an answer that may not fit: all of it, what fits of it, or nothing where not even the fixed
/// part fits. The length that it needs is told in every case.
///
/// # Errors
/// A fault if buffer or length cannot be written.
pub fn give(
    cx: &mut Machine,
    answer: &Answer,
    buffer: Gva,
    length: u32,
    needed: Gva<u32>,
) -> Result<NTSTATUS, Fault> {
    let (bytes, fixed) = answer;
    let room = length as usize;
    cx.memory.write(needed, bytes.len() as u32)?;
    if room < *fixed {
        return Ok(STATUS_BUFFER_TOO_SMALL);
    }
    let fits = bytes.len().min(room);
    cx.memory
        .write_bytes(buffer, bytes.get(..fits).unwrap_or(bytes))?;
    Ok(if fits < bytes.len() {
        STATUS_BUFFER_OVERFLOW
    } else {
        STATUS_SUCCESS
    })
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn name_bytes(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A value; `None` for a class that there is not.
#[must_use]
pub fn of_value(value: &Value, class: u32) -> Option<Answer> {
    let name = name_bytes(&value.name);
    let data = &value.data;
    Some(match class {
        // KeyValueBasicInformation.
        0 => {
            let mut bytes = words(&[0, value.kind, name.len() as u32]);
            bytes.extend_from_slice(&name);
            (bytes, 12)
        }
        // KeyValueFullInformation, KeyValueFullInformationAlign64: the data is aligned to 8 bytes.
        1 | 3 => {
            let offset = (20 + name.len()).next_multiple_of(8);
            let mut bytes = words(&[
                0,
                value.kind,
                offset as u32,
                data.len() as u32,
                name.len() as u32,
            ]);
            bytes.extend_from_slice(&name);
            if !data.is_empty() {
                bytes.resize(offset, 0);
                bytes.extend_from_slice(data);
            }
            (bytes, 20)
        }
        // KeyValuePartialInformation.
        2 => {
            let mut bytes = words(&[0, value.kind, data.len() as u32]);
            bytes.extend_from_slice(data);
            (bytes, 12)
        }
        // KeyValuePartialInformationAlign64: without a title index.
        4 => {
            let mut bytes = words(&[value.kind, data.len() as u32]);
            bytes.extend_from_slice(data);
            (bytes, 8)
        }
        _ => return None,
    })
}

/// The longest of some texts, in bytes.
fn longest<'a>(texts: impl Iterator<Item = &'a str>) -> u32 {
    texts.map(|t| name_bytes(t).len()).max().unwrap_or(0) as u32
}

/// A key; `None` for a class that there is not.
#[must_use]
pub fn of_key(state: &State, key: &Key, class: u32) -> Option<Answer> {
    let name = name_bytes(key.name());
    let key_class = name_bytes(&key.class);
    let mut bytes = key.written.to_le_bytes().to_vec();
    Some(match class {
        // KeyBasicInformation.
        0 => {
            bytes.extend(words(&[0, name.len() as u32]));
            bytes.extend_from_slice(&name);
            (bytes, 16)
        }
        // KeyNodeInformation: the class lies behind the name.
        1 => {
            let offset = if key_class.is_empty() {
                NONE
            } else {
                24 + name.len() as u32
            };
            bytes.extend(words(&[
                0,
                offset,
                key_class.len() as u32,
                name.len() as u32,
            ]));
            bytes.extend_from_slice(&name);
            bytes.extend_from_slice(&key_class);
            (bytes, 24)
        }
        // KeyFullInformation and KeyCachedInformation: what is below the key, in numbers.
        2 | 4 => {
            let children = state.children(&key.path);
            let values = key.values.values();
            let counts = [
                children.len() as u32,
                longest(children.iter().map(|k| k.name())),
                longest(children.iter().map(|k| k.class.as_str())),
                values.len() as u32,
                longest(values.clone().map(|v| v.name.as_str())),
                values.map(|v| v.data.len()).max().unwrap_or(0) as u32,
            ];
            if class == 2 {
                let offset = if key_class.is_empty() { NONE } else { 44 };
                bytes.extend(words(&[0, offset, key_class.len() as u32]));
                bytes.extend(words(&counts));
                bytes.extend_from_slice(&key_class);
                (bytes, 44)
            } else {
                // Without the longest class, but with the length of the key's own name.
                bytes.extend(words(&[
                    0,
                    counts[0],
                    counts[1],
                    counts[3],
                    counts[4],
                    counts[5],
                    name.len() as u32,
                ]));
                bytes.resize(40, 0);
                (bytes, 40)
            }
        }
        // KeyNameInformation: the full path.
        3 => {
            let path = name_bytes(&key.path);
            let mut bytes = words(&[path.len() as u32]);
            bytes.extend_from_slice(&path);
            (bytes, 4)
        }
        // KeyFlagsInformation: wow64 flags, key flags (1 = volatile), control flags.
        5 => (words(&[0, u32::from(key.volatile), 0]), 12),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    #[test]
    fn values_in_every_class() {
        let value = Value {
            name: "Abc".to_owned(),
            kind: 3,
            data: vec![7, 8, 9],
        };
        let (basic, fixed) = of_value(&value, 0).expect("a class");
        assert_eq!((basic.len(), fixed, word(&basic, 8)), (18, 12, 6));
        let (full, fixed) = of_value(&value, 1).expect("a class");
        let offset = word(&full, 8) as usize;
        assert_eq!(
            (fixed, offset % 8, &full[offset..]),
            (20, 0, &[7, 8, 9][..])
        );
        let (partial, _) = of_value(&value, 2).expect("a class");
        assert_eq!((word(&partial, 8), &partial[12..]), (3, &[7, 8, 9][..]));
        let (aligned, _) = of_value(&value, 4).expect("a class");
        assert_eq!((word(&aligned, 4), &aligned[8..]), (3, &[7, 8, 9][..]));
        assert!(of_value(&value, 5).is_none());
    }

    #[test]
    fn a_key_counts_what_is_below_it() {
        let mut state = State::default();
        let path = r"\Registry\Machine\Software\Test";
        for name in ["", r"\A", r"\Longer"] {
            state.create(&format!("{path}{name}"));
        }
        state.set(path, "Value", 4, vec![1, 0, 0, 0]);
        let key = state.key(path).expect("created");
        let (full, fixed) = of_key(&state, key, 2).expect("a class");
        assert_eq!((full.len(), fixed), (44, 44));
        assert_eq!(
            [20, 24, 32, 36, 40].map(|at| word(&full, at)),
            [2, 12, 1, 10, 4]
        );
        let (name, _) = of_key(&state, key, 3).expect("a class");
        assert_eq!(word(&name, 0) as usize, 2 * path.len());
        assert_eq!(of_key(&state, key, 0).expect("a class").0.len(), 16 + 8);
    }
}
