//! `hangsnap doctor`: what may be seen here. Its exit code is for scripts that are to know before
//! they begin.

use std::process::ExitCode;

use super::{LIMITED, configuration, finish, output};
use crate::doctor::{diagnose, examine};
use crate::model::Verdict;
use crate::render;

pub(super) fn run(pid: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let wanted = pid.map(configuration::wanted).transpose()?;
    let diagnosis = diagnose(&examine(wanted.as_ref())?);
    let mut out = output();
    match json {
        true => render::doctor_json(&mut out, &diagnosis)?,
        false => render::doctor(&mut out, &diagnosis)?,
    }
    finish(out, [])?;
    Ok(match diagnosis.verdict {
        None | Some(Verdict::Complete) => ExitCode::SUCCESS,
        Some(Verdict::Limited(_) | Verdict::Impossible(_)) => ExitCode::from(LIMITED),
    })
}
