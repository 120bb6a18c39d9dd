//! Views of sections in system space. Documentation: ntifs.h, MmMapViewInSystemSpace.

use ring3_macros::exports;
use ring3_memory::{Fault, Gpa, Gva};

use super::section::View;
use super::space::{PAGE, data};
use crate::Machine;
use crate::machine::finding::Severity;
use crate::ntstatus::{
    NTSTATUS, STATUS_INVALID_VIEW_SIZE, STATUS_NO_MEMORY, STATUS_NOT_MAPPED_VIEW,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};

/// Routines on views in system space.
pub struct SystemViews;

#[exports("ntoskrnl.exe")]
impl SystemViews {
    /// Maps a section into system space, from its start on.
    #[page("ntifs/nf-ntifs-mmmapviewinsystemspace")]
    #[irql(..=APC_LEVEL)]
    #[alias("MmMapViewInSessionSpace")]
    fn MmMapViewInSystemSpace(
        cx: &mut Machine,
        Section: u64,
        MappedBase: Gva<u64>,
        ViewSize: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let size = cx.memory.read(ViewSize)?;
        cx.memory.read(MappedBase)?;
        let Some(section) = cx.mm.sections.get(&Section) else {
            return Ok(STATUS_OBJECT_TYPE_MISMATCH);
        };
        let total = section.frames.len() as u64;
        let pages = if size == 0 {
            total
        } else {
            size.div_ceil(PAGE)
        };
        if pages > total {
            return Ok(STATUS_INVALID_VIEW_SIZE);
        }
        let protect = section.protect;
        let frames: Vec<Gpa> = section
            .frames
            .iter()
            .take(pages as usize)
            .map(|f| Gpa(f * PAGE))
            .collect();
        let Some(at) = cx.map_physical(&frames, data()) else {
            return Ok(STATUS_NO_MEMORY);
        };
        cx.reference_object(Section);
        let view = View {
            pages,
            protect,
            object: Section,
            owner: cx.caller,
        };
        cx.mm.system_views.insert(at.raw(), view);
        cx.memory.write(MappedBase, at.raw())?;
        cx.memory.write(ViewSize, pages * PAGE)?;
        Ok(STATUS_SUCCESS)
    }

    /// Unmaps a view in system space.
    #[page("ntifs/nf-ntifs-mmunmapviewinsystemspace")]
    #[irql(..=APC_LEVEL)]
    #[alias("MmUnmapViewInSessionSpace")]
    fn MmUnmapViewInSystemSpace(cx: &mut Machine, MappedBase: Gva) -> NTSTATUS {
        let Some(view) = cx.mm.system_views.remove(&MappedBase.raw()) else {
            let text = format!("{:#x} is no view in system space", MappedBase.raw());
            cx.report("mm/bad-unmap", Severity::Error, text);
            return STATUS_NOT_MAPPED_VIEW;
        };
        cx.unmap_physical(MappedBase);
        cx.dereference_object(view.object);
        STATUS_SUCCESS
    }
}
