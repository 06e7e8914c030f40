//! The descriptors that threads wait for: what each is, and what the kernel says of its kind.

use std::collections::BTreeSet;
use std::fs;

use super::open_files::{about, holders, may_write};
use super::{Reading, sockets};
use crate::model::{Descriptor, Detail, Pid, Task, Thread, WaitFacts, text_of_os};

/// Descriptors that are looked up for one snapshot, and members of one epoll set that are kept.
const MOST: usize = 1024;
/// An epoll set of a process with more descriptors than this is not read: the kernel holds the
/// set's mutex for as long as it lists its members, and may list them again.
const MOST_OF_EPOLL: u64 = 1000;

/// `before` are those of the sample before: of threads that have not run since they are as they
/// were.
pub(super) fn read(reading: &mut Reading<'_>, before: &WaitFacts) -> Vec<Descriptor> {
    let mut numbers: BTreeSet<i32> = reading.threads.iter().flat_map(waited_for).collect();
    let sets: Vec<i32> = reading.threads.iter().filter_map(epoll_set).collect();
    numbers.extend(sets.iter().copied());
    let moved: BTreeSet<i32> = reading
        .threads
        .iter()
        .filter(|thread| thread.acquired.unchanged_since().is_none())
        .flat_map(|thread| waited_for(thread).into_iter().chain(epoll_set(thread)))
        .collect();
    let (mut kept, mut found) = (Vec::new(), Vec::new());
    for number in numbers.into_iter().take(MOST) {
        if let Some(known) = before.descriptor(number).filter(|_| !moved.contains(&number)) {
            kept.push(known.clone());
            continue;
        }
        if reading.is_over() {
            break;
        }
        match fs::read_link(reading.path(&format!("fd/{number}"))) {
            Ok(path) => {
                found.push(Descriptor { number, target: text_of_os(path.as_os_str()), detail: Detail::Nothing });
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                reading.unread("descriptors", "it takes the rights that ptrace takes; see `hangsnap doctor`");
                break;
            }
            // The thread names one that is not open, or has closed it since.
            Err(_) => {}
        }
    }
    let epoll = members(reading, &found, &sets);
    for descriptor in &mut found {
        descriptor.detail = match descriptor.target.as_str() {
            "anon_inode:[eventpoll]" => Detail::Epoll(
                epoll.iter().find(|(set, _)| *set == descriptor.number).map_or_else(Vec::new, |(_, all)| all.clone()),
            ),
            target => simple(reading, descriptor.number, target),
        };
    }
    pipes(reading, &mut found);
    sockets::add(reading, &mut found);
    found.extend(kept);
    found.sort_unstable_by_key(|descriptor| descriptor.number);
    found
}

/// The descriptors that the thread's call is about.
fn waited_for(thread: &Thread) -> Vec<i32> {
    let Some(call) = thread.system_call else { return Vec::new() };
    match call.name() {
        _ if call.is_on_descriptor() => vec![(call.arguments[0] as u32).cast_signed()],
        Some("poll" | "ppoll" | "select" | "pselect6") => thread.polled(),
        // P_PIDFD of waitid(2).
        Some("waitid") if call.arguments[0] == 3 => vec![(call.arguments[1] as u32).cast_signed()],
        _ => Vec::new(),
    }
}

/// The set that a thread waits for events of.
fn epoll_set(thread: &Thread) -> Option<i32> {
    let call = thread.system_call?;
    let is_wait = call.name().is_some_and(|name| name.starts_with("epoll_") && name.contains("wait"));
    is_wait.then(|| (call.arguments[0] as u32).cast_signed())
}

/// The members of epoll sets in which just one thread waits, without a limit or with a long one.
fn members(reading: &mut Reading<'_>, found: &[Descriptor], sets: &[i32]) -> Vec<(i32, Vec<i32>)> {
    const LONG_MS: i32 = 1000;
    let is_calm = |set: i32| {
        let waiting = reading.threads.iter().filter(|thread| epoll_set(thread) == Some(set));
        let limits =
            waiting.map(|thread| thread.system_call.map_or(0, |call| (call.arguments[3] as u32).cast_signed()));
        let limits: Vec<i32> = limits.collect();
        limits.len() == 1 && limits.iter().all(|limit| *limit < 0 || *limit >= LONG_MS)
    };
    let wanted: Vec<i32> = found
        .iter()
        .filter(|descriptor| descriptor.target == "anon_inode:[eventpoll]" && sets.contains(&descriptor.number))
        .map(|descriptor| descriptor.number)
        .filter(|set| is_calm(*set))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    // Since Linux 6.2 the size of the directory is the number of descriptors.
    let count = fs::metadata(reading.path("fd")).map_or(u64::MAX, |about| about.len());
    if count == 0 || count > MOST_OF_EPOLL {
        reading.unread("members of epoll sets", "there are too many descriptors to read them without a delay");
        return Vec::new();
    }
    let numbers = |set: &i32| {
        let text = fs::read_to_string(reading.path(&format!("fdinfo/{set}"))).ok()?;
        let number = |line: &str| line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok();
        Some((*set, text.lines().filter_map(number).take(MOST).collect()))
    };
    wanted.iter().filter_map(numbers).collect()
}

/// What `fdinfo` says of descriptors that have no other end.
fn simple(reading: &Reading<'_>, number: i32, target: &str) -> Detail {
    let field = |name: &str| {
        let text = fs::read_to_string(reading.path(&format!("fdinfo/{number}"))).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    match target {
        "anon_inode:[eventfd]" => {
            let count = field("eventfd-count:").and_then(|count| u64::from_str_radix(&count, 16).ok());
            count.map_or(Detail::Nothing, Detail::Event)
        }
        "anon_inode:[timerfd]" => {
            let left = field("it_value:").and_then(|time| {
                let (seconds, ns) = time.trim_matches(['(', ')']).split_once(',')?;
                Some(
                    seconds.trim().parse::<u64>().ok()?.saturating_mul(1_000_000_000)
                        + ns.trim().parse::<u64>().ok()?,
                )
            });
            left.map_or(Detail::Nothing, Detail::Timer)
        }
        "anon_inode:[pidfd]" => {
            let pid = field("Pid:").and_then(|pid| pid.parse().ok());
            pid.map_or(Detail::Nothing, |pid| Detail::Process(Pid(pid)))
        }
        _ => Detail::Nothing,
    }
}

/// Adds who has the other ends of pipes and FIFOs.
fn pipes(reading: &mut Reading<'_>, found: &mut [Descriptor]) {
    let is_fifo = |descriptor: &Descriptor| {
        let path = reading.path(&format!("fd/{}", descriptor.number));
        descriptor.target.starts_with('/') && about(&path).is_some_and(|about| about.is_fifo)
    };
    let is_pipe: Vec<bool> =
        found.iter().map(|descriptor| descriptor.target.starts_with("pipe:[") || is_fifo(descriptor)).collect();
    let links: Vec<String> =
        found.iter().zip(&is_pipe).filter(|(_, is)| **is).map(|(descriptor, _)| descriptor.target.clone()).collect();
    let opened = holders(reading, &links, true);
    for (descriptor, _) in found.iter_mut().zip(is_pipe).filter(|(_, is)| *is) {
        let is_writer = may_write(reading.process.id.pid.0, &descriptor.number.to_string());
        let others = opened.get(&descriptor.target).into_iter().flatten();
        let others: Vec<Task> =
            others.filter(|other| other.writes != is_writer).map(|other| other.process.clone()).collect();
        descriptor.detail = Detail::Pipe { is_writer, others };
    }
}
