//! Names of Go, which are written as they are but for characters of import paths that linkers could
//! not have: `example.com/x%2ev2.F` is `example.com/x.v2.F`.

/// The name as it is written. None if there is nothing to turn back.
pub(super) fn demangle(name: &str) -> Option<String> {
    // The last element of the path, and what comes before it.
    let end = name.rfind('/').map_or(0, |slash| slash + name[slash..].find('.').unwrap_or(name.len() - slash));
    let (path, rest) = name.split_at_checked(end)?;
    if !path.contains('%') {
        return None;
    }
    let mut parts = path.split('%');
    let mut plain = parts.next()?.as_bytes().to_vec();
    for part in parts {
        plain.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        plain.extend_from_slice(part.get(2..)?.as_bytes());
    }
    let plain = String::from_utf8(plain).ok()?;
    (!plain.contains(char::is_control)).then(|| plain + rest)
}
