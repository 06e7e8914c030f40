//! Names as people write them: a file for each language whose compilers encode them, beside Rust
//! and C++, for which there are crates.
//!
//! Promises: a name that is none of a language is left as it is; depth, steps and length are
//! bounded, for names are hostile.

mod ada;
mod d;
mod fortran;
mod go;
mod ocaml;
mod swift;

/// The name a compiler made from a source name, turned back; any other name as it is. Rust's
/// hashes, C++'s return types and what D's functions take are left out: they name nothing.
pub fn demangle(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    if name.starts_with("_Z") {
        // Names are hostile input: nesting and the length of what comes out are bounded.
        let options = cpp_demangle::ParseOptions::default().recursion_limit(64);
        if let Ok(symbol) = cpp_demangle::Symbol::new_with_options(name, &options) {
            let options = cpp_demangle::DemangleOptions::new().no_return_type().recursion_limit(64);
            if let Ok(text) = symbol.demangle_with_options(&options) {
                return text;
            }
        }
    }
    let others = [d::demangle, fortran::demangle, ocaml::demangle, swift::demangle, go::demangle];
    others.iter().find_map(|demangle| demangle(name)).unwrap_or_else(|| name.to_owned())
}

/// The same of a name that a compiler of Ada is known to have made.
pub fn demangle_ada(name: &str) -> String {
    ada::demangle(name).unwrap_or_else(|| demangle(name))
}

#[cfg(test)]
mod tests {
    use super::{demangle, demangle_ada};

    #[test]
    fn names_of_each_language() {
        assert_eq!(demangle("_ZN3std2io5stdio6_print17h0123456789abcdefE"), "std::io::stdio::_print");
        assert_eq!(demangle("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
        assert_eq!(demangle("_ZN3Foo3barEi"), "Foo::bar(int)");
        assert_eq!(demangle("pthread_mutex_lock"), "pthread_mutex_lock");
        assert_eq!(demangle("_Znonsense"), "_Znonsense");
        assert_eq!(demangle("_D3app6Worker3runMFAyaAiZi"), "app.Worker.run");
        assert_eq!(demangle("_D3app__T4PairTiZQi4takeMFNbNiNfiZi"), "app.Pair!(int).Pair.take");
        assert_eq!(
            demangle("_D4core4time8Duration__T5totalVAyaa5_6d73656373ZQyMxFNaNbNdNiNfZl"),
            "core.time.Duration.total!(\"msecs\").total"
        );
        assert_eq!(demangle("_D3app5outerFCQm6WorkerZ5innerMFdZi"), "app.outer.inner");
        assert_eq!(demangle("_Dmain"), "D main");
        assert_eq!(demangle("_D"), "_D");
        assert_eq!(demangle("__solver_MOD_wait_cell"), "solver::wait_cell");
        assert_eq!(demangle("_QMsolverPwait_cell"), "solver::wait_cell");
        assert_eq!(demangle("__GI___MOD"), "__GI___MOD");
        assert_eq!(demangle("camlWorker__run_133"), "Worker.run");
        assert_eq!(demangle("camlWorker__Pool__$2b$2b$2b_127"), "Worker.Pool.+++");
        assert_eq!(demangle("camlWorker.run_133"), "Worker.run");
        assert_eq!(demangle("caml_main"), "caml_main");
        assert_eq!(demangle("example.com/x%2ev2.(*T).F"), "example.com/x.v2.(*T).F");
        // As docs/ABI/Mangling.rst has them.
        assert_eq!(demangle("$s3app6WorkerC3runyyF"), "app.Worker.run");
        assert_eq!(demangle("$s4main5helloyyF"), "main.hello");
        assert_eq!(demangle_ada("ada_app__int_depot__wait.1"), "ada_app.int_depot.wait");
        assert_eq!(demangle_ada("ada_app__int_depot__Oadd.0"), "ada_app.int_depot.\"+\"");
        assert_eq!(demangle_ada("_ada_ada_app"), "ada_app");
        assert_eq!(demangle_ada("pack__workerTKB"), "pack.worker");
        assert_eq!(demangle_ada("_start"), "_start");
    }

    /// Names in files are hostile: those that refer to themselves, are cut off anywhere, or nest.
    #[test]
    fn no_name_takes_long_or_panics() {
        let nested = format!("_D{}3fooZ", "3fooFPPPPQbQcQd".repeat(2000));
        let names = ["_D3app__T4PairTiZQi4takeMFNbNiNfiZi", "_DQb", "_D3fooQeQe", "_D1__T1aTQdTQdTQdZ", &nested];
        for name in names {
            for length in (0..name.len()).filter(|length| name.is_char_boundary(*length)).take(4000) {
                assert!(demangle(&name[..length]).len() <= 8192.max(length));
            }
        }
        for name in ["_D99999999999999999999a", "camlA__$", "camlA__$é", "$s0", "$s0aA", "_QM", "__é_MOD_é", "$s9é"]
        {
            demangle(name);
            demangle_ada(name);
        }
    }
}
