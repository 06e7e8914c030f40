//! Random bytes as the memory around futexes: no panic, and no proof that names a thread that is
//! not there.

use hangsnap::analysis::verdict::{Fault, Observation, Party, judge};
use hangsnap::analysis::waits::{Calls, Proof};
use hangsnap::model::*;

use super::process::{FUNCTIONS, futex, lock, snapshot, tid};
use crate::record::made::{Random, seed};

const CASES: u64 = 4000;

#[test]
fn random_words_around_futexes_prove_nothing() {
    let (mut random, mut proofs) = (Random(seed()), 0);
    for case in 0..CASES {
        let threads: Vec<Thread> = (0..4).map(|number| waiter(number, &mut random)).collect();
        let samples: Vec<Snapshot> = (1..=3).map(|number| snapshot(number, threads.clone(), facts(case))).collect();
        let nothing: &[Function] = &[];
        let named: Vec<_> =
            samples[0].named.iter().map(|code| (code.module, code.address, code.functions.clone())).collect();
        let name = |frame: &Frame| {
            let place = frame.inside();
            let found = named.iter().find(|(module, address, _)| place == Some((*module, *address)));
            found.map_or(nothing, |(_, _, functions)| &**functions)
        };
        let calls: Vec<Vec<Calls<'_>>> = samples
            .iter()
            .map(|sample| {
                sample.threads.iter().map(|thread| Calls::of(sample, thread, |_, frame| name(frame))).collect()
            })
            .collect();
        let observation = Observation {
            samples: samples.iter().collect(),
            calls: &calls[2],
            earlier: calls[..2].iter().map(Vec::as_slice).collect(),
            not_run_since: Vec::new(),
        };
        let judgement = judge(&[observation]);
        for verdict in judgement.verdicts.iter().filter(|verdict| verdict.proof == Proof::Proved) {
            proofs += 1;
            let is_here = |party: &Party| (0..4).any(|number| tid(number) == party.tid);
            let holders = verdict.chain.iter().filter_map(|link| link.holder.as_ref()).chain(&verdict.holder);
            // Small numbers may be the id of a thread that was there.
            let is_gone = verdict.fault == Fault::AbandonedLock && verdict.accused.iter().all(is_here);
            let is_small = |party: &Party| party.tid.0 <= 1 << 22;
            for holder in holders {
                assert!(is_here(holder) || is_gone && is_small(holder), "case {case} of seed {}: {verdict:?}", seed());
            }
        }
    }
    println!("{CASES} cases, {proofs} proofs, each of a thread that is there, or of an id that could have been one");
}

/// A thread in a futex, with words that are small, ids, or anything.
fn waiter(number: usize, random: &mut Random) -> Thread {
    let kind = random.below(3);
    let word = |random: &mut Random| match (kind, random.below(4)) {
        (0, _) => random.next() as u32,
        (_, 0) => random.below(4) as u32,
        (_, 1) => tid(random.below(6) as usize).0.cast_unsigned(),
        (_, 2) => random.below(1 << 23) as u32,
        (_, _) => random.next() as u32 & if kind == 1 { 0xff } else { u32::MAX },
    };
    let words: Vec<(u64, u32)> = (0..12).map(|at| (4 * at, word(random))).collect();
    let expected = if random.below(8) == 0 { word(random) } else { words[0].1 };
    let function = random.below(FUNCTIONS.len() as u64) as usize;
    let mut thread = futex(number, lock(random.below(3) as usize), expected, function, &words);
    // The piece may be cut short, lie elsewhere or be in the wrong place.
    let piece = &mut thread.memory[0];
    match random.below(10) {
        0 => piece.bytes = piece.bytes[..random.below(192) as usize].into(),
        1 => piece.address = RuntimeAddress(random.next()),
        2 => piece.address = RuntimeAddress(piece.address.0 + 60),
        _ => {}
    }
    if random.below(10) == 0 {
        let arguments = [random.next(), random.below(16) | 128, random.next(), random.below(2), random.next(), 0];
        thread.system_call = Some(SystemCall::new(202, arguments));
    }
    thread
}

fn facts(case: u64) -> WaitFacts {
    let mut random = Random(case);
    let reference = |random: &mut Random| Reference {
        tid: tid(random.below(6) as usize),
        at: RuntimeAddress(random.next()),
        lock: RuntimeAddress(lock(random.below(3) as usize)),
    };
    WaitFacts { references: (0..random.below(4)).map(|_| reference(&mut random)).collect(), ..WaitFacts::default() }
}
