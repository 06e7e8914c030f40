//! Names as people write them.

/// The name a Rust or C++ compiler made from a source name, turned back; any other name as it is.
/// Rust's hashes and C++'s return types are left out: they name nothing.
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
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn names_of_each_language() {
        assert_eq!(demangle("_ZN3std2io5stdio6_print17h0123456789abcdefE"), "std::io::stdio::_print");
        assert_eq!(demangle("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
        assert_eq!(demangle("_ZN3Foo3barEi"), "Foo::bar(int)");
        assert_eq!(demangle("pthread_mutex_lock"), "pthread_mutex_lock");
        assert_eq!(demangle("_Znonsense"), "_Znonsense");
    }
}
