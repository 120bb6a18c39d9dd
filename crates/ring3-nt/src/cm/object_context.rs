//! What registry callbacks know of key objects: contexts, identifiers, names.
//! Documentation: wdm.h, `CmSetCallbackObjectContext`, `CmCallbackGetKeyObjectIDEx`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::UNICODE_STRING;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::ob::Kind;

const TAG: u32 = u32::from_le_bytes(*b"CMnm");

/// A key object is gone: so are its contexts and its name.
pub fn forget(cx: &mut Machine, object: u64) {
    cx.cm.contexts.retain(|(of, _), _| *of != object);
    if let Some(block) = cx.cm.names.remove(&object) {
        cx.pool_free(Gva::new(block));
    }
}

/// The path of a key object, and whether the cookie is that of a registered callback.
fn known(cx: &Machine, cookie: Gva<u64>, object: u64) -> Result<Option<String>, Fault> {
    let cookie = cx.memory.read(cookie)?;
    if !cx.cm.callbacks.iter().any(|c| c.cookie == cookie) {
        return Ok(None);
    }
    Ok(match cx.ob.objects.get(&object).map(|o| &o.kind) {
        Some(Kind::Key(path)) => Some(path.clone()),
        _ => None,
    })
}

/// A UNICODE_STRING with its text behind it, in one block of paged pool that belongs to `owner`.
fn string(cx: &mut Machine, text: &str, owner: Option<u64>) -> Result<Option<Gva>, Fault> {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let size = UNICODE_STRING::SIZE + bytes.len() as u64 + 2;
    let block = match owner {
        Some(owner) => cx.pool_allocate_for(Pool::Paged, size, TAG, owner),
        None => cx.pool_allocate(Pool::Paged, size, TAG),
    };
    let Some(block) = block else {
        return Ok(None);
    };
    let (at, place) = (
        block.cast::<UNICODE_STRING>(),
        block.byte_add(UNICODE_STRING::SIZE),
    );
    cx.memory.write_bytes(place, &bytes)?;
    cx.memory
        .set(at, UNICODE_STRING::Length, bytes.len() as u16)?;
    cx.memory
        .set(at, UNICODE_STRING::MaximumLength, bytes.len() as u16 + 2)?;
    cx.memory.set(at, UNICODE_STRING::Buffer, place.cast())?;
    Ok(Some(block))
}

/// Routines of registry callbacks on key objects.
pub struct KeyObjects;

#[exports("ntoskrnl.exe")]
impl KeyObjects {
    /// Gives a key object a context for one callback.
    #[page("wdm/nf-wdm-cmsetcallbackobjectcontext")]
    #[irql(..=APC_LEVEL)]
    #[assumed("what is no key object or cookie is STATUS_INVALID_PARAMETER")]
    fn CmSetCallbackObjectContext(
        cx: &mut Machine,
        Object: u64,
        Cookie: Gva<u64>,
        NewContext: u64,
        OldContext: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        if known(cx, Cookie, Object)?.is_none() {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let cookie = cx.memory.read(Cookie)?;
        let old = cx.cm.contexts.get(&(Object, cookie)).copied().unwrap_or(0);
        if !OldContext.is_null() {
            cx.memory.write(OldContext, old)?;
        }
        if NewContext == 0 {
            cx.cm.contexts.remove(&(Object, cookie));
        } else {
            cx.cm.contexts.insert((Object, cookie), NewContext);
        }
        Ok(STATUS_SUCCESS)
    }

    /// The identifier and the name of the key of a key object; the name lives as long as the object.
    #[page("wdm/nf-wdm-cmcallbackgetkeyobjectid")]
    #[irql(..=APC_LEVEL)]
    fn CmCallbackGetKeyObjectID(
        cx: &mut Machine,
        Cookie: Gva<u64>,
        Object: u64,
        ObjectID: Gva<u64>,
        ObjectName: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        let Some(path) = known(cx, Cookie, Object)? else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        if !ObjectID.is_null() {
            let id = cx.cm.key(&path).map_or(0, |k| k.id);
            cx.memory.write(ObjectID, id)?;
        }
        if !ObjectName.is_null() {
            let block = match cx.cm.names.get(&Object) {
                Some(block) => *block,
                None => match string(cx, &path, None)? {
                    Some(block) => block.raw(),
                    None => return Ok(STATUS_INSUFFICIENT_RESOURCES),
                },
            };
            cx.cm.names.insert(Object, block);
            cx.memory.write(ObjectName, block)?;
        }
        Ok(STATUS_SUCCESS)
    }

    /// The identifier and the name of the key of a key object; the caller releases the name.
    #[page("wdm/nf-wdm-cmcallbackgetkeyobjectidex")]
    #[irql(..=APC_LEVEL)]
    fn CmCallbackGetKeyObjectIDEx(
        cx: &mut Machine,
        Cookie: Gva<u64>,
        Object: u64,
        ObjectID: Gva<u64>,
        ObjectName: Gva<u64>,
        Flags: u32,
    ) -> Result<NTSTATUS, Fault> {
        let path = known(cx, Cookie, Object)?.filter(|_| Flags == 0);
        let Some(path) = path else {
            return Ok(STATUS_INVALID_PARAMETER);
        };
        if !ObjectID.is_null() {
            let id = cx.cm.key(&path).map_or(0, |k| k.id);
            cx.memory.write(ObjectID, id)?;
        }
        if !ObjectName.is_null() {
            cx.memory.read(ObjectName)?;
            let owner = cx.caller;
            let Some(block) = string(cx, &path, Some(owner))? else {
                return Ok(STATUS_INSUFFICIENT_RESOURCES);
            };
            cx.memory.write(ObjectName, block.raw())?;
        }
        Ok(STATUS_SUCCESS)
    }

    /// Releases a name that CmCallbackGetKeyObjectIDEx gave.
    #[page("wdm/nf-wdm-cmcallbackreleasekeyobjectidex")]
    #[irql(..=APC_LEVEL)]
    fn CmCallbackReleaseKeyObjectIDEx(cx: &mut Machine, ObjectName: Gva) {
        cx.pool_free(ObjectName);
    }

    /// The transaction of a key object: there is none.
    #[page("wdm/nf-wdm-cmgetboundtransaction")]
    #[irql(..=APC_LEVEL)]
    fn CmGetBoundTransaction(cx: &mut Machine, Cookie: Gva<u64>, Object: Gva) -> Gva {
        let _ = (&cx, Cookie, Object);
        Gva::NULL
    }
}
