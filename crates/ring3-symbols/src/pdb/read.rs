//! Reading a PDB through the `pdb2` crate.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use msvc_demangler::DemangleFlags;
use pdb2::{
    AddressMap, FallibleIterator, PDB, PdbInternalSectionOffset, StreamIndex, StringRef,
    StringTable, SymbolData,
};

use super::{LineRange, Symbol, SymbolError, SymbolFile, lines, msf};

/// Names longer than this stay decorated: no hand-written name is that long, and the demangler recurses.
const LONGEST_DEMANGLED: usize = 1_024;
/// Lines that mark code without a source (`never step into`, `always step over`), as the DIA SDK names them.
const HIDDEN_LINES: [u32; 2] = [0xfe_efee, 0xf0_0f00];

/// S_LPROC32, S_GPROC32 and their forms with an item id.
const PROCEDURES: [u16; 4] = [0x110f, 0x1110, 0x1146, 0x1147];
/// S_LDATA32, S_GDATA32.
const DATA: [u16; 2] = [0x110c, 0x110d];
/// S_PUB32.
const PUBLIC: u16 = 0x110e;

type Pdb = PDB<'static, Cursor<Vec<u8>>>;

/// Reads the PDB.
pub(super) fn from_pdb(bytes: Vec<u8>) -> Result<SymbolFile, SymbolError> {
    msf::check(&bytes)?;
    // The container is sound from here on; the reader crate still indexes into records whose contents it trusts.
    catch_unwind(AssertUnwindSafe(|| read(bytes))).unwrap_or_else(|_| {
        Err(SymbolError::Damaged {
            part: "a record",
            what: "the reader gave up".to_owned(),
        })
    })
}

/// The error of a part that the rest cannot do without.
fn damaged(part: &'static str) -> impl FnOnce(pdb2::Error) -> SymbolError {
    move |error| SymbolError::Damaged {
        part,
        what: error.to_string(),
    }
}

fn read(bytes: Vec<u8>) -> Result<SymbolFile, SymbolError> {
    let mut pdb: Pdb = PDB::open(Cursor::new(bytes)).map_err(damaged("the superblock"))?;
    let information = pdb
        .pdb_information()
        .map_err(damaged("the PDB information"))?;
    let debug = pdb
        .debug_information()
        .map_err(damaged("the debug information"))?;
    let map = pdb.address_map().map_err(damaged("the section headers"))?;
    let sections = pdb
        .sections()
        .map_err(damaged("the section headers"))?
        .unwrap_or_default();
    let mut out = Collector {
        file: SymbolFile {
            guid: information.guid.to_bytes_le(),
            // The linker raises the age of the debug information when it links again; the image names that one.
            age: debug.age().unwrap_or(information.age),
            sections: sections
                .iter()
                .map(|section| {
                    (
                        section.virtual_address,
                        section.virtual_address.saturating_add(section.virtual_size),
                    )
                })
                .collect(),
            ..SymbolFile::default()
        },
        map: &map,
        files: BTreeMap::new(),
    };

    match pdb.global_symbols() {
        Ok(globals) => {
            let mut symbols = globals.iter();
            out.note("the public symbols", |out| {
                while let Some(symbol) = symbols.next()? {
                    out.symbol(&symbol)?;
                }
                Ok(())
            });
        }
        Err(error) => out
            .file
            .warnings
            .push(format!("the public symbols are left out: {error}")),
    }
    // A stripped PDB has neither this table nor lines.
    let strings = if named_streams_are_sound(&mut pdb) {
        pdb.string_table().ok()
    } else {
        None
    };
    let mut modules = debug.modules().map_err(damaged("the list of modules"))?;
    while let Some(module) = modules.next().map_err(damaged("the list of modules"))? {
        let name = module.module_name().into_owned();
        out.note(&format!("the module {name}"), |out| {
            let Some(info) = pdb.module_info(&module)? else {
                return Ok(());
            };
            let mut symbols = info.symbols()?;
            while let Some(symbol) = symbols.next()? {
                out.symbol(&symbol)?;
            }
            let c13 = pdb.raw_stream(module.info().stream)?;
            let start = module.info().symbols_size as usize + module.info().lines_size as usize;
            let size = module.info().c13_lines_size as usize;
            match (
                &strings,
                c13.as_ref()
                    .and_then(|stream| stream.as_slice().get(start..start.checked_add(size)?)),
            ) {
                (Some(strings), Some(c13)) => out.lines(c13, strings),
                (None, Some(c13)) if !c13.is_empty() => Err(pdb2::Error::UnimplementedFeature(
                    "lines without a table of file names",
                )),
                _ => Ok(()),
            }
        });
    }
    Ok(out.finish())
}

/// Whether the map of named streams in the PDB information stream stays inside its names: the reader crate slices them by
/// offsets it does not check. (Layout: version, time, age, GUID; bytes of names, names; then the serialised hash table.)
fn named_streams_are_sound(pdb: &mut Pdb) -> bool {
    let Ok(Some(stream)) = pdb.raw_stream(StreamIndex(1)) else {
        return false;
    };
    let data = stream.as_slice();
    let word = |at: usize| {
        data.get(at..)?
            .first_chunk()
            .map(|word| u32::from_le_bytes(*word))
    };
    let names = || {
        let size = word(28)? as usize;
        let table = 32usize.checked_add(size)?;
        let count = word(table)? as usize;
        let present = table.checked_add(8)?;
        let deleted = present
            .checked_add(4)?
            .checked_add((word(present)? as usize).checked_mul(4)?)?;
        let entries = deleted
            .checked_add(4)?
            .checked_add((word(deleted)? as usize).checked_mul(4)?)?;
        let entries = data.get(entries..entries.checked_add(count.checked_mul(8)?)?)?;
        let (entries, _) = entries.as_chunks::<8>();
        let offsets = entries.iter().filter_map(|entry| {
            entry
                .first_chunk()
                .map(|offset| u32::from_le_bytes(*offset))
        });
        Some(
            offsets
                .map(|offset| offset as usize)
                .all(|offset| offset <= size),
        )
    };
    names() == Some(true)
}

/// Takes up what is read.
struct Collector<'a, 's> {
    file: SymbolFile,
    map: &'a AddressMap<'s>,
    /// Index of every source file.
    files: BTreeMap<String, u32>,
}

impl Collector<'_, '_> {
    /// Reads a part that the rest can do without: what was read before an error stays.
    fn note(&mut self, part: &str, read: impl FnOnce(&mut Self) -> pdb2::Result<()>) {
        if let Err(error) = read(self) {
            self.file.warnings.push(format!(
                "{part} is left out from its first damaged record on: {error}"
            ));
        }
    }

    /// The RVA of a place, if the image has it.
    fn rva(&self, place: PdbInternalSectionOffset) -> Option<u32> {
        place.to_rva(self.map).map(|rva| rva.0)
    }

    /// Takes up one symbol; kinds without a place of their own are passed over unread.
    fn symbol(&mut self, symbol: &pdb2::Symbol<'_>) -> pdb2::Result<()> {
        let kind = symbol.raw_kind();
        if !PROCEDURES.contains(&kind) && !DATA.contains(&kind) && kind != PUBLIC {
            return Ok(());
        }
        match symbol.parse()? {
            SymbolData::Procedure(procedure) => {
                if let Some(rva) = self.rva(procedure.offset) {
                    let name = procedure.name.to_string().into_owned();
                    self.name(&name, rva);
                    self.file.procedures.push(Symbol {
                        name,
                        rva,
                        size: procedure.len,
                    });
                }
            }
            SymbolData::Public(public) => {
                if let Some(rva) = self.rva(public.offset) {
                    let decorated = public.name.to_string();
                    let name = undecorated(&decorated);
                    self.name(&decorated, rva);
                    self.name(&name, rva);
                    if public.code || public.function {
                        self.file.publics.push(Symbol { name, rva, size: 0 });
                    }
                }
            }
            SymbolData::Data(data) => {
                if let Some(rva) = self.rva(data.offset) {
                    self.name(&data.name.to_string(), rva);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers a name; of several places the lowest.
    fn name(&mut self, name: &str, rva: u32) {
        match self.file.names.get_mut(name) {
            Some(place) => *place = (*place).min(rva),
            None => {
                self.file.names.insert(name.to_owned(), rva);
            }
        }
    }

    /// Takes up the lines of a module.
    fn lines(&mut self, c13: &[u8], strings: &StringTable<'_>) -> pdb2::Result<()> {
        let (runs, sound) = lines::runs(c13);
        // Modules have few files and many lines.
        let mut known: BTreeMap<u32, u32> = BTreeMap::new();
        for run in runs {
            for line in run
                .lines
                .iter()
                .filter(|line| !HIDDEN_LINES.contains(&line.line))
            {
                let offset = run.offset.saturating_add(line.offset);
                let Some(rva) = self.rva(PdbInternalSectionOffset::new(run.section, offset)) else {
                    continue;
                };
                let file = match known.get(&line.name) {
                    Some(file) => *file,
                    None => {
                        let file = self
                            .source(StringRef(line.name).to_string_lossy(strings)?.into_owned());
                        known.insert(line.name, file);
                        file
                    }
                };
                let end = rva.saturating_add(line.end - line.offset);
                self.file.lines.push(LineRange {
                    rva,
                    end,
                    file,
                    line: line.line,
                });
            }
        }
        if sound {
            Ok(())
        } else {
            Err(pdb2::Error::UnimplementedFeature(
                "lines that run out of their block",
            ))
        }
    }

    /// The index of a source file.
    fn source(&mut self, name: String) -> u32 {
        if let Some(index) = self.files.get(&name) {
            return *index;
        }
        let index = self.file.files.len() as u32;
        self.file.files.push(name.clone());
        self.files.insert(name, index);
        index
    }

    /// Sorts the tables.
    fn finish(self) -> SymbolFile {
        let mut file = self.file;
        let by_rva =
            |a: &Symbol, b: &Symbol| (a.rva, a.size, &a.name).cmp(&(b.rva, b.size, &b.name));
        file.procedures.sort_by(by_rva);
        file.procedures.dedup();
        file.publics.sort_by(by_rva);
        file.publics.dedup();
        file.lines.sort_unstable();
        file.lines.dedup();
        file
    }
}

/// The name without what the compiler adds for types and namespaces; C names on x64 have nothing added.
fn undecorated(name: &str) -> String {
    if !name.starts_with('?') || name.len() > LONGEST_DEMANGLED {
        return name.to_owned();
    }
    msvc_demangler::demangle(name, DemangleFlags::NAME_ONLY).unwrap_or_else(|_| name.to_owned())
}
