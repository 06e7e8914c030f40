//! `minidump PID FILE`: writes a minidump of a live process, as crash reporters do of their own.

use std::fs::File;

use minidump_writer::minidump_writer::MinidumpWriterConfig;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(pid), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: minidump PID FILE".into());
    };
    let pid = pid.parse()?;
    MinidumpWriterConfig::new(pid, pid).write(&mut File::create(path)?)?;
    Ok(())
}
