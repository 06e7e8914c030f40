//! Tables of each version, made here after the format's definition, whole and damaged.

use super::*;

/// Two functions of 0x100 bytes, the second with lines 7 and 9 of `b.go`, and pushing 24 bytes at
/// its fourth instruction.
fn table(version: Version) -> Vec<u8> {
    let magic: u32 = match version {
        Version::Go2 => 0xffff_fffb,
        Version::Go16 => 0xffff_fffa,
        Version::Go18 => 0xffff_fff0,
        Version::Go20 => 0xffff_fff1,
    };
    let names = b"\0main.first\0main.second\0";
    let files = b"a.go\0b.go\0";
    // Differences of the value, doubled, or for negative ones 2n-1, each with that of the address.
    let depth: &[u8] = &[2, 4, 48, 0xfc, 1, 0];
    let file: &[u8] = &[if version == Version::Go2 { 8 } else { 4 }, 0x80, 2, 0];
    let line: &[u8] = &[16, 0x10, 4, 0xf0, 1, 0];
    // A table at 0 is none, so the first one does not begin there.
    // Nothing is inlined, and then the first of those that are.
    let inlined: &[u8] = &[0, 0x20, 2, 0xe0, 1, 0];
    let values = [&[0], depth, file, line, inlined].concat();
    let at = |part: usize| {
        u32::try_from(1 + [depth, file, line][..part].iter().map(|values| values.len()).sum::<usize>()).expect("small")
    };
    let old = version == Version::Go2;
    let (header, number) = match version {
        Version::Go2 => (16, 8),
        Version::Go16 => (64, 8),
        Version::Go18 | Version::Go20 => (72, 4),
    };
    let index_size = 5 * number + if old { 4 } else { 0 };
    let description_size = number + 52;
    // Old tables have the index after the header, and all else after it; new ones have it last.
    let units_at = header + names.len();
    let files_at = units_at + 8;
    let values_at = files_at + files.len();
    let index_at = values_at + values.len();
    let base = u32::try_from(if old { header + index_size + 2 * description_size } else { 0 }).expect("small");
    let mut bytes = magic.to_le_bytes().to_vec();
    bytes.extend([0, 0, 1, 8]);
    bytes.extend(2_u64.to_le_bytes());
    let text = 0x40_1000_u64;
    if !old {
        bytes.extend(2_u64.to_le_bytes());
        if number == 4 {
            bytes.extend(text.to_le_bytes());
        }
        for part in [header, units_at, files_at, values_at, index_at] {
            bytes.extend((part as u64).to_le_bytes());
        }
        bytes.extend(names);
        bytes.extend([0_u32, 5].map(u32::to_le_bytes).concat());
        bytes.extend(files);
        bytes.extend(&values);
    }
    let put = |bytes: &mut Vec<u8>, value: u64| bytes.extend(&value.to_le_bytes()[..number]);
    let start = if number == 4 { 0 } else { text };
    let descriptions = if old { header + index_size } else { index_size };
    for function in 0..2 {
        put(&mut bytes, start + 0x100 * function);
        put(&mut bytes, (descriptions as u64) + function * description_size as u64);
    }
    put(&mut bytes, start + 0x200);
    if old {
        bytes.extend([0; 4]);
    }
    for function in 0..2_u64 {
        let end = bytes.len() + description_size;
        put(&mut bytes, start + 0x100 * function);
        let name = base + if function == 0 { 1 } else { 12 };
        for field in [name, 0, 0, at(0), at(1), at(2), 3, 0] {
            bytes.extend(field.to_le_bytes());
        }
        // In Go 1.20 the line where the function begins comes before its kind and its flags.
        if version == Version::Go20 {
            bytes.extend(3_u32.to_le_bytes());
        }
        bytes.extend([0, if function == 0 { 1 } else { 6 }, 0, 0]);
        // Of the further tables only the third matters here; the second function has one.
        if !old {
            bytes.extend([0, 0, if function == 0 { 0 } else { at(3) }].map(u32::to_le_bytes).concat());
        }
        bytes.resize(end, 0);
    }
    if old {
        bytes.extend(names);
        // The list of files: how many, and where their names are; the last is asked for.
        let strings = u32::try_from(bytes.len() + 16 + 6).expect("small");
        let list = bytes.len();
        bytes.extend([4_u32, 0, 0, strings].map(u32::to_le_bytes).concat());
        let place = header + 5 * number;
        bytes[place..place + 4].copy_from_slice(&u32::try_from(list).expect("small").to_le_bytes());
        bytes.extend(b"a.go\0\0b.go\0");
        let begin = u32::try_from(bytes.len()).expect("small");
        bytes.extend(&values);
        // Now it is known where the values are.
        for function in 0..2 {
            let fields = descriptions + function * description_size + number;
            for (field, part) in [(3, 0), (4, 1), (5, 2)] {
                let place = fields + 4 * field;
                bytes[place..place + 4].copy_from_slice(&(begin + at(part)).to_le_bytes());
            }
        }
    }
    bytes
}

const VERSIONS: [Version; 4] = [Version::Go2, Version::Go16, Version::Go18, Version::Go20];

fn parse(bytes: &[u8]) -> Option<Pclntab<'_>> {
    Pclntab::parse(Cow::Borrowed(bytes), FileAddress(0x40_1000))
}

#[test]
fn every_version_is_read() {
    for version in VERSIONS {
        let bytes = table(version);
        let table = parse(&bytes).unwrap_or_else(|| panic!("{version:?} is a table"));
        assert!(table.function(FileAddress(0x40_0fff)).is_none() && table.function(FileAddress(0x40_1200)).is_none());
        let first = table.function(FileAddress(0x40_10ff)).expect("the first function");
        assert_eq!(first.name(), Some("main.first"), "{version:?}");
        let second = table.function(FileAddress(0x40_1100)).expect("the second function");
        assert_eq!(second.name(), Some("main.second"), "{version:?}");
        assert_eq!(second.range, FileAddress(0x40_1100)..FileAddress(0x40_1200));
        let line = |offset: u64| second.line(FileAddress(0x40_1100 + offset));
        assert_eq!(line(0), Some(("b.go", 7)), "{version:?}");
        assert_eq!((line(15), line(16)), (Some(("b.go", 7)), Some(("b.go", 9))), "{version:?}");
        let depth = |offset: u64| second.depth(FileAddress(0x40_1100 + offset)).expect("it is known everywhere");
        assert_eq!(depth(3), Depth { bytes: 0, since: FileAddress(0x40_1100) }, "{version:?}");
        assert_eq!(depth(255), Depth { bytes: 24, since: FileAddress(0x40_1104) }, "{version:?}");
        let known = version != Version::Go2;
        let inlined = |offset: u64| second.is_inlined(FileAddress(0x40_1100 + offset));
        assert_eq!((inlined(31), inlined(32)), (false, known), "{version:?}");
        assert!(!first.is_inlined(first.range.start));
        let flags =
            |function: &GoFunction<'_>| (function.is_outermost(), function.switches_stacks(), function.is_assembly());
        assert_eq!((flags(&first), flags(&second)), ((known, false, false), (false, known, known)), "{version:?}");
        assert_eq!(table.functions_called("main.second").count(), 1);
        assert_eq!(table.functions_called("main").count(), 0);
    }
}

#[test]
fn damaged_tables_do_no_harm() {
    let ask = |bytes: &[u8]| {
        let Some(table) = parse(bytes) else {
            return;
        };
        for address in (0x40_0f00..0x40_1300).step_by(0x33).map(FileAddress) {
            if let Some(function) = table.function(address) {
                let _ = (function.name(), function.line(address), function.depth(address), function.is_outermost());
            }
        }
        assert_eq!(table.functions_called("no such function").count(), 0);
    };
    for version in VERSIONS {
        let whole = table(version);
        for length in 0..whole.len() {
            ask(&whole[..length]);
        }
        for position in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] = value;
                ask(&damaged);
            }
            // Numbers of four and of eight bytes at their largest.
            for length in [4, 8] {
                let mut damaged = whole.clone();
                damaged.iter_mut().skip(position).take(length).for_each(|byte| *byte = 0xff);
                ask(&damaged);
            }
        }
    }
}
