//! The load configuration: security cookie and control-flow guard.

use crate::view::View;

/// What the loader needs of IMAGE_LOAD_CONFIG_DIRECTORY64. Addresses are RVAs; none where the field is absent, null or outside
/// the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadConfig {
    /// The eight-byte variable that holds the /GS cookie (SecurityCookie).
    pub security_cookie_rva: Option<u32>,
    /// The variable that holds the address of the guard check routine (GuardCFCheckFunctionPointer).
    pub guard_check_rva: Option<u32>,
    /// The variable that holds the address of the guard dispatch routine (GuardCFDispatchFunctionPointer).
    pub guard_dispatch_rva: Option<u32>,
    /// GuardFlags (IMAGE_GUARD_*).
    pub guard_flags: u32,
    /// The functions that an indirect call may reach (GuardCFFunctionTable), as RVAs.
    pub function_table: Vec<u32>,
}

/// Guard functions beyond this number are damage.
const MOST_GUARDED: u64 = 1 << 20;
/// Fields up to GuardFlags: what is read of the structure.
const UP_TO_GUARD_FLAGS: usize = 148;

/// Reads the load configuration at `rva`. What is damaged in it becomes a warning: Windows loads such images, too.
pub(crate) fn parse(
    view: &View<'_>,
    base: u64,
    rva: u32,
    warnings: &mut Vec<String>,
) -> Option<LoadConfig> {
    // The structure states its own size; it grew over the years, and shorter ones are normal.
    let stated = view.u32(rva)? as usize;
    let size = stated.min(UP_TO_GUARD_FLAGS);
    let field = |offset: u32| {
        let end = offset as usize + 8;
        (end <= size)
            .then(|| view.u64(rva.checked_add(offset)?))
            .flatten()
    };
    let mut pointer = |offset: u32, name: &str| {
        let va = field(offset).filter(|va| *va != 0)?;
        let found = view.rva_of(base, va);
        if found.is_none() {
            warnings.push(format!(
                "{name} of the load configuration is {va:#x}, outside the image; it is ignored"
            ));
        }
        found
    };
    let mut config = LoadConfig {
        security_cookie_rva: pointer(88, "SecurityCookie"),
        guard_check_rva: pointer(112, "GuardCFCheckFunctionPointer"),
        guard_dispatch_rva: pointer(120, "GuardCFDispatchFunctionPointer"),
        guard_flags: 0,
        function_table: Vec::new(),
    };
    let table = pointer(128, "GuardCFFunctionTable");
    if size >= UP_TO_GUARD_FLAGS {
        config.guard_flags = rva
            .checked_add(144)
            .and_then(|at| view.u32(at))
            .unwrap_or(0);
    }
    if let (Some(table), Some(count)) = (table, field(136)) {
        match function_table(view, table, count, config.guard_flags) {
            Some(functions) => config.function_table = functions,
            None => warnings.push(format!(
                "the guard function table of {count} entries is outside the image; it is ignored"
            )),
        }
    }
    Some(config)
}

/// The functions of the guard table: RVAs, each followed by as many bytes of flags as the top four bits of GuardFlags say
/// (IMAGE_GUARD_CF_FUNCTION_TABLE_SIZE_MASK).
fn function_table(view: &View<'_>, table: u32, count: u64, flags: u32) -> Option<Vec<u32>> {
    if count > MOST_GUARDED {
        return None;
    }
    let stride = 4 + (flags >> 28) as usize;
    let bytes = view.slice(table, usize::try_from(count).ok()?.checked_mul(stride)?)?;
    let mut functions = Vec::with_capacity(bytes.len() / stride);
    functions.extend(
        bytes
            .chunks_exact(stride)
            .filter_map(|entry| entry.first_chunk().map(|rva| u32::from_le_bytes(*rva))),
    );
    Some(functions)
}
