//! Lines of source around the places that functions are at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Function;
use super::sources::{Finder, source_text};
use crate::model::{BuildId, Module};

/// Lines before and after the one in question.
const AROUND: u32 = 2;
/// A line is cut after this many characters: generated sources have lines of megabytes.
const LONGEST: usize = 400;
/// Files that are kept for later places in them.
const MOST_FILES: usize = 256;

type Key = (String, Option<BuildId>, String);

/// One line of a source file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// Counted from 1.
    pub number: u32,
    /// Without its end.
    pub text: String,
    /// Whether the function is at this line.
    pub is_it: bool,
}

/// Reads source files, each once.
pub struct SourceLines {
    finder: Finder,
    texts: Mutex<HashMap<Key, Option<Arc<str>>>>,
}

impl SourceLines {
    /// Looks for them where the files of modules are looked for, too.
    pub fn new(finder: Finder) -> Self {
        Self { finder, texts: Mutex::default() }
    }

    /// The lines around the place where a function of a module is. Empty when the file is not here.
    pub fn around(&self, module: &Module, function: &Function) -> Vec<SourceLine> {
        let (Some(file), Some(line)) = (&function.file, function.line) else {
            return Vec::new();
        };
        let Some(text) = self.text(module, file) else {
            return Vec::new();
        };
        let first = line.saturating_sub(AROUND).max(1);
        let lines = text.lines().zip(1..).skip(first as usize - 1).take((line - first + AROUND + 1) as usize);
        let shown: Vec<SourceLine> = lines
            .map(|(text, number)| SourceLine {
                number,
                text: text.chars().take(LONGEST).collect(),
                is_it: number == line,
            })
            .collect();
        // A file that is too short is another.
        if shown.iter().any(|line| line.is_it) { shown } else { Vec::new() }
    }

    fn text(&self, module: &Module, file: &str) -> Option<Arc<str>> {
        let key = (module.path.clone(), module.build_id.clone(), file.to_owned());
        if let Some(known) = self.texts.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let text: Option<Arc<str>> = source_text(&self.finder, module, file).map(Into::into);
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() >= MOST_FILES {
            texts.clear();
        }
        texts.insert(key, text.clone());
        text
    }
}
