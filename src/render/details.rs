//! What is printed of a thread beyond its stack: registers, the scheduler's account, signals, the
//! kernel's frames, memory.

use std::io::{self, Write};

use super::style::FAINT;
use super::value::{Foreign, duration};
use super::width::Width;
use crate::model::{
    KernelWait, MemoryOf, MemoryPiece, Policy, Scheduling, SignalSets, SpecialRegister, Thread, X86_64Register,
};

/// Bytes on a line of a dump, and columns that such a line takes.
const LINE: usize = 16;
const DUMP: usize = 90;

/// Columns that a general register takes with its name, and one of SSE; and how far they are
/// indented.
const GENERAL: usize = 25;
const SSE: usize = 41;
const INDENT: usize = 3;

/// Writes the registers, four in a line if there is room for them.
pub(super) fn registers(out: &mut dyn Write, thread: &Thread, width: Width) -> io::Result<()> {
    let fitting = |most: usize, each: usize| width.columns().map_or(most, |all| ((all - INDENT) / each).clamp(1, most));
    let general = X86_64Register::ALL.map(|register| (register.name(), thread.registers.general.get(register)));
    let special = SpecialRegister::ALL
        .map(|register| (register.name(), thread.registers.special.map(|special| special.get(register))));
    let all: Vec<(&str, Option<u64>)> = general.into_iter().chain(special).collect();
    for row in all.chunks(fitting(4, GENERAL)) {
        write!(out, "   ")?;
        for (name, value) in row {
            match value {
                Some(value) => write!(out, " {name:>7} {value:016x}")?,
                None => write!(out, " {name:>7} {:16}", "unknown")?,
            }
        }
        writeln!(out)?;
    }
    let Some(floating) = &thread.registers.floating else {
        return Ok(());
    };
    let in_line = fitting(2, SSE);
    for (number, value) in floating.sse().enumerate() {
        let name = format!("xmm{number}");
        let end = if (number + 1) % in_line == 0 { "\n" } else { "" };
        let begin = if number % in_line == 0 { "   " } else { "" };
        write!(out, "{begin} {name:>7} {value:032x}{end}")?;
    }
    match floating.mxcsr() {
        Some(mxcsr) => writeln!(out, "    {:>7} {mxcsr:08x}", "mxcsr"),
        None => Ok(()),
    }
}

/// Writes what the kernel keeps about a thread.
pub(super) fn status(out: &mut dyn Write, thread: &Thread) -> io::Result<()> {
    scheduling(out, &thread.status.scheduling)?;
    if let Some(sets) = &thread.status.signals {
        signals(out, sets)?;
    }
    kernel_wait(out, &thread.status.wait)
}

fn scheduling(out: &mut dyn Write, scheduling: &Scheduling) -> io::Result<()> {
    let time = |ns: u64| duration(std::time::Duration::from_nanos(ns));
    let facts = [
        scheduling.cpu_ns.map(|ns| format!("{} on CPUs", time(ns))),
        scheduling.run_queue_wait_ns.map(|ns| format!("waited {} for one", time(ns))),
        scheduling.last_cpu.map(|cpu| format!("last on CPU {cpu}")),
        scheduling.voluntary_switches.map(|count| format!("gave it up {count} times")),
        scheduling.involuntary_switches.map(|count| format!("lost it {count} times")),
        scheduling.policy.filter(|policy| *policy != Policy::Other).map(|policy| format!("class {}", policy.name())),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if facts.is_empty() { Ok(()) } else { writeln!(out, "    {}", facts.join(", ")) }
}

fn signals(out: &mut dyn Write, sets: &SignalSets) -> io::Result<()> {
    let named = [
        ("pending", sets.pending),
        ("pending for the process", sets.process_pending),
        ("blocked", sets.blocked),
        ("caught", sets.caught),
        ("ignored", sets.ignored),
    ];
    for (word, set) in named {
        if set.0 != 0 {
            writeln!(out, "    signals {word}: {}", set.names().join(" "))?;
        }
    }
    Ok(())
}

/// Writes where in the kernel a thread sleeps.
pub(super) fn kernel_wait(out: &mut dyn Write, wait: &KernelWait) -> io::Result<()> {
    let frames = wait.stack.as_deref().unwrap_or_default();
    if let (Some(channel), true) = (&wait.channel, frames.is_empty()) {
        writeln!(out, "    {FAINT}kernel: sleeps in {}{FAINT:#}", Foreign(channel))?;
    }
    for frame in frames {
        writeln!(out, "    {FAINT}kernel: {}{FAINT:#}", Foreign(frame))?;
    }
    Ok(())
}

/// Writes pieces of memory: all of them, or only those that the user asked for.
pub(super) fn memory(out: &mut dyn Write, pieces: &[MemoryPiece], all: bool, width: Width) -> io::Result<()> {
    let in_line = if width.columns().is_some_and(|columns| columns < DUMP) { LINE / 2 } else { LINE };
    for piece in pieces.iter().filter(|piece| all || matches!(piece.what, MemoryOf::Asked(_))) {
        if let MemoryOf::Path(_) = piece.what {
            let path = String::from_utf8_lossy(&piece.bytes);
            writeln!(out, "    {}: {}", piece.what, Foreign(&path))?;
            continue;
        }
        writeln!(out, "    {}: {} bytes at {}", Foreign(&piece.what.to_string()), piece.bytes.len(), piece.address)?;
        for (number, line) in piece.bytes.chunks(in_line).enumerate() {
            dump(out, piece.address.0.wrapping_add((number * in_line) as u64), line, in_line)?;
        }
    }
    Ok(())
}

/// One line: the address, the bytes, and the same as ASCII.
fn dump(out: &mut dyn Write, address: u64, line: &[u8], in_line: usize) -> io::Result<()> {
    write!(out, "    {address:016x} ")?;
    for position in 0..in_line {
        let gap = if position == in_line / 2 { " " } else { "" };
        match line.get(position) {
            Some(byte) => write!(out, "{gap} {byte:02x}")?,
            None => write!(out, "{gap}   ")?,
        }
    }
    let text: String =
        line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
    writeln!(out, "  |{text}|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RuntimeAddress;

    #[test]
    fn memory_is_dumped_as_bytes_and_as_text() {
        let piece = MemoryPiece {
            address: RuntimeAddress(0x7f00_0000_1000),
            bytes: b"hang\x00\x1b[31m 0123456789".as_slice().into(),
            what: MemoryOf::Asked("text:21".into()),
        };
        let mut out = Vec::new();
        memory(&mut out, &[piece], false, Width::ANY).expect("a vector takes everything");
        let expected = "    --memory text:21: 21 bytes at 0x7f0000001000\n    00007f0000001000  68 61 6e 67 00 1b 5b 33  \
                        31 6d 20 30 31 32 33 34  |hang..[31m 01234|\n    00007f0000001010  35 36 37 38 39         \
                        \x20                                |56789|\n";
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let text = String::from_utf8(out).expect("text");
        assert_eq!(lines(&text)[..2], lines(expected)[..2]);
        assert!(text.ends_with("|56789|\n") && text.lines().nth(2).map(str::len) == Some(79), "{text}");
    }

    #[test]
    fn memory_that_nobody_asked_for_is_shown_on_request() {
        let piece =
            MemoryPiece { address: RuntimeAddress(0x10), bytes: b"/etc".as_slice().into(), what: MemoryOf::Path(1) };
        let mut out = Vec::new();
        memory(&mut out, std::slice::from_ref(&piece), false, Width::ANY).expect("a vector takes everything");
        assert!(out.is_empty());
        memory(&mut out, &[piece], true, Width::ANY).expect("a vector takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "    path in argument 2 of the call: /etc\n");
    }
}
