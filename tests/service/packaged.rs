//! What is shipped beside the program: units, manifests, a package, rules; each is what its own
//! checker says it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::daemon::{Daemon, free_port, is_there};
use crate::support::{PATIENCE, run, sleeper, succeed, until};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The most that systemd may find exposed.
const EXPOSURE: f64 = 1.5;

#[test]
fn the_unit_is_sound_and_little_of_it_is_exposed() {
    if !is_there("systemd-analyze") {
        return;
    }
    let unit = at("systemd/hangsnap.service");
    let output = run(Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(&unit));
    let said = String::from_utf8_lossy(&output.stdout);
    let level = said.lines().find_map(|line| line.split("hangsnap.service: ").nth(1));
    let level: f64 = level.and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number");
    println!("exposure of hangsnap.service: {level}, at most {EXPOSURE}");
    assert!(level <= EXPOSURE, "{said}");
    let text = fs::read_to_string(&unit).expect("the unit");
    let capabilities = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a bound");
    assert!(capabilities.split(' ').count() <= 3, "{capabilities}");
    let output = run(Command::new("systemd-analyze").arg("verify").arg(&unit));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It may not be installed here, nor its manual page.
    let wrong = said.lines().filter(|line| line.contains("hangsnap.service"));
    let wrong: Vec<&str> =
        wrong.filter(|line| !line.contains("is not executable") && !line.contains("failed with code 16")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_configuration_that_is_shipped_can_be_used() {
    succeed(crate::support::hangsnap().arg("check-config").arg(at("systemd/hangsnap.toml")));
    let daemonset = fs::read_to_string(at("packaging/containers/daemonset.yaml")).expect("the manifest");
    let config = daemonset.split("hangsnap.toml: |\n").nth(1).and_then(|rest| rest.split("---").next()).expect("a key");
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("hangsnap.toml");
    fs::write(&file, config).expect("it can be written");
    succeed(crate::support::hangsnap().arg("check-config").arg(&file));
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-validate");
    if !place.exists() {
        let installed = run(Command::new("pip3")
            .args(["install", "--quiet", "--root-user-action", "ignore", "--target"])
            .arg(&place)
            .arg("kubernetes-validate"));
        if !installed.status.success() {
            eprintln!("SKIPPED: kubernetes-validate cannot be installed here: pip3 install kubernetes-validate");
            return;
        }
    }
    for manifest in ["sidecar.yaml", "daemonset.yaml"] {
        let manifest = at("packaging/containers").join(manifest);
        let said = succeed(
            Command::new("python3").env("PYTHONPATH", &place).args(["-m", "kubernetes_validate"]).arg(&manifest),
        );
        println!("{said}");
    }
}

#[test]
fn metrics_and_rules_are_what_prometheus_takes() {
    if !is_there("promtool") {
        return;
    }
    succeed(Command::new("promtool").args(["check", "rules"]).arg(at("packaging/monitoring/alerts.yaml")));
    let port = free_port();
    let victim = sleeper();
    let daemon = Daemon::start(&format!(
        "every = \"100ms\"\nmetrics-listen = \"127.0.0.1:{port}\"\nmetrics-file = \"@/hangsnap.prom\"\n[[target]]\npid = {}\n",
        victim.pid()
    ));
    daemon.until_targets(1);
    let url = format!("http://127.0.0.1:{port}/metrics");
    let classic = succeed(Command::new("curl").args(["-sf", &url]));
    for text in [classic.clone(), fs::read_to_string(daemon.place().join("hangsnap.prom")).expect("it is written")] {
        let file = daemon.place().join("metrics");
        fs::write(&file, text).expect("it can be written");
        let check = format!("promtool check metrics < {}", file.display());
        succeed(Command::new("sh").args(["-c", &check]));
    }
    let open = succeed(Command::new("curl").args(["-sf", "-H", "Accept: application/openmetrics-text", &url]));
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE hangsnap_snapshots counter\n"), "{open}");
    assert!(
        classic.contains(&format!("hangsnap_threads{{target=\"{}\",state=\"sleeping\"}} 2", victim.pid())),
        "{classic}"
    );
    // What the dashboard and the rules ask for is there.
    for file in ["packaging/monitoring/dashboard.json", "packaging/monitoring/alerts.yaml"] {
        let text = fs::read_to_string(at(file)).expect("it is shipped");
        let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
        for part in text.split("hangsnap_").skip(1) {
            let name: String = part.chars().take_while(|c| is_of_name(*c)).collect();
            assert!(classic.contains(&format!("hangsnap_{name}")), "{file} asks for hangsnap_{name}");
        }
    }
}

/// A Prometheus that is killed when the test ends.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_prometheus_reads_the_metrics_and_fires_the_rule() {
    if !is_there("prometheus") {
        return;
    }
    let (port, own) = (free_port(), free_port());
    let victim = sleeper();
    let daemon = Daemon::start(&format!(
        "every = \"200ms\"\nmetrics-listen = \"127.0.0.1:{port}\"\n[[target]]\npid = {}\n",
        victim.pid()
    ));
    daemon.until_targets(1);
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n  - job_name: hangsnap\n    \
         static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n",
        at("packaging/monitoring/alerts.yaml").display()
    );
    let file = daemon.place().join("prometheus.yml");
    fs::write(&file, config).expect("it can be written");
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", daemon.place().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{own}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Prometheus(prometheus.expect("it is there"));
    let asked = |path: &str| {
        let output = run(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{own}/api/v1/{path}")]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let up = "query?query=up";
    until("it reads the metrics", PATIENCE, || asked(up).contains(",\"1\"]"));
    assert!(!asked("alerts").contains("ThreadsStuck"), "nothing is stuck yet");
    // What is stopped by a signal is stuck, as is proved.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(victim.pid().parse().expect("a pid")),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .expect("it is there");
    daemon.until("it is stopped", |_| victim.states().iter().all(|state| *state == 'T'));
    daemon.order(&["trigger"]);
    until("the rule fires", PATIENCE, || {
        let alerts = asked("alerts");
        alerts.contains("ThreadsStuck") && alerts.contains("\"state\":\"firing\"") && alerts.contains("stopped")
    });
}

#[test]
fn a_package_is_built_by_one_command() {
    if !is_there("dpkg-deb") {
        return;
    }
    let built = succeed(Command::new(at("packaging/deb")).env("HANGSNAP_PROGRAM", env!("CARGO_BIN_EXE_hangsnap")));
    let package = at(built.trim());
    let listed = succeed(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for file in [
        "./usr/bin/hangsnap",
        "./lib/systemd/system/hangsnap.service",
        "./etc/hangsnap.toml",
        "./usr/share/man/man1/hangsnap.1.gz",
        "./usr/share/man/man1/hangsnap-run.1.gz",
        "./usr/share/bash-completion/completions/hangsnap",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(file)), "no {file} in:\n{listed}");
    }
    let place = tempfile::tempdir().expect("a directory");
    succeed(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(place.path()));
    let version = succeed(Command::new(place.path().join("usr/bin/hangsnap")).arg("--version"));
    assert!(version.starts_with("hangsnap "), "{version}");
}
