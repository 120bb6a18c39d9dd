//! Share access. Documentation: wdm.h, "IoCheckShareAccess" and neighbours. Keeping it is the driver's matter: it
//! has one SHARE_ACCESS per file.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::{FILE_OBJECT, SHARE_ACCESS};
use crate::ntstatus::{NTSTATUS, STATUS_SHARING_VIOLATION, STATUS_SUCCESS};

/// What one open wants and allows: read, write, delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened {
    wants: [bool; 3],
    allows: [bool; 3],
}

impl Opened {
    /// From DesiredAccess and DesiredShareAccess.
    const fn asked(access: u32, share: u32) -> Self {
        // Execute counts as read, append as write; DELETE.
        let wants = [
            access & 0x21 != 0,
            access & 0x06 != 0,
            access & 0x1_0000 != 0,
        ];
        Self {
            wants,
            allows: [share & 1 != 0, share & 2 != 0, share & 4 != 0],
        }
    }

    fn of_file(cx: &Machine, file: Gva<FILE_OBJECT>) -> Result<Self, Fault> {
        let m = &cx.memory;
        Ok(Self {
            wants: [
                m.get(file, FILE_OBJECT::ReadAccess)? != 0,
                m.get(file, FILE_OBJECT::WriteAccess)? != 0,
                m.get(file, FILE_OBJECT::DeleteAccess)? != 0,
            ],
            allows: [
                m.get(file, FILE_OBJECT::SharedRead)? != 0,
                m.get(file, FILE_OBJECT::SharedWrite)? != 0,
                m.get(file, FILE_OBJECT::SharedDelete)? != 0,
            ],
        })
    }

    fn store(self, cx: &mut Machine, file: Gva<FILE_OBJECT>) -> Result<(), Fault> {
        let m = &mut cx.memory;
        m.set(file, FILE_OBJECT::ReadAccess, u8::from(self.wants[0]))?;
        m.set(file, FILE_OBJECT::WriteAccess, u8::from(self.wants[1]))?;
        m.set(file, FILE_OBJECT::DeleteAccess, u8::from(self.wants[2]))?;
        if self.matters() {
            m.set(file, FILE_OBJECT::SharedRead, u8::from(self.allows[0]))?;
            m.set(file, FILE_OBJECT::SharedWrite, u8::from(self.allows[1]))?;
            m.set(file, FILE_OBJECT::SharedDelete, u8::from(self.allows[2]))?;
        }
        Ok(())
    }

    /// Opens that want none of the three do not count.
    const fn matters(self) -> bool {
        self.wants[0] || self.wants[1] || self.wants[2]
    }
}

/// The seven counters: opens, then who wants and who allows read, write, delete.
fn counts(cx: &Machine, at: Gva<SHARE_ACCESS>) -> Result<[u32; 7], Fault> {
    let mut all = [0u32; 7];
    for (n, slot) in all.iter_mut().enumerate() {
        *slot = cx.memory.read(at.cast::<u32>().add(n as u64))?;
    }
    Ok(all)
}

fn put(cx: &mut Machine, at: Gva<SHARE_ACCESS>, all: [u32; 7]) -> Result<(), Fault> {
    for (n, value) in all.into_iter().enumerate() {
        cx.memory.write(at.cast::<u32>().add(n as u64), value)?;
    }
    Ok(())
}

/// Whether an open goes with those that are there.
fn fits(all: [u32; 7], new: Opened) -> bool {
    !new.matters()
        || (0..3).all(|n| {
            let (wanted, allowed) = (all[1 + n], all[4 + n]);
            // What it wants all others allow, and what others want it allows.
            (!new.wants[n] || allowed >= all[0]) && (wanted == 0 || new.allows[n])
        })
}

/// Adds an open (`up`) or takes one away.
fn count(mut all: [u32; 7], one: Opened, up: bool) -> [u32; 7] {
    if !one.matters() {
        return all;
    }
    let mut step = |slot: usize, by: bool| {
        if by {
            all[slot] = if up {
                all[slot].wrapping_add(1)
            } else {
                all[slot].wrapping_sub(1)
            };
        }
    };
    step(0, true);
    for n in 0..3 {
        step(1 + n, one.wants[n]);
        step(4 + n, one.allows[n]);
    }
    all
}

/// Routines on share access.
pub struct Sharing;

#[exports("ntoskrnl.exe")]
impl Sharing {
    /// Checks whether a new open may share a file with the others, and counts it.
    #[page("wdm/nf-wdm-iocheckshareaccess")]
    #[irql(PASSIVE_LEVEL)]
    fn IoCheckShareAccess(
        cx: &mut Machine,
        DesiredAccess: u32,
        DesiredShareAccess: u32,
        FileObject: Gva<FILE_OBJECT>,
        ShareAccess: Gva<SHARE_ACCESS>,
        Update: bool,
    ) -> Result<NTSTATUS, Fault> {
        let new = Opened::asked(DesiredAccess, DesiredShareAccess);
        let all = counts(cx, ShareAccess)?;
        new.store(cx, FileObject)?;
        if !fits(all, new) {
            return Ok(STATUS_SHARING_VIOLATION);
        }
        if Update {
            put(cx, ShareAccess, count(all, new, true))?;
        }
        Ok(STATUS_SUCCESS)
    }

    /// Starts the counts with the first open of a file.
    #[page("wdm/nf-wdm-iosetshareaccess")]
    #[irql(PASSIVE_LEVEL)]
    fn IoSetShareAccess(
        cx: &mut Machine,
        DesiredAccess: u32,
        DesiredShareAccess: u32,
        FileObject: Gva<FILE_OBJECT>,
        ShareAccess: Gva<SHARE_ACCESS>,
    ) -> Result<(), Fault> {
        let new = Opened::asked(DesiredAccess, DesiredShareAccess);
        new.store(cx, FileObject)?;
        put(cx, ShareAccess, count([0; 7], new, true))
    }

    /// Counts an open that IoCheckShareAccess has allowed.
    #[page("wdm/nf-wdm-ioupdateshareaccess")]
    #[irql(PASSIVE_LEVEL)]
    fn IoUpdateShareAccess(
        cx: &mut Machine,
        FileObject: Gva<FILE_OBJECT>,
        ShareAccess: Gva<SHARE_ACCESS>,
    ) -> Result<(), Fault> {
        let one = Opened::of_file(cx, FileObject)?;
        let all = counts(cx, ShareAccess)?;
        put(cx, ShareAccess, count(all, one, true))
    }

    /// Takes a file that is closed out of the counts.
    #[page("wdm/nf-wdm-ioremoveshareaccess")]
    #[irql(PASSIVE_LEVEL)]
    fn IoRemoveShareAccess(
        cx: &mut Machine,
        FileObject: Gva<FILE_OBJECT>,
        ShareAccess: Gva<SHARE_ACCESS>,
    ) -> Result<(), Fault> {
        let one = Opened::of_file(cx, FileObject)?;
        let all = counts(cx, ShareAccess)?;
        put(cx, ShareAccess, count(all, one, false))
    }
}

#[cfg(test)]
mod tests {
    use super::{Opened, count, fits};

    #[test]
    fn writers_need_everybodys_leave() {
        let reader = Opened::asked(1, 1);
        let all = count([0; 7], reader, true);
        assert!(fits(all, reader));
        assert!(!fits(all, Opened::asked(2, 3)));
        assert!(!fits(all, Opened::asked(1, 2)));
        // Attributes only: always.
        assert!(fits(all, Opened::asked(0x80, 0)));
        assert_eq!(count(all, reader, false), [0; 7]);
    }
}
