//! ELF files made by hand, for what no compiler would make: one segment that holds the whole file,
//! and some sections.

/// Where the first section begins.
const FIRST: usize = 0x100;

/// A file with these sections, each at the address that is its place in the file.
pub fn elf(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; FIRST];
    let mut names = vec![0];
    let mut headers = vec![0; 64];
    for (name, data) in sections {
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        header(&mut headers, names.len(), 1, bytes.len(), data.len());
        bytes.extend(data);
        names.extend(name.as_bytes());
        names.push(0);
    }
    // SHT_STRTAB, with a name that is none.
    header(&mut headers, 0, 3, bytes.len(), names.len());
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let (table, count) = (bytes.len(), headers.len() / 64);
    bytes.extend(headers);
    // `Elf64_Ehdr` and an `Elf64_Phdr`: PT_LOAD, which can be read and executed.
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    put(&mut bytes, 16, &[3, 0, 62, 0, 1, 0, 0, 0]);
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    put(&mut bytes, 40, &(table as u64).to_le_bytes());
    let counts = [64, 56, 1, 64, count, count - 1].map(|number| u16::try_from(number).expect("few sections"));
    put(&mut bytes, 52, &counts.map(u16::to_le_bytes).concat());
    put(&mut bytes, 64, &[1, 0, 0, 0, 5, 0, 0, 0]);
    let size = (bytes.len() as u64).to_le_bytes();
    put(&mut bytes, 64 + 32, &size);
    put(&mut bytes, 64 + 40, &size);
    put(&mut bytes, 64 + 48, &0x1000_u64.to_le_bytes());
    bytes
}

fn header(headers: &mut Vec<u8>, name: usize, kind: u32, place: usize, size: usize) {
    headers.extend(u32::try_from(name).expect("short names").to_le_bytes());
    headers.extend(kind.to_le_bytes());
    for number in [2, place as u64, place as u64, size as u64, 0, 1, 0] {
        headers.extend(number.to_le_bytes());
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// A common entry (CIE) of `.eh_frame`, or of `.debug_frame` with its other id: the return address
/// is at -8 from the frame's.
pub fn common(id: u32, augmentation: &[u8], instructions: &[u8]) -> Vec<u8> {
    // Version 1, the string, code in units of 1, data in units of -8, return addresses in column
    // 16; a string with a z brings the length of what comes then.
    let more: &[u8] = if augmentation.starts_with(b"z") { &[0] } else { &[] };
    let body = [&id.to_le_bytes()[..], &[1], augmentation, &[0, 1, 0x78, 16], more, instructions].concat();
    entry(body)
}

/// An entry for a function (FDE), which is going to lie at `place` in its section and has its
/// common entry at `common`.
pub fn function(place: usize, common: usize, is_debug: bool, start: u64, size: u64, instructions: &[u8]) -> Vec<u8> {
    let pointer = if is_debug { common } else { place + 4 - common };
    let pointer = u32::try_from(pointer).expect("a small section").to_le_bytes();
    entry([&pointer[..], &start.to_le_bytes(), &size.to_le_bytes(), instructions].concat())
}

fn entry(body: Vec<u8>) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("a small entry").to_le_bytes()[..], &body].concat()
}

/// The instructions that say that the frame is right above the return address: DW_CFA_def_cfa
/// rsp+8, DW_CFA_offset rip at -8.
pub const PLAIN: [u8; 5] = [0x0c, 7, 8, 0x80 | 16, 1];
