//! What was found for the modules on stacks, as text: where from, what is missing, and what would
//! supply it.

use std::io::{self, Write};

use super::style::{FAINT, HEADING, WARNING};
use super::value::Foreign;
use crate::symbols::{Lack, ModuleReport, UsedFile, remedy};

/// Writes a paragraph for each module.
pub fn symbols(out: &mut dyn Write, reports: &[ModuleReport], remarks: &[String]) -> io::Result<()> {
    for (number, module) in reports.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        heading(out, module)?;
        for file in &module.files {
            writeln!(out, "    {} from {}{FAINT}, {}{FAINT:#}", holds(file), Foreign(&file.place), file.by.describe())?;
            if file.is_unchecked {
                writeln!(
                    out,
                    "      {WARNING}without a build-id to compare: if the file was replaced since, its names are wrong{WARNING:#}"
                )?;
            }
        }
        if module.is_kept_whole {
            writeln!(out, "    symbols from the snapshot, which holds the image")?;
        }
        if module.kept > 0 {
            let places = counted(module.kept, "place");
            writeln!(out, "    names of {places} from the snapshot, looked up when it was taken")?;
        }
        for lack in &module.lacks {
            writeln!(out, "    {WARNING}missing: {}{WARNING:#}", Foreign(&describe(lack)))?;
            for way in remedy(module, lack) {
                writeln!(out, "      {}", Foreign(&way))?;
            }
        }
    }
    for remark in remarks {
        writeln!(out, "{WARNING}{}{WARNING:#}", Foreign(remark))?;
    }
    Ok(())
}

fn heading(out: &mut dyn Write, module: &ModuleReport) -> io::Result<()> {
    write!(out, "{HEADING}{}{HEADING:#}", Foreign(&module.path))?;
    match &module.build_id {
        Some(id) => write!(out, " {FAINT}{id}{FAINT:#}")?,
        None => write!(out, " {FAINT}without a build-id{FAINT:#}")?,
    }
    writeln!(
        out,
        "\n    {}: {} with names, {} with lines; {} inlined there",
        counted(module.places, "place"),
        module.named,
        module.with_lines,
        counted(module.inlined, "function")
    )
}

/// What a file has, in words.
pub(super) fn holds(file: &UsedFile) -> &'static str {
    match (file.has_debug_info, file.has_symbols) {
        (true, true) => "symbols, lines and inlined functions",
        (true, false) => "lines and inlined functions",
        (false, true) => "symbols",
        (false, false) => "exported symbols",
    }
}

/// What is missing, in words.
pub(super) fn describe(lack: &Lack) -> String {
    match lack {
        Lack::File => "the file, and any debug file of it".into(),
        Lack::Names => "names of some places: the file is stripped, and its debug file is not here".into(),
        Lack::DebugInfo => "lines and inlined functions: its debug information is not here".into(),
        Lack::Supplementary { path, id } => {
            format!("{path} (id {id}), to which dwz moved debug information: some names")
        }
        Lack::Split { paths } => {
            let first = paths.first().map_or("", String::as_str);
            match paths.len() {
                0 | 1 => format!("{first}: functions inlined there, and names"),
                count => format!(
                    "{count} files of debug information, {first} and others: functions inlined there, and names"
                ),
            }
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Of a module whose debug information is here but for parts, what that costs.
pub(super) fn lost_parts(module: &ModuleReport) -> impl Iterator<Item = String> {
    module.lost_parts().map(|lack| {
        let way = remedy(module, lack).into_iter().next().unwrap_or_default();
        format!("{}: missing {}; it would be found as {way}", module.path, describe(lack))
    })
}
