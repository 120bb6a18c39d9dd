//! Source lines of a module (C13 line information), read by ourselves: the reader crate asserts an order of lines that
//! Microsoft's compiler does not keep. (Source of the format: cvinfo.h and the LLVM page "CodeView Symbol Records".)

/// DEBUG_S_LINES.
const LINES: u32 = 0xf2;
/// DEBUG_S_FILECHKSMS.
const FILE_CHECKSUMS: u32 = 0xf4;
/// CV_LINES_HAVE_COLUMNS.
const HAVE_COLUMNS: u16 = 1;

/// The lines of one run of code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Section number, from 1, and offset in it.
    pub(super) section: u16,
    pub(super) offset: u32,
    /// Lines as they are stored, with the place of their file's name in the string table.
    pub(super) lines: Vec<RunLine>,
}

/// One line of a run.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) struct RunLine {
    /// Bytes from the start of the run.
    pub(super) offset: u32,
    /// First byte after the line's code.
    pub(super) end: u32,
    pub(super) line: u32,
    /// Offset of the file's name in the string table.
    pub(super) name: u32,
}

/// Reads all runs. The second part of the answer says whether the data was sound to its end.
pub(super) fn runs(data: &[u8]) -> (Vec<Run>, bool) {
    let checksums = subsections(data)
        .find(|(kind, _)| *kind == FILE_CHECKSUMS)
        .map_or(&[][..], |(_, data)| data);
    let mut runs = Vec::new();
    let mut sound = true;
    for (_, data) in subsections(data).filter(|(kind, _)| *kind == LINES) {
        match run(data, checksums) {
            Some(run) => runs.push(run),
            None => sound = false,
        }
    }
    (runs, sound)
}

/// The subsections: kind and data, each starting at a multiple of four.
fn subsections(mut rest: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (u32_at(rest, 0)?, u32_at(rest, 4)? as usize);
        let body = rest.get(8..)?;
        let data = body.get(..length)?;
        rest = body.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, data))
    })
}

/// Reads one DEBUG_S_LINES: a header and blocks of lines, one for each file.
fn run(data: &[u8], checksums: &[u8]) -> Option<Run> {
    let (offset, section, flags, size) = (
        u32_at(data, 0)?,
        u16_at(data, 4)?,
        u16_at(data, 6)?,
        u32_at(data, 8)?,
    );
    let mut rest = data.get(12..)?;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (file, count, length) = (
            u32_at(rest, 0)? as usize,
            u32_at(rest, 4)? as usize,
            u32_at(rest, 8)? as usize,
        );
        let column_bytes = if flags & HAVE_COLUMNS != 0 { 4 } else { 0 };
        let entries = rest.get(12..12usize.checked_add(count.checked_mul(8)?)?)?;
        if length < 12 + count * (8 + column_bytes) {
            return None;
        }
        // An entry of the checksums starts with the offset of the file's name.
        let name = u32_at(checksums, file)?;
        let (entries, _) = entries.as_chunks::<8>();
        for entry in entries {
            let line = u32_at(entry, 4)? & 0xff_ffff;
            lines.push(RunLine {
                offset: u32_at(entry, 0)?,
                end: size,
                line,
                name,
            });
        }
        rest = rest.get(length..)?;
    }
    // Each line ends where the next one, in the order of the code, starts; of several at one place the last has the code.
    lines.sort_by_key(|line| line.offset);
    let starts: Vec<u32> = lines.iter().map(|line| line.offset).collect();
    for (line, next) in lines.iter_mut().zip(starts.into_iter().skip(1)) {
        line.end = next.min(size);
    }
    lines.retain(|line| line.offset < line.end);
    Some(Run {
        section,
        offset,
        lines,
    })
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsection(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut out = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn sample() -> Vec<u8> {
        let mut lines = words(&[0x100, 0x0000_0001, 0x30]);
        // Block of the file whose checksum entry is at 0: lines out of order, bit 31 marks statements, line 9 has no code.
        lines.extend(words(&[
            0,
            4,
            44,
            0x10,
            12 | 1 << 31,
            0,
            9,
            0,
            10,
            0x20,
            11,
        ]));
        [
            subsection(FILE_CHECKSUMS, &words(&[77, 0])),
            subsection(LINES, &lines),
        ]
        .concat()
    }

    #[test]
    fn lines_are_sorted_and_end_where_the_next_starts() {
        let (found, sound) = runs(&sample());
        assert!(sound);
        let line = |offset, end, line| RunLine {
            offset,
            end,
            line,
            name: 77,
        };
        let lines = vec![
            line(0, 0x10, 10),
            line(0x10, 0x20, 12),
            line(0x20, 0x30, 11),
        ];
        assert_eq!(
            found,
            [Run {
                section: 1,
                offset: 0x100,
                lines
            }]
        );
    }

    #[test]
    fn cut_lines_are_no_panic() {
        let whole = sample();
        for end in 0..whole.len() {
            let (found, _) = runs(&whole[..end]);
            assert!(found.is_empty());
        }
    }
}
