//! What waits are about, as a message and back.
//!
//! Promises: whatever is read is bounded by the message that it was read from; what has no meaning
//! in the model is left out, for a fact that is absent says nothing.

use super::pb;
use crate::model::{
    DatabaseLock, Descriptor, Detail, FileLock, FuseMount, LastRan, Owner, Pid, Reference, RuntimeAddress, Socket,
    StartTime, Task, ThreadState, Tid, Unread, WaitFacts,
};

pub(super) fn encode(facts: &WaitFacts) -> pb::WaitFacts {
    let WaitFacts {
        last_ran,
        descriptors,
        file_locks,
        children,
        owners,
        references,
        thread_pointers,
        inner_tids,
        tracer,
        parent,
        frozen,
        fuse,
        database_locks,
        unread,
    } = facts;
    pb::WaitFacts {
        last_ran: last_ran.iter().map(|ran| pb::LastRan { tid: ran.tid.0, monotonic_ns: ran.monotonic_ns }).collect(),
        descriptors: descriptors.iter().map(descriptor).collect(),
        file_locks: file_locks.iter().map(file_lock).collect(),
        children: tasks(children),
        owners: owners.iter().map(owner).collect(),
        references: references
            .iter()
            .map(|found| pb::Reference { tid: found.tid.0, at: found.at.0, lock: found.lock.0 })
            .collect(),
        thread_pointers: thread_pointers
            .iter()
            .map(|(address, tid)| pb::ThreadPointer { address: address.0, tid: *tid })
            .collect(),
        inner_tids: inner_tids.iter().map(|(inner, tid)| pb::InnerTid { inner: *inner, tid: tid.0 }).collect(),
        tracer: tracer.as_ref().map(task),
        parent: parent.as_ref().map(task),
        frozen: frozen.clone().unwrap_or_default(),
        fuse: fuse
            .iter()
            .map(|mount| pb::FuseMount {
                path: mount.path.clone(),
                waiting: mount.waiting,
                servers: tasks(&mount.servers),
            })
            .collect(),
        unread: unread.iter().map(|source| pb::Unread { what: source.what.clone(), why: source.why.clone() }).collect(),
        same: Vec::new(),
        database_locks: database_locks.iter().map(database_lock).collect(),
    }
}

/// The same as what differs from the facts before. `is_unchanged` says of a thread of this snapshot
/// whether it has not run since an earlier one.
pub(super) fn encode_change(
    facts: &WaitFacts,
    before: &WaitFacts,
    is_unchanged: impl Fn(Tid) -> bool,
) -> pb::WaitFacts {
    let mut message = encode(facts);
    let kept = left_of(&before.last_ran, is_unchanged);
    let mut same = |number: u32, is_same: bool, clear: &mut dyn FnMut(&mut pb::WaitFacts)| {
        if is_same {
            message.same.push(number);
            clear(&mut message);
        }
    };
    same(LAST_RAN, facts.last_ran == kept, &mut |message| message.last_ran.clear());
    same(DESCRIPTORS, facts.descriptors == before.descriptors, &mut |message| message.descriptors.clear());
    same(FILE_LOCKS, facts.file_locks == before.file_locks, &mut |message| message.file_locks.clear());
    same(CHILDREN, facts.children == before.children, &mut |message| message.children.clear());
    same(OWNERS, facts.owners == before.owners, &mut |message| message.owners.clear());
    same(REFERENCES, facts.references == before.references, &mut |message| message.references.clear());
    let pointers = facts.thread_pointers == before.thread_pointers;
    same(THREAD_POINTERS, pointers, &mut |message| message.thread_pointers.clear());
    same(INNER_TIDS, facts.inner_tids == before.inner_tids, &mut |message| message.inner_tids.clear());
    same(FUSE, facts.fuse == before.fuse, &mut |message| message.fuse.clear());
    let database_locks = facts.database_locks == before.database_locks;
    same(DATABASE_LOCKS, database_locks, &mut |message| message.database_locks.clear());
    same(UNREAD, facts.unread == before.unread, &mut |message| message.unread.clear());
    message
}

/// The numbers of the fields of `WaitFacts` that are lists.
const LAST_RAN: u32 = 1;
const DESCRIPTORS: u32 = 2;
const FILE_LOCKS: u32 = 3;
const CHILDREN: u32 = 4;
const OWNERS: u32 = 5;
const REFERENCES: u32 = 6;
const THREAD_POINTERS: u32 = 7;
const INNER_TIDS: u32 = 8;
const FUSE: u32 = 12;
const UNREAD: u32 = 13;
const DATABASE_LOCKS: u32 = 15;

/// Those of threads that have not run since.
fn left_of(last_ran: &[LastRan], is_unchanged: impl Fn(Tid) -> bool) -> Vec<LastRan> {
    last_ran.iter().filter(|ran| is_unchanged(ran.tid)).copied().collect()
}

fn tasks(all: &[Task]) -> Vec<pb::Task> {
    all.iter().map(task).collect()
}

fn task(Task { pid, name, state, start }: &Task) -> pb::Task {
    pb::Task { pid: pid.0, name: name.clone(), state: state.letter().into(), start_ticks: start.0 }
}

fn owner(Owner { inner, task: found }: &Owner) -> pb::Owner {
    pb::Owner {
        inner: *inner,
        tid: found.as_ref().map_or(0, |(tid, _)| tid.0),
        task: found.as_ref().map(|(_, process)| task(process)),
    }
}

fn file_lock(lock: &FileLock) -> pb::FileLock {
    pb::FileLock {
        kind: lock.kind.clone(),
        is_write: lock.is_write,
        holder: lock.holder.as_ref().map(task),
        waiters: lock.waiters.iter().map(|pid| pid.0).collect(),
        file: lock.file.clone(),
        path: lock.path.clone().unwrap_or_default(),
    }
}

fn database_lock(lock: &DatabaseLock) -> pb::DatabaseLock {
    pb::DatabaseLock {
        waiter: Some(task(&lock.waiter)),
        address: lock.address.0,
        of: lock.of.clone(),
        mode: lock.mode.clone(),
        holders: tasks(&lock.holders),
        ahead: tasks(&lock.ahead),
    }
}

fn descriptor(Descriptor { number, target, detail }: &Descriptor) -> pb::Descriptor {
    use pb::descriptor::Detail as Message;
    let detail = match detail {
        Detail::Nothing => None,
        Detail::Pipe { is_writer, others } => {
            Some(Message::Pipe(pb::Pipe { is_writer: *is_writer, others: tasks(others) }))
        }
        Detail::Socket(socket) => Some(Message::Socket(pb::Socket {
            protocol: socket.protocol.clone(),
            local: socket.local.clone(),
            peer: socket.peer.clone(),
            state: socket.state.into(),
            receive_queue: socket.receive_queue,
            send_queue: socket.send_queue,
            others: tasks(&socket.others),
        })),
        Detail::Event(count) => Some(Message::Event(*count)),
        Detail::Timer(left) => Some(Message::Timer(*left)),
        Detail::Epoll(members) => Some(Message::Epoll(pb::EpollSet { members: members.clone() })),
        Detail::Process(pid) => Some(Message::Process(pid.0)),
    };
    pb::Descriptor { number: *number, target: target.clone(), detail }
}

pub(super) fn decode(message: &pb::WaitFacts) -> WaitFacts {
    let mut facts = WaitFacts {
        last_ran: message
            .last_ran
            .iter()
            .map(|ran| LastRan { tid: Tid(ran.tid), monotonic_ns: ran.monotonic_ns })
            .collect(),
        descriptors: message.descriptors.iter().map(to_descriptor).collect(),
        file_locks: message.file_locks.iter().map(to_file_lock).collect(),
        children: to_tasks(&message.children),
        owners: message.owners.iter().map(to_owner).collect(),
        references: message
            .references
            .iter()
            .map(|found| Reference {
                tid: Tid(found.tid),
                at: RuntimeAddress(found.at),
                lock: RuntimeAddress(found.lock),
            })
            .collect(),
        thread_pointers: message
            .thread_pointers
            .iter()
            .map(|pointer| (RuntimeAddress(pointer.address), pointer.tid))
            .collect(),
        inner_tids: message.inner_tids.iter().map(|pair| (pair.inner, Tid(pair.tid))).collect(),
        tracer: message.tracer.as_ref().and_then(to_task),
        parent: message.parent.as_ref().and_then(to_task),
        frozen: Some(message.frozen.clone()).filter(|path| !path.is_empty()),
        fuse: message
            .fuse
            .iter()
            .map(|mount| FuseMount {
                path: mount.path.clone(),
                waiting: mount.waiting,
                servers: to_tasks(&mount.servers),
            })
            .collect(),
        database_locks: message.database_locks.iter().filter_map(to_database_lock).collect(),
        unread: message
            .unread
            .iter()
            .map(|source| Unread { what: source.what.clone(), why: source.why.clone() })
            .collect(),
    };
    // They are searched by these, and a file may say anything.
    facts.last_ran.sort_by_key(|ran| ran.tid);
    facts.descriptors.sort_by_key(|descriptor| descriptor.number);
    facts
}

/// The same of what differs from the facts before.
pub(super) fn decode_change(
    message: &pb::WaitFacts,
    before: &WaitFacts,
    is_unchanged: impl Fn(Tid) -> bool,
) -> WaitFacts {
    let mut facts = decode(message);
    let WaitFacts { descriptors, file_locks, children, owners, references, .. } = before;
    for number in &message.same {
        match *number {
            LAST_RAN => facts.last_ran = left_of(&before.last_ran, &is_unchanged),
            DESCRIPTORS => facts.descriptors.clone_from(descriptors),
            FILE_LOCKS => facts.file_locks.clone_from(file_locks),
            CHILDREN => facts.children.clone_from(children),
            OWNERS => facts.owners.clone_from(owners),
            REFERENCES => facts.references.clone_from(references),
            THREAD_POINTERS => facts.thread_pointers.clone_from(&before.thread_pointers),
            INNER_TIDS => facts.inner_tids.clone_from(&before.inner_tids),
            FUSE => facts.fuse.clone_from(&before.fuse),
            DATABASE_LOCKS => facts.database_locks.clone_from(&before.database_locks),
            UNREAD => facts.unread.clone_from(&before.unread),
            // One of a list that only a newer version knows.
            _ => {}
        }
    }
    facts
}

fn to_tasks(messages: &[pb::Task]) -> Vec<Task> {
    messages.iter().filter_map(to_task).collect()
}

/// Of processes: the kernel keeps 15 bytes, and each may have been replaced by three.
const LONGEST_NAME: usize = 64;

fn to_task(message: &pb::Task) -> Option<Task> {
    let state = ThreadState::from_letter(char::from_u32(message.state)?);
    let name = &message.name[..message.name.floor_char_boundary(LONGEST_NAME)];
    Some(Task { pid: Pid(message.pid), name: name.to_owned(), state, start: StartTime(message.start_ticks) })
}

fn to_owner(message: &pb::Owner) -> Owner {
    Owner { inner: message.inner, task: Some(Tid(message.tid)).zip(message.task.as_ref().and_then(to_task)) }
}

fn to_file_lock(message: &pb::FileLock) -> FileLock {
    FileLock {
        kind: message.kind.clone(),
        is_write: message.is_write,
        holder: message.holder.as_ref().and_then(to_task),
        waiters: message.waiters.iter().copied().map(Pid).collect(),
        file: message.file.clone(),
        path: Some(message.path.clone()).filter(|path| !path.is_empty()),
    }
}

fn to_database_lock(message: &pb::DatabaseLock) -> Option<DatabaseLock> {
    Some(DatabaseLock {
        waiter: message.waiter.as_ref().and_then(to_task)?,
        address: RuntimeAddress(message.address),
        of: message.of.clone(),
        mode: message.mode.clone(),
        holders: to_tasks(&message.holders),
        ahead: to_tasks(&message.ahead),
    })
}

fn to_descriptor(message: &pb::Descriptor) -> Descriptor {
    use pb::descriptor::Detail as Message;
    let detail = match &message.detail {
        None => Detail::Nothing,
        Some(Message::Pipe(pipe)) => Detail::Pipe { is_writer: pipe.is_writer, others: to_tasks(&pipe.others) },
        Some(Message::Socket(socket)) => Detail::Socket(Socket {
            protocol: socket.protocol.clone(),
            local: socket.local.clone(),
            peer: socket.peer.clone(),
            state: u8::try_from(socket.state).unwrap_or(0),
            receive_queue: socket.receive_queue,
            send_queue: socket.send_queue,
            others: to_tasks(&socket.others),
        }),
        Some(Message::Event(count)) => Detail::Event(*count),
        Some(Message::Timer(left)) => Detail::Timer(*left),
        Some(Message::Epoll(set)) => Detail::Epoll(set.members.clone()),
        Some(Message::Process(pid)) => Detail::Process(Pid(*pid)),
    };
    Descriptor { number: message.number, target: message.target.clone(), detail }
}
