//! Variables of every kind that Rust has, in frames that stay as they are.
#![allow(dead_code)]
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
#[derive(Clone, Debug)]
enum Shape {
    Empty,
    Circle { radius: f64 },
    Pair(i32, u8),
    Named(String),
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plain {
    One = 1,
    Two = 2,
    Big = 1000,
}
#[derive(Clone, Debug)]
struct Item {
    id: u32,
    name: String,
    tags: Vec<&'static str>,
    parent: Option<Box<Item>>,
    ratio: f32,
}
unsafe extern "C" {
    safe fn pause() -> i32;
}
#[inline(never)]
fn leaf(text: &str, items: &[u16], shape: &Shape, maybe: Option<u32>, neg: i64) -> usize {
    let owned = String::from("owned text");
    let numbers = vec![1u32, 2, 3, 5, 8];
    let opt_ref: Option<&u16> = items.first();
    let res: Result<u8, String> = Err("bad".to_string());
    let ok: Result<u8, String> = Ok(7);
    let tuple = (1i8, 'x', true, 2.5f32);
    let array = [[1u8; 3]; 2];
    let plain = Plain::Big;
    let shape2 = Shape::Circle { radius: 2.5 };
    let shape3 = Shape::Pair(-4, 9);
    let nothing: Option<Box<i32>> = None;
    let boxed = Box::new(99i32);
    let counted = Rc::new(41u64);
    let shared = Arc::new(Mutex::new(17i32));
    let cell = RefCell::new(5u8);
    let c2 = Cell::new(-1i16);
    let mut map = HashMap::new();
    map.insert(1u8, "one");
    map.insert(2, "two");
    let span = Duration::from_millis(1500);
    let when = Instant::now();
    let big = 170141183460469231731687303715884105727i128;
    let guard = shared.lock().unwrap();
    let rw = RwLock::new(3u8);
    let item = Item { id: 4, name: "it".into(), tags: vec!["a", "b"], parent: None, ratio: 0.5 };
    let _unit = ();
    let fp: fn(&str) -> usize = str::len;
    pause();
    let sum = text.len()
        + items.len()
        + numbers.len()
        + owned.len()
        + opt_ref.is_some() as usize
        + res.is_ok() as usize
        + ok.is_ok() as usize
        + tuple.0 as usize
        + array[0][0] as usize
        + plain as usize
        + matches!(shape, Shape::Empty) as usize
        + matches!(shape2, Shape::Circle { .. }) as usize
        + matches!(shape3, Shape::Pair(..)) as usize
        + nothing.is_some() as usize
        + *boxed as usize
        + *counted as usize
        + *guard as usize
        + *cell.borrow() as usize
        + c2.get() as usize
        + map.len()
        + span.as_secs() as usize
        + when.elapsed().as_secs() as usize
        + big as usize
        + maybe.unwrap_or(0) as usize
        + neg as usize
        + *rw.read().unwrap() as usize
        + item.id as usize
        + fp("a");
    sum
}
fn middle(depth: u32, shape: Shape, words: Vec<String>) -> usize {
    let local = depth * 3;
    let s: &str = &words[0];
    let r = leaf(s, &[7, 8, 9], &shape, Some(depth), -5);
    r + local as usize + words.len()
}
fn main() {
    println!("ready");
    let x = middle(11, Shape::Named("nm".into()), vec!["alpha".to_string(), "beta".into()]);
    println!("{x}");
}
