//! Names of D: `_D3app6Worker3runMFiZv` is `app.Worker.run`
//! (dlang.org/spec/abi.html#name_mangling).
//!
//! Types are read as far as names of functions need them: what a function takes and returns is left
//! out, and arguments of templates are spelt out. Promises: depth, length and steps are bounded.

/// Types and names inside one another, and how often one is begun: names may refer back to what was
/// read.
const DEEPEST: usize = 32;
const MOST_STEPS: usize = 2000;
const LONGEST: usize = 4096;

/// The name of a function as it is written, without what it takes. None for any other name.
pub(super) fn demangle(name: &str) -> Option<String> {
    if name == "_Dmain" {
        return Some("D main".into());
    }
    let text = name.strip_prefix("_D")?;
    let mut reader = Reader { text: text.as_bytes(), at: 0, steps: 0 };
    let name = reader.qualified(0)?;
    // What is left says what it takes, or that it is no function.
    (!name.is_empty() && name.len() <= LONGEST).then_some(name)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    steps: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn is_next(&mut self, wanted: &[u8]) -> bool {
        let is_next = self.text[self.at..].starts_with(wanted);
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    fn step(&mut self, depth: usize) -> Option<()> {
        self.steps += 1;
        (depth < DEEPEST && self.steps < MOST_STEPS).then_some(())
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).ok()?.parse().ok()
    }

    /// Names one after another; those of functions have between them what they take.
    fn qualified(&mut self, depth: usize) -> Option<String> {
        self.step(depth)?;
        let mut names: Vec<String> = Vec::new();
        loop {
            names.push(self.symbol(depth)?);
            let before = self.at;
            // A function in which the next name is, or the one that the whole is the name of.
            if !self.is_symbol() && (self.function(depth, false).is_none() || !self.is_symbol()) {
                self.at = before;
                return Some(names.join("."));
            }
        }
    }

    fn is_symbol(&self) -> bool {
        match self.peek() {
            Some(byte) if byte.is_ascii_digit() => true,
            Some(b'_') => self.text[self.at..].starts_with(b"__T") || self.text[self.at..].starts_with(b"__U"),
            Some(b'Q') => self.back_reference().is_some_and(|(to, _)| self.text[to].is_ascii_digit()),
            _ => false,
        }
    }

    fn symbol(&mut self, depth: usize) -> Option<String> {
        self.step(depth)?;
        match self.peek()? {
            b'Q' => {
                let (to, end) = self.back_reference()?;
                self.at = to;
                let name = self.symbol(depth + 1);
                self.at = end;
                name
            }
            b'_' => self.template(depth),
            _ => {
                let length = self.number()?;
                let name = self.text.get(self.at..self.at.checked_add(length)?)?;
                if name.starts_with(b"__T") || name.starts_with(b"__U") {
                    // As older compilers have it: the length of the whole comes before it.
                    let end = self.at + length;
                    let name = self.template(depth);
                    self.at = end;
                    return name;
                }
                self.at += length;
                let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
                Some(match name {
                    "__ctor" => "this".into(),
                    "__dtor" => "~this".into(),
                    name => name.into(),
                })
            }
        }
    }

    fn template(&mut self, depth: usize) -> Option<String> {
        self.step(depth)?;
        if !self.is_next(b"__T") && !self.is_next(b"__U") {
            return None;
        }
        let name = self.symbol(depth + 1)?;
        let mut arguments = Vec::new();
        while !self.is_next(b"Z") {
            self.is_next(b"H");
            arguments.push(match self.take()? {
                b'T' => self.kind(depth + 1)?,
                b'S' => {
                    self.is_next(b"_D");
                    self.qualified(depth + 1)?
                }
                b'V' => match self.kind(depth + 1)?.as_str() {
                    "bool" => (self.value()? != "0").to_string(),
                    _ => self.value()?,
                },
                // A name as another language encodes it.
                b'X' => {
                    let length = self.number()?;
                    let name = self.text.get(self.at..self.at.checked_add(length)?)?;
                    self.at += length;
                    std::str::from_utf8(name).ok()?.to_owned()
                }
                _ => return None,
            });
        }
        Some(format!("{name}!({})", arguments.join(", ")))
    }

    /// A value of a template: numbers and texts, and no others.
    fn value(&mut self) -> Option<String> {
        if matches!(self.peek()?, b'a' | b'w' | b'd') {
            self.at += 1;
            let length = self.number()?;
            let digits = self.text.get(self.at + 1..)?.get(..length.checked_mul(2)?)?;
            self.is_next(b"_").then_some(())?;
            self.at += digits.len();
            let digits = std::str::from_utf8(digits).ok()?;
            let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let bytes = (0..length).map(|at| byte(2 * at)).collect::<Option<Vec<u8>>>()?;
            let text = String::from_utf8(bytes).ok()?;
            return Some(format!("\"{}\"", text.escape_debug()));
        }
        let sign = if self.is_next(b"N") { "-" } else { "" };
        self.is_next(b"i");
        Some(format!("{sign}{}", self.number()?))
    }

    /// What a function takes: what it returns too if that is there.
    fn function(&mut self, depth: usize, returns: bool) -> Option<()> {
        self.step(depth)?;
        if self.is_next(b"M") {
            while matches!(self.peek()?, b'x' | b'y' | b'O') || self.text[self.at..].starts_with(b"Ng") {
                self.at += if self.peek()? == b'N' { 2 } else { 1 };
            }
        }
        matches!(self.take()?, b'F' | b'U' | b'W' | b'V' | b'R' | b'Y').then_some(())?;
        while self.peek()? == b'N' && self.text.get(self.at + 1).is_some_and(|byte| b"abcdefijlm".contains(byte)) {
            self.at += 2;
        }
        while !matches!(self.peek()?, b'X' | b'Y' | b'Z') {
            // How it is handed over: `scope`, `in`, `out`, `ref`, `lazy`, `return`.
            while matches!(self.peek()?, b'M' | b'I' | b'J' | b'K' | b'L') || self.text[self.at..].starts_with(b"Nk") {
                self.at += if self.peek()? == b'N' { 2 } else { 1 };
            }
            self.kind(depth + 1)?;
        }
        self.at += 1;
        if returns {
            self.kind(depth + 1)?;
        }
        Some(())
    }

    /// A type, as it is written.
    fn kind(&mut self, depth: usize) -> Option<String> {
        self.step(depth)?;
        let wrapped = |word: &str, inner: String| Some(format!("{word}({inner})"));
        let byte = self.take()?;
        Some(match byte {
            b'A' => format!("{}[]", self.kind(depth + 1)?),
            b'P' if matches!(self.peek()?, b'F' | b'U' | b'W' | b'V' | b'R' | b'Y') => {
                self.function(depth + 1, true)?;
                "function".into()
            }
            b'P' => format!("{}*", self.kind(depth + 1)?),
            b'G' => {
                let length = self.number()?;
                format!("{}[{length}]", self.kind(depth + 1)?)
            }
            b'H' => {
                let key = self.kind(depth + 1)?;
                format!("{}[{key}]", self.kind(depth + 1)?)
            }
            b'x' => return wrapped("const", self.kind(depth + 1)?),
            b'y' => return wrapped("immutable", self.kind(depth + 1)?),
            b'O' => return wrapped("shared", self.kind(depth + 1)?),
            b'N' => match self.take()? {
                b'g' => return wrapped("inout", self.kind(depth + 1)?),
                b'h' => return wrapped("__vector", self.kind(depth + 1)?),
                b'n' => "noreturn".into(),
                _ => return None,
            },
            b'C' | b'S' | b'E' | b'T' | b'I' => self.qualified(depth + 1)?,
            b'D' => {
                self.function(depth + 1, true)?;
                "delegate".into()
            }
            b'F' | b'U' | b'W' | b'V' | b'R' | b'Y' => {
                self.at -= 1;
                self.function(depth + 1, true)?;
                "function".into()
            }
            b'B' => {
                let count = self.number()?;
                let kinds = (0..count.min(MOST_STEPS)).map(|_| self.kind(depth + 1)).collect::<Option<Vec<_>>>()?;
                format!("tuple({})", kinds.join(", "))
            }
            b'Q' => {
                self.at -= 1;
                let (to, end) = self.back_reference()?;
                self.at = to;
                let kind = self.kind(depth + 1);
                self.at = end;
                return kind;
            }
            b'z' => match self.take()? {
                b'i' => "cent".into(),
                b'k' => "ucent".into(),
                _ => return None,
            },
            _ => basic(byte)?.into(),
        })
    }

    /// Where the reference here leads, and where it ends: a number of base 26, whose last digit
    /// is a small letter.
    fn back_reference(&self) -> Option<(usize, usize)> {
        let mut distance = 0_usize;
        for (at, byte) in self.text.iter().enumerate().skip(self.at + 1) {
            let (digit, is_last) = match byte {
                b'A'..=b'Z' => (byte - b'A', false),
                b'a'..=b'z' => (byte - b'a', true),
                _ => return None,
            };
            distance = distance.checked_mul(26)?.checked_add(digit.into())?;
            if is_last {
                let to = self.at.checked_sub(distance).filter(|_| distance > 0)?;
                return Some((to, at + 1));
            }
        }
        None
    }
}

fn basic(byte: u8) -> Option<&'static str> {
    Some(match byte {
        b'a' => "char",
        b'b' => "bool",
        b'c' => "creal",
        b'd' => "double",
        b'e' => "real",
        b'f' => "float",
        b'g' => "byte",
        b'h' => "ubyte",
        b'i' => "int",
        b'j' => "ireal",
        b'k' => "uint",
        b'l' => "long",
        b'm' => "ulong",
        b'n' => "typeof(null)",
        b'o' => "ifloat",
        b'p' => "idouble",
        b'q' => "cfloat",
        b'r' => "cdouble",
        b's' => "short",
        b't' => "ushort",
        b'u' => "wchar",
        b'v' => "void",
        b'w' => "dchar",
        _ => return None,
    })
}
