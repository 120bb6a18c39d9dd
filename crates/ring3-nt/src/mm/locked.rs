//! Locked pages: they stay where they are until they are unlocked, whatever becomes of the memory.
//! Documentation: MmProbeAndLockPages, bugcheck 0x76.

use ring3_memory::Gpa;

use super::space::PAGE;
use crate::Machine;
use crate::machine::thread::ProcessId;

/// An MDL whose pages are locked.
#[derive(Clone, Hash, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    /// The MDL.
    pub mdl: u64,
    /// Who locked it: a return address.
    pub owner: u64,
    /// The process whose memory it is; none for system addresses.
    pub process: Option<ProcessId>,
    /// The frames, by number.
    pub frames: Vec<u64>,
}

/// Notes that an MDL's pages are locked.
pub fn lock(cx: &mut Machine, locked: Locked) {
    for frame in &locked.frames {
        *cx.mm.frame_locks.entry(*frame).or_default() += 1;
    }
    cx.mm.locked_mdls.insert(locked.mdl, locked);
}

/// Unlocks a frame once.
pub fn unlock_frame(cx: &mut Machine, frame: u64) {
    let Some(count) = cx.mm.frame_locks.get_mut(&frame) else {
        return;
    };
    *count -= 1;
    if *count == 0 {
        cx.mm.frame_locks.remove(&frame);
        if cx.mm.orphans.remove(&frame) {
            cx.memory.free_frame(Gpa(frame * PAGE));
        }
    }
}

/// Notes that an MDL's pages are not locked any more. False if they were not.
pub fn unlock(cx: &mut Machine, mdl: u64) -> bool {
    let Some(locked) = cx.mm.locked_mdls.remove(&mdl) else {
        return false;
    };
    for frame in locked.frames {
        unlock_frame(cx, frame);
    }
    true
}

/// Frees a frame that was mapped somewhere, as soon as it is not locked.
pub fn release_frame(cx: &mut Machine, frame: Gpa) {
    let number = frame.0 / PAGE;
    if cx.mm.frame_locks.contains_key(&number) {
        cx.mm.orphans.insert(number);
    } else {
        cx.memory.free_frame(frame);
    }
}

/// How many pages of a process are still locked, and one of the MDLs that lock them.
#[must_use]
pub fn left_in(cx: &Machine, process: ProcessId) -> Option<(u64, Locked)> {
    let mine = |l: &&Locked| l.process == Some(process);
    let pages = cx
        .mm
        .locked_mdls
        .values()
        .filter(mine)
        .map(|l| l.frames.len() as u64)
        .sum();
    let first = cx.mm.locked_mdls.values().find(mine)?;
    Some((pages, first.clone()))
}
