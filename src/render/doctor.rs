//! What hangsnap may do here and what it limits: a line for each question, below it what the lack
//! costs and what would mend it; and the same as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::style::{FAINT, HEADING, WARNING};
use super::value::Foreign;
use crate::model::{About, Diagnosis, Finding, Grant, Status, Verdict};

/// Writes a diagnosis for people.
pub fn doctor(out: &mut dyn Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let width = diagnosis.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    section(out, "This host and hangsnap", About::Host, diagnosis, width)?;
    let (Some((pid, name)), Some(verdict)) = (&diagnosis.process, &diagnosis.verdict) else {
        return Ok(());
    };
    writeln!(out)?;
    section(out, &format!("Process {pid} ({})", Foreign(name)), About::Process, diagnosis, width)?;
    writeln!(out)?;
    match verdict {
        Verdict::Complete => writeln!(out, "A snapshot of it would be complete and go unnoticed."),
        Verdict::Limited(limits) => {
            writeln!(out, "{WARNING}A snapshot of it can be taken, but:{WARNING:#}")?;
            limits.iter().try_for_each(|limit| writeln!(out, "  {}", Foreign(limit)))
        }
        Verdict::Impossible(why) => {
            writeln!(out, "{WARNING}No snapshot of it can be taken:{WARNING:#} {}", Foreign(why))
        }
    }
}

fn section(out: &mut dyn Write, heading: &str, about: About, diagnosis: &Diagnosis, width: usize) -> io::Result<()> {
    writeln!(out, "{HEADING}{heading}{HEADING:#}")?;
    let mut told: Vec<(&str, &Grant)> = Vec::new();
    for finding in diagnosis.findings.iter().filter(|finding| finding.about == about) {
        let Finding { name, status, detail, costs, grant, .. } = finding;
        let style = if *status == Status::Missing { WARNING } else { anstyle::Style::new() };
        writeln!(out, "  {name:<width$}  {style}{:<7}{style:#}  {}", word(*status), Foreign(detail))?;
        if let Some(costs) = costs {
            writeln!(out, "  {:width$}           costs: {}", "", Foreign(costs))?;
        }
        if let Some(grant) = grant {
            let before = told.iter().find(|(_, other)| *other == grant);
            let ways: String = match before {
                // One change, said once.
                Some((name, _)) => format!("as for {name}"),
                None => ways(grant).map(|(who, what)| format!("{who} {what}")).collect::<Vec<_>>().join(" | "),
            };
            told.push((name, grant));
            writeln!(out, "  {:width$}           {FAINT}grant: {}{FAINT:#}", "", Foreign(&ways))?;
        }
    }
    Ok(())
}

fn ways(grant: &Grant) -> impl Iterator<Item = (&'static str, &str)> {
    let Grant { docker, podman, kubernetes, systemd, host } = grant;
    let all =
        [("docker", docker), ("podman", podman), ("kubernetes", kubernetes), ("systemd", systemd), ("host", host)];
    all.into_iter().filter_map(|(who, what)| Some((who, what.as_deref()?)))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Missing => "missing",
        Status::Unknown => "unknown",
        Status::Note => "note",
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: &'static str,
    pid: Option<i32>,
    program: Option<&'a str>,
    /// What a snapshot would be; null without a process.
    snapshot: Option<&'static str>,
    limits: Vec<&'a str>,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Check<'a> {
    about: &'static str,
    name: &'static str,
    status: &'static str,
    detail: &'a str,
    costs: Option<&'a str>,
    grant: Option<Ways<'a>>,
}

#[derive(Serialize)]
struct Ways<'a> {
    docker: Option<&'a str>,
    podman: Option<&'a str>,
    kubernetes: Option<&'a str>,
    systemd: Option<&'a str>,
    host: Option<&'a str>,
}

/// Writes a diagnosis as one line of JSON.
pub fn doctor_json(out: &mut dyn Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let (snapshot, limits) = match &diagnosis.verdict {
        None => (None, Vec::new()),
        Some(Verdict::Complete) => (Some("complete"), Vec::new()),
        Some(Verdict::Limited(limits)) => (Some("limited"), limits.iter().map(String::as_str).collect()),
        Some(Verdict::Impossible(why)) => (Some("impossible"), vec![why.as_str()]),
    };
    let document = Document {
        format: "hangsnap.doctor/1",
        version: env!("CARGO_PKG_VERSION"),
        pid: diagnosis.process.as_ref().map(|(pid, _)| pid.0),
        program: diagnosis.process.as_ref().map(|(_, name)| name.as_str()),
        snapshot,
        limits,
        checks: diagnosis.findings.iter().map(check).collect(),
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

fn check(finding: &Finding) -> Check<'_> {
    Check {
        about: match finding.about {
            About::Host => "host",
            About::Process => "process",
        },
        name: finding.name,
        status: word(finding.status),
        detail: &finding.detail,
        costs: finding.costs.as_deref(),
        grant: finding.grant.as_ref().map(|grant| Ways {
            docker: grant.docker.as_deref(),
            podman: grant.podman.as_deref(),
            kubernetes: grant.kubernetes.as_deref(),
            systemd: grant.systemd.as_deref(),
            host: grant.host.as_deref(),
        }),
    }
}
