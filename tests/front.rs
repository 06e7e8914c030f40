//! The first five minutes: what someone types who has just met hangsnap, and what is seen then.

mod words;
