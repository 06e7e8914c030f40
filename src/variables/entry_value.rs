//! What a register held when a function was entered, by what its caller says of the call.
//!
//! Promises: the call is the one that the frame's caller returns from, and it is said to call the
//! very function that the frame is in, or one whose only tail call, of all that it makes, is of
//! that function. Otherwise there is no value. It is for compilers that describe calls: gcc and
//! clang at -O1 and above.

use gimli::constants as dw;
use gimli::{AttributeValue, Expression, Operation, Register};

use super::debug::{Bytes, Debug, Die, Place};
use super::frames::{Context, Stack};
use super::value::Absent;
use crate::model::{CodeAddress, FileAddress, RuntimeAddress};

/// What an expression of an entry comes to in the frame of a number.
type Evaluate<'e, 'a> = &'e dyn Fn(usize, &Die<'a>, Expression<Bytes<'a>>) -> Result<u64, Absent>;

/// The value that an expression had at the entry of a frame's function.
pub(super) fn at_entry<'a>(
    stack: &Stack<'_, 'a>,
    frame: usize,
    owner: &Die<'a>,
    expression: Expression<Bytes<'a>>,
    evaluate: Evaluate<'_, 'a>,
) -> Result<u64, Absent> {
    let register = only_register(expression, owner).ok_or(Absent::OptimizedOut)?;
    let callee = stack.frame(frame)?;
    let outer = frame + 1;
    let caller = stack.frame(outer).map_err(|_| Absent::OptimizedOut)?;
    let CodeAddress::Return(returns_to) = caller.code else { return Err(Absent::OptimizedOut) };
    let sites = call_sites(stack, caller.debug, &caller.function)?;
    let returns_here = |site: &&Site<'a>| site.returns_to == Some(returns_to) && !site.is_tail;
    let site = &sites.iter().find(returns_here).ok_or(Absent::OptimizedOut)?.die;
    if calls((outer, caller), site, callee, evaluate) {
        let (parameter, value) = parameter(caller.debug, site, register).ok_or(Absent::OptimizedOut)?;
        return evaluate(outer, &parameter, value);
    }
    let (parameter_of_tail, value) = tail_call(stack, (outer, caller), callee, returns_to, register, evaluate)?;
    match passed_on(value, &parameter_of_tail).ok_or(Absent::OptimizedOut)? {
        PassedOn::Constant(value) => Ok(value),
        PassedOn::Register(register) => {
            let (parameter, value) = parameter(caller.debug, site, register).ok_or(Absent::OptimizedOut)?;
            evaluate(outer, &parameter, value)
        }
    }
}

/// What a call says that a register holds, and the entry that says so.
fn parameter<'a>(debug: &Debug<'a>, site: &Die<'a>, register: Register) -> Option<(Die<'a>, Expression<Bytes<'a>>)> {
    let is_parameter =
        |die: &Die<'a>| matches!(die.entry.tag(), dw::DW_TAG_call_site_parameter | dw::DW_TAG_GNU_call_site_parameter);
    let is_register = |die: &Die<'a>| match die.entry.attr_value(dw::DW_AT_location) {
        Some(AttributeValue::Exprloc(location)) => only_register(location, die) == Some(register),
        _ => false,
    };
    let found = debug.children(site).into_iter().find(|die| is_parameter(die) && is_register(die))?;
    let value = expression_of(&found, &[dw::DW_AT_call_value, dw::DW_AT_GNU_call_site_value])?;
    Some((found, value))
}

/// The first of these attributes that is an expression.
fn expression_of<'a>(die: &Die<'a>, names: &[gimli::DwAt]) -> Option<Expression<Bytes<'a>>> {
    names.iter().find_map(|name| match die.entry.attr_value(*name)? {
        AttributeValue::Exprloc(expression) => Some(expression),
        _ => None,
    })
}

/// What the function that was called says of a register in its tail call of the one that the frame
/// is in.
fn tail_call<'a>(
    stack: &Stack<'_, 'a>,
    (outer, caller): (usize, &Context<'_, 'a>),
    callee: &Context<'_, 'a>,
    returns_to: FileAddress,
    register: Register,
    evaluate: Evaluate<'_, 'a>,
) -> Result<(Die<'a>, Expression<Bytes<'a>>), Absent> {
    let none = Absent::OptimizedOut;
    let called = called_directly(stack, caller, returns_to).ok_or(none)?;
    let between = caller.debug.function_at(called).ok_or(none)?;
    let all = [
        dw::DW_AT_call_all_calls,
        dw::DW_AT_call_all_tail_calls,
        dw::DW_AT_GNU_all_call_sites,
        dw::DW_AT_GNU_all_tail_call_sites,
    ];
    let are_all_known = all.iter().any(|name| between.entry.has_attr(*name));
    if !are_all_known || address(caller.debug, &between, dw::DW_AT_low_pc) != Some(called) {
        return Err(none);
    }
    let sites = call_sites(stack, caller.debug, &between)?;
    let mut tails = sites.iter().filter(|site| site.is_tail);
    let (Some(tail), None) = (tails.next(), tails.next()) else { return Err(none) };
    // Where it goes to is not to be worked out with the registers of another frame.
    let is_known = expression_of(&tail.die, &TARGETS).is_none();
    let is_of_callee = is_known && calls((outer, caller), &tail.die, callee, evaluate);
    parameter(caller.debug, &tail.die, register).filter(|_| is_of_callee).ok_or(none)
}

/// The function that the instruction before a return address calls, if that is in the instruction.
fn called_directly(stack: &Stack<'_, '_>, caller: &Context<'_, '_>, returns_to: FileAddress) -> Option<FileAddress> {
    // call rel32 (Intel SDM volume 2, CALL).
    const CALL: u8 = 0xe8;
    let RuntimeAddress(end) = caller.bias.to_runtime(returns_to);
    let code = stack.memory.read(end.checked_sub(5)?, 5).ok()?;
    let (opcode, offset) = code.split_first()?;
    let offset = i32::from_le_bytes(*offset.first_chunk()?);
    (*opcode == CALL).then(|| returns_to.offset(offset.into()))
}

/// What a function passes on in its tail call: without its frame nothing else of it is known.
enum PassedOn {
    Constant(u64),
    /// What this register held when it was entered.
    Register(Register),
}

fn passed_on<'a>(expression: Expression<Bytes<'a>>, owner: &Die<'a>) -> Option<PassedOn> {
    let mut operations = expression.operations(owner.unit.encoding());
    match (operations.next().ok()??, operations.next().ok()?) {
        (Operation::UnsignedConstant { value }, None) => Some(PassedOn::Constant(value)),
        (Operation::SignedConstant { value }, None) => Some(PassedOn::Constant(value.cast_unsigned())),
        (Operation::EntryValue { expression }, None) => {
            only_register(Expression(expression), owner).map(PassedOn::Register)
        }
        _ => None,
    }
}

/// The register that an expression names, if it does nothing else.
fn only_register<'a>(expression: Expression<Bytes<'a>>, owner: &Die<'a>) -> Option<Register> {
    let mut operations = expression.operations(owner.unit.encoding());
    match (operations.next().ok()??, operations.next().ok()?) {
        (Operation::Register { register }, None) => Some(register),
        _ => None,
    }
}

/// A call that a function makes.
struct Site<'a> {
    die: Die<'a>,
    returns_to: Option<FileAddress>,
    is_tail: bool,
}

/// What a function says of its calls.
fn call_sites<'a>(stack: &Stack<'_, 'a>, debug: &Debug<'a>, function: &Die<'a>) -> Result<Vec<Site<'a>>, Absent> {
    let mut found = Vec::new();
    let mut left = vec![function.clone()];
    while let Some(die) = left.pop() {
        for child in debug.children(&die) {
            stack.spend(1)?;
            match child.entry.tag() {
                dw::DW_TAG_call_site | dw::DW_TAG_GNU_call_site => {
                    let mut at = [dw::DW_AT_call_return_pc, dw::DW_AT_low_pc].into_iter();
                    let returns_to = at.find_map(|name| address(debug, &child, name));
                    let tail = [dw::DW_AT_call_tail_call, dw::DW_AT_GNU_tail_call];
                    let is_tail = tail.iter().any(|tail| child.entry.has_attr(*tail));
                    found.push(Site { die: child, returns_to, is_tail });
                }
                dw::DW_TAG_inlined_subroutine
                | dw::DW_TAG_lexical_block
                | dw::DW_TAG_try_block
                | dw::DW_TAG_catch_block => left.push(child),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Where it is said what an indirect call calls.
const TARGETS: [gimli::DwAt; 2] = [dw::DW_AT_call_target, dw::DW_AT_GNU_call_site_target];

/// Whether a call is one of the function that a frame is in.
fn calls<'a>(
    (outer, caller): (usize, &Context<'_, 'a>),
    site: &Die<'a>,
    callee: &Context<'_, 'a>,
    evaluate: Evaluate<'_, 'a>,
) -> bool {
    let entry = address(callee.debug, &callee.function, dw::DW_AT_low_pc).map(|start| callee.bias.to_runtime(start));
    let target = expression_of(site, &TARGETS).map(|expression| evaluate(outer, site, expression));
    if let Some(target) = target {
        return target.is_ok_and(|target| entry == Some(RuntimeAddress(target)));
    }
    let origin = [dw::DW_AT_call_origin, dw::DW_AT_abstract_origin]
        .into_iter()
        .find_map(|name| caller.debug.referred(site, name));
    let Some(called) = origin.and_then(|place| caller.debug.die(place)) else { return false };
    if let Some(start) = address(caller.debug, &called, dw::DW_AT_low_pc) {
        return entry == Some(caller.bias.to_runtime(start));
    }
    let is_same_module = std::ptr::eq(caller.debug, callee.debug);
    if is_same_module && origins(callee.debug, &callee.function).contains(&called.place) {
        return true;
    }
    let name = |debug: &Debug<'a>, die: &Die<'a>| {
        debug.text(die, dw::DW_AT_linkage_name).or_else(|| debug.text(die, dw::DW_AT_MIPS_linkage_name))
    };
    let is_global = |debug: &Debug<'a>, die: &Die<'a>| debug.with(die, dw::DW_AT_external).is_some();
    match (name(caller.debug, &called), name(callee.debug, &callee.function)) {
        (Some(one), Some(other)) => one == other,
        // In C a global function has no other name.
        (None, None) => {
            is_global(caller.debug, &called)
                && is_global(callee.debug, &callee.function)
                && caller.debug.name(&called) == callee.debug.name(&callee.function)
        }
        _ => false,
    }
}

/// The entries that a function's own entry refers to for what it does not say.
fn origins<'a>(debug: &Debug<'a>, function: &Die<'a>) -> Vec<Place> {
    const MOST: usize = 8;
    let mut found = vec![function.place];
    let mut die = function.clone();
    for _ in 0..MOST {
        let next = [dw::DW_AT_abstract_origin, dw::DW_AT_specification];
        let Some(next) = next.into_iter().find_map(|name| debug.referred(&die, name)) else { break };
        found.push(next);
        match debug.die(next) {
            Some(origin) => die = origin,
            None => break,
        }
    }
    found
}

/// An address that an attribute of the entry itself is.
fn address(debug: &Debug<'_>, die: &Die<'_>, name: gimli::DwAt) -> Option<FileAddress> {
    let value = die.entry.attr_value(name)?;
    debug.dwarf(die.place).attr_address(&die.unit, value).ok()?.map(FileAddress)
}
