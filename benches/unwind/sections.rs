//! What framehop needs of a file; the test that compares walks with it uses this too.

use std::fs;

use ::framehop::ExplicitModuleSectionInfo;
use object::{Object, ObjectSection};

pub fn of_file(path: &str) -> ExplicitModuleSectionInfo<Vec<u8>> {
    let bytes = fs::read(path).expect("the module's file");
    let elf = object::File::parse(&*bytes).expect("an ELF file");
    let range = |name| elf.section_by_name(name).map(|s| s.address()..s.address() + s.size());
    let data = |name| elf.section_by_name(name).and_then(|s| Some(s.uncompressed_data().ok()?.into_owned()));
    ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: range(".text"),
        text: data(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..Default::default()
    }
}
