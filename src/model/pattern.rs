//! Names as a shell writes several in one: `*` for any characters, `?` for one.

/// Whether a text is like a pattern. Takes time in proportion to the product of their lengths at most.
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
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
        ] {
            like.iter().for_each(|text| assert!(is_like(text, pattern), "{text} is like {pattern}"));
            unlike.iter().for_each(|text| assert!(!is_like(text, pattern), "{text} is not like {pattern}"));
        }
    }
}
