//! Which variables are in scope at an instruction: those of the function, and of each function that
//! was inlined there.

use gimli::constants as dw;

use super::debug::{Debug, Die};
use crate::model::FileAddress;

/// Blocks within blocks, and functions inlined into one another.
const DEEPEST: usize = 256;
/// Variables of one function.
const MOST_VARIABLES: usize = 1 << 12;

/// GCC's parameter pack, whose children are parameters.
const PARAMETER_PACK: gimli::DwTag = dw::DW_TAG_GNU_formal_parameter_pack;

/// A variable's entry.
pub(super) struct Declared<'a> {
    pub(super) die: Die<'a>,
    pub(super) is_argument: bool,
}

/// The variables of a function at an address of its code: first those of the innermost function
/// that was inlined there, last the function's own. Of two of the same name the inner one comes
/// later.
pub(super) fn at<'a>(debug: &Debug<'a>, function: &Die<'a>, address: FileAddress) -> Vec<Vec<Declared<'a>>> {
    let mut scopes = vec![Vec::new()];
    visit(debug, function, address, 0, 0, &mut scopes);
    scopes.reverse();
    scopes
}

fn visit<'a>(
    debug: &Debug<'a>,
    die: &Die<'a>,
    address: FileAddress,
    level: usize,
    depth: usize,
    scopes: &mut Vec<Vec<Declared<'a>>>,
) {
    let mut inlined = None;
    for child in debug.children(die) {
        match child.entry.tag() {
            dw::DW_TAG_formal_parameter | dw::DW_TAG_variable => {
                let is_argument = child.entry.tag() == dw::DW_TAG_formal_parameter;
                if let Some(scope) = scopes.get_mut(level).filter(|scope| scope.len() < MOST_VARIABLES) {
                    scope.push(Declared { die: child, is_argument });
                }
            }
            PARAMETER_PACK if depth < DEEPEST => visit(debug, &child, address, level, depth + 1, scopes),
            dw::DW_TAG_lexical_block | dw::DW_TAG_try_block | dw::DW_TAG_catch_block
                if depth < DEEPEST && debug.covers(&child, address) =>
            {
                visit(debug, &child, address, level, depth + 1, scopes);
            }
            dw::DW_TAG_inlined_subroutine if depth < DEEPEST && debug.covers(&child, address) => inlined = Some(child),
            _ => {}
        }
    }
    if let Some(child) = inlined {
        scopes.push(Vec::new());
        visit(debug, &child, address, scopes.len() - 1, depth + 1, scopes);
    }
}
