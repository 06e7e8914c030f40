//! `.gnu_debugdata`: an ELF file with the symbols that `strip` took away, xz-compressed inside the
//! stripped one (Fedora and its relatives ship every program so; gdb's manual calls it
//! MiniDebugInfo).
//!
//! Promises: a section that unpacks to more than its size makes likely, or that asks for a larger
//! dictionary than any of xz's presets, is refused, and what was unpacked until then is all the
//! memory it took. It does not read what it unpacks.

use std::io::Read;

use lzma_rust2::XzReader;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ReadRef};

use super::sections::Sections;

/// The largest one known has 3 MB.
const MAX_PACKED: u64 = 64 << 20;
const MAX_UNPACKED: u64 = 512 << 20;
/// Tables of symbols shrink to a tenth, and a symbol that is there twice to nothing; zeroes shrink
/// to a seven-thousandth.
const MAX_RATIO: u64 = 64;
/// What a short section may unpack to, whatever its ratio: a few headers are mostly zeroes.
const SMALL: u64 = 1 << 20;
/// In KiB, and a little more than the 64 MiB of `xz -9`.
const MAX_DICTIONARY: u32 = 66 << 10;

const NAME: &str = ".gnu_debugdata";

/// The section as it lies in the file. None where there is none that may be believed.
pub(super) fn packed_in<'d, R: ReadRef<'d>>(sections: &Sections<'d, R>) -> Option<Vec<u8>> {
    sections.raw(NAME, MAX_PACKED)
}

/// The file inside such a section. None when it is damaged or too large to be one.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let limit = (packed.len() as u64).saturating_mul(MAX_RATIO).clamp(SMALL, MAX_UNPACKED);
    let mut unpacked = Vec::new();
    // One byte more than is allowed says that there would be more.
    XzReader::new_mem_limit(packed, true, MAX_DICTIONARY).take(limit + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 <= limit).then_some(unpacked)
}

/// The file inside a file.
pub fn debugdata<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> Option<Vec<u8>> {
    let section = elf.section_by_name(NAME)?;
    section.file_range().filter(|(_, size)| *size <= MAX_PACKED)?;
    unpack(section.data().ok()?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn xz(arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
        let mut child = Command::new("xz")
            .args(["--compress", "--stdout"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("xz runs; tests/run installs it");
        let mut input = child.stdin.take().expect("its input is piped");
        std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(bytes).expect("xz reads all of it"));
            child.wait_with_output().expect("xz ends").stdout
        })
    }

    #[test]
    fn what_xz_packed_is_unpacked() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        for arguments in [&["-0"][..], &["-9"], &["--check=none"], &["--block-size=65536"], &["--x86", "--lzma2"]] {
            assert_eq!(unpack(&xz(arguments, &text)).as_deref(), Some(&text[..]), "{arguments:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = xz(&["-9"], &vec![0; 64 << 20]);
        assert!(bomb.len() < 32 << 10, "{} bytes are no bomb", bomb.len());
        assert_eq!(unpack(&bomb), None);
        let greedy = xz(&["--lzma2=dict=512MiB"], b"a few bytes");
        assert_eq!(unpack(&greedy), None);
        assert_eq!(unpack(&xz(&["-9"], &vec![0; 1 << 20])).map(|bytes| bytes.len()), Some(1 << 20));
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let text: Vec<u8> = (0..500_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let whole = xz(&["--block-size=1024", "--x86", "--lzma2"], &text);
        for length in 0..whole.len() {
            // A stream that is cut off must not panic; nothing of it counts.
            assert_eq!(unpack(&whole[..length]), None, "cut to {length} bytes");
        }
        let mut refused = 0;
        for position in 0..whole.len() {
            for bit in [1, 0x10, 0x80] {
                let mut damaged = whole.clone();
                damaged[position] ^= bit;
                let unpacked = unpack(&damaged);
                refused += usize::from(unpacked.is_none());
                assert!(
                    unpacked.is_none_or(|bytes| bytes == text),
                    "byte {position} was changed, and so was what came out"
                );
            }
        }
        assert!(refused > whole.len() * 2, "only {refused} of {} damaged streams were refused", whole.len() * 3);
    }
}
