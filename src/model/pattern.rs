//! Names as a shell writes several in one: `*` for any characters, `?` for one.

use super::bytes_of;

/// Whether a text is like a pattern. Takes time in proportion to the product of their lengths at
/// most.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (characters(text), characters(pattern));
    let (mut at, mut next) = (0, 0);
    // Where the last star is, and up to where in the text it reaches.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(next) {
            Some('*') => {
                star = Some((next, at));
                next += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[at] => {
                at += 1;
                next += 1;
            }
            _ => match &mut star {
                Some((place, reach)) => {
                    *reach += 1;
                    (at, next) = (*reach, *place + 1);
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|wanted| *wanted == '*')
}

/// The characters that a text was made of. A byte that is no UTF-8 counts as one, however it is
/// typed.
fn characters(text: &str) -> Vec<char> {
    let odd = |byte: &u8| char::from_u32(0x10_ff00 + u32::from(*byte));
    let bytes = bytes_of(text);
    let chunks = bytes.utf8_chunks();
    chunks.flat_map(|chunk| chunk.valid().chars().chain(chunk.invalid().iter().filter_map(odd))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_and_question_marks_for_one() {
        for (pattern, like, unlike) in [
            ("worker*", &["worker", "worker-1", "worker*"][..], &["aworker", "Worker-1", ""][..]),
            ("*-io", &["a-io", "-io", "a-io-io"], &["a-io-", "io"]),
            ("a*b*c", &["abc", "axxbxxc", "abbcbc"], &["ab", "acb", "abcx"]),
            ("w?", &["w1", "wé", "w?"], &["w", "w12"]),
            ("**", &["", "anything"], &[]),
            ("", &[""], &["x"]),
            (r"m\xfc*", &[r"m\xfcller\xe2\x82"], &["mueller"]),
            ("m?ller??", &[r"m\xfcller\xe2\x82"], &[r"m\xfcller\xe2"]),
        ] {
            like.iter().for_each(|text| assert!(is_like(text, pattern), "{text} is like {pattern}"));
            unlike.iter().for_each(|text| assert!(!is_like(text, pattern), "{text} is not like {pattern}"));
        }
    }
}
