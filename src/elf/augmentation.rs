//! Letters in the augmentation of aarch64's call frame information that gimli does not know.
//!
//! `B` says that return addresses are signed with the second of the two keys, `G` that the frame is
//! tagged (aadwarf64 and LLVM's memory tagging). Neither brings data, and neither matters to
//! somebody who takes signatures off and checks none; but gimli refuses an entry with a letter that
//! it does not know. They are the last of the string, so they are taken off in place: what follows
//! moves forward, and the number that is last of that is made longer by as many bytes that say
//! nothing (LEB128 has room for that), so that everything after it stays where it is.
//!
//! The section is hostile: an entry that is not whole ends the work, and one that has another form
//! is left as it is.

const UNKNOWN: [u8; 2] = *b"BG";

/// Which of the two forms of the section it is: they distinguish common entries from those of
/// functions differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    EhFrame,
    DebugFrame,
}

/// Takes the letters off every entry of a section.
pub(super) fn simplify(data: &mut [u8], kind: Kind) {
    let mut rest = data;
    while let Some((head, behind)) = rest.split_first_chunk_mut::<4>() {
        let (length, behind) = match u32::from_le_bytes(*head) {
            u32::MAX => match behind.split_first_chunk_mut::<8>() {
                Some((long, behind)) => (u64::from_le_bytes(*long), behind),
                None => return,
            },
            length => (length.into(), behind),
        };
        let long = *head == [0xff; 4];
        let Some((entry, behind)) = usize::try_from(length).ok().and_then(|length| behind.split_at_mut_checked(length))
        else {
            return;
        };
        // An entry that cannot be simplified stays as it is, for the unwinder to refuse.
        let _ = simplify_entry(entry, kind, long);
        rest = behind;
    }
}

fn simplify_entry(entry: &mut [u8], kind: Kind, long: bool) -> Option<()> {
    let id = if long && kind == Kind::DebugFrame { 8 } else { 4 };
    let of_common_entry = match kind {
        Kind::EhFrame => 0,
        Kind::DebugFrame => 0xff,
    };
    let (id, common) = entry.split_at_mut_checked(id)?;
    if id.iter().any(|byte| *byte != of_common_entry) {
        return None;
    }
    let (version, common) = common.split_first_mut()?;
    // The sizes of an address and of a segment selector follow the string since version 4.
    let sizes = if *version >= 4 { 2 } else { 0 };
    let end = common.iter().position(|byte| *byte == 0)?;
    let known = common[..end].iter().rposition(|letter| !UNKNOWN.contains(letter)).map_or(0, |last| last + 1);
    let removed = end - known;
    // From the first letter that goes to the number that is made longer: the alignment of code,
    // which is 1 or 4.
    let changed = common.get_mut(known..end + 1 + sizes + 1)?;
    if removed == 0 || changed.last()? & 0x80 != 0 {
        return None;
    }
    changed.copy_within(removed.., 0);
    let number = changed.len() - removed - 1;
    changed[number] |= 0x80;
    changed[number + 1..].fill(0x80);
    *changed.last_mut()? = 0;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with this much after its length, and another that has to stay.
    fn section(entry: &[u8]) -> Vec<u8> {
        let length = u32::try_from(entry.len()).expect("a short entry").to_le_bytes();
        [&length[..], entry, &[8, 0, 0, 0], b"\x18\0\0\0zRB\0"].concat()
    }

    fn simplified(entry: &[u8], kind: Kind) -> Vec<u8> {
        let mut data = section(entry);
        simplify(&mut data, kind);
        data
    }

    #[test]
    fn letters_go_and_nothing_behind_them_moves() {
        let entry = b"\0\0\0\0\x01zRB\0\x04\x78\x1e\x01\x1b\x0c\x1f\0\0";
        assert_eq!(simplified(entry, Kind::EhFrame), section(b"\0\0\0\0\x01zR\0\x84\0\x78\x1e\x01\x1b\x0c\x1f\0\0"));
        let both = b"\0\0\0\0\x01zRSBG\0\x04\x78\x1e";
        assert_eq!(simplified(both, Kind::EhFrame), section(b"\0\0\0\0\x01zRS\0\x84\x80\0\x78\x1e"));
        let version_4 = b"\xff\xff\xff\xff\x04B\0\x08\0\x04\x78\x1e";
        assert_eq!(simplified(version_4, Kind::DebugFrame), section(b"\xff\xff\xff\xff\x04\0\x08\0\x84\0\x78\x1e"));
    }

    #[test]
    fn what_has_none_or_another_form_stays() {
        let entries: [&[u8]; 7] = [
            b"\0\0\0\0\x01zR\0\x04\x78",
            b"\0\0\0\0\x01zBR\0\x04\x78",
            b"\0\0\0\0\x01zRB\0\x84\0\x78",
            b"\0\0\0\0\x01zRB\0",
            b"\0\0\0\0\x01zRB",
            b"\0\0",
            b"",
        ];
        for entry in entries {
            assert_eq!(simplified(entry, Kind::EhFrame), section(entry), "{entry:x?}");
        }
        // The other section's number of a common entry.
        let entry = b"\xff\xff\xff\xff\x01zRB\0\x04\x78";
        assert_eq!(simplified(entry, Kind::EhFrame), section(entry));
    }

    #[test]
    fn a_section_that_is_cut_short_or_lies_about_lengths_is_no_harm() {
        let whole = section(b"\0\0\0\0\x01zRBG\0\x04\x78\x1e\x01\x1b");
        for length in 0..whole.len() {
            for kind in [Kind::EhFrame, Kind::DebugFrame] {
                let mut cut = whole[..length].to_vec();
                simplify(&mut cut, kind);
                let mut long = [&[0xff; 12], &whole[..length]].concat();
                simplify(&mut long, kind);
                assert_eq!((cut.len(), long.len()), (length, length + 12));
            }
        }
    }
}
